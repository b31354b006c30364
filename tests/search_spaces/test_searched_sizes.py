"""Spaces whose channels and cells are lists: the search chooses the size, and whatever comes after knows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nni
import numpy as np
import pytest
import torch
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.space import RawFormatModelSpace, SimplifiedModelSpace

from nni_privacy import PredictedEvaluator
from nni_privacy.errors import ConfigError
from nni_privacy.nni_runtime.trial_results import identity_of, mismatch, proposed_architecture, record_of
from nni_privacy.report.run_page import render_run
from nni_privacy.runs.records import RunInfo, TrialRecord
from nni_privacy.schema import validated
from nni_privacy.search_spaces import DARTS, NasBench201
from nni_privacy.search_spaces.searchable import open_space
from nni_privacy.strategies import GDAS, FixedPattern
from nni_privacy.strategies.testing import RecordingEngine, tiny_data
from nni_privacy.studies.config import StudyConfig

SIZES: dict[str, Any] = {"channels": [2, 4], "in_channels": 1, "num_classes": 3}


def sized(kind: type[Any]) -> Any:
    return kind(cells=[3, 4], **SIZES)


def drawn(kind: type[Any], evaluator: Any = None, model_format: Any = SimplifiedModelSpace) -> list[Any]:
    space, state = model_format.from_model(sized(kind), evaluator or FunctionalEvaluator(len)), np.random.RandomState(0)
    return [space.random(random_state=state) for _ in range(8)]


@pytest.mark.parametrize("model_format", [SimplifiedModelSpace, RawFormatModelSpace])
@pytest.mark.parametrize("kind", [DARTS, NasBench201])
def test_samples_choose_the_size_and_build_the_network_of_it(kind: type[Any], model_format: Any) -> None:
    seen = set()
    for model in drawn(kind, model_format=model_format):
        sample, network = model.sample, model.executable_model()
        plain = kind(cells=sample["cells"], **{**SIZES, "channels": sample["channels"]})
        plain = plain.freeze({label: value for label, value in sample.items() if label not in ("channels", "cells")})
        assert network.genotype == plain.genotype == kind.genotype_of(sample)
        shapes = [[tuple(weight.shape) for weight in one.parameters()] for one in (network, plain)]
        assert shapes[0] == shapes[1]
        assert network(torch.rand(2, 1, 8, 8)).shape == (2, 3)
        size = f"{sample['channels']} channels, {sample['cells']} cells"
        assert network.factors == {"size": size, "channels": sample["channels"], "network_cells": sample["cells"]}
        assert not plain.factors
        seen.add(size)
    assert len(seen) == 4


def test_one_list_makes_both_sizes_part_of_the_sample() -> None:
    space = DARTS(channels=[2, 4], cells=3, in_channels=1)
    choices = space.simplify()
    assert choices["channels"].values == [2, 4] and choices["cells"].values == [3]
    assert not {"channels", "cells"} & set(DARTS(channels=2, cells=3).simplify())
    for sizes in ({"channels": []}, {"channels": [4, 4]}, {"channels": [4, 0]}, {"cells": [2]}, {"channels": "4"}):
        with pytest.raises(ConfigError, match=next(iter(sizes))):
            DARTS(**sizes)


def test_a_result_of_another_size_is_not_the_proposed_one() -> None:
    first, second = drawn(DARTS)[:2]
    reported = {"accuracy": 0.5, "architecture": proposed_architecture(first)}
    size = dict(first.executable_model().factors)
    assert mismatch(first, {**reported, "factors": json.dumps(size, sort_keys=True)}) is None
    assert mismatch(first, reported) is None  # an evaluator of the user's own does not tell
    wrong = {**size, "channels": 6 - size["channels"]}
    assert "was proposed" in str(mismatch(first, {**reported, "factors": json.dumps(wrong, sort_keys=True)}))
    record = record_of("a", 0, first, reported, None)
    assert record.factors == size and record.genotype == first.executable_model().genotype
    assert TrialRecord.from_row(json.loads(record.to_json()), line=1) == record
    assert record.identity == identity_of(first) != identity_of(second)
    twin = SimplifiedModelSpace.from_model(sized(DARTS), FunctionalEvaluator(len)).freeze(
        {**first.sample, "channels": 6 - first.sample["channels"]}
    )
    assert identity_of(twin) != identity_of(first) and proposed_architecture(twin) == proposed_architecture(first)


def test_predictions_tell_the_size_and_do_not_depend_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    nni.silence_stdout()
    evaluator = PredictedEvaluator()
    model = drawn(DARTS, evaluator)[0]
    other = SimplifiedModelSpace.from_model(sized(DARTS), evaluator).freeze(
        {**model.sample, "channels": 6 - model.sample["channels"]}
    )
    first, second = evaluator._execute(model), evaluator._execute(other)
    assert first["predicted_mia_auc"] == second["predicted_mia_auc"] and mismatch(model, first) is None
    assert json.loads(second["factors"])["channels"] == other.sample["channels"]


@pytest.mark.parametrize("kind", [DARTS, NasBench201])
def test_one_shot_strategies_search_and_submit_the_largest_size(
    kind: type[Any], caplog: pytest.LogCaptureFixture
) -> None:
    model_space = SimplifiedModelSpace.from_model(sized(kind), None)
    searchable = open_space(model_space)
    assert searchable.sizes == {"channels": 4, "cells": 4} and not {"channels", "cells"} & set(searchable.choices)
    assert {searchable.arguments[label] for label in ("channels", "cells")} == {4}
    strategy, engine = GDAS(epochs=1, batch_size=8, top_k=2, data=tiny_data(), device="cpu", seed=0), RecordingEngine(2)
    FixedPattern(strategy, "demotion-reduction", budget=1)(model_space, engine)
    assert len(engine.samples) == 2
    assert all(sample["channels"] == 4 and sample["cells"] == 4 for sample in engine.samples)
    assert "the cell is searched, and trained, at the largest size: 4 channels and 4 cells" in caplog.text


@pytest.mark.slow
def test_one_shot_strategies_choose_their_best_among_feasible_ones() -> None:
    strategy = GDAS(epochs=1, batch_size=8, top_k=3, data=tiny_data(), device="cpu", seed=0)
    strategy.initialize(SimplifiedModelSpace.from_model(sized(NasBench201), None), RecordingEngine(3))
    label = "cell_0_1" if "cell_0_1" in strategy.searchable.choices else next(iter(strategy.searchable.choices))
    strategy.feasible = lambda sample: sample[label] == "none" and sample["channels"] == 4
    found = strategy.search()
    assert len(found) == 3 and all(sample[label] == "none" for sample in found)
    strategy.feasible = lambda sample: False
    assert strategy.search() == []


def test_the_page_shows_the_size_and_the_constraints(tmp_path: Path) -> None:
    rows = []
    for number, model in enumerate(drawn(DARTS)[:3]):
        auc = (0.7, 0.58, 0.66)[number]
        metrics = {"accuracy": 0.9 + number / 100, "mia_auc": auc, "parameters": 1234.0 + number, "violation": 0.0}
        told = {**metrics, "architecture": proposed_architecture(model)}
        rows.append(record_of(f"t{number}", number, model, told, None))
    config = {"name": "sized", "constraints": {"mia_auc": ["<= 0.6"]}, "strategy": {"name": "random"}, "trials": 3}
    run = RunInfo(tmp_path, config, {}, {}, tuple(rows))
    page = render_run(run)
    assert not run.study and rows[1].factors["size"] in page and "1,235" in page
    assert "best of 1 feasible trials: #1 (t1), accuracy 0.91, mia_auc 0.58" in page
    none = RunInfo(tmp_path, {**config, "constraints": {"mia_auc": "<= 0.5"}}, {}, {}, tuple(rows))
    assert "no trial keeps mia_auc &lt;= 0.5; nearest: #1 (t1), mia_auc 0.58 (&lt;= 0.5)" in render_run(none)


@pytest.mark.parametrize(
    "entry", [{"sampled": 2}, {"sampled": 2, "search_space": {"name": "darts", "channels": [2, 4]}}]
)
def test_a_study_measures_at_one_size(entry: dict[str, Any]) -> None:
    space = {"name": "darts"} if "search_space" in entry else {"name": "darts", "channels": [2, 4]}
    content = {"name": "s", "datasets": ["digits"], "search_space": space, "architectures": [entry]}
    with pytest.raises(ConfigError, match=r"channels: \[2, 4\]; a study measures at one size"):
        validated(StudyConfig, content)
