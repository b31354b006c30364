"""Looks at a training after some of its epochs: each is what a training of that length would have given."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from nni_privacy.attacks.metrics import roc_curve
from nni_privacy.data import load_dataset
from nni_privacy.errors import ConfigError
from nni_privacy.nni_runtime.trial_results import record_of
from nni_privacy.runs.records import TrialRecord
from nni_privacy.schema import validated
from nni_privacy.studies.config import StudyConfig
from nni_privacy.studies.evaluator import MeasurementEvaluator
from nni_privacy.studies.plan import plan_study
from nni_privacy.studies.snapshots import SnapshotOptions, attack_columns

DIGITS = {"name": "digits", "limit": 240}


class Model:
    """What NNI hands to an evaluator."""

    def executable_model(self) -> Any:
        raise AssertionError("the network is made by the evaluator")


def evaluator(*, epochs: int, snapshots: dict[str, Any] | None, **options: Any) -> MeasurementEvaluator:
    content = {"name": "s", "datasets": [DIGITS], "architectures": [{"sampled": 1}], "snapshots": snapshots}
    content["search_space"] = {"name": "darts", "channels": 4, "cells": 3}
    content["evaluator"] = {"recipe": {"epochs": epochs, "schedule": "constant"}, **options}
    settings = validated(StudyConfig, content)
    (one,) = plan_study(settings, {"digits": load_dataset(**DIGITS)})
    return MeasurementEvaluator(
        one.dataset,
        factors=one.factors,
        source=one.source.to_dict(),
        snapshots=settings.snapshots,
        seed=one.seed,
        **settings.evaluator.measuring(),
    )


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("report_intermediate_result", "report_final_result"):
        monkeypatch.setattr(f"nni_privacy.evaluator.nni.{name}", lambda _: None)


@pytest.mark.usefixtures("quiet")
def test_a_snapshot_is_what_a_training_of_that_length_gives_and_disturbs_none() -> None:
    options = {"attacks": ["loss_threshold"]}
    whole = evaluator(epochs=3, snapshots={"epochs": [1, 2], "statistics": True}, **options)
    crossed = MeasurementEvaluator._load(**json.loads(json.dumps(whole._dump())))
    assert crossed == whole
    metrics = crossed._execute(Model())
    rows = json.loads(metrics["snapshots"])
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    for row in rows:
        alone = evaluator(epochs=row["epoch"], snapshots=None, **options)._execute(Model())
        for column, metric in (("accuracy",) * 2, ("train_accuracy",) * 2, ("loss_threshold_auc", "mia_auc"),
                               ("loss_threshold_tpr", "mia_tpr_at_1pct_fpr")):  # fmt: skip
            told = alone[metric]
            assert row[column] == (None if told is None else pytest.approx(told, abs=1e-6))
        assert row["loss"] > 0 and row["train_loss"] > 0 and row["stable_rank"] >= 1
    assert rows[0]["synflow"] == rows[2]["synflow"] and rows[0]["weight_norm"] != rows[2]["weight_norm"]


@pytest.mark.usefixtures("quiet")
def test_attacks_with_shared_references_are_made_on_the_way_and_others_at_the_end(tmp_path: Any) -> None:
    shadow = {"count": 4, "reference": "small_cnn", "cache": str(tmp_path)}
    snapshots = {"epochs": [1], "attacks": ["rmia"], "statistics": False}
    made = evaluator(epochs=2, snapshots=snapshots, attacks=["lira", "rmia"], shadow=shadow)
    first, last = json.loads(made._execute(Model())["snapshots"])
    assert {"rmia_auc", "rmia_auc_se"} <= first.keys() and "lira_auc" not in first and "stable_rank" not in first
    assert {"rmia_auc", "lira_auc", "lira_tpr_se"} <= last.keys()


def test_a_record_keeps_its_snapshots_through_the_file() -> None:
    rows = [{"epoch": 1, "accuracy": 0.5, "rmia_tpr": None}, {"epoch": 2, "accuracy": 0.75, "rmia_tpr": 0.1}]
    final = {"default": 0.75, "accuracy": 0.75, "snapshots": json.dumps(rows)}

    class Proposed:
        evaluator = type("E", (), {"factors": {"seed": 0}, "architecture_text": "a"})()

    record = record_of("t", 0, Proposed(), final, None)  # type: ignore[arg-type]
    assert list(record.snapshots) == rows and "snapshots" not in record.metrics
    read = TrialRecord.from_row(json.loads(record.to_json()), line=1)
    assert read.snapshots == record.snapshots
    odd = TrialRecord.from_row({"trial": "t", "snapshots": [3, {"epoch": "x", "loss": 1}]}, line=1)
    assert list(odd.snapshots) == [{"epoch": None, "loss": 1.0}]


class OneCurve:
    """A report of an attack whose scores are given."""

    name = "a"

    def __init__(self, scores: np.ndarray, member: np.ndarray) -> None:
        self.roc = roc_curve(scores, member)


def test_standard_errors_are_those_of_new_records() -> None:
    rng = np.random.default_rng(0)
    member = np.arange(1600) < 800
    found = []
    for _ in range(300):
        scores = rng.normal(size=1600) + 1.0 * member
        columns = attack_columns(OneCurve(scores, member))  # type: ignore[arg-type]
        assert columns["a_auc"] == pytest.approx(roc_auc_score(member, scores))
        found.append([columns[name] for name in ("a_auc", "a_auc_se", "a_tpr", "a_tpr_se")])
    values = np.array(found, dtype=float)
    for value, error in ((0, 1), (2, 3)):
        assert values[:, error].mean() == pytest.approx(values[:, value].std(ddof=1), rel=0.2)


@pytest.mark.parametrize(
    ("content", "recipe", "said"),
    [
        ({"epochs": [3, 2]}, {}, "snapshots.epochs: [3, 2]; allowed are increasing numbers"),
        ({"epochs": [0]}, {}, "snapshots.epochs"),
        ({"attacks": ["lt_iqr"]}, {}, "'lt_iqr' needs the losses of a whole training"),
        ({"attacks": ["rmai"]}, {}, "rmia"),
        ({"epochs": [5]}, {"epochs": 5}, "allowed are numbers below 5"),
        ({"epochs": [1]}, {"epochs": 5, "stop_early": {"patience": 1}}, "recipe.stop_early is on"),
        ({"statistic": True}, {}, "statistics"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(content: dict[str, Any], recipe: dict[str, Any], said: str) -> None:
    study = {"name": "s", "datasets": [DIGITS], "architectures": [{"sampled": 1}], "snapshots": content}
    with pytest.raises(ConfigError) as caught:
        plan({**study, "evaluator": {"recipe": recipe}})
    assert said in str(caught.value)


def plan(study: dict[str, Any]) -> None:
    plan_study(validated(StudyConfig, study), {"digits": load_dataset(**DIGITS)})


def test_options_read_back() -> None:
    options = SnapshotOptions(epochs=(1, 4), attacks=("rmia",), statistics=False)
    assert SnapshotOptions.from_mapping(json.loads(json.dumps(options.to_dict()))) == options
