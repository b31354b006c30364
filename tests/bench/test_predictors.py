"""Predictors of leakage, on tables with planted truths."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, spearmanr

from nni_privacy.bench.predictors import PREDICTORS, PredictorInfo, RankingInfo, rank_predictors
from nni_privacy.errors import ConfigError, DataError

WIDTHS = (8, 16, 24)


def planted(
    seed: int = 0, *, cells: int = 40, seeds: int = 3, noise: float = 0.4, predictors: Mapping[str, float] = {}
) -> pd.DataFrame:
    """A table whose outcome is a truth of cell and width, and noise; predictors are the truth with noise of their own.

    ``truth`` is the truth itself, ``null`` noise of each cell, ``of_cell`` and ``of_width`` the parts of the truth.
    """
    rng = np.random.default_rng([seed, cells])
    shape = (cells, len(WIDTHS), seeds)
    of_cell, of_width = rng.normal(size=(cells, 1, 1)), np.linspace(-1.5, 1.5, len(WIDTHS))[None, :, None]
    truth = of_cell + of_width + 0.3 * rng.normal(size=(cells, len(WIDTHS), 1))
    columns = {"rmia_auc": 0.6 + 0.03 * (truth + noise * rng.normal(size=shape)), "truth": truth}
    columns |= {"of_cell": of_cell, "of_width": of_width, "null": rng.normal(size=(cells, 1, 1))}
    for name, scale in predictors.items():
        columns[name] = truth + scale * (rng.normal(size=(cells, 1, 1)) + rng.normal(size=(cells, len(WIDTHS), 1)))
    cell, width, number = np.indices(shape).reshape(3, -1)
    table = pd.DataFrame({"cell": [f"darts-{one}" for one in cell], "width": np.array(WIDTHS)[width], "seed": number})
    table = table.assign(dataset="cifar10", space="darts", variant="original", epoch=30, epochs=30, members=1000)
    return table.assign(**{name: np.broadcast_to(values, shape).ravel() for name, values in columns.items()})


def predictor(ranking: RankingInfo, name: str) -> PredictorInfo:
    return next(one for one in ranking.predictors if one.name == name)


def means(table: pd.DataFrame) -> pd.DataFrame:
    return (
        table.groupby(["space", "cell", "width"])[list(table.select_dtypes("number"))]
        .mean()
        .rename_axis(["space", "cell", "w"])
    )


def test_correlations_are_spearmans_of_the_means_over_seeds() -> None:
    table = planted(predictors={"gap": 0.5, "snip": -2.0})
    table["accuracy"] = table["truth"].round(1) + 0.1 * table["seed"]  # ties
    info = rank_predictors(table, predictors=["gap", "snip", "accuracy", "of_cell"])
    networks = means(table)
    assert (info.dataset, info.outcome, info.networks, info.cells) == ("cifar10", "rmia_auc", 120, 40)
    for name in ("gap", "snip", "accuracy", "of_cell"):
        expected = spearmanr(networks[name].round(9), networks["rmia_auc"]).statistic
        assert predictor(info.overall, name).rho == pytest.approx(expected, abs=1e-12)
        by_width = [spearmanr(one[name].round(9), one["rmia_auc"]).statistic for _, one in networks.groupby("width")]
        assert predictor(info.within, name).rho == pytest.approx(np.mean(by_width), abs=1e-12)
    assert [abs(one.rho) for one in info.overall.predictors] == sorted(
        (abs(one.rho) for one in info.overall.predictors), reverse=True
    )
    assert info.within.strata == 3 and info.overall.strata == 1


def test_the_error_is_that_of_resamples_written_out() -> None:
    table = planted(cells=12, predictors={"gap": 1.0})
    networks = means(table).reset_index(drop=True)
    info = rank_predictors(table, predictors=["gap"], rounds=1500)
    rng = np.random.default_rng(5)
    by_cell = networks[["gap", "rmia_auc"]].to_numpy().reshape(12, 3, 2)
    drawn = [spearmanr(*by_cell[rng.integers(12, size=12)].reshape(-1, 2).T).statistic for _ in range(1500)]
    one = info.overall.predictors[0]
    lower, upper = (np.arctanh(end) for end in (one.low, one.high))
    assert (lower + upper) / 2 == pytest.approx(np.arctanh(one.rho))
    assert (upper - lower) / 2 / 2.201 == pytest.approx(np.std(np.arctanh(drawn)), rel=0.08)


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
def test_intervals_cover_a_planted_correlation(rho: float) -> None:
    """Of normal numbers with correlation r, Spearman's is 6 / pi asin(r / 2)."""
    normal = 2 * np.sin(np.pi * rho / 6)
    covered = []
    for seed in range(60):
        table = planted(seed, cells=15, seeds=1)
        rng = np.random.default_rng(seed)
        part = rng.normal(size=(2, 15, 3))
        table["rmia_auc"] = part[0].ravel()
        table["gap"] = (normal * part[0] + np.sqrt(1 - normal**2) * part[1]).ravel()
        info = rank_predictors(table, predictors=["gap"], rounds=300, seed=seed)
        one = info.overall.predictors[0]
        covered.append(one.low <= rho <= one.high)
    assert 0.88 <= np.mean(covered) <= 1


def test_a_null_is_not_taken_for_a_predictor() -> None:
    infos = [rank_predictors(planted(seed), predictors=["null"], rounds=200, seed=seed) for seed in range(40)]
    for rankings in ([one.overall for one in infos], [one.within for one in infos]):
        excluded = [one.predictors[0].low > 0 or one.predictors[0].high < 0 for one in rankings]
        assert np.mean(excluded) <= 0.15


def test_the_two_questions_are_different() -> None:
    info = rank_predictors(planted(), predictors=["of_cell", "of_width"])
    assert predictor(info.overall, "of_width").low > 0.6
    assert info.within.undefined == ("of_width",)
    assert predictor(info.within, "of_cell").rho > predictor(info.overall, "of_cell").rho + 0.2
    assert info.within.runner_up is None and info.overall.runner_up is not None


def test_the_best_beats_a_gap_that_ranks_worse() -> None:
    table = planted(predictors={"gap": 2.0, "lt_iqr_auc": 0.2, "naswot": 2.0})
    for ranking in (lambda info: info.overall, lambda info: info.within):
        found = ranking(rank_predictors(table, predictors=["gap", "lt_iqr_auc", "naswot"]))
        assert found.reference.best == "lt_iqr_auc" and found.reference.other == "gap"
        assert found.reference.verdict == found.runner_up.verdict == "holds"
        estimate = found.reference.estimate
        expected = abs(predictor(found, "lt_iqr_auc").rho) - abs(predictor(found, "gap").rho)
        assert 0 < estimate.low < estimate.value < estimate.high
        assert estimate.value == pytest.approx(expected)
        assert estimate.p_value() < 0.05 and (estimate.pairs, estimate.architectures) == (120, 40)


def test_a_gap_that_is_the_best_is_not_beaten() -> None:
    info = rank_predictors(planted(predictors={"gap": 0.1, "snip": 2.0, "naswot": 2.5}), predictors=["gap", "snip"])
    assert info.overall.predictors[0].name == "gap"
    assert info.overall.reference is not None and info.overall.reference.best == "snip"
    assert info.overall.reference.verdict == "does not hold"
    assert info.overall.runner_up is not None and info.overall.runner_up.best == "gap"


def test_the_luckiest_of_many_equals_seldom_beats_the_gap() -> None:
    held = []
    for seed in range(20):
        names = [f"p{one}" for one in range(8)]
        table = planted(seed, cells=15, predictors={**dict.fromkeys(names, 0.8), "gap": 0.8})
        info = rank_predictors(table, predictors=[*names, "gap"], rounds=200, seed=seed)
        held += [
            comparison.verdict != "undecided at this size"
            for comparison in (info.overall.reference, info.overall.runner_up, info.within.reference)
            if comparison is not None
        ]
    assert len(held) == 60
    assert np.mean(held) <= 0.05


def test_two_names_of_one_predictor_are_no_better_than_each_other() -> None:
    table = planted(predictors={"gap": 0.5}).assign(snip=lambda rows: rows["gap"] ** 3)
    found = rank_predictors(table, predictors=["gap", "snip"]).overall
    assert found.reference is not None and found.runner_up is not None
    for comparison in (found.reference, found.runner_up):
        estimate = comparison.estimate
        assert (estimate.value, estimate.low, estimate.high, estimate.p_value()) == (0, 0, 0, 1)
        assert comparison.verdict == "undecided at this size"


def test_missing_numbers_are_left_out_and_differences_are_of_common_networks() -> None:
    table = planted(predictors={"gap": 0.5, "naswot": 0.2})
    table.loc[table["cell"].isin([f"darts-{one}" for one in range(10)]) & (table["width"] > 8), "naswot"] = np.nan
    table.loc[table["cell"] == "darts-39", "naswot"] = -np.inf
    info = rank_predictors(table, predictors=["gap", "naswot"])
    networks = means(table.replace(-np.inf, np.nan)).dropna()
    one = predictor(info.overall, "naswot")
    assert (one.networks, one.cells) == (97, 39)
    assert one.rho == pytest.approx(spearmanr(networks["naswot"], networks["rmia_auc"]).statistic)
    assert info.overall.reference is not None
    gap = spearmanr(networks["gap"], networks["rmia_auc"]).statistic
    assert info.overall.reference.estimate.value == pytest.approx(one.rho - gap)
    assert info.overall.reference.estimate.pairs == 97


@pytest.mark.parametrize("seeds", [2, 5])
def test_the_ceiling_is_what_the_truth_itself_reaches(seeds: int) -> None:
    info = rank_predictors(planted(cells=500, seeds=seeds, noise=1.5), predictors=["truth"], rounds=100)
    for ranking in (info.overall, info.within):
        ceiling = ranking.ceiling
        assert ceiling is not None and ceiling.seeds == seeds
        assert ceiling.low < ceiling.single < ceiling.high
        assert ceiling.ceiling_low < ceiling.ceiling < ceiling.ceiling_high
        assert ceiling.ceiling == pytest.approx(predictor(ranking, "truth").rho, abs=0.03)


def test_the_reliability_is_of_pairs_of_seeds() -> None:
    table = planted(cells=20, seeds=3)
    table = table[(table["seed"] < 2) | (table["width"] < 24)]
    info = rank_predictors(table, predictors=["truth"], rounds=100)
    wide = table.pivot_table(index=["cell", "width"], columns="seed", values="rmia_auc")
    pairs = [wide[[a, b]].dropna() for a, b in ((0, 1), (0, 2), (1, 2))]
    single = np.mean([spearmanr(pair.iloc[:, 0], pair.iloc[:, 1]).statistic for pair in pairs])
    ceiling = info.overall.ceiling
    assert ceiling is not None
    seeds = 8 / 3
    reliability = seeds * single / (1 + (seeds - 1) * single)
    assert (ceiling.single, ceiling.seeds) == pytest.approx((single, seeds))
    assert (ceiling.reliability, ceiling.ceiling) == pytest.approx((reliability, np.sqrt(reliability)))
    assert rank_predictors(table[table["seed"] == 0], predictors=["truth"]).overall.ceiling is None


def test_a_logarithm_is_taken_before_the_mean() -> None:
    table = planted(cells=10, predictors={"gap": 1.0})
    table["rmia_tpr"] = norm.cdf(table["rmia_auc"].rank(pct=True) * 4 - 5).round(3)
    assert (table["rmia_tpr"] == 0).any()
    info = rank_predictors(table, outcome="rmia_tpr", log=True, predictors=["gap"])
    table["log"] = np.log10(table["rmia_tpr"].replace(0, 0.0005))
    networks = means(table)
    assert info.overall.predictors[0].rho == pytest.approx(
        spearmanr(networks["gap"], networks["log"].round(12)).statistic
    )


def test_other_epochs_and_variants_do_not_matter_nor_does_the_order_of_rows() -> None:
    table = planted(cells=10, predictors={"gap": 1.0, "snip": 1.0}).assign(loss=2.0, train_loss=lambda t: t["gap"])
    expected = rank_predictors(table)
    assert {one.name for one in expected.overall.predictors} == {"gap", "snip", "train_loss", "loss_gap"}
    assert predictor(expected.overall, "loss_gap").rho == -predictor(expected.overall, "train_loss").rho
    assert {one.stage for one in expected.overall.predictors} == {"built", "trained"}
    early = table.assign(epoch=3, rmia_auc=0.5)
    other = table.assign(variant="demotion-reduction-4", gap=0.0)
    failed = table[table["cell"] == "darts-1"].assign(seed=9, rmia_auc=np.nan)
    mixed = pd.concat([early, other, table, failed]).sample(frac=1, random_state=0)
    assert str(rank_predictors(mixed)) == str(expected)
    assert str(rank_predictors(table, seed=1)) != str(expected)


def test_widths_of_different_spaces_are_different_strata() -> None:
    one, two = planted(0, cells=10, predictors={"gap": 0.5}), planted(1, cells=12, predictors={"gap": 0.5})
    info = rank_predictors(pd.concat([one, two.assign(space="nasbench201", gap=two["gap"] + 100)]), predictors=["gap"])
    parts = [rank_predictors(part, predictors=["gap"]).within.predictors[0].rho for part in (one, two)]
    assert info.within.strata == 6 and info.cells == 22
    assert info.within.predictors[0].rho == pytest.approx(np.mean(parts))


def test_what_cannot_be_answered_is_told() -> None:
    table = planted(cells=6, predictors={"gap": 1.0})
    with pytest.raises(ConfigError, match=r"no column 'rmia_acu'; did you mean 'rmia_auc'\?"):
        rank_predictors(table, outcome="rmia_acu")
    with pytest.raises(ConfigError, match="predictors: no column 'gpa' with numbers; did you mean 'gap'"):
        rank_predictors(table, predictors=["gap", "gpa"])
    with pytest.raises(ConfigError, match="reference: 'gpa'"):
        rank_predictors(table, reference="gpa")
    with pytest.raises(ConfigError, match="rounds: 3; allowed is 100 or more"):
        rank_predictors(table, rounds=3)
    with pytest.raises(DataError, match=r"rows of 2 data sets \(celeba, cifar10\)"):
        rank_predictors(pd.concat([table, table.assign(dataset="celeba")]))
    with pytest.raises(DataError, match="space darts, cell darts-0, width 8, seed 0: there twice"):
        rank_predictors(pd.concat([table, table[:1]]))
    with pytest.raises(DataError, match="4 original cells have a rmia_auc at the last epoch; rank correlations need 5"):
        rank_predictors(table[table["cell"] < "darts-4"])
    with pytest.raises(DataError, match="0 original cells"):
        rank_predictors(table.assign(variant="other"))
    with pytest.raises(DataError, match="column 'gap': could not convert string to float: 'much'; expected numbers"):
        rank_predictors(table.assign(gap="much"))


@pytest.mark.filterwarnings("error")
def test_five_cells_are_enough_for_an_answer() -> None:
    info = rank_predictors(planted(cells=5, predictors={"gap": 1.0, "snip": 1.0}))
    for ranking in (info.overall, info.within):
        assert all(-1 <= one.low <= one.rho <= one.high <= 1 for one in ranking.predictors)
        assert ranking.reference is not None and ranking.reference.verdict == "undecided at this size"
        assert np.isfinite([ranking.reference.estimate.low, ranking.reference.estimate.high]).all()


def test_twenty_predictors_take_a_second_or_so() -> None:
    names = [f"p{one}" for one in range(20)]
    table = planted(predictors={**dict.fromkeys(names, 1.0), "gap": 1.0})
    for place, name in enumerate(names[:5]):
        table.loc[table["cell"] == f"darts-{place}", name] = np.nan
    started = time.process_time()
    rank_predictors(table, predictors=[*names, "gap"])
    assert time.process_time() - started < 5  # about 0.6 s


def test_no_torch_is_needed_and_all_candidates_have_a_stage() -> None:
    code = "import sys, nni_privacy.bench.predictors; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert set(PREDICTORS.values()) == {"built", "trained", "attacked"}
