from __future__ import annotations

import numpy as np
import pytest
from bench.planted_routes import DEMOTION, SIZE_MATCHED, planted_table
from hypothesis import given
from hypothesis import strategies as st

from nni_privacy.bench.points import Measure, Setting, grids
from nni_privacy.bench.routes import cell_routes, demotions_of, lower_envelope, route_settings
from nni_privacy.errors import DataError

AUC = Measure("rmia_auc")
FRACTIONS = st.integers(0, 1000).map(lambda number: number / 1000)
LINE = st.lists(st.tuples(FRACTIONS, FRACTIONS), min_size=1, max_size=8)
TARGETS = st.lists(FRACTIONS, min_size=1, max_size=5)


def brute(line, at: float) -> float:
    """The lowest of a great many points of the line that are at least so accurate."""
    x, y = np.array(line).T
    dense = np.concatenate([np.linspace(0, 1, 2001) + k for k in range(max(len(x) - 1, 1))])
    place = np.clip(dense, 0, len(x) - 1)
    accuracy, value = np.interp(place, np.arange(len(x)), x), np.interp(place, np.arange(len(x)), y)
    return float(value[accuracy >= min(at, x.max()) - 1e-12].min())


@given(LINE, TARGETS)
def test_the_envelope_is_the_lowest_point_of_the_line_that_is_so_accurate(line, targets):
    found = lower_envelope(*zip(*line, strict=True), targets)
    assert found == pytest.approx([brute(line, at) for at in targets], abs=2e-3)


@given(LINE, TARGETS)
def test_the_envelope_never_falls_and_stays_inside_of_the_points(line, targets):
    x, y = np.array(line).T
    found = lower_envelope(x, y, sorted(targets))
    assert (np.diff(found) >= -1e-9).all()
    assert (found >= y.min() - 1e-9).all() and (found <= y.max() + 1e-9).all()
    assert lower_envelope(x[::-1], y[::-1], sorted(targets)) == pytest.approx(found)


@given(LINE)
def test_the_envelope_is_exact_at_points_that_nothing_dominates_and_at_most_the_points_elsewhere(line):
    x, y = np.array(line).T
    found = lower_envelope(x, y, x)
    assert (found <= y).all()
    order = np.lexsort((y, x))
    rising = np.unique(x).size == x.size and (np.diff(y[order]) >= 0).all() and (np.diff(x) > 0).all()
    assert not rising or found.tolist() == y.tolist()


@given(LINE.filter(lambda line: len(line) > 1), TARGETS, st.integers(0, 6), FRACTIONS)
def test_a_further_point_on_a_piece_of_the_line_changes_nothing(line, targets, place, share):
    x, y = np.array(line).T
    place %= len(x) - 1
    more = [np.insert(v, place + 1, (1 - share) * v[place] + share * v[place + 1]) for v in (x, y)]
    assert lower_envelope(*more, targets) == pytest.approx(lower_envelope(x, y, targets), abs=1e-9)


@pytest.mark.parametrize(
    ("at", "value"),
    [(0.5, 0.52), (0.65, 0.54), (0.75, 0.59), (0.775, 0.605), (0.8, 0.62), (0.95, 0.62)],
)
def test_an_accuracy_that_falls_over_epochs_does_no_harm(at, value):
    """The last epoch is less accurate and leaks more than the one before; nobody would take it."""
    assert lower_envelope([0.6, 0.7, 0.8, 0.78], [0.52, 0.56, 0.62, 0.7], [at])[0] == pytest.approx(value)


def test_no_line_joins_points_that_are_no_neighbours():
    """In order of accuracy, epochs 2 and 4 are neighbours, and a line between them would pass below the training's."""
    assert lower_envelope([0.6, 0.8, 0.75, 0.82], [0.50, 0.70, 0.72, 0.74], [0.81])[0] == pytest.approx(
        0.72 + 0.02 * 6 / 7
    )


@pytest.mark.parametrize(
    ("accuracy", "value", "message"),
    [
        ([], [], "expected equally long vectors"),
        ([0.1], [0.1, 0.2], "expected equally long vectors"),
        ([0.1, np.nan], [0.1, 0.2], "not a finite number"),
    ],
)
def test_what_is_no_line_is_told(accuracy, value, message):
    with pytest.raises(DataError, match=message):
        lower_envelope(accuracy, value, [0.1])


def test_routes_lead_to_the_reference_in_the_order_of_width_and_epoch():
    (grid,) = grids(planted_table(cells=3), AUC)
    assert demotions_of(grid) == (DEMOTION,)
    assert route_settings(grid) == {
        "narrower": tuple(Setting("original", width, 20) for width in (8, 16, 32)),
        "early-stopped": tuple(Setting("original", 32, epoch) for epoch in (5, 10, 20)),
        DEMOTION: (Setting(DEMOTION, 32, 20),),
        SIZE_MATCHED: (Setting(SIZE_MATCHED, 32, 20),),
    }


def test_the_points_of_a_cell_are_means_over_seeds():
    table = planted_table(cells=3, noise=0.01)
    table = table[(table["cell"] != "darts-01") | (table["variant"] == "original")]
    first, second, _ = cell_routes(grids(table, AUC)[0])
    assert list(first.routes) == ["narrower", "early-stopped", DEMOTION, SIZE_MATCHED]
    assert (second.cell, list(second.routes)) == ("darts-01", ["narrower", "early-stopped"])
    rows = table[(table["cell"] == "darts-00") & (table["variant"] == "original") & (table["epoch"] == 20)]
    wanted = rows.groupby("width")[["accuracy", "rmia_auc"]].mean().to_numpy()
    assert [(one.accuracy, one.value) for one in first.routes["narrower"]] == [pytest.approx(pair) for pair in wanted]
    assert {one.seeds for points in first.routes.values() for one in points} == {2}
