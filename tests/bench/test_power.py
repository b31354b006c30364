from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bench.planted_variance import PlantedVariance
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_privacy.bench.power import cells_for_difference, cells_for_share, power_of_difference
from nni_privacy.bench.variance import VarianceSplit, split_between_cells, split_variance
from nni_privacy.errors import DataError

pytest.importorskip("pandas")

DESIGN = {"between": 0.5, "within": 3.0, "widths": 3, "seeds": 2}


def split_of(planted: PlantedVariance, seed: int) -> VarianceSplit:
    table = planted.table(np.random.default_rng(seed))
    return split_variance(table, "rmia_auc", standard_error="rmia_auc_se", rounds=300)


@pytest.fixture(scope="module")
def pilot() -> VarianceSplit:
    return split_of(PlantedVariance(cells=1000), 0)


def test_a_table_of_so_many_cells_has_intervals_of_that_width(pilot: VarianceSplit) -> None:
    cells = cells_for_share(pilot, half_width=0.06)
    found = [split_of(PlantedVariance(cells=cells), 100 + number).parts["remaining"] for number in range(12)]
    assert np.median([(part.high - part.low) / 2 for part in found]) == pytest.approx(0.06, rel=0.15)


def test_more_seeds_or_widths_need_fewer_cells(pilot: VarianceSplit) -> None:
    usual = cells_for_share(pilot, half_width=0.05)
    assert cells_for_share(pilot, half_width=0.05, seeds=4) < usual
    assert cells_for_share(pilot, half_width=0.05, widths=6) < usual < cells_for_share(pilot, half_width=0.05, widths=1)


def test_the_width_asked_for_is_met_and_no_cell_is_too_many(pilot: VarianceSplit) -> None:
    sizes = [cells_for_share(pilot, half_width=half) for half in (0.2, 0.1, 0.05, 0.025, 0.0125)]
    assert sizes == sorted(sizes)
    assert sizes[-1] / sizes[-2] == pytest.approx(4, rel=0.02)  # of many cells, with the square


def test_what_a_pilot_cannot_tell_is_said(pilot: VarianceSplit) -> None:
    table = PlantedVariance().table(np.random.default_rng(0))
    flat = split_between_cells(table[(table["seed"] == 0) & (table["width"] == 8)], "rmia_auc", rounds=20)
    narrow = split_variance(table[table["width"] == 8], "rmia_auc", standard_error="rmia_auc_se", rounds=20)
    assert narrow.widths == 1 and list(narrow.components) == ["cell", "noise"]
    for split, options, message in (
        (flat, {}, "one row a cell"),
        (narrow, {"widths": 3}, "a split of one width"),
        (pilot, {"seeds": 1}, "seeds 1"),
    ):
        with pytest.raises(DataError, match=message):
            cells_for_share(split, half_width=0.05, **options)
    with pytest.raises(DataError, match="half_width: 0\\.7"):
        cells_for_share(pilot, half_width=0.7)


def test_without_variance_beyond_the_noise_the_formula_is_that_of_mean_squares() -> None:
    noise = replace(
        split_of(PlantedVariance(), 0), components={"cell": 0.0, "width": 0.0, "noise": 1.0}, total=2.0, fixed_error=0.0
    )
    # s = 0: var = (2/36 + 2 * 2/36 + (2/4) / 3) / 4 over n, times 1.96 squared over 0.02 squared.
    wanted = (2 / 36 + 4 / 36 + 1 / 6) / 4 * 1.96**2 / 0.02**2
    assert cells_for_share(noise, half_width=0.02) == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("difference", [0.2, 0.5, 1.0, 3.0])
def test_cells_for_a_difference_are_those_of_statsmodels(difference: float) -> None:
    power = pytest.importorskip("statsmodels.stats.power")
    wanted = power.TTestPower().solve_power(effect_size=difference, alpha=0.05, power=0.8)
    assert cells_for_difference(difference=difference, **DESIGN) == int(np.ceil(wanted))  # the variance is 1


def test_simulated_power_is_the_computed_one() -> None:
    rng = np.random.default_rng(0)
    means = 0.6 + rng.normal(0, np.sqrt(0.5), (4000, 20)) + rng.normal(0, np.sqrt(3.0 / 6), (4000, 20))
    found = np.abs(means.mean(axis=1) / means.std(axis=1, ddof=1) * np.sqrt(20)) > 2.093
    assert power_of_difference(20, difference=0.6, **DESIGN) == pytest.approx(found.mean(), abs=0.025)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 5), st.floats(0, 2), st.floats(0.1, 5), st.integers(1, 4), st.floats(0.5, 0.95))
def test_the_cells_are_the_fewest(difference: float, between: float, within: float, seeds: int, power: float) -> None:
    design = {"difference": difference, "between": between, "within": within, "widths": 2, "seeds": seeds}
    cells = cells_for_difference(power=power, **design)
    assert power_of_difference(cells, **design) >= power
    assert cells == 2 or power_of_difference(cells - 1, **design) < power


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"difference": 0.0}, "difference 0"),
        ({"difference": 0.1, "power": 1.0}, "power 1"),
        ({"difference": 1e-9}, "cells; at most"),
        ({"difference": 0.1, "within": -1.0}, "variances are not negative"),
        ({"difference": 0.1, "seeds": 0}, "seeds 0"),
    ],
)
def test_what_has_no_answer_is_said(options: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        cells_for_difference(**{**DESIGN, **options})  # type: ignore[arg-type]
