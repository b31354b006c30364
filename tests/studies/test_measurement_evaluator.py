"""One measurement, carried out in this process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nni_privacy.data import load_dataset
from nni_privacy.evaluator import SCORES_FILE, factors_text
from nni_privacy.report.contour_page import read_contour
from nni_privacy.schema import validated
from nni_privacy.studies.config import StudyConfig
from nni_privacy.studies.evaluator import MeasurementEvaluator
from nni_privacy.studies.plan import plan_study

DIGITS = {"name": "digits", "limit": 160}
ALL_SETTINGS = ["white_box_partial", "white_box_shadow", "black_box_partial", "black_box_shadow", "label_only"]


class Model:
    """What NNI hands to an evaluator."""

    def executable_model(self) -> Any:
        raise AssertionError("the network is made by the evaluator")


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    finals: list[Any] = []
    monkeypatch.setattr("nni_privacy.evaluator.nni.report_intermediate_result", lambda _: None)
    monkeypatch.setattr("nni_privacy.evaluator.nni.report_final_result", finals.append)
    return finals


def evaluators(entry: dict[str, Any], **options: Any) -> list[MeasurementEvaluator]:
    content = {"name": "s", "datasets": [DIGITS], "architectures": [entry]}
    content["search_space"] = {"name": "darts", "channels": 4, "cells": 3}
    planned = plan_study(validated(StudyConfig, content), {"digits": load_dataset(**DIGITS)})
    return [
        MeasurementEvaluator(
            measurement.dataset,
            factors=measurement.factors,
            source=measurement.source.to_dict(),
            recipe={"epochs": 1},
            seed=measurement.seed,
            **options,
        )
        for measurement in planned
    ]


ENTRIES = [
    {"networks": ["regnet"]},
    {"sampled": 1},
    {"sampled": 1, "search_space": {"name": "nasbench201", "channels": 4, "cells": 1}},
    {
        "strategy": {"name": "gdas", "epochs": 1, "batch_size": 16},
        "pattern": {"name": "demotion", "cells": "reduction"},
    },
]


@pytest.mark.parametrize("entry", ENTRIES, ids=["network", "genotype", "nasbench201", "search"])
def test_a_trial_reports_what_it_measured_and_crosses_to_it_as_plain_data(
    entry: dict[str, Any], reported: list[Any], tmp_path: Any
) -> None:
    (evaluator,) = evaluators(entry, attacks=["black_box_partial"], folder=str(tmp_path))
    crossed = MeasurementEvaluator._load(**evaluator._dump())
    assert crossed == evaluator
    metrics = crossed._execute(Model())
    assert reported == [metrics]
    assert metrics["factors"] == factors_text(evaluator.factors) and metrics["parameters"] > 0
    assert 0 <= metrics["mia_auc"] <= 1
    if not evaluator.searches:
        assert metrics["architecture"] == evaluator.architecture_text
    else:
        assert (tmp_path / "searches").is_dir()
        assert metrics["architecture"].count("avg_pool_3x3") >= 4  # the pattern's edges


@pytest.mark.slow
def test_every_attack_of_the_paper_works_on_human_designed_networks(reported: list[Any]) -> None:
    effort = {"boundary_records": 4, "boundary_queries": 40}
    (evaluator,) = evaluators({"networks": ["regnet"]}, attacks=ALL_SETTINGS, effort=effort, shadow={"cache": None})
    metrics = evaluator._execute(Model())
    names = ["mia_auc", *(f"{name}_mia_auc" for name in ALL_SETTINGS[1:])]
    assert all(np.isfinite(metrics[name]) for name in names)


def test_a_contour_is_saved_beside_the_scores_only_where_one_is_asked_for(
    reported: list[Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"steps": 3, "span": 0.5, "records": 16}
    finals = []
    for name, contours in (("with", options), ("without", None)):
        monkeypatch.setenv("NNI_OUTPUT_DIR", str(tmp_path / name))
        (evaluator,) = evaluators({"sampled": 1}, attacks=["loss_threshold"], contours=contours)
        crossed = MeasurementEvaluator._load(**evaluator._dump())
        finals.append(crossed._execute(Model()))
        (tmp_path / name / "scores").mkdir()
        (tmp_path / name / SCORES_FILE).rename(tmp_path / name / "scores" / "t.npz")
    info = read_contour(tmp_path / "with", "t")
    assert info is not None and info.losses.shape == (3, 3)
    np.testing.assert_allclose(info.axis, [-0.5, 0, 0.5])
    assert info.losses[1, 1] == info.loss > 0
    assert read_contour(tmp_path / "without", "t") is None
    for final in finals:
        final.pop("seconds")
    assert finals[0] == finals[1]  # looking around the weights changes nothing of what is measured
