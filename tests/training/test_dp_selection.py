"""Epsilon of a whole search: composition by Opacus' accountant called by hand, private selection by dp-accounting."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from opacus.accountants import RDPAccountant

from nni_privacy.config import parse_config
from nni_privacy.errors import ConfigError
from nni_privacy.runs.records import TrialRecord
from nni_privacy.training.dp_selection import (
    Distribution,
    Spent,
    composed_epsilon,
    draw_trials,
    privacy_text,
    selected_epsilon,
    selection_of,
)

DELTA = 1e-5
SPENT = Spent(1.0, 64 / 449, 70, DELTA)
TOLD = {"noise_multiplier": 1.0, "sample_rate": 64 / 449, "steps": 70, "delta": DELTA, "epsilon": 8.0}


def trial(number: int, status: str = "succeeded", told: Any = TOLD, **metrics: float) -> TrialRecord:
    return TrialRecord(f"t{number}", number, status, "G", metrics, data={"privacy": told} if told else {})


@pytest.mark.parametrize("count", [1, 2, 12])
def test_equal_trainings_spend_what_one_of_so_many_steps_does(count: int) -> None:
    accountant = RDPAccountant()
    for _ in range(count * 70):
        accountant.step(noise_multiplier=1.0, sample_rate=64 / 449)
    assert composed_epsilon([SPENT] * count, delta=DELTA) == pytest.approx(accountant.get_epsilon(delta=DELTA))


def test_different_trainings_are_composed() -> None:
    other = Spent(2.0, 0.5, 10, DELTA)
    accountant = RDPAccountant()
    accountant.history = [(1.0, 64 / 449, 70), (2.0, 0.5, 10)]
    assert composed_epsilon([SPENT, other], delta=DELTA) == pytest.approx(accountant.get_epsilon(delta=DELTA))
    assert composed_epsilon([], delta=DELTA) == 0.0


def test_trials_that_failed_have_looked_at_the_records_too() -> None:
    found = selection_of([trial(0), trial(1), trial(2, "failed", None), trial(3, "stopped", None)])
    assert found is not None and found.trainings == 4
    assert found.whole == pytest.approx(composed_epsilon([SPENT] * 4, delta=DELTA))
    assert found.one == pytest.approx(composed_epsilon([SPENT], delta=DELTA)) and found.one < found.whole
    text = str(found)
    assert f"epsilon {found.one:.3g} at delta 1e-05 is one training's" in text
    assert f"among the 4 spends up to {found.whole:.3g}" in text and "AUC" in text


def test_runs_without_differential_privacy_say_nothing_and_old_ones_what_they_know() -> None:
    assert selection_of([trial(0, told=None)]) is None and privacy_text([trial(0, told=None)]) is None
    text = privacy_text([trial(0, told=None, epsilon=3.2), trial(1, "failed", None)])
    assert text is not None and text.startswith("epsilon 3.2 is one training's; choosing among the 2 spends more")


@pytest.mark.parametrize("told", [{}, {**TOLD, "steps": "7"}, {**TOLD, "sample_rate": 2}, {**TOLD, "delta": 1}, [1]])
def test_what_is_no_budget_is_none(told: Any) -> None:
    assert Spent.of(told) is None


FIGURES: list[tuple[Distribution, float, float]] = [
    ("logarithmic", 12.0, 2.32371),
    ("logarithmic", 100.0, 2.7376),
    ("geometric", 12.0, 2.79043),
    ("geometric", 100.0, 3.45338),
    ("poisson", 12.0, 3.25453),
    ("poisson", 100.0, 10.82123),
]
"""Distribution, mean, and epsilon of the choice."""


@pytest.mark.parametrize(("distribution", "mean", "expected"), FIGURES)
def test_private_selection_is_that_of_dp_accounting(distribution: Distribution, mean: float, expected: float) -> None:
    """Figures of dp-accounting 0.6.0: ``RepeatAndSelectDpEvent`` in an ``RdpAccountant`` with Opacus' orders."""
    spent = Spent(4.0, 64 / 449, 70, DELTA)
    found = selected_epsilon(spent, delta=DELTA, distribution=distribution, mean=mean)
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("distribution", ["logarithmic", "geometric"])
def test_private_selection_costs_less_than_composition(distribution: Distribution) -> None:
    one = composed_epsilon([SPENT], delta=DELTA)
    found = [selected_epsilon(SPENT, delta=DELTA, distribution=distribution, mean=mean) for mean in (10, 100)]
    assert one < found[0] < found[1] < composed_epsilon([SPENT] * 10, delta=DELTA)


@pytest.mark.parametrize("distribution", ["logarithmic", "geometric", "poisson"])
def test_numbers_of_trainings_are_drawn_with_the_mean_that_is_accounted_for(distribution: Distribution) -> None:
    drawn = np.array([draw_trials(distribution, 4.0, seed=seed) for seed in range(1500)])
    assert abs(drawn.mean() - 4.0) < 4 * drawn.std() / math.sqrt(len(drawn))
    assert drawn.min() == (0 if distribution == "poisson" else 1)
    assert draw_trials(distribution, 4.0, seed=3) == drawn[3]


def test_what_is_wrong_with_a_distribution_is_said() -> None:
    with pytest.raises(ConfigError, match="distribution: 'geometrical'; did you mean 'geometric'"):
        draw_trials("geometrical", 3, seed=0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="mean: 1; of a logarithmic number of trainings it is above 1"):
        selected_epsilon(SPENT, delta=DELTA, distribution="logarithmic", mean=1)


# --- searches whose number of trials is drawn ---


def search(**changes: Any) -> dict[str, Any]:
    return {
        "name": "drawn",
        "seed": 5,
        "dataset": "digits",
        "search_space": {"name": "darts", "channels": 4, "cells": 3},
        "strategy": "random",
        "evaluator": {"recipe": {"dp": {"noise_multiplier": 1.0}}},
        "trials": {"distribution": "geometric", "mean": 12},
        **changes,
    }


def test_a_search_draws_its_number_of_trials_and_remembers_from_what() -> None:
    settings = parse_config(search())
    assert settings.trials == parse_config(search()).trials >= 1
    assert len({parse_config(search(seed=seed)).trials for seed in range(20)}) > 5
    resolved = settings.resolved()
    assert resolved["trials_drawn"] == {"distribution": "geometric", "mean": 12.0}
    assert parse_config(resolved).resolved() == resolved
    assert "trials_drawn" not in parse_config(search(trials=3)).resolved()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"strategy": "tpe"}, "trials: drawn at random they are for strategy: random"),
        ({"evaluator": {}}, "evaluator.recipe has no dp"),
        ({"trials": {"distribution": "poisson", "mean": 3}}, "trials: distribution: 'poisson'"),
        ({"trials": {"distribution": "geometric", "mean": 1}}, "trials: mean: 1"),
        ({"trials": 4000, "trials_drawn": {"distribution": "geometric", "mean": 12}}, "trials: 4000; with seed 5 "),
    ],
)
def test_drawing_where_it_would_not_hold_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_config(search(**changes))


def test_a_drawn_number_is_told_with_what_it_saves() -> None:
    text = privacy_text([trial(0), trial(1)], drawn={"distribution": "geometric", "mean": 12.0})
    expected = selected_epsilon(SPENT, delta=DELTA, distribution="geometric", mean=12.0)
    assert text is not None and f"the choice spends up to {expected:.3g}, as the number of trials was drawn" in text
