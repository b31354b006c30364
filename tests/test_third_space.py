"""A space that this package does not know goes all the way by its record: ``tests/support/triangle.py``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.execution.event import FinalMetricEvent, ModelEventType
from nni.nas.space import SimplifiedModelSpace

from nni_privacy import load_pattern
from nni_privacy.auditing.shadows import spec_for
from nni_privacy.cells import operations, parse_genotype, register_space, spaces
from nni_privacy.commands.build import build_evaluator, build_search_strategy, build_space
from nni_privacy.commands.main import main
from nni_privacy.config import load_config
from nni_privacy.data import load_dataset
from nni_privacy.errors import ConfigError, DataError, PatternError
from nni_privacy.report import write_report
from nni_privacy.report.layout import draw_info
from nni_privacy.runs.records import read_run
from nni_privacy.schema import validated
from nni_privacy.strategies import build_strategy
from nni_privacy.strategies.testing import StrategyConformance, cases_of
from nni_privacy.studies.config import StudyConfig
from nni_privacy.studies.plan import plan_study
from nni_privacy.studies.sources import source_from_dict

TEXT = "Triangle(tri_conv_3x3, skip_connect, avg_pool_3x3)"
SEARCH = {
    "name": "triangles",
    "dataset": {"name": "digits", "limit": 160},
    "search_space": {"name": "triangle", "channels": 2, "cells": 1},
    "pattern": {"name": "demotion-reduction", "budget": 1},
    "strategy": {"name": "random"},
    "evaluator": {
        "plugins": ["triangle"],
        "recipe": {"epochs": 2},
        "attacks": ["white_box_shadow", "rmia"],
        "shadow": {"count": 2, "cache": False},
    },
    "trials": 2,
}


@pytest.fixture(autouse=True)
def triangle() -> Iterator[ModuleType]:
    """The module, imported as a plugin is; what it registers is forgotten again."""
    with patch.dict(spaces._SPACES), patch.dict(operations.OPERATION_KINDS):
        yield import_module("triangle")
        del sys.modules["triangle"]


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    """A search of a configuration, carried out in this process: its run directory, and what the trials reported."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(SEARCH), encoding="utf-8")
    settings = load_config(folder / "config.yaml")
    evaluator, strategy = build_evaluator(settings), build_search_strategy(settings)
    space = build_space(settings, evaluator.load_data()[0])
    engine, metrics = SequentialExecutionEngine(max_model_count=settings.trials), []

    def note(event: FinalMetricEvent) -> None:
        metrics.append(dict(event.metric))

    engine.register_model_event_callback(ModelEventType.FinalMetric, note)
    strategy(SimplifiedModelSpace.from_model(space, evaluator), engine)
    rows = []
    for number, reported in enumerate(metrics):
        row = {"trial": f"t{number}", "sequence": number, "status": "succeeded", "seconds": 1.0}
        rows.append({**row, "architecture": reported.pop("architecture"), "metrics": reported})
    (folder / "trials.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps({"fixed_edges": strategy.fixed.as_lists()}), encoding="utf-8")
    return folder, rows


def planned(**content: Any) -> list[Any]:
    digits = {"name": "digits", "limit": 160}
    settings = validated(StudyConfig, {"name": "s", "datasets": [digits], **content})
    return plan_study(settings, {"digits": load_dataset(**digits)})


def test_a_search_with_shadow_models_and_its_report(run: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, rows = run
    assert len(rows) == 2
    for row in rows:
        assert row["architecture"].startswith("Triangle(avg_pool_3x3, ")
        assert 0 <= row["metrics"]["mia_auc"] <= 1 and 0 <= row["metrics"]["rmia_mia_auc"] <= 1
    page = write_report(folder).read_text(encoding="utf-8")
    assert "triangle cell, 1 of 3 edges fixed" in page and "triangle cell: <code>0 → 1 avg_pool_3x3</code>" in page
    assert "adds up its inputs, and 2 is the cell's output." in page and "are left out" not in page
    assert read_run(folder).trials[0].genotype == parse_genotype(rows[0]["architecture"])


def test_a_report_that_cannot_be_drawn_costs_one_line(
    run: tuple[Path, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise IndexError("tuple index\nout of range")

    monkeypatch.setattr("nni_privacy.report.cell.draw_info", fails)
    with pytest.raises(DataError, match=r"cannot be drawn \(IndexError: tuple index out of range\); its trials are"):
        write_report(run[0])
    assert main(["report", str(run[0])]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and len(read_run(run[0]).trials) == 2


def test_its_cell_is_drawn_with_as_many_nodes_as_it_has() -> None:
    drawing = draw_info(parse_genotype(TEXT), "triangle")
    assert [node.role for node in drawing.nodes] == ["input", "intermediate", "output"]
    assert (drawing.edges[0].label, drawing.edges[0].kind) == ("tri conv 3×3", "convolution")


def test_a_study_of_its_genotypes_and_of_random_ones() -> None:
    entries = [{"genotypes": [TEXT]}, {"sampled": 3, "search_space": SEARCH["search_space"]}]
    found = planned(architectures=entries, evaluator={"plugins": ["triangle"]})
    assert [one.factors["architecture"] for one in found] == ["genotype-1", "sampled-1", "sampled-2", "sampled-3"]
    assert found[0].source.text == TEXT and {one.source.space["name"] for one in found} == {"triangle"}
    source, data = source_from_dict(found[0].source.to_dict()), load_dataset("digits", limit=160)
    network = source.build(data, evaluator=type("Evaluator", (), {"seed": 0}), folder=None)
    twin = spec_for(network).build()
    assert type(twin).__name__ == "TriangleNetwork" and str(twin) == str(network)


def test_strategies_are_put_through_its_cases() -> None:
    class Suite(StrategyConformance):
        def make_strategy(self, *, seed: int) -> Any:
            return build_strategy("random", seed=seed)

    cases = cases_of(spaces.SPACES["triangle"])
    assert [case.size() for case in cases] == [27, 3, 3]
    for case in cases:
        Suite().test_every_proposal_is_in_the_space_and_has_the_fixed_edges(case)
        Suite().test_the_same_seed_proposes_the_same(case)


def test_what_it_cannot_do_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "found.txt").write_text(TEXT + "\n", encoding="utf-8")
    assert main(["surrogate", "predict", str(tmp_path / "found.txt")]) == 2
    assert "genotype 1 is of the triangles; surrogates know" in capsys.readouterr().err
    with pytest.raises(PatternError, match="no rule says what it changes in the triangles"):
        load_pattern("demotion-reduction").apply(parse_genotype(TEXT))
    entry = {"genotypes": [TEXT], "variants": [{"pattern": "demotion", "cells": "reduction"}]}
    with pytest.raises(ConfigError, match=r"genotype-1, demotion-reduction-4: pattern .* no rule"):
        planned(architectures=[entry])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "registered already"),
        ({"name": "other"}, "begin with 'Triangle'"),
        ({"name": "other", "prefix": "Other", "operations": {"none": "skip"}}, "a none in another space"),
    ],
)
def test_a_record_that_contradicts_another_is_refused(change: dict[str, Any], message: str) -> None:
    from dataclasses import replace

    with pytest.raises(ConfigError, match=message):
        register_space(replace(spaces.SPACES["triangle"], **change))
