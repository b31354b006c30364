from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from bench.planted_variance import PARTS, PlantedVariance
from scipy import stats

from nni_privacy.bench.variance import FLAT_REST, VarianceSplit, split_between_cells, split_variance
from nni_privacy.errors import DataError

pd = pytest.importorskip("pandas")

PLANTED = PlantedVariance()
OUTCOME = {"outcome": "rmia_auc", "standard_error": "rmia_auc_se"}


def split_of(planted: PlantedVariance, *seed: int, rounds: int = 200) -> VarianceSplit:
    return split_variance(planted.table(np.random.default_rng(seed)), **OUTCOME, rounds=rounds)


def covered(planted: PlantedVariance, simulations: int, *, rounds: int) -> dict[str, int]:
    """How many intervals of each part hold its planted share."""
    found = dict.fromkeys(PARTS, 0)
    for number in range(simulations):
        split = split_of(planted, 21, number, rounds=rounds)
        for part, truth in zip(PARTS, planted.shares, strict=True):
            found[part] += split.parts[part].low <= truth <= split.parts[part].high
    return found


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return PLANTED.table(np.random.default_rng(0))


@pytest.fixture(scope="module")
def split(table: pd.DataFrame) -> VarianceSplit:
    return split_variance(table, **OUTCOME, rounds=500)


def test_intervals_cover_the_planted_shares() -> None:
    found = covered(PLANTED, 60, rounds=150)
    assert min(found.values()) >= stats.binom.ppf(1e-4, 60, 0.95), found
    assert 0.92 <= sum(found.values()) / (60 * len(PARTS)) <= 0.98, found


@pytest.mark.slow
def test_intervals_cover_the_planted_shares_in_95_percent_of_500_simulations() -> None:
    found = covered(PLANTED, 500, rounds=1000)
    assert all(0.93 <= count / 500 <= 0.97 for count in found.values()), found


@pytest.mark.slow
def test_intervals_of_a_share_of_nothing_hold_zero() -> None:
    found = covered(replace(PLANTED, shares=(0.30, 0.08, 0.22, 0.0, 0.25, 0.15)), 300, rounds=500)
    assert min(found.values()) / 300 >= 0.92, found


def test_many_cells_find_the_planted_shares() -> None:
    split = split_of(replace(PLANTED, cells=3000), 5, rounds=20)
    assert [split.parts[part].value for part in PARTS] == pytest.approx(PLANTED.shares, abs=0.02)
    assert split.total == pytest.approx(0.03**2, rel=0.05)
    slopes = [split.coefficients[name].value for name in ("size", "accuracy", "gap")]
    assert slopes == pytest.approx(PLANTED.slopes, rel=0.1)


def test_shares_sum_to_one_and_lie_in_their_intervals(split: VarianceSplit) -> None:
    assert tuple(split.parts) == PARTS
    assert sum(part.value for part in split.parts.values()) == pytest.approx(1)
    assert all(0 <= part.low <= part.value <= part.high <= 1 for part in split.parts.values())


def test_parts_are_those_of_the_components(split: VarianceSplit, table: pd.DataFrame) -> None:
    records = (table["rmia_auc_se"] ** 2).mean()
    remaining = split.components["cell"] + split.components["width"]
    assert split.parts["records"].value * split.total == pytest.approx(records)
    assert split.parts["seed"].value * split.total == pytest.approx(split.components["noise"] - records)
    assert split.parts["remaining"].value * split.total == pytest.approx(remaining)
    assert (split.cells, split.widths, split.seeds, split.rows, split.left_out) == (40, 3, 2, 240, ())


def test_records_beyond_all_noise_leave_no_seed(table: pd.DataFrame) -> None:
    split = split_variance(table.assign(rmia_auc_se=0.02), **OUTCOME, rounds=100)
    assert split.parts["seed"].value == split.parts["seed"].high == 0
    assert all(0 <= part.low <= part.value <= part.high <= 1 for part in split.parts.values())
    assert sum(part.value for part in split.parts.values()) == pytest.approx(1)


def test_order_of_rows_and_units_do_not_matter(split: VarianceSplit, table: pd.DataFrame) -> None:
    other = table.assign(
        gap=table["gap"] * 100, rmia_auc=table["rmia_auc"] * 7 + 3, rmia_auc_se=table["rmia_auc_se"] * 7
    )
    other = split_variance(other, **OUTCOME, rounds=500)
    for part in PARTS:
        assert vars(other.parts[part]) == pytest.approx(vars(split.parts[part]), rel=1e-6)
    assert other.coefficients["gap"].value == pytest.approx(split.coefficients["gap"].value * 7 / 100)
    shuffled = split_variance(table.sample(frac=1, random_state=1), **OUTCOME, rounds=500)
    for part in PARTS:
        assert vars(shuffled.parts[part]) == pytest.approx(vars(split.parts[part]), rel=1e-6)


def test_coefficients_are_in_units_of_the_table(split: VarianceSplit, table: pd.DataFrame) -> None:
    models = pytest.importorskip("statsmodels.formula.api")
    data = table.assign(size=np.log10(table["parameters"]))
    theirs = models.ols("rmia_auc ~ size + accuracy + gap", data).fit(
        cov_type="cluster", cov_kwds={"groups": data["cell"].astype("category").cat.codes}
    )
    names = {"intercept": "Intercept", "size": "size", "accuracy": "accuracy", "gap": "gap"}
    for ours, name in names.items():  # another estimate of the same, so near but not equal
        assert split.coefficients[ours].value == pytest.approx(theirs.params[name], abs=2 * theirs.bse[name])
        assert split.coefficients[ours].standard_error == pytest.approx(theirs.bse[name], rel=0.5)


def test_a_logarithm_is_split_with_the_error_of_the_logarithm(table: pd.DataFrame) -> None:
    by_hand = table.assign(rmia_auc=np.log(table["rmia_auc"]), rmia_auc_se=table["rmia_auc_se"] / table["rmia_auc"])
    wanted = split_variance(by_hand, **OUTCOME, rounds=50)
    assert replace(split_variance(table, **OUTCOME, log=True, rounds=50), log=False) == wanted


def test_incomplete_cells_are_left_out_and_named(table: pd.DataFrame) -> None:
    holes = table.copy()
    holes.loc[holes["cell"] == "darts-3", "rmia_auc"] = [np.nan, *holes.loc[holes["cell"] == "darts-3", "rmia_auc"][1:]]
    holes = holes[~((holes["cell"] == "darts-7") & (holes["width"] == 8))]
    extra = table[(table["cell"] == "darts-5") & (table["seed"] == 1)].assign(seed=2)  # one seed more is no harm
    found = split_variance(pd.concat([holes, extra]), **OUTCOME, rounds=50)
    whole = split_variance(table[~table["cell"].isin(["darts-3", "darts-7"])], **OUTCOME, rounds=50)
    assert found.left_out == ("darts-3", "darts-7") and found.cells == 38
    assert replace(found, left_out=()) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="gap"), "no column 'gap'"),
        (lambda t: t.assign(dataset=["a", "b"] * 120), "rows of one dataset, but they have several: a, b"),
        (lambda t: t.assign(epoch=[1, 2] * 120), "rows of one epoch"),
        (lambda t: t[t["cell"].isin([f"darts-{k}" for k in range(9)])], "9 complete cells; .* at least 10"),
        (lambda t: t[t["seed"] == 0], "one seed"),
        (lambda t: t.assign(seed=0), "several rows of cell darts-0, width 8, seed 0"),
        (lambda t: t.assign(gap=0.1), "gap: all rows have the same value"),
        (lambda t: t.assign(gap=1 - t["accuracy"]), "one of them is a combination"),
        (lambda t: t.assign(parameters=0), "parameters: 0 has no logarithm"),
        (lambda t: t.assign(rmia_auc=t["width"] + t["cell"].str.len()), "seeds of a cell and width do not differ"),
        (lambda t: t.assign(rmia_auc=np.nan), "0 complete cells"),
    ],
)
def test_what_cannot_be_split_is_said_in_a_line(table: pd.DataFrame, change: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_variance(change(table), **OUTCOME, rounds=10)  # type: ignore[operator]


def one_row_a_cell(cells: int, *seed: int) -> pd.DataFrame:
    planted = replace(PLANTED, cells=cells).table(np.random.default_rng(seed))
    return planted[(planted["seed"] == 0) & (planted["width"] == 16)]


def test_one_row_a_cell_is_ordinary_least_squares() -> None:
    table = one_row_a_cell(300, 2)
    split = split_between_cells(table, "rmia_auc", rounds=100)
    assert tuple(split.parts) == ("size", "accuracy", *FLAT_REST)
    x, y = np.column_stack([np.log10(table["parameters"]), table["accuracy"]]), table["rmia_auc"].to_numpy()

    def explained(columns: Sequence[int]) -> float:
        design = np.column_stack([np.ones(len(x)), x[:, columns]])
        return float(np.var(design @ np.linalg.lstsq(design, y, rcond=None)[0], ddof=1))

    rest = (np.var(y, ddof=1) - explained([0, 1])) * 299 / 297
    wanted = np.array([explained([0]), explained([0, 1]) - explained([0]), rest])
    assert [part.value for part in split.parts.values()] == pytest.approx(wanted / wanted.sum(), rel=1e-6)
    assert split.total == pytest.approx(wanted.sum())
    assert (split.cells, split.widths, split.seeds, list(split.components)) == (300, 1, 1, ["cell"])


def test_one_row_a_cell_takes_other_predictors_and_leaves_out_rows() -> None:
    table = one_row_a_cell(100, 3)
    table.loc[table["cell"] == "darts-4", "gap"] = np.nan
    split = split_between_cells(table, "rmia_auc", predictors=["gap", "size"], rounds=50)
    assert tuple(split.parts) == ("gap", "size", *FLAT_REST) and split.left_out == ("darts-4",)
    with pytest.raises(DataError, match="did you mean 'size'"):
        split_between_cells(table, "rmia_auc", predictors=["sizes"])


def test_one_row_a_cell_covers() -> None:
    rng, inside = np.random.default_rng(8), np.zeros(3)
    correlation = 0.4  # of accuracy with size; the outcome's variance is 1
    truth = np.array([(0.5 + 0.3 * correlation) ** 2, 0.3**2 * (1 - correlation**2), 0.0])
    truth[2] = 0.6
    truth /= truth.sum()
    for _ in range(60):
        size = rng.normal(size=150)
        accuracy = correlation * size + np.sqrt(1 - correlation**2) * rng.normal(size=150)
        outcome = 0.5 * size + 0.3 * accuracy + np.sqrt(0.6) * rng.normal(size=150)
        table = pd.DataFrame({"parameters": 10**size, "accuracy": accuracy, "auc": outcome})
        parts = split_between_cells(table, "auc", rounds=200).parts.values()
        inside += [part.low <= wanted <= part.high for part, wanted in zip(parts, truth, strict=True)]
    assert (inside >= stats.binom.ppf(1e-4, 60, 0.95)).all() and inside.sum() < 180


def test_thousands_of_cells_are_fast() -> None:
    table = one_row_a_cell(2410, 4)
    start = time.process_time()
    split_between_cells(table, "rmia_auc", rounds=200)
    assert time.process_time() - start < 2


def test_two_thousand_rounds_are_fast(table: pd.DataFrame) -> None:
    start = time.process_time()
    split_variance(table, **OUTCOME)
    assert time.process_time() - start < 2
