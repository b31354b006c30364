from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from bench.planted_routes import DEMOTION, MEMBERS, POINTS, planted_table

from nni_privacy.bench.points import Measure, Setting, grids, jackknifed, measured_attacks, measures_of
from nni_privacy.errors import DataError

AUC, TPR = Measure("rmia_auc"), Measure("rmia_tpr", log=True)


def test_a_grid_holds_the_points_of_the_table():
    table = planted_table(noise=0.01, cells=3).sample(frac=1, random_state=0)
    (grid,) = grids(table, AUC)
    assert grid.accuracy.shape == (3, len(POINTS), 2) and grid.settings == tuple(
        sorted(Setting(*key) for key in POINTS)
    )
    assert (grid.widest, grid.epochs, grid.reference) == (32, 20, Setting("original", 32, 20))
    sample = grid.sample("darts-01", [Setting(DEMOTION, 32, 20)])
    rows = table[(table["cell"] == "darts-01") & (table["variant"] == DEMOTION)]
    accuracy, value = sample.means()
    assert (accuracy[0], value[0]) == pytest.approx((rows["accuracy"].mean(), rows["rmia_auc"].mean()))
    assert sample.means(without=0)[0] == pytest.approx(rows[rows["seed"] == 1]["accuracy"])


def test_places_are_never_mixed():
    table = planted_table(cells=2)
    other, third = planted_table(cells=3, dataset="fashion_mnist"), planted_table(cells=4, space="nasbench201")
    found = grids(pd.concat([table, other, third], ignore_index=True), AUC)
    assert [(one.dataset, one.space, len(one.cells)) for one in found] == [
        ("cifar10", "darts", 2),
        ("cifar10", "nasbench201", 4),
        ("fashion_mnist", "darts", 3),
    ]


def test_a_sample_is_of_the_seeds_that_have_each_of_its_points():
    table = planted_table(noise=0.01, cells=3, seeds=(0, 1, 2))
    early = (table["cell"] == "darts-00") & (table["width"] == 32) & (table["epoch"] == 5)
    table.loc[early & (table["seed"] == 1), "rmia_auc"] = np.nan
    table.loc[(table["cell"] == "darts-01") & (table["epoch"] == 5), "rmia_auc"] = np.nan
    (grid,) = grids(table, AUC)
    line = [Setting("original", 32, epoch) for epoch in (5, 10, 20)]
    assert [grid.sample(cell, line).seeds for cell in grid.cells] == [2, 3, 3]
    assert [len(grid.sample(cell, line).settings) for cell in grid.cells] == [3, 2, 3]
    samples, left_out = grid.samples(line, needed=line)
    assert [one.cell for one in samples] == ["darts-00", "darts-02"] and left_out == ["darts-01"]
    assert grid.sample("darts-00", [Setting("original", 64, 20)]) is None


def test_the_logarithm_of_a_tpr_of_0_is_that_of_half_a_member():
    measure = TPR.of(np.array([0.0, 0.05]), np.array([1999.0, 1999.0]))
    assert measure == pytest.approx(np.log([0.5 / 2000, (0.05 * 1999 + 0.5) / 2000]))
    table = planted_table(cells=3)
    table["rmia_tpr"] = 0.0
    sample = grids(table, TPR)[0].sample("darts-00", [Setting(DEMOTION, 32, 20)])
    assert sample.means()[1][0] == pytest.approx(np.log(0.5 / (2 * MEMBERS + 1)))


def test_measures_are_those_that_some_row_has():
    table = planted_table(cells=2)
    table["lira_auc"] = np.nan
    table["loss_threshold_auc"] = 0.6
    assert measured_attacks(table) == ("rmia", "loss_threshold")
    assert measures_of(table) == (AUC, TPR, Measure("loss_threshold_auc"))
    assert grids(table, Measure("lira_auc")) == ()


def test_leaving_out_seeds_takes_the_bias_from_a_square():
    """The square of a mean of n is too high by the variance over n, and (Quenouille) wholly corrected."""
    (grid,) = grids(planted_table(noise=0.01, cells=3, seeds=(0, 1, 2, 3)), AUC)
    sample = grid.sample("darts-00", [Setting("original", 32, 20)])
    plain, corrected = jackknifed(sample, lambda accuracy, value: float(accuracy[0] ** 2))
    values = sample.accuracy[0]
    assert corrected == pytest.approx(values.mean() ** 2 - values.var(ddof=1) / 4)
    assert plain == pytest.approx(values.mean() ** 2)
    plain, corrected = jackknifed(sample, lambda accuracy, value: float(3 * accuracy[0] - value[0]))
    assert plain == pytest.approx(corrected)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("accuracy", 78.0, "accuracy 78 in row 3; expected a fraction"),
        ("rmia_tpr", -0.1, "rmia_tpr -0.1 in row 3"),
        ("members", 0, "members 0 in row 3; expected at least 1 for log rmia_tpr"),
        ("epochs", 30, r"epochs \[20, 30\] in cifar10, darts"),
        ("seed", 1, "stands there twice"),
    ],
)
def test_a_wrong_number_is_named(column, value, message):
    table = planted_table(cells=2)
    table.loc[3 if column != "seed" else slice(None), column] = value
    with pytest.raises(DataError, match=message):
        grids(table, TPR)


def test_missing_columns_and_originals_are_named():
    table = planted_table(cells=2)
    with pytest.raises(DataError, match="no column 'rmia_acu'; did you mean 'rmia_auc'"):
        grids(table, Measure("rmia_acu"))
    with pytest.raises(DataError, match="no row of variant 'original' in cifar10, darts"):
        grids(table[table["variant"] != "original"], AUC)
