from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from bench.planted_routes import DEMOTION, POINTS, SIZE_MATCHED, planted_table, tpr_of
from scipy import stats

from nni_privacy.analysis import bootstrap
from nni_privacy.analysis.rules import holm
from nni_privacy.bench.frontiers import demotions_at_equal_accuracy, pooled_frontiers, widths_at_equal_accuracy
from nni_privacy.bench.points import Measure, Setting
from nni_privacy.errors import DataError

AUC, TPR = Measure("rmia_auc"), Measure("rmia_tpr", log=True)
LAST = [("original", width, 20) for width in (8, 16, 32)]


def null_table(rng: np.random.Generator, cells: int, *, noise: float, line: str, top: bool) -> pd.DataFrame:
    """Demotions that lie on their cell's own line, in its middle or just below its top, and noise in every number."""
    frames = []
    for number in range(cells):
        shift, steep = rng.normal(0, 0.02, 2), rng.lognormal(0, 0.2)
        points = {key: (x + shift[0], 0.5 + steep * (y - 0.5) + shift[1]) for key, (x, y) in POINTS.items()}
        ends = [points[key] for key in (LAST if line == "narrower" else [("original", 32, e) for e in (5, 10, 20)])]
        accuracy = ends[2][0] - rng.uniform(0, 0.01) if top else ends[1][0] + rng.uniform(-0.03, 0.03)
        points[DEMOTION, 32, 20] = (accuracy, float(np.interp(accuracy, *zip(*ends, strict=True))))
        frame = planted_table(points, cells=1, noise=noise, seed=int(rng.integers(2**31)))
        frames.append(frame.assign(cell=f"darts-{number}"))
    return pd.concat(frames, ignore_index=True)


def coverage(
    monkeypatch: pytest.MonkeyPatch, tables: int, line: str, *, cells: int = 15, noise: float = 0.007, top: bool = False
) -> tuple[float, float]:
    """How often the corrected and the plain interval hold 0, where trainings of one cell scatter by ``noise``."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 499)
    rng = np.random.default_rng(8)
    hits: list[tuple[bool, bool]] = []
    for _ in range(tables):
        found = demotions_at_equal_accuracy(null_table(rng, cells, noise=noise, line=line, top=top), [AUC])
        (one,) = [one for one in found if one.line == line]
        corrected, plain = one.decision.estimate, one.plain
        hits.append((corrected.low <= 0 <= corrected.high, plain.low <= 0 <= plain.high))
    return tuple(np.mean(hits, axis=0).tolist())


def test_planted_differences_are_found_exactly():
    """Without noise the demotion leaks .600, and at its accuracy narrower ones .635 and early-stopped ones .640."""
    narrower, stopped = demotions_at_equal_accuracy(planted_table(), [AUC])
    for one, line, leak in ((narrower, "narrower", 0.635), (stopped, "early-stopped", 0.64)):
        assert (one.line, one.target) == (line, Setting(DEMOTION, 32, 20))
        assert one.decision.estimate.value == pytest.approx(0.6 - leak) == one.plain.value
        assert (one.target_value, one.line_value, one.accuracy) == pytest.approx((0.6, leak, 0.78))
        assert (one.decision.verdict, one.beyond, one.below, one.left_out) == ("holds", 0, 0, ())
        assert one.by_cell == {f"darts-{n:02}": pytest.approx(0.6 - leak) for n in range(12)}
        assert DEMOTION in one.claim and line in one.claim


def test_differences_of_a_log_tpr_are_logarithms_of_ratios():
    table = planted_table(seeds=(0,))
    table["members"] = 10**9  # so that half a member is nothing
    narrower, stopped = demotions_at_equal_accuracy(table, [TPR])
    for one, leak in ((narrower, 0.635), (stopped, 0.64)):
        assert one.decision.estimate.value == pytest.approx(np.log(tpr_of(0.6) / tpr_of(leak)), abs=1e-6)
        assert one.uncorrected == 12


def test_wide_networks_stopped_early_against_narrow_ones():
    found = {one.target.width: one for one in widths_at_equal_accuracy(planted_table(), [AUC])}
    assert set(found) == {8, 16}
    assert found[8].decision.estimate.value == pytest.approx(0.572 - 0.56)
    assert found[16].decision.estimate.value == pytest.approx(0.62 - 0.61)
    assert (found[8].target_value, found[8].line_value) == pytest.approx((0.56, 0.572))
    assert {one.decision.verdict for one in found.values()} == {"does not hold"}
    better = {**POINTS, ("original", 32, 10): (0.72, 0.54)}
    assert {one.decision.verdict for one in widths_at_equal_accuracy(planted_table(better), [AUC])} == {"holds"}


def test_a_network_beyond_the_line_is_compared_with_its_best_point_and_counted():
    points = {**POINTS, (DEMOTION, 32, 20): (0.83, 0.62)}
    for one in demotions_at_equal_accuracy(planted_table(points), [AUC]):
        assert one.decision.estimate.value == pytest.approx(0.62 - 0.66)
        assert (one.beyond, one.below, one.shortfall) == (12, 0, pytest.approx(0.03))
    points[DEMOTION, 32, 20] = (0.55, 0.5)
    for one, lowest in zip(demotions_at_equal_accuracy(planted_table(points), [AUC]), (0.56, 0.54), strict=True):
        assert one.decision.estimate.value == pytest.approx(0.5 - lowest)
        assert (one.beyond, one.below, one.shortfall) == (0, 12, 0)


def test_cells_without_the_network_or_a_line_are_left_out_and_named():
    table = planted_table()
    table = table[(table["cell"] != "darts-03") | (table["variant"] != DEMOTION)]
    lone = (table["cell"] == "darts-05") & (table["epoch"] < 20)
    narrower, stopped = demotions_at_equal_accuracy(table[~lone], [AUC])
    assert narrower.left_out == ("darts-03",) and stopped.left_out == ("darts-03", "darts-05")
    assert "darts-05" in narrower.by_cell and "darts-05" not in stopped.by_cell


def test_a_measure_of_last_epochs_only_is_compared_with_narrower_ones_only():
    table = planted_table()
    table["lira_auc"] = table["rmia_auc"].where(table["epoch"] == 20)
    assert [one.line for one in demotions_at_equal_accuracy(table, [Measure("lira_auc")])] == ["narrower"]
    assert widths_at_equal_accuracy(table, [Measure("lira_auc")]) == ()


def test_too_few_cells_have_no_verdict_and_a_reason():
    (one, _) = demotions_at_equal_accuracy(planted_table(cells=2), [AUC])
    assert (one.decision.estimate, one.decision.verdict, one.decision.p_holm) == (None, None, None)
    assert "2 pairs" in one.decision.reason and one.line_value == pytest.approx(0.635)


def test_p_values_are_adjusted_for_all_comparisons_and_places():
    tables = [planted_table(noise=0.03, dataset=name, seed=k) for k, name in enumerate(("cifar10", "fashion_mnist"))]
    found = demotions_at_equal_accuracy(pd.concat(tables, ignore_index=True), [AUC, TPR])
    assert len(found) == 8 and {(one.dataset, str(one.measure)) for one in found} == {
        (dataset, measure) for dataset in ("cifar10", "fashion_mnist") for measure in ("rmia_auc", "log rmia_tpr")
    }
    assert [one.decision.p_holm for one in found] == pytest.approx(holm([one.decision.p_value for one in found]))
    alone = demotions_at_equal_accuracy(tables[1], [AUC])
    both = [one for one in found if (one.dataset, one.measure) == ("fashion_mnist", AUC)]
    assert [one.by_cell for one in both] == [one.by_cell for one in alone]


def test_the_interval_is_the_projects_over_cells_and_the_same_for_the_same_seed():
    table = planted_table(cells=6, noise=0.01, seeds=(0,))
    one, _ = demotions_at_equal_accuracy(table, [AUC])
    values = list(one.by_cell.values())
    low, high = stats.t.interval(0.95, 5, np.mean(values), stats.sem(values))
    assert (one.decision.estimate.low, one.decision.estimate.high) == pytest.approx((low, high))
    many = planted_table(cells=20, noise=0.01)
    first, again, other = (
        demotions_at_equal_accuracy(many.sample(frac=1, random_state=k), [AUC], seed=seed)[0].decision.estimate
        for k, seed in enumerate((3, 3, 4))
    )
    assert (first.low, first.high) == (again.low, again.high) != (other.low, other.high)


def test_noise_at_the_top_of_a_line_hides_what_a_demotion_buys_unless_seeds_correct_for_it():
    """As accurate as the line's best point, half of the networks seem to be beyond it, where its leak is too low."""
    points = {**POINTS, (DEMOTION, 32, 20): (0.80, 0.66)}
    tables = [planted_table(points, cells=60, noise=0.02, seed=number) for number in range(4)]
    found = [demotions_at_equal_accuracy(table, [AUC])[0] for table in tables]
    plain = np.mean([one.plain.value for one in found])
    corrected = np.mean([one.decision.estimate.value for one in found])
    assert plain > 0.004 and abs(corrected) < 0.6 * plain


@pytest.mark.parametrize("line", ["narrower", "early-stopped"])
def test_intervals_hold_no_difference_where_there_is_none(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    assert coverage(monkeypatch, 10, line)[0] >= 0.7


@pytest.mark.slow
@pytest.mark.parametrize("line", ["narrower", "early-stopped"])
def test_intervals_hold_no_difference_in_about_95_of_100_tables(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    assert 0.92 <= coverage(monkeypatch, 500, line)[0] <= 0.975


@pytest.mark.slow
@pytest.mark.parametrize("line", ["narrower", "early-stopped"])
def test_just_below_the_top_of_a_line_seeds_correct_most_of_the_bias(
    monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    corrected, plain = coverage(monkeypatch, 200, line, cells=40, noise=0.014, top=True)
    assert plain < corrected and corrected >= 0.88


def test_the_pooled_frontier_has_means_over_the_same_cells():
    table = planted_table(spread=0.02, noise=0.005)
    table = table[(table["cell"] != "darts-03") | (table["width"] != 8)]
    extra = table[(table["cell"] == "darts-00") & (table["epoch"] == 10)].assign(epoch=15)
    (found,) = pooled_frontiers(pd.concat([table, extra], ignore_index=True), [AUC])
    assert [one.setting for one in found.points] == sorted(Setting(*key) for key in POINTS)
    assert found.left_out == ("darts-03",) and len(found.cells) == 11
    assert found.rare == tuple(Setting("original", width, 15) for width in (8, 16, 32))
    for one in found.points:
        setting = one.setting
        rows = table[(table["variant"] == setting.variant) & (table["width"] == setting.width)]
        rows = rows[(rows["epoch"] == setting.epoch) & (rows["cell"] != "darts-03")]
        wanted = rows.groupby("cell")[["accuracy", "rmia_auc"]].mean().mean()
        assert (one.accuracy, one.value) == pytest.approx((wanted["accuracy"], wanted["rmia_auc"]))
        for value, estimate in ((one.accuracy, one.accuracy_estimate), (one.value, one.value_estimate)):
            assert estimate.value == pytest.approx(value) and estimate.low < value < estimate.high
    assert {one.setting.variant for one in found.points} == {"original", DEMOTION, SIZE_MATCHED}


def test_a_pooled_frontier_of_two_cells_has_means_without_intervals():
    (found,) = pooled_frontiers(planted_table(cells=2), [AUC])
    assert {(one.accuracy_estimate, one.value_estimate) for one in found.points} == {(None, None)}
    assert found.points[-1].accuracy == pytest.approx(0.80)


def test_a_wrong_table_is_refused():
    with pytest.raises(DataError, match="no column 'epoch'"):
        pooled_frontiers(planted_table(cells=2).drop(columns="epoch"), [AUC])


def test_forty_cells_take_seconds_at_most():
    table = planted_table(cells=40, noise=0.01)
    start = time.perf_counter()
    demotions_at_equal_accuracy(table, [AUC, TPR])
    assert time.perf_counter() - start < 5
