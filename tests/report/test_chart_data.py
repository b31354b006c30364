"""Data of charts: numbers of the infos, thinned curves, and JSON that cannot leave its element."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from report.pages import HOSTILE

from nni_privacy.analysis.constraints import Constraints
from nni_privacy.attacks import roc_curve
from nni_privacy.report import read_run
from nni_privacy.report.chart_data import (
    hypervolume_chart,
    json_island,
    progress_chart,
    roc_chart,
    thinned,
    tradeoff_chart,
)
from nni_privacy.report.roc import roc_info
from nni_privacy.report.run_page import hypervolume_info, tradeoff_info


def test_json_in_a_page_is_the_value_and_holds_no_markup() -> None:
    value = {f"</script><!--{HOSTILE}": [f"]]>{HOSTILE}", 1, None, True, "\u2028 & <!DOCTYPE"]}
    text = str(json_island(value))
    assert json.loads(text) == value
    assert not set("<>&") & set(text)


def test_numbers_in_a_page_are_finite_and_have_six_digits() -> None:
    value = {"a": [math.nan, math.inf, 0.123456789, 123456789], "b": np.array([1.5, np.nan])}
    assert json.loads(str(json_island(value))) == {"a": [None, None, 0.123457, 123456789], "b": [1.5, None]}


def test_the_trade_off_has_every_measured_trial_its_front_and_the_constraints(run_directory: Path) -> None:
    info = tradeoff_info(read_run(run_directory))
    chart = tradeoff_chart(info, Constraints.of({"mia_auc": "<= 0.6"}), label="x")
    assert [(one["trial"], one["x"], one["y"], (one["low"], one["high"])) for one in chart.data["points"]] == [
        (trial.trial, trial.accuracy, trial.mia_auc, trial.interval) for trial in info.trials
    ]
    assert chart.data["front"] == [trial.trial for trial in info.front]
    assert chart.data["constraints"] == [
        {"metric": "mia_auc", "relation": "<=", "bound": 0.6, "text": "mia_auc <= 0.6"}
    ]
    assert tradeoff_chart(info, None, label="x").data["constraints"] == []


def test_progress_has_all_trials_and_numbers_of_those_that_succeeded(run_directory: Path) -> None:
    run = read_run(run_directory)
    rows = progress_chart(run.trials, label="x").data["rows"]
    assert [row["sequence"] for row in rows] == [trial.sequence for trial in run.trials]
    assert [bool(row["metrics"]) for row in rows] == [trial.succeeded for trial in run.trials]
    growth = hypervolume_info(run)
    assert hypervolume_chart(growth, label="x").data["points"] == list(
        zip(growth.sequence, growth.hypervolume, strict=True)
    )


def test_a_roc_curve_keeps_its_ends_and_its_shape_with_few_points() -> None:
    generator = np.random.default_rng(0)
    is_member = np.arange(40_000) < 20_000
    curve = roc_curve(generator.normal(size=40_000) + 0.5 * is_member, is_member)
    kept = thinned(curve.fpr, curve.tpr)
    assert len(kept) <= 400 < len(curve.fpr)
    assert (kept[0], kept[-1]) == (0, len(curve.fpr) - 1)
    grid = np.geomspace(1e-3, 1, 50)
    whole, short = (np.interp(grid, curve.fpr[at], curve.tpr[at]) for at in (slice(None), kept))
    np.testing.assert_allclose(short, whole, atol=0.01)
    assert thinned(curve.fpr[:5], curve.tpr[:5]).tolist() == [0, 1, 2, 3, 4]


def test_roc_charts_have_the_curves_and_the_floor_of_the_records(run_directory: Path) -> None:
    info = roc_info(read_run(run_directory))
    assert info is not None
    data = roc_chart(info, label="x").data
    assert [curve["attack"] for curve in data["curves"]] == list(info.attacks)
    assert [curve["auc"] for curve in data["curves"]] == pytest.approx([curve.auc for curve in info.curves])
    assert data["floor"] == pytest.approx(1 / info.non_members) and data["bottom"] < data["floor"]
