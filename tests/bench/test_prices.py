from __future__ import annotations

import numpy as np
import pytest
from bench.planted_routes import DEMOTION, POINTS, SIZE_MATCHED, planted_table, tpr_of
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nni_privacy.bench.points import Measure, Setting
from nni_privacy.bench.prices import beyond_size, prices, ratio_of_means
from nni_privacy.errors import DataError

AUC, TPR = Measure("rmia_auc"), Measure("rmia_tpr", log=True)
NUMBERS = st.integers(-300, 300).map(lambda number: number / 100)


def test_planted_prices_are_found_exactly():
    found = {(one.route, one.setting): one for one in prices(planted_table(), [AUC])}
    wanted = {
        ("narrower", Setting("original", 8, 20)): (0.10, 0.10),
        ("narrower", Setting("original", 16, 20)): (0.05, 0.04),
        ("early-stopped", Setting("original", 32, 5)): (0.12, 0.18),
        ("early-stopped", Setting("original", 32, 10)): (0.08, 0.08),
        (DEMOTION, Setting(DEMOTION, 32, 20)): (0.06, 0.02),
        (SIZE_MATCHED, Setting(SIZE_MATCHED, 32, 20)): (0.04, 0.03),
    }
    assert set(found) == set(wanted)
    for key, (bought, lost) in wanted.items():
        one = found[key]
        assert (one.bought.value, one.lost.value) == pytest.approx((bought, lost))
        assert (one.ratio.value, one.ratio.low, one.ratio.high) == pytest.approx([bought / lost] * 3, abs=1e-5)
        assert (one.cells, one.left_out, one.reason) == (12, (), "")


def test_a_ratio_without_an_accuracy_lost_is_not_given():
    points = {**POINTS, (DEMOTION, 32, 20): (0.80, 0.60), (SIZE_MATCHED, 32, 20): (0.83, 0.60)}
    found = {one.route: one for one in prices(planted_table(points, noise=0.01), [AUC])}
    assert (found[DEMOTION].ratio, found[SIZE_MATCHED].ratio) == (None, None)
    assert found[DEMOTION].reason == "the accuracy lost is not distinguishable from 0"
    assert found[SIZE_MATCHED].reason == "accuracy is gained, not lost"
    assert found[DEMOTION].bought.low > 0


def test_two_cells_have_no_price_and_a_reason():
    assert {one.reason for one in prices(planted_table(cells=2), [AUC])} == {"2 pairs; an interval needs at least 3"}


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=3, max_size=12), NUMBERS)
def test_the_interval_of_a_ratio_holds_what_students_test_does_not_reject(pairs, ratio):
    y, x = np.array(pairs).T
    found, rest = ratio_of_means(y, x), y - ratio * x
    if found is None:
        assert abs(x.mean()) <= stats.t.ppf(0.975, len(x) - 1) * stats.sem(x) + 1e-9
    elif np.ptp(rest) > 1e-9 and min(abs(ratio - found.low), abs(ratio - found.high)) > 1e-6:
        inside = found.low <= ratio <= found.high
        assert inside == (stats.ttest_1samp(rest, 0).pvalue >= 0.05)
        assert found.low <= found.value <= found.high


@pytest.mark.parametrize("cells", [5, 20])
def test_intervals_hold_a_known_ratio(cells):
    rng, hits = np.random.default_rng(4), []
    for _ in range(1500):
        lost = rng.normal(0.03, 0.02, cells)
        found = ratio_of_means(2 * lost + rng.normal(0, 0.03, cells), lost)
        hits.append(found is None or found.low <= 2 <= found.high)
    assert 0.94 <= np.mean(hits) <= 0.98


def test_what_is_no_pair_of_vectors_is_told():
    with pytest.raises(DataError, match="expected two vectors of at least 3"):
        ratio_of_means([1.0, 2.0], [1.0, 2.0])


def test_the_pattern_beyond_size_is_the_demotion_less_its_control():
    table = planted_table()
    table["members"] = 10**9
    auc, tpr = beyond_size(table, [AUC, TPR])
    assert (auc.demotion, auc.decision.verdict) == (DEMOTION, "holds")
    assert auc.decision.estimate.value == pytest.approx(0.60 - 0.62)
    assert tpr.decision.estimate.value == pytest.approx(np.log(tpr_of(0.60) / tpr_of(0.62)), abs=1e-6)
    assert auc.accuracy.value == pytest.approx(0.01)
    assert auc.by_cell == {f"darts-{n:02}": pytest.approx(-0.02) for n in range(12)}


def test_a_pattern_without_an_effect_of_its_own_is_undecided_and_cells_without_control_are_named():
    points = {**POINTS, (DEMOTION, 32, 20): (0.77, 0.62)}
    table = planted_table(points, noise=0.01, seed=1)
    table = table[(table["cell"] != "darts-04") | (table["variant"] != SIZE_MATCHED)]
    (one,) = beyond_size(table, [AUC])
    assert (one.decision.verdict, one.left_out) == ("undecided at this size", ("darts-04",))
    assert beyond_size(table[table["variant"] != SIZE_MATCHED], [AUC]) == ()
