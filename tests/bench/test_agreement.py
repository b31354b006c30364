from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from bench.planted_routes import planted_table
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from nni_privacy.bench.agreement import noise_ratio, rank_agreements, weighted_spearman, within_thirds
from nni_privacy.errors import DataError

MEMBERS = 2000
PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 3)), min_size=3, max_size=10)


def networks(rng: np.random.Generator, tpr, auc, *, cells: int, seeds: int = 2, spread: float = 0.0) -> pd.DataFrame:
    """Originals of three widths, whose TPRs are found of ``MEMBERS`` members; ``tpr`` and ``auc`` are (cells, 3)."""
    found = []
    for cell in range(cells):
        for place, width in enumerate((8, 16, 32)):
            for seed in range(seeds):
                truth = tpr[cell, place] * np.exp(rng.normal(0, spread))
                seen = rng.binomial(MEMBERS, truth) / MEMBERS
                row = {"dataset": "cifar10", "space": "darts", "cell": f"darts-{cell}", "variant": "original"}
                row |= {"width": width, "seed": seed, "epoch": 20, "epochs": 20, "accuracy": 0.8, "members": MEMBERS}
                row |= {"gap": auc[cell, place] - 0.5, "rmia_auc": auc[cell, place], "rmia_tpr": seen}
                found.append(row | {"rmia_tpr_se": np.sqrt(max(seen, 0.5 / MEMBERS) * (1 - seen) / MEMBERS)})
    return pd.DataFrame(found)


@given(PAIRS)
def test_the_weighted_correlation_is_that_of_the_repeated_sample(pairs):
    x, y, often = np.array(pairs).T
    first, second = np.repeat(x, often), np.repeat(y, often)
    assume(len(first) > 1 and np.ptp(first) > 0 and np.ptp(second) > 0)
    assert weighted_spearman(x, y, often[None])[0] == pytest.approx(stats.spearmanr(first, second)[0])


def test_a_constant_side_has_no_correlation():
    assert np.isnan(weighted_spearman([1, 1, 1], [1, 2, 3], np.ones((1, 3)))).all()


def test_the_correlation_is_scipys_over_networks_with_seeds_averaged():
    table = planted_table(cells=10, noise=0.02, spread=0.02)
    (found,) = rank_agreements(table)
    rows = table[(table["variant"] == "original") & (table["epoch"] == 20)]
    means = rows.groupby(["cell", "width"])[["rmia_auc", "rmia_tpr"]].mean()
    assert found.rho == pytest.approx(stats.spearmanr(means["rmia_auc"], means["rmia_tpr"])[0])
    assert (found.networks, found.cells, found.reason) == (30, 10, "")
    assert found.low < found.rho <= found.high <= 1
    again, other = rank_agreements(table)[0], rank_agreements(table, seed=1)[0]
    assert (again.low, again.high) == (found.low, found.high) != (other.low, other.high)


def test_few_cells_have_a_correlation_without_an_interval_and_constant_ones_none():
    table = planted_table(cells=5, spread=0.02)
    (found,) = rank_agreements(table)
    assert found.rho == pytest.approx(1) and (found.low, found.high) == (None, None)
    assert found.reason == "5 cells; an interval needs at least 8"
    (flat,) = rank_agreements(table.assign(rmia_tpr=0.02))
    assert (flat.rho, flat.reason) == (None, "all AUCs or all TPRs are equal")
    (lone,) = rank_agreements(table[(table["cell"] == "darts-00") & (table["width"] == 8)])
    assert lone.reason == "fewer than three networks"


def ranks_coverage(tables: int, cells: int) -> float:
    """How often the interval holds the correlation, of which the networks of a cell share a part."""
    rng = np.random.default_rng(3)

    def draw(count: int) -> np.ndarray:
        own = rng.normal(0, 1, (count, 1, 2)) + rng.normal(0, 0.6, (count, 3, 2))
        return own + rng.normal(0, 1, (count, 1, 1))  # what both numbers share

    truth = stats.spearmanr(*draw(100_000).reshape(-1, 2).T)[0]
    hits = []
    for _ in range(tables):
        x, y = np.moveaxis(draw(cells), 2, 0)
        table = networks(rng, np.full((cells, 3), 0.05), 0.6 + x / 50, cells=cells, seeds=1)
        table["rmia_tpr"] = (0.5 + y / 50).ravel()
        (found,) = rank_agreements(table)
        hits.append(found.low <= truth <= found.high)
    return float(np.mean(hits))


def test_the_interval_holds_the_correlation():
    assert ranks_coverage(12, 15) >= 0.7


@pytest.mark.slow
@pytest.mark.parametrize("cells", [10, 40])
def test_the_interval_holds_the_correlation_in_about_95_of_100_tables(cells):
    assert 0.915 <= ranks_coverage(500, cells) <= 0.98


def test_thirds_are_of_the_gap_and_name_their_extremes():
    tpr = np.linspace(0.01, 0.09, 9).reshape(3, 3)
    table = networks(np.random.default_rng(0), tpr, 0.5 + tpr, cells=3, seeds=1)
    table["rmia_tpr"] = tpr.ravel()
    found = within_thirds(table)
    assert [(one.place, one.networks, one.smallest, one.largest) for one in found] == [
        (k, 3, (f"darts-{k}", 8, tpr[k, 0]), (f"darts-{k}", 32, tpr[k, 2])) for k in range(3)
    ]
    assert [(one.low, one.high) for one in found] == [pytest.approx((tpr[k, 0], tpr[k, 2])) for k in range(3)]
    half = 0.5 / MEMBERS
    assert [one.ratio for one in found] == pytest.approx([(tpr[k, 2] + half) / (tpr[k, 0] + half) for k in range(3)])
    assert {one.seeds for one in found} == {None}
    (one,) = [one for one in within_thirds(table.drop(columns="rmia_tpr_se")) if one.place == 1]
    assert (one.records, one.p_holm, one.verdict) == (None, None, "undecided at this size")


@pytest.mark.parametrize("tpr", [0.01, 0.05])
def test_the_expected_ratio_is_that_of_binomial_counts(tpr):
    rng = np.random.default_rng(5)
    counts = rng.binomial(2 * MEMBERS, tpr, size=(4000, 30)) + 0.5
    truth = counts.max(axis=1) / counts.min(axis=1)
    members = np.full(30, 2.0 * MEMBERS)
    found = noise_ratio(np.full(30, tpr), np.full(30, np.sqrt(tpr * (1 - tpr) / members[0])), members)
    assert (found.expected, found.high) == pytest.approx((truth.mean(), np.quantile(truth, 0.95)), rel=0.03)


def test_differences_by_noise_alone_are_told_as_noise():
    rng, tpr, verdicts, p_values = np.random.default_rng(6), np.full((20, 3), 0.03), [], []
    auc = 0.5 + rng.uniform(0.05, 0.2, (20, 3))
    for seed in range(8):
        found = within_thirds(networks(rng, tpr, auc, cells=20), seed=seed)
        verdicts += [one.verdict for one in found]
        p_values += [one.records.p_value for one in found]
        assert all(one.records.expected == pytest.approx(one.seeds.expected, rel=0.5) for one in found)
    assert np.mean([verdict == "holds" for verdict in verdicts]) <= 0.05
    assert 0.35 <= np.mean(p_values) <= 0.65


def test_a_hundredfold_difference_at_equal_gaps_is_told_from_noise():
    rng = np.random.default_rng(7)
    tpr = np.exp(rng.uniform(np.log(0.003), np.log(0.3), (20, 3)))
    found = within_thirds(networks(rng, tpr, np.full((20, 3), 0.6), cells=20))
    assert {one.verdict for one in found} == {"holds"}
    assert all(one.ratio > 2 * one.records.high for one in found)


def test_seeds_that_differ_by_more_than_records_explain_more():
    """Trainings that scatter by half leave differences that the records cannot explain, and the seeds can."""
    rng = np.random.default_rng(8)
    found = within_thirds(networks(rng, np.full((20, 3), 0.05), np.full((20, 3), 0.6), cells=20, spread=0.5))
    for one in found:
        assert one.seeds.expected > 1.3 * one.records.expected
        assert one.records.p_value < 0.01 < one.seeds.p_value
        assert one.verdict == "undecided at this size"


@pytest.mark.parametrize(
    ("options", "message"),
    [({"attacks": ["rmai"]}, "'rmai'; did you mean 'rmia'"), ({"by": "gpa"}, "no column 'gpa'; did you mean 'gap'")],
)
def test_unknown_attacks_and_columns_are_named(options, message):
    with pytest.raises(DataError, match=message):
        within_thirds(planted_table(cells=3), **options)
