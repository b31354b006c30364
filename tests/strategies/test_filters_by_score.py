"""PredictedFilter by costs and zero-cost proxies: what passes is what brute force says, and again after a kill."""

from __future__ import annotations

import copy
import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import nni
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import LayerChoice, ModelSpace, MutableLinear
from nni.nas.space import RawFormatModelSpace, SimplifiedModelSpace
from torch import nn

from nni_privacy import PredictedEvaluator, PrivacyEvaluator
from nni_privacy.cells.nasbench201 import NasBench201Genotype
from nni_privacy.commands.build import build_evaluator, build_search_strategy, build_space
from nni_privacy.commands.dry_run import search_plan
from nni_privacy.commands.search import run_search
from nni_privacy.commands.session import _with_options_of_now, differences
from nni_privacy.config import parse_config
from nni_privacy.data import Normalizer
from nni_privacy.errors import ConfigError
from nni_privacy.report.facts import _filter
from nni_privacy.rng import derived_seed
from nni_privacy.runs.journal import sample_key
from nni_privacy.search_spaces import DARTS, NasBench201
from nni_privacy.strategies import FixedPattern, PredictedFilter, build_strategy
from nni_privacy.strategies.scorers import RECORDS, Known, ZeroCostScore, quantile_bound, scorer_of
from nni_privacy.strategies.scores import PREDICTED, SCORES
from nni_privacy.training.zero_cost import PROXIES, zero_cost_proxies

SHAPE = (1, 6, 6)
KERNELS, ACTIVATIONS, MIDDLE, WIDTHS = ("1", "3", "5"), ("relu", "tanh"), ("conv", "pool", "skip"), (3, 5, 8)
BY = [name for name in SCORES if name != PREDICTED]


class Small(ModelSpace):
    """Fifty-four architectures of a user's own, half of them without a rectified unit."""

    def __init__(self, num_classes: int = 4, in_channels: int = 1) -> None:
        super().__init__()
        convolutions = {one: nn.Conv2d(in_channels, 4, int(one), padding=int(one) // 2) for one in KERNELS}
        self.first = LayerChoice(convolutions, label="first")
        self.activation = LayerChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, label="activation")
        middle = {"conv": nn.Conv2d(4, 4, 3, padding=1), "pool": nn.AvgPool2d(3, 1, 1), "skip": nn.Identity()}
        self.middle = LayerChoice(middle, label="middle")
        width = nni.choice("width", list(WIDTHS))
        self.hidden = MutableLinear(4, width)
        self.classifier = MutableLinear(width, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.middle(self.activation(self.first(images))).mean((2, 3))
        return self.classifier(self.hidden(features))


def data(count: int = 80) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (count, *SHAPE), generator=generator, dtype=torch.uint8)
    return images, torch.arange(count) % 4


def plain(sample: dict[str, Any]) -> nn.Module:
    """The same network without any choice."""
    kernel = int(sample["first"])
    middle = {"conv": lambda: nn.Conv2d(4, 4, 3, padding=1), "pool": lambda: nn.AvgPool2d(3, 1, 1)}
    return nn.Sequential(
        nn.Conv2d(1, 4, kernel, padding=kernel // 2),
        {"relu": nn.ReLU(), "tanh": nn.Tanh()}[sample["activation"]],
        middle.get(sample["middle"], nn.Identity)(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, sample["width"]),
        nn.Linear(sample["width"], 4),
    )


def brute_force(by: str, sample: dict[str, Any]) -> float | None:
    """Costs by their formulas; proxies of the space's network, drawn from the seed that is its sample's."""
    kernel, width, convolution = int(sample["first"]), sample["width"], sample["middle"] == "conv"
    if by == "parameters":
        return 4 * kernel**2 + 4 + 148 * convolution + 5 * width + 4 * (width + 1)
    if by == "multiply_adds":
        return 36 * 4 * kernel**2 + 36 * 144 * convolution + 8 * width
    images, labels = data()
    seed = derived_seed(3, "zero-cost", sample_key(sample)) % 2**32
    model = SimplifiedModelSpace.from_model(Small()).freeze(sample)
    torch.manual_seed(seed)
    network = model.executable_model()
    batch = Normalizer.fit(images)(images[:RECORDS])
    return zero_cost_proxies(network, batch, labels[:RECORDS], seed=seed).get(by)


def everything() -> list[dict[str, Any]]:
    found = itertools.product(KERNELS, ACTIVATIONS, MIDDLE, WIDTHS)
    return [dict(zip(("first", "activation", "middle", "width"), one, strict=True)) for one in found]


def score(model: nn.Module) -> None:
    nni.report_final_result({"default": sum(weight.numel() for weight in model.parameters()) % 101 / 101})


def search(
    strategy: Any, *, trials: int = 60, space: Any = None, model_format: Any = SimplifiedModelSpace
) -> list[dict[str, Any]]:
    nni.silence_stdout()
    engine = SequentialExecutionEngine(max_model_count=trials)
    strategy(model_format.from_model(space or Small(), FunctionalEvaluator(score)), engine)
    return [dict(model.sample) for model in engine.list_models()]


def filtered(by: str, inner: str = "grid_search", **options: Any) -> PredictedFilter:
    given = {"seed": 3, "data": data(), "image_shape": SHAPE, **options}
    return PredictedFilter(build_strategy(inner, {}, seed=2), by=by, **given)


def keys(samples: list[dict[str, Any]]) -> set[str]:
    return {sample_key(one) for one in samples}


@pytest.fixture(scope="module")
def truth() -> dict[str, dict[str, float | None]]:
    """Score to sample to what it is."""
    return {by: {sample_key(one): brute_force(by, one) for one in everything()} for by in BY}


def test_what_brute_force_builds_is_the_network_of_the_space() -> None:
    for sample in everything():
        weights = sum(weight.numel() for weight in plain(sample).parameters())
        frozen = SimplifiedModelSpace.from_model(Small()).freeze(sample).executable_model()
        assert weights == sum(weight.numel() for weight in frozen.parameters()) == brute_force("parameters", sample)


@pytest.mark.parametrize("side", ["below", "above"])
@pytest.mark.parametrize("by", BY)
def test_what_passes_a_bound_is_what_brute_force_says(
    by: str, side: str, truth: dict[str, dict[str, float | None]], tmp_path: Path
) -> None:
    known = {key: one for key, one in truth[by].items() if one is not None}
    bound = float(np.median(list(known.values())))
    expected = {key for key, one in known.items() if (one < bound if side == "below" else one > bound)}
    assert len(known) == 54 or (by == "naswot" and 20 < len(known) <= 27)
    assert 0.3 < len(expected) / len(known) <= 0.5
    strategy = filtered(by, **{side: bound}, log=tmp_path / "skipped.jsonl")
    assert keys(search(strategy)) == expected
    assert (strategy.accepted, strategy.skipped) == (len(expected), 54 - len(expected))
    rows = [json.loads(line) for line in (tmp_path / "skipped.jsonl").read_text().splitlines()]
    found = {sample_key(json.loads(row["architecture"])): row[by] for row in rows}
    assert found == {key: one for key, one in truth[by].items() if key not in expected}  # bit for bit; null: has none


@pytest.mark.parametrize("keep", ["lowest", "highest"])
@pytest.mark.parametrize("by", BY)
def test_a_quantile_passes_about_its_share(by: str, keep: str, truth: dict[str, dict[str, float | None]]) -> None:
    strategy = filtered(by, quantile=0.3, keep=keep)
    passed = keys(search(strategy))
    known = {key: one for key, one in truth[by].items() if one is not None}
    in_order = sorted(known, key=lambda key: known[key] if keep == "lowest" else -known[key])
    assert passed == set(in_order[: len(passed)])  # the lowest, or highest, whatever the bound
    assert len(passed) / 54 == pytest.approx(0.3, abs=0.12)
    again = filtered(by, quantile=0.3, keep=keep)
    search(again, trials=1)
    assert again.bound == strategy.bound


@given(
    st.lists(st.sampled_from([*range(6), None]), min_size=3, max_size=60).filter(lambda one: len({*one} - {None}) > 1),
    st.floats(0.01, 0.99),
)
def test_of_equal_scores_those_are_taken_that_come_nearest_to_the_share(
    given_scores: list[int | None], share: float
) -> None:
    scores = np.array([np.nan if one is None else one for one in given_scores], dtype=float)
    passed = int(np.sum(scores < quantile_bound(scores, share)))
    possible = [int(np.sum(scores <= one)) for one in np.unique(scores[~np.isnan(scores)])]
    off = [abs(one - share * len(scores)) for one in possible]
    assert passed in possible and abs(passed - share * len(scores)) <= min(off) + 1  # a rank, as numpy rounds


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50, unique=True), st.sampled_from([0.1, 0.25, 0.4, 0.5]))
def test_of_different_scores_it_is_numpys_quantile(given_scores: list[float], share: float) -> None:
    scores = np.array(given_scores)
    expected = float(np.quantile(scores, share))
    found = quantile_bound(scores, share)
    assert found == expected or (expected in scores and found == np.nextafter(expected, np.inf))


def test_scores_depend_on_nothing_but_seed_and_architecture() -> None:
    space = SimplifiedModelSpace.from_model(Small(), None)
    samples = everything()[::7]

    def scores(order: list[dict[str, Any]], *, seed: int = 0) -> dict[str, float | None]:
        scorer = scorer_of(Known("snip", seed=seed, data=data()))
        scorer.check(space)
        return {sample_key(one): scorer.of_model(space.freeze(one)) for one in order}

    def generators() -> str:
        return str((torch.get_rng_state().tolist(), np.random.get_state(), random.getstate()))  # noqa: NPY002

    torch.manual_seed(1)
    before = generators()
    found = scores(samples)
    assert generators() == before
    torch.manual_seed(2)
    assert scores(samples[::-1]) == found
    assert not set(scores(samples, seed=1).values()) & set(found.values())


def test_an_evaluators_data_are_the_first_records_of_target_train() -> None:
    evaluator = PrivacyEvaluator({"name": "digits", "limit": 600}, attacks=["loss_threshold"], seed=4)
    space = SimplifiedModelSpace.from_model(NasBench201(channels=2, cells=1, in_channels=1), evaluator)
    scorer = ZeroCostScore(Known("grad_norm"))
    scorer.check(space)
    model = space.random(random_state=np.random.RandomState(0))
    dataset, split = evaluator.load_data()
    normalize = Normalizer.fit(dataset.images[split.target_train])
    rows = split.target_train[:RECORDS]
    seed = derived_seed(0, "zero-cost", sample_key(model.sample)) % 2**32
    torch.manual_seed(seed)
    network = model.executable_model()
    expected = zero_cost_proxies(network, normalize(dataset.images[rows]), dataset.labels[rows], seed=seed)
    assert scorer.of_model(model) == pytest.approx(expected["grad_norm"], rel=1e-6)


@pytest.mark.parametrize("name", ["random", "regularized_evolution", "tpe", "pareto"])
def test_every_strategy_goes_on_inside_of_a_pattern(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nni.nas.strategy.hpo.time.sleep", lambda _seconds: None)
    options = {
        "regularized_evolution": {"population_size": 4, "sample_size": 2},
        "tpe": {"startup_trials": 3},
        "pareto": {"population_size": 4, "objectives": {"default": "maximize"}},
    }
    few = {**SCORES, "parameters": replace(SCORES["parameters"], drawn=60)}
    monkeypatch.setattr("nni_privacy.strategies.registry.SCORES", few)
    inner = build_strategy(name, options.get(name, {}), seed=0)
    strategy = FixedPattern(PredictedFilter(inner, by="parameters", quantile=0.5), "demotion-reduction", budget=2)
    space = NasBench201(channels=[1, 2, 4], cells=[1, 2], in_channels=1)
    for sample in search(strategy, trials=8, space=space):
        weights = sum(one.numel() for one in space.freeze(sample).parameters())
        assert weights < strategy.strategy.bound
    assert strategy.strategy.accepted == 8 and strategy.strategy.skipped > 0


def test_raw_models_are_scored_as_well() -> None:
    passed = search(filtered("parameters", "random", below=120), trials=8, model_format=RawFormatModelSpace)
    assert len(passed) == 8 and all((brute_force("parameters", one) or 0) < 120 for one in passed)


def test_a_skipped_size_is_told(tmp_path: Path) -> None:
    space = NasBench201(channels=[1, 8], cells=[1, 2], in_channels=1)
    log = tmp_path / "skipped.jsonl"
    search(filtered("parameters", "random", below=800, log=log), trials=4, space=space)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert rows
    for row in rows:
        size = {"channels": row["factors"]["channels"], "cells": row["factors"]["network_cells"]}
        sample = NasBench201Genotype.parse(row["architecture"]).to_sample()
        network = NasBench201(in_channels=1, **size).freeze(sample)
        assert row["parameters"] == sum(weight.numel() for weight in network.parameters()) >= 800


@pytest.mark.parametrize("by", ["snip", "parameters"])
def test_a_checkpoint_keeps_the_bound(by: str) -> None:
    first = filtered(by, "random", quantile=0.5)
    start = search(first, trials=6)
    state = copy.deepcopy(first.state_dict())
    assert (state["by"], state["keep"], state["bound"]) == (by, "lowest", first.bound)
    second, engine = filtered(by, "random", quantile=0.5), SequentialExecutionEngine(max_model_count=6)
    second.initialize(SimplifiedModelSpace.from_model(Small(), FunctionalEvaluator(score)), engine)
    second.load_state_dict(state)
    second.run()
    rest = [dict(model.sample) for model in engine.list_models()]
    assert len(rest) == 6 and not keys(rest) & keys(start)
    assert all((brute_force(by, one) or 0) < first.bound for one in start + rest)
    assert (second.accepted, second.bound) == (12, first.bound)
    for other in (filtered(by, quantile=0.5), filtered("grad_norm", below=2.0), filtered(by, above=first.bound)):
        with pytest.raises(ConfigError, match="checkpoint is of a search with the filter"):
            other.load_state_dict(state)


def test_a_state_of_before_there_were_other_scores_is_one_of_predicted_aucs() -> None:
    old = {"bound": 0.77, "accepted": 3, "skipped": 9, "strategy": build_strategy("random", seed=0).state_dict()}
    strategy = PredictedFilter(build_strategy("random", seed=0), below=0.77)
    strategy.load_state_dict(old)
    assert (strategy.accepted, strategy.skipped) == (3, 9)
    for other in ({"below": 0.77, "by": "parameters"}, {"above": 0.77}, {"below": 0.78}):
        with pytest.raises(ConfigError, match=r"predicted_mia_auc: lowest, bound 0\.77"):
            PredictedFilter(build_strategy("random", seed=0), **other).load_state_dict(old)


class Unlabelled(ModelSpace):
    """One whose network gives no logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = LayerChoice([nn.Conv2d(1, 4, 3), nn.Conv2d(1, 4, 1)], label="layer")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images)


class Even(ModelSpace):
    """One whose architectures all have as many parameters, and no rectified unit."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = LayerChoice([nn.AvgPool2d(6), nn.MaxPool2d(6)], label="pool")
        self.classifier = nn.Linear(1, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.pool(images).flatten(1))


@pytest.mark.parametrize(
    ("by", "options", "space", "message"),
    [
        ("snip", {"data": None}, Small, "filter.by: snip; a FunctionalEvaluator does not say which records .* data="),
        ("multiply_adds", {"image_shape": None}, Small, "filter.by: multiply_adds: a FunctionalEvaluator does not say"),
        ("snip", {"data": (data()[0], data()[1][:5])}, Small, "data: 80 images and 5 labels"),
        ("snip", {"data": data(1)}, Small, "data: 1 images and 1 labels; allowed are 2 or more"),
        ("snip", {"data": (data()[0], data()[1] + 4)}, Small, "filter.by: snip; not of .*Small: labels: 4 to 7"),
        ("snip", {"data": (torch.zeros(4, 3, 6, 6), data()[1][:4])}, Small, "filter.by: snip; .*Small: RuntimeError"),
        ("naswot", {}, Unlabelled, "filter.by: naswot; not of the networks of .*Unlabelled: the network returns"),
    ],
)
def test_what_has_no_such_score_is_said_before_the_search(
    by: str, options: dict[str, Any], space: type[ModelSpace], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        filtered(by, quantile=0.5, **options).check(
            SimplifiedModelSpace.from_model(space(), FunctionalEvaluator(score))
        )
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("parameters", "filter.by: parameters; 500 random architectures have all the same number of parameters, 8"),
        ("naswot", "filter.by: naswot; 200 random architectures have no naswot"),
    ],
)
def test_a_score_that_tells_nothing_apart_is_one_clear_error(by: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        search(filtered(by, quantile=0.5), space=Even())


@pytest.mark.parametrize(
    ("by", "options", "message"),
    [
        ("parameters", {"below": 5}, "9 proposals in a row have a number of parameters of .* or more, none below 5;"),
        ("parameters", {"above": 5e6}, "9 proposals .* number of parameters of .* or less, none above 5,000,000;"),
        ("grad_norm", {"below": 1e-9}, "9 proposals in a row have a grad_norm of .* or more, none below 1e-09;"),
    ],
)
def test_too_many_rejections_name_the_score(by: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        search(filtered(by, max_rejections=9, **options))


def test_only_surrogates_ask_for_genotypes_of_darts() -> None:
    space = SimplifiedModelSpace.from_model(DARTS(channels=1, cells=3, in_channels=1), PredictedEvaluator())
    other = SimplifiedModelSpace.from_model(NasBench201(channels=1, cells=1), PredictedEvaluator())
    for by in (PREDICTED, "parameters"):
        filtered(by, quantile=0.5).check(space)
    filtered("parameters", quantile=0.5).check(other)
    with pytest.raises(ConfigError, match="DARTS space only"):
        filtered(PREDICTED, quantile=0.5).check(other)


def test_the_table_names_every_proxy_and_scorer() -> None:
    assert [name for name, one in SCORES.items() if one.scorer == "ZeroCostScore"] == list(PROXIES)
    assert all(isinstance(scorer_of(Known(name)), object) for name in SCORES)


CONFIG: dict[str, Any] = {
    "name": "filtered",
    "dataset": {"name": "digits"},
    "search_space": {"name": f"{__name__}:Small"},
    "filter": {"by": "parameters", "quantile": 0.5},
    "strategy": {"name": "random"},
    "trials": 3,
}


@pytest.mark.parametrize("by", BY)
def test_a_configuration_filters_a_space_of_a_users_own(by: str, tmp_path: Path) -> None:
    settings = parse_config({**CONFIG, "filter": {"by": by, "quantile": 0.5, "keep": "highest"}})
    evaluator = build_evaluator(settings)
    dataset, _ = evaluator.load_data()
    strategy: Any = build_search_strategy(settings, folder=tmp_path, image_shape=dataset.image_shape)
    assert strategy.log == tmp_path / "skipped.jsonl" and strategy.options.by == by
    space = SimplifiedModelSpace.from_model(build_space(settings, dataset), evaluator)
    strategy.check(space)
    assert strategy._scorer.of_model(space.robust_default()) is not None
    text = search_plan(settings, evaluator)
    drawn = SCORES[by].drawn
    told = (
        f"filter         quantile 0.5, by {by}, keep highest, max_rejections 1000; its bound is that of {drawn} random"
    )
    assert told in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"filter": {"quantile": 0.5}}, "filter: not with search_space.name .*Small: architectures of a space of your"),
        ({"strategy": {"name": "gdas"}}, "filter: gdas proposes its top_k architectures once"),
        (
            {"search_space": "darts", "evaluator": {"kind": "predicted"}, "filter": {"by": "snip", "quantile": 0.5}},
            "filter.by: snip; with evaluator.kind: predicted allowed are predicted_mia_auc and parameters",
        ),
        (
            {
                "search_space": "darts",
                "evaluator": {"kind": "predicted"},
                "filter": {"by": "multiply_adds", "below": 9},
            },
            "filter.by: multiply_adds; with evaluator.kind: predicted allowed",
        ),
    ],
)
def test_a_configuration_that_cannot_be_filtered_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        parse_config({**CONFIG, **change})


def test_a_predicted_search_is_filtered_by_parameters(tmp_path: Path) -> None:
    content = {**CONFIG, "search_space": {"name": "darts", "channels": [2, 4], "cells": 3}}
    content |= {"evaluator": {"kind": "predicted"}, "filter": {"by": "parameters", "below": 6000}, "trials": 4}
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump(content))
    assert run_search(str(path), output=str(tmp_path / "run")) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "search" / "skipped.jsonl").read_text().splitlines()]
    assert rows and all(row["parameters"] >= 6000 for row in rows)
    told = "passed on only the lowest by number of parameters (below: 6000.0, by: parameters, keep: lowest"
    assert told in (tmp_path / "run" / "report.html").read_text()


def test_a_run_of_an_older_version_can_be_gone_on_with() -> None:
    now = parse_config({**CONFIG, "search_space": "darts", "filter": {"below": 0.77}}).resolved()
    old = {**now, "filter": {"below": 0.77, "quantile": None, "surrogate": None, "max_rejections": 1000}}
    assert parse_config(old).resolved() == now
    assert not list(differences(_with_options_of_now(old), now))
    other = parse_config({**CONFIG, "search_space": "darts", "filter": {"above": 0.77}}).resolved()
    assert [path for path, *_ in differences(_with_options_of_now(old), other)][:2] == ["filter.below", "filter.above"]
    assert _with_options_of_now({"filter": None}) == {"filter": None}
    assert _with_options_of_now({"filter": {"by": "later"}}) == {"filter": {"by": "later"}}


def test_a_report_of_an_older_run_names_the_predicted_auc() -> None:
    assert "the lowest by predicted AUC (below: 0.77)" in _filter({"below": 0.77, "quantile": None})
    assert "the highest by snip (" in _filter({"by": "snip", "keep": "highest", "quantile": 0.5})
    assert "by score (" in _filter({"by": ["damaged"]}) and _filter(None) == ""
