"""The forecast of a study's hours and disk against sums that are done by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_privacy.data import load_dataset
from nni_privacy.schema import validated
from nni_privacy.studies import forecast
from nni_privacy.studies.config import StudyConfig
from nni_privacy.studies.forecast import Forecast, Line, forecast_study
from nni_privacy.studies.plan import plan_study

DIGITS = {"name": "digits", "limit": 200}
SMALL = {"channels": 4, "cells": 3}


def cost_of(**content: Any) -> tuple[Forecast, StudyConfig]:
    study = {"name": "s", "datasets": [DIGITS], "search_space": {"name": "darts", **SMALL}, **content}
    settings = validated(StudyConfig, study)
    data = {"digits": load_dataset(**DIGITS)}
    return forecast_study(settings, plan_study(settings, data), data), settings


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which a step on one record takes .002 s and a nanosecond a multiply-add."""

    def seconds(settings: StudyConfig, one: Any, data: Any) -> float:
        costs = forecast._costs(one, data)
        assert costs is not None
        return 0.002 + 1e-9 * costs[0]

    monkeypatch.setattr(forecast, "_seconds_of_a_step", seconds)


@given(st.floats(1e-5, 1.0), st.floats(1e-12, 1e-8), st.lists(st.floats(1e4, 1e9), min_size=2, max_size=8, unique=True))
def test_a_line_is_found_again(fixed: float, slope: float, costs: list[float]) -> None:
    if max(costs) < 1.5 * min(costs):
        return
    line = Line.through(costs, [fixed + slope * cost for cost in costs])
    assert line.error < 1e-6
    assert [line(cost) for cost in costs] == pytest.approx([fixed + slope * cost for cost in costs], rel=1e-5)


def test_a_line_never_falls_below_zero() -> None:
    line = Line.through([1e6, 2e6, 4e6], [3.0, 2.0, 1.0])
    assert line.fixed >= 0 and line.slope >= 0 and line.error > 0.1


@pytest.mark.usefixtures("planted")
def test_hours_are_those_of_trainings_and_looks() -> None:
    entry = {"sampled": 2, "widths": [2, 4]}
    evaluator = {"recipe": {"epochs": 6}, "attacks": ["loss_threshold"]}
    plain, settings = cost_of(architectures=[entry], evaluator=evaluator, concurrency=2, seeds=[0, 1])
    assert (plain.trials, plain.unknown, plain.pool_seconds) == (8, 0, 0.0)
    data = load_dataset(**DIGITS)
    wanted = 0.0
    for one in plan_study(settings, {"digits": data}):
        costs = forecast._costs(one, data)
        assert costs is not None
        step = 0.002 + 1e-9 * costs[0]
        wanted += 1.0 + 50 * 6 * step  # 50 records are trained on
        wanted += step / 3 * (6 * 2 * 128 + 2 * 50)  # each epoch's monitor (128 a side at most), and the audit
    assert plain.seconds == pytest.approx(wanted)
    assert plain.hours == pytest.approx(wanted / 2 / 3600)
    looked, _ = cost_of(
        architectures=[entry], evaluator=evaluator, seeds=[0, 1], snapshots={"epochs": [2, 4], "statistics": False}
    )
    steps = [forecast._costs(one, data) for one in plan_study(settings, {"digits": data})]
    extra = sum((0.002 + 1e-9 * costs[0]) / 3 * 2 * 2 * 50 for costs in steps if costs is not None)
    assert looked.seconds - plain.seconds == pytest.approx(extra)


@pytest.mark.usefixtures("planted")
def test_reference_models_cost_once_where_trials_share_them() -> None:
    evaluator = {"recipe": {"epochs": 4}, "attacks": ["rmia"]}
    entry = {"sampled": 4}
    without, _ = cost_of(architectures=[entry], evaluator={**evaluator, "attacks": ["loss_threshold"]})
    own, _ = cost_of(architectures=[entry], evaluator={**evaluator, "shadow": {"count": 4}})
    pool, _ = cost_of(architectures=[entry], evaluator={**evaluator, "shadow": {"count": 4, "reference": "small_cnn"}})
    assert own.pool_seconds == 0 and own.seconds > without.seconds
    assert 0 < pool.pool_seconds < own.seconds - without.seconds
    assert pool.seconds == pytest.approx(without.seconds + pool.pool_seconds)


def test_the_networks_are_timed_on_this_machine() -> None:
    found, _ = cost_of(architectures=[{"sampled": 3, "widths": [2, 6]}], evaluator={"recipe": {"epochs": 2}})
    line = found.lines["digits", "darts"]
    assert line.timed == forecast.TIMED and np.isfinite(line.error) and line(1e6) > 0
    assert "6" not in str(found.unknown) and found.seconds > 6 * forecast._OWN_SECONDS
    assert "networks, timed just now" in str(found) and "MB of disk" in str(found)


def test_what_is_searched_first_is_told_and_not_counted() -> None:
    entries = [{"strategy": {"name": "gdas", "epochs": 1}}]
    found, _ = cost_of(architectures=entries)
    assert (found.trials, found.unknown, found.seconds) == (1, 1, 0.0) and "1 that search first" in str(found)
