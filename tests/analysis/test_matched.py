from __future__ import annotations

import numpy as np
import pytest
from report.study_samples import study_row, study_run

from nni_privacy.analysis.matched import adjusted_difference, common_support, matched_infos
from nni_privacy.analysis.study import study_info

SIMULATIONS = 500


def draw(rng, nas: int, human: int, *, effect=0.0, shift=0.02, scatter=(0.01, 0.01), slope=-0.5):
    """Architectures whose AUC falls with accuracy and rises by ``effect`` for NAS, more accurate by ``shift``."""
    is_nas = np.arange(nas + human) < nas
    accuracy = rng.normal(0.75, 0.03, nas + human) + shift * is_nas
    noise = rng.normal(size=nas + human) * np.where(is_nas, *scatter)
    return accuracy, 0.9 + slope * accuracy + effect * is_nas + noise, is_nas


def rejections(nas: int, human: int, **options) -> float:
    rng = np.random.default_rng(11)
    found = [
        adjusted_difference(*draw(rng, nas, human, **options), seed=number, draws=299, interval=False).p_value <= 0.05
        for number in range(SIMULATIONS)
    ]
    return float(np.mean(found))


@pytest.mark.parametrize(("nas", "human"), [(5, 10), (10, 10), (3, 4)])
def test_without_an_effect_the_test_rejects_as_often_as_it_says(nas, human):
    assert rejections(nas, human) <= 0.08


@pytest.mark.parametrize(("scatter", "most"), [((0.01, 0.03), 0.08), ((0.03, 0.01), 0.12)])
def test_the_level_nearly_holds_where_kinds_scatter_differently(scatter, most):
    assert rejections(5, 10, scatter=scatter) <= most


def test_p_values_without_an_effect_are_spread_evenly():
    rng = np.random.default_rng(2)
    values = [adjusted_difference(*draw(rng, 6, 8), draws=299, interval=False).p_value for _ in range(400)]
    assert np.quantile(values, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.08)


def test_a_planted_effect_is_found():
    assert rejections(10, 10, effect=0.02) >= 0.8


def test_a_difference_that_is_one_of_accuracy_alone_is_not_taken_for_one_of_kind():
    rng = np.random.default_rng(4)
    accuracy, auc, is_nas = draw(rng, 10, 10, shift=0.05, slope=-1.0)
    plain = auc[is_nas].mean() - auc[~is_nas].mean()
    found = adjusted_difference(accuracy, auc, is_nas)
    assert plain < -0.03
    assert abs(found.difference) < 0.02 and found.p_value > 0.05


def test_the_estimate_is_that_of_least_squares():
    accuracy, auc, is_nas = draw(np.random.default_rng(5), 5, 7, effect=0.03)
    design = np.column_stack([np.ones(12), accuracy, is_nas])
    truth = np.linalg.lstsq(design, auc, rcond=None)[0][2]
    assert adjusted_difference(accuracy, auc, is_nas).difference == pytest.approx(truth)


def test_the_interval_covers_the_planted_effect():
    rng = np.random.default_rng(6)
    found = [adjusted_difference(*draw(rng, 5, 8, effect=0.02), draws=199) for _ in range(300)]
    assert np.mean([one.low <= 0.02 <= one.high for one in found]) >= 0.91
    assert all(-1 <= one.low <= one.difference <= one.high <= 1 for one in found)


def test_the_interval_excludes_zero_where_the_test_rejects():
    rng = np.random.default_rng(7)
    for _ in range(40):
        found = adjusted_difference(*draw(rng, 5, 8, effect=0.01), draws=199)
        assert (found.p_value > 0.05) == (found.low <= 1e-6 and found.high >= -1e-6)


def test_equal_accuracies_leave_the_plain_difference():
    auc, is_nas = np.array([0.7, 0.71, 0.72, 0.6, 0.61, 0.62]), np.arange(6) < 3
    found = adjusted_difference(np.full(6, 0.8), auc, is_nas)
    assert found.difference == pytest.approx(0.1)
    assert found.p_value == pytest.approx(2 / 20)  # the two extreme of the 20 ways to choose three of six


def test_numbers_without_any_scatter_make_no_trouble():
    accuracy = np.linspace(0.7, 0.78, 8)
    found = adjusted_difference(accuracy, 0.9 - accuracy / 2, np.arange(8) % 2 == 0)
    assert found.difference == pytest.approx(0, abs=1e-9)
    assert np.isfinite([found.low, found.high, found.p_value]).all()


def test_common_support_by_hand():
    accuracy = np.array([0.70, 0.80, 0.72, 0.60, 0.83])
    is_nas = np.array([True, True, False, False, False])
    assert common_support(accuracy, is_nas, caliper=0.03).tolist() == [True, True, True, False, True]


def rows_of(human: list[float], nas: list[float]) -> list[dict]:
    rows = [study_row(f"h{place}", value, 0.6 + place / 100) for place, value in enumerate(human)]
    return rows + [study_row(f"n{place}", value, 0.7 + place / 90, kind="NAS") for place, value in enumerate(nas)]


def test_who_has_no_counterpart_is_left_out_and_named(tmp_path):
    run = study_run(tmp_path, rows_of([0.70, 0.71, 0.72, 0.50], [0.70, 0.72, 0.715, 0.90]))
    (info,) = matched_infos(study_info(run))
    assert (info.nas, info.human, info.left_out) == (3, 3, ("h3", "n3"))
    assert info.adjusted is not None and info.reason == ""
    assert info.p_holm == info.adjusted.p_value
    assert info.unadjusted == pytest.approx(np.mean([0.7, 0.7 + 1 / 90, 0.7 + 2 / 90, 0.7 + 3 / 90]) - 0.615)


@pytest.mark.parametrize(
    ("human", "nas", "reason"),
    [
        ([0.5, 0.51, 0.52], [0.7, 0.71, 0.72], "within 0.03"),
        ([0.7, 0.71, 0.72], [0.7, 0.71], "needs 3 of each kind"),
        ([0.7, 0.71, 0.72], [], "no NAS architecture"),
        ([], [0.7, 0.71, 0.72], "no human-designed architecture"),
    ],
)
def test_what_cannot_be_compared_has_a_reason_and_no_number(tmp_path, human, nas, reason):
    (info,) = matched_infos(study_info(study_run(tmp_path, rows_of(human, nas))))
    assert reason in info.reason
    assert info.adjusted is None and info.p_holm is None


def test_seeds_of_an_architecture_count_once(tmp_path):
    rows = rows_of([0.70, 0.71, 0.72, 0.73], [0.70, 0.72, 0.715])
    again = [{**row, "trial": f"{row['trial']}b", "factors": {**row["factors"], "seed": 1}} for row in rows]
    (once,) = matched_infos(study_info(study_run(tmp_path / "once", rows)))
    (twice,) = matched_infos(study_info(study_run(tmp_path / "twice", rows + again)))
    assert once == twice


def test_p_values_are_adjusted_for_the_comparisons_that_have_one(tmp_path):
    def on(dataset: str, human: list[float], nas: list[float]) -> list[dict]:
        rows = rows_of(human, nas)
        return [
            {**row, "trial": f"{row['trial']}-{dataset}", "factors": {**row["factors"], "dataset": dataset}}
            for row in rows
        ]

    same = [0.70, 0.71, 0.72, 0.73]
    rows = on("a", same, same) + on("b", [0.5, 0.51, 0.52], same) + on("c", same, [0.71, 0.70, 0.73])
    first, none, last = matched_infos(study_info(study_run(tmp_path, rows)))
    assert none.adjusted is None and none.p_holm is None
    assert first.adjusted is not None and last.adjusted is not None
    low, high = sorted((first.adjusted.p_value, last.adjusted.p_value))
    assert low < high
    assert sorted((first.p_holm, last.p_holm)) == [min(1.0, 2 * low), max(min(1.0, 2 * low), high)]
