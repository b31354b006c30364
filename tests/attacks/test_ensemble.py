"""Attacks together: how far they agree, and an attacker who combines their scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from planted_signals import planted_signals
from scipy.stats import norm, spearmanr
from sklearn.linear_model import LogisticRegression

from nni_privacy.attacks import AttackReport, AttackScores, TargetSignals, register_attack, report_attack, roc_auc
from nni_privacy.attacks.cross_fitting import draw_folds
from nni_privacy.attacks.ensemble import COMBINED, agreement, combine, cross_fitted_ranks, deal_folds, normal_scores
from nni_privacy.auditing.audit import audit_signals
from nni_privacy.errors import ConfigError

N = 600


def signals_of(member: npt.NDArray[np.bool_], *, classes: int = 4, seed: int = 0) -> TargetSignals:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, len(member))
    return TargetSignals.from_logits(generator.normal(size=(len(member), classes)), labels, member)


def reports(
    member: npt.NDArray[np.bool_], *scores: npt.NDArray[np.float64], records: Sequence[npt.NDArray[np.int64]] = ()
) -> list[AttackReport]:
    places = records or [np.arange(len(member))] * len(scores)
    return [
        report_attack(f"attack{index}", AttackScores(score[place], member[place], place), bootstrap=50)
        for index, (score, place) in enumerate(zip(scores, places, strict=True))
    ]


def halves_of_a_leak(seed: int) -> tuple[npt.NDArray[np.bool_], list[npt.NDArray[np.float64]]]:
    """Two attacks of which each sees one half of the members, on scales of their own."""
    generator = np.random.default_rng(seed)
    member = generator.permutation(2 * N) < N
    half = generator.random(2 * N) < 0.5
    noise = generator.normal(size=(2, 2 * N))
    return member, [noise[0] + 1.5 * (member & half), np.exp(3 * (noise[1] + 1.5 * (member & ~half)))]


def test_two_attacks_that_each_see_half_of_a_leak_are_better_together() -> None:
    for seed in range(5):
        member, scores = halves_of_a_leak(seed)
        single = reports(member, *scores)
        together = combine(single, signals_of(member, seed=seed), seed=seed)
        assert together is not None and together.name == COMBINED
        best = max(one.roc.auc for one in single)
        # The sum of the two is N(1.5, 2) for members and N(0, 2) for the others.
        assert together.roc.auc > best + 0.04 and together.roc.auc == pytest.approx(norm.cdf(1.5 / 2), abs=0.04)


def test_a_strong_attack_is_not_spoilt_by_weak_ones() -> None:
    generator = np.random.default_rng(0)
    member = generator.permutation(2 * N) < N
    strong = generator.normal(size=2 * N) + 2 * member
    single = reports(member, strong, *generator.normal(size=(6, 2 * N)))
    together = combine(single, signals_of(member))
    assert together is not None and together.roc.auc > single[0].roc.auc - 0.02


def test_where_nothing_leaks_the_mean_is_one_half_and_intervals_hold_it() -> None:
    aucs, held = [], 0
    for seed in range(100):
        generator = np.random.default_rng(1000 + seed)
        member = generator.permutation(300) < 150
        first, second, third = generator.normal(size=(3, 300))
        single = reports(member, first, first + 0.3 * second, np.round(third))
        together = combine(single, signals_of(member, seed=seed), seed=seed)
        assert together is not None
        aucs.append(together.roc.auc)
        held += (together.metrics["mia_auc_low"] or 0) <= 0.5 <= (together.metrics["mia_auc_high"] or 0)
    deviation = np.sqrt(301 / (12 * 150 * 150))  # of Mann and Whitney's statistic
    assert abs(np.mean(aucs) - 0.5) < 3 * deviation / 10
    assert 0.8 < np.std(aucs) / deviation < 1.2 and held >= 88


def test_no_score_has_seen_whether_its_record_is_a_member() -> None:
    generator = np.random.default_rng(0)
    member = generator.permutation(300) < 150
    features = generator.normal(size=(300, 3)) + member[:, None]
    folds = deal_folds(member, seed=0)
    first = cross_fitted_ranks(features, member, folds)
    other = member.copy()
    other[folds == 1] = generator.permutation(other[folds == 1])
    second = cross_fitted_ranks(features, other, folds)
    assert np.array_equal(first[folds != 2], second[folds != 2])  # which are scored by what folds 2 and 0 taught
    assert not np.array_equal(first[folds == 2], second[folds == 2])


def test_scores_of_a_fold_are_those_of_the_regression_on_the_fold_before() -> None:
    member, scores = halves_of_a_leak(0)
    folds = deal_folds(member, seed=3)
    assert all(abs(np.bincount(folds[side]) - N / 3).max() < 1 for side in (member, ~member))
    inputs = np.stack([norm.ppf((np.argsort(np.argsort(score)) + 0.5) / len(score)) for score in scores], axis=1)
    assert normal_scores(np.stack(scores, axis=1)) == pytest.approx(inputs, abs=1e-9)
    ranks = cross_fitted_ranks(inputs, member, folds)
    for fold in range(3):
        inside = folds == (fold + 1) % 3
        model = LogisticRegression().fit(inputs[folds == fold], member[folds == fold])
        wanted = model.decision_function(inputs[inside])
        assert spearmanr(ranks[inside], wanted).statistic > 0.9999
    assert ranks.min() > 0 and ranks.max() < 1 and len(np.unique(ranks)) == len(ranks)


def test_its_folds_are_those_of_the_attacks_that_learn_and_the_records_those_of_all() -> None:
    signals = planted_signals(gap=1.0)
    attacks = ["loss_threshold", "black_box_partial"]
    whole = audit_signals(signals, attacks=attacks, seed=3)
    assert whole.combined is not None and np.array_equal(whole.combined.records, np.arange(len(signals)))
    scores = normal_scores(np.stack([one.scores for one in whole.attacks.values()], axis=1))
    ranks = cross_fitted_ranks(scores, signals.is_member, draw_folds(signals, seed=3))
    assert np.array_equal(whole.combined.scores, ranks)
    part = audit_signals(signals, attacks=attacks, seed=3, protocol="paper")
    assert part.combined is not None
    records = part.attacks["black_box_partial"].records
    assert np.array_equal(part.combined.records, np.sort(records))
    assert np.array_equal(part.combined.is_member, signals.is_member[np.sort(records)])
    assert part.agreement.rank_correlation[0, 1] == pytest.approx(
        spearmanr(part.attacks["loss_threshold"].scores[records], part.attacks["black_box_partial"].scores).statistic
    )


def test_the_verdict_and_the_flat_metrics_do_not_know_of_it() -> None:
    report = audit_signals(planted_signals(gap=1.0), attacks=["loss_threshold", "lira"])
    verdict = report.verdict
    assert report.combined is not None and set(verdict.p_values) == {"loss_threshold", "lira"}
    assert not any(key.startswith(COMBINED) for key in report.metrics())


@pytest.mark.parametrize("members", [5, 6])
def test_too_few_records_are_not_combined(members: int) -> None:
    member = np.arange(60) < 30
    scores = np.random.default_rng(0).normal(size=(2, 60))
    few = np.concatenate([np.arange(members), np.arange(30, 60)])
    single = reports(member, *scores, records=[np.arange(60), few])
    signals = TargetSignals.from_logits(np.zeros((60, 2)), np.zeros(60, dtype=int), member)
    found = [combine(single, signals, seed=seed) for seed in range(40)]
    # Six members fall two by two into the folds in some draws, five never do.
    assert any(one is not None for one in found) == (members == 6)
    assert combine(single[:1], signals) is None


def test_agreement_is_that_of_its_definitions() -> None:
    generator = np.random.default_rng(0)
    member = generator.permutation(2 * N) < N
    common = generator.normal(size=2 * N) + member
    scores = [common, common + generator.normal(size=2 * N), np.round(generator.normal(size=2 * N)), np.zeros(2 * N)]
    places = [generator.permutation(2 * N)[: 2 * N - 100 * index] for index in range(4)]
    single = reports(member, *scores, records=places)
    found = agreement(single)
    shared = sorted(set.intersection(*(set(place.tolist()) for place in places)))
    assert found.records.tolist() == shared and found.attacks == ("attack0", "attack1", "attack2", "attack3")
    wanted = spearmanr(np.stack([score[shared] for score in scores[:3]], axis=1)).statistic
    assert found.rank_correlation[:3, :3] == pytest.approx(wanted)
    assert np.isnan(found.rank_correlation[3]).all()
    assert np.isnan(found.overlap[3, 3]) and found.overlap[3, 0] == 0  # it finds none
    exposed = []
    for score in scores[:2]:
        outside = np.sort(score[shared][~member[shared]])[::-1]
        limit = outside[int(0.01 * len(outside))]  # one per cent of them are above
        exposed.append({place for place in shared if member[place] and score[place] > limit})
    share = len(exposed[0] & exposed[1]) / len(exposed[0] | exposed[1])
    assert found.overlap[0, 1] == found.overlap[1, 0] == pytest.approx(share) and 0 < share < 1


def test_agreement_without_common_records_is_unknown() -> None:
    member = np.arange(40) % 2 == 0
    scores = np.random.default_rng(0).normal(size=(2, 40))
    single = reports(member, *scores, records=[np.arange(20), np.arange(20, 40)])
    found = agreement(single)
    assert not len(found.records) and np.isnan(found.rank_correlation).all() and np.isnan(found.overlap).all()
    assert combine(single, signals_of(member)) is None


def test_no_attack_can_take_its_name() -> None:
    with pytest.raises(ConfigError, match=f"{COMBINED!r} is the name of all attacks together"):
        register_attack(COMBINED)


@pytest.mark.slow
def test_where_nothing_leaks_attacks_that_learn_give_nothing_away_together() -> None:
    aucs = []
    for seed in range(60):
        signals = planted_signals(gap=0.0, n=100, seed=seed)
        report = audit_signals(signals, attacks=["black_box_partial", "loss_threshold", "lira", "rmia"], seed=seed)
        assert report.combined is not None
        aucs.append(roc_auc(report.combined.scores, report.combined.is_member))
    deviation = np.sqrt(201 / (12 * 100 * 100))
    assert abs(np.mean(aucs) - 0.5) < 3 * deviation / np.sqrt(60) and 0.75 < np.std(aucs) / deviation < 1.25
