from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analysis.planted import DEMOTION, planted_rows
from scipy import stats

from nni_privacy.analysis.slopes import (
    PROPERTIES,
    Point,
    ablation_slopes,
    between_slope,
    guideline_slopes,
    within_slope,
)
from nni_privacy.cells.darts import Cell, Edge, Genotype
from nni_privacy.errors import DataError

CHAIN = Cell(
    (
        *(Edge(0, 2, "sep_conv_3x3"), Edge(1, 2, "avg_pool_3x3")),
        *(Edge(1, 3, "dil_conv_3x3"), Edge(2, 3, "sep_conv_5x5")),
        *(Edge(2, 4, "skip_connect"), Edge(3, 4, "max_pool_3x3")),
    )
)
FLAT = Cell(tuple(Edge(source, target, "skip_connect") for target in (2, 3, 4) for source in (0, 1)))


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        (CHAIN, {"convolutions": 3, "convolutions on the inputs": 2, "depth": 3, "width": 1.5}),
        (FLAT, {"convolutions": 0, "convolutions on the inputs": 0, "depth": 1, "width": 3}),
    ],
)
def test_properties_by_hand(cell: Cell, wanted: dict[str, float]) -> None:
    assert {name: measure(cell) for name, measure in PROPERTIES.items()} == wanted


@pytest.mark.parametrize("seed", range(5))
def test_depth_is_the_longest_of_all_paths(seed: int) -> None:
    from analysis.planted import random_genotype

    cell = random_genotype(np.random.default_rng(seed), nodes=5).normal

    def longest(node: int) -> int:
        return 0 if node < 2 else 1 + max(longest(edge.source) for edge in cell.into(node))

    assert PROPERTIES["depth"](cell) == max(longest(node) for node in range(2, 7))


def test_a_slope_between_architectures_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    x, noise = rng.integers(1, 9, 12).astype(float), rng.normal(0, 0.01, 12)
    estimate = between_slope([Point(str(k), x[k], 0.5 + 0.02 * x[k] + noise[k]) for k in range(12)])
    wanted = stats.linregress(x, 0.5 + 0.02 * x + noise)
    assert (estimate.value, estimate.standard_error) == pytest.approx((wanted.slope, wanted.stderr))
    assert estimate.p_value() == pytest.approx(wanted.pvalue)
    reach = stats.t.ppf(0.975, 10) * wanted.stderr
    assert (estimate.low, estimate.high) == pytest.approx((wanted.slope - reach, wanted.slope + reach))


def test_a_slope_between_architectures_is_the_closed_form_also_where_the_line_fits() -> None:
    rng = np.random.default_rng(1)
    for noise in (0.0, 1e-9, 0.05):
        x = rng.uniform(0, 9, 8)
        y = 0.3 - 0.04 * x + rng.normal(0, noise, 8)
        centred = x - x.mean()
        slope = (centred * y).sum() / (centred**2).sum()
        rest = y - (y.mean() - slope * x.mean()) - slope * x
        error = np.sqrt((rest**2).sum() / 6 / (centred**2).sum())
        found = between_slope([Point(str(k), x[k], y[k]) for k in range(8)])
        assert (found.value, found.standard_error) == pytest.approx((slope, error), abs=1e-12, rel=0)


def ablation_rows(predictor: str, per_unit: float) -> list:
    found = []
    for value in (3, 5, 8):
        for row in planted_rows([], noise=0.001, seed=3):
            auc = row.metrics["mia_auc"] + per_unit * value
            row = replace(row, metrics={**row.metrics, "mia_auc": auc}, size=f"{predictor} {value}")
            found.append(replace(row, **{predictor: value}))
    return found


@pytest.mark.parametrize(("predictor", "per_unit"), [("network_cells", -0.01), ("nodes", 0.02)])
def test_planted_slopes_are_found_within_architectures(predictor: str, per_unit: float) -> None:
    rows = ablation_rows(predictor, per_unit)
    estimate = within_slope(rows, predictor, "mia_auc")
    assert estimate.value == pytest.approx(per_unit, abs=1e-9)
    assert (estimate.pairs, estimate.architectures) == (20, 10)
    slopes = {(slope.predictor, slope.metric): slope for slope in ablation_slopes(rows)}
    assert set(slopes) == {(predictor, "mia_auc"), (predictor, "accuracy")}
    found = slopes[predictor, "mia_auc"].estimate
    assert found is not None and found.value == estimate.value
    assert len(slopes[predictor, "mia_auc"].points) == 30


def test_the_level_of_an_architecture_does_not_disturb_its_slope() -> None:
    """Architectures that leak more and have fewer measurements at large N would tilt a pooled line."""
    rows = ablation_rows("network_cells", -0.01)
    high = [
        replace(row, metrics={**row.metrics, "mia_auc": row.metrics["mia_auc"] + 0.2})
        for row in rows
        if row.architecture < "sampled-05" and row.network_cells < 8
    ]
    others = [row for row in rows if row.architecture >= "sampled-05"]
    assert within_slope([*high, *others], "network_cells", "mia_auc").value == pytest.approx(-0.01, abs=1e-9)


def test_budgets_have_a_slope_a_pattern() -> None:
    effects = [({**DEMOTION, "budget": m}, {"mia_auc": -0.01 * m}) for m in (3, 4, 5)]
    slopes = [slope for slope in ablation_slopes(planted_rows(effects, noise=1e-6)) if slope.predictor == "budget"]
    assert [(slope.pattern, slope.cells, slope.metric) for slope in slopes] == [
        ("demotion", "reduction", "mia_auc"),
        ("demotion", "reduction", "accuracy"),
    ]
    assert slopes[0].estimate is not None
    assert slopes[0].estimate.value == pytest.approx(-0.01, abs=1e-5)


def test_different_architectures_at_each_size_are_compared_between_each_other() -> None:
    rows = [replace(row, architecture=f"{row.architecture} of {row.nodes}") for row in ablation_rows("nodes", 0.02)]
    slope = ablation_slopes(rows)[0]
    assert slope.estimate is not None and slope.estimate.architectures == 30
    assert "least squares" in slope.estimate.method


def test_guidelines_find_a_planted_property() -> None:
    rows = []
    for row in planted_rows([], architectures=20, noise=0.0):
        assert isinstance(row.genotype, Genotype)
        width = PROPERTIES["width"](row.genotype.normal)
        rows.append(replace(row, metrics={"mia_auc": 0.6 + 0.03 * width}))
    slopes = {(slope.predictor, slope.cells): slope.estimate for slope in guideline_slopes(rows)}
    assert set(slopes) == {(name, cells) for name in PROPERTIES for cells in ("normal", "reduction")}
    found = slopes["width", "normal"]
    assert found is not None and found.value == pytest.approx(0.03)
    assert found.architectures == 20


@pytest.mark.parametrize(
    ("points", "message"),
    [([(1, 0.5), (2, 0.6)], "2 architectures"), ([(1, 0.5), (1, 0.6), (1, 0.7)], "one value only")],
)
def test_lines_through_too_little_are_refused(points: list[tuple[float, float]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        between_slope([Point(str(k), x, y) for k, (x, y) in enumerate(points)])


def test_two_lines_have_a_reason_instead_of_an_interval() -> None:
    rows = [row for row in ablation_rows("network_cells", 0.0) if row.seed == 0 and row.architecture < "sampled-02"]
    assert {slope.reason for slope in ablation_slopes(rows)} == {"2 pairs; an interval needs at least 3"}
