"""Cross-fitting by learners that need no training, so that thousands of runs without a leak can be made."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import rankdata

from nni_privacy.attacks import TargetSignals, cross_fitting, get_attack, report_attack, roc_auc
from nni_privacy.attacks.attack_models import (
    EPOCHS,
    BlackBoxAttackModel,
    epochs_of_a_fold,
    member_logits,
    train_attack_model,
)
from nni_privacy.attacks.black_box import black_box_features
from nni_privacy.attacks.cross_fitting import FOLDS, draw_folds, fold_ranks, learn_and_attack, split_known_third
from nni_privacy.errors import AuditError, ConfigError

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CLASSES = 5


def signals_of(
    *, members: int = 150, others: int = 150, seed: int = 0, leak: float = 0.0, alike: bool = False
) -> TargetSignals:
    """Logits of records, of members and non-members mixed; ``alike``: either side holds the classes equally."""
    generator = np.random.default_rng(seed)
    member = generator.permutation(members + others) < members
    labels = generator.integers(0, CLASSES, size=len(member))
    if alike:
        for side in (member, ~member):
            labels[side] = generator.permutation(np.arange(np.count_nonzero(side)) % CLASSES)
    logits = generator.normal(size=(len(member), CLASSES)) + leak * member[:, None] * np.arange(CLASSES)
    return TargetSignals.from_logits(logits, labels, member)


class Direction:
    """Learns in which direction members lie: a score has no scale, and a place that differs from fold to fold."""

    def __init__(self, signals: TargetSignals, inputs: Floats) -> None:
        self.member, self.inputs = signals.is_member, inputs
        self.calls: list[tuple[Indices, Indices, int]] = []

    def __call__(self, known: Indices, attacked: Indices, *, epochs: int) -> Floats:
        self.calls.append((known, attacked, epochs))
        inside, outside = known[self.member[known]], known[~self.member[known]]
        direction = self.inputs[inside].mean(axis=0) - self.inputs[outside].mean(axis=0)
        return self.inputs[attacked] @ direction + float(self.inputs[known].sum())


def test_every_record_is_scored_once_by_a_learner_that_knows_another_third() -> None:
    signals = signals_of(members=100, others=155)
    learner = Direction(signals, signals.logits)
    result = learn_and_attack("cross_fit", signals, learner, seed=1)
    assert np.array_equal(result.records, np.arange(255)) and np.array_equal(result.is_member, signals.is_member)
    assert np.array_equal(np.sort(np.concatenate([attacked for _, attacked, _ in learner.calls])), np.arange(255))
    for known, attacked, _ in learner.calls:
        assert not set(known) & set(attacked)
        assert 33 <= signals.is_member[known].sum() <= 34 and 51 <= (~signals.is_member[known]).sum() <= 52
    assert {tuple(known) for known, *_ in learner.calls} == {tuple(attacked) for _, attacked, _ in learner.calls}


def test_a_model_never_sees_the_records_that_it_scores() -> None:
    """Of fold 2 only fold 0 learns that anything has changed, beside fold 2 itself; so it is with the real attack."""
    signals = signals_of(leak=1.0)
    folds = draw_folds(signals, seed=3)
    logits = signals.logits.copy()
    logits[folds == 2] = logits[folds == 2][:, ::-1] * 3
    changed = TargetSignals.from_logits(logits, signals.labels, signals.is_member)
    before, after = (get_attack("black_box_partial")(part, seed=3).scores for part in (signals, changed))
    assert np.array_equal(before[folds == 1], after[folds == 1])
    for fold in (0, 2):
        assert not np.array_equal(before[folds == fold], after[folds == fold])


def test_folds_are_seeded_and_hold_the_classes_equally_where_both_sides_do() -> None:
    for alike in (True, False):
        signals = signals_of(members=150, others=120, alike=alike)
        folds = draw_folds(signals, seed=0)
        assert np.array_equal(folds, draw_folds(signals, seed=0))
        assert not np.array_equal(folds, draw_folds(signals, seed=1))
        counts = np.array(
            [
                [np.bincount(signals.labels[side & (folds == fold)], minlength=CLASSES) for fold in range(FOLDS)]
                for side in (signals.is_member, ~signals.is_member)
            ]
        )
        assert np.array_equal(counts.sum(axis=2), [[50] * 3, [40] * 3])
        assert (np.ptp(counts, axis=1).max() <= 1) == alike
    with pytest.raises(AuditError, match="2 non-members: a third"):
        draw_folds(signals_of(members=9, others=2), seed=0)


def test_the_auc_of_ranks_is_the_mean_of_the_folds_aucs_whatever_the_scales_of_folds() -> None:
    generator = np.random.default_rng(0)
    for members, others in ((150, 150), (451, 200)):
        signals = signals_of(members=members, others=others)
        folds = draw_folds(signals, seed=0)
        for digits in (1, 9):  # with and without ties
            scores = np.round(generator.normal(size=len(folds)) + (0.3 + 0.4 * folds) * signals.is_member, digits)
            ranks = fold_ranks(scores, folds)
            assert ranks.min() > 0 and ranks.max() < 1
            of_folds = [roc_auc(scores[folds == fold], signals.is_member[folds == fold]) for fold in range(FOLDS)]
            assert roc_auc(ranks, signals.is_member) == pytest.approx(np.mean(of_folds), abs=0.002)
            moved = scores * np.array([1.0, 9.0, 0.1])[folds] + np.array([0.0, 50.0, -3.0])[folds]
            assert np.allclose(fold_ranks(moved, folds), ranks)
            for fold in range(FOLDS):
                inside = folds == fold
                wanted = (rankdata(scores[inside]) - 1 + (fold + 0.5) / 3) / inside.sum()
                assert np.allclose(ranks[inside], wanted)
        assert len(np.unique(ranks)) == len(ranks)


def null_runs(runs: int, *, width: int, circle: bool = True) -> tuple[float, float]:
    """Mean AUC on records that leak nothing, and how often a 95% interval over records contains .5."""
    size, aucs = 180, []
    for run in range(runs):
        signals = signals_of(members=90, others=90, seed=run)
        learner = Direction(signals, np.random.default_rng([run, 1]).normal(size=(size, width)))
        if circle:
            scores = learn_and_attack("cross_fit", signals, learner, seed=run).scores
        else:  # each model learns from the two folds that it does not attack
            folds, scores = draw_folds(signals, seed=run), np.empty(size)
            for fold in range(FOLDS):
                scores[folds == fold] = learner(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold), epochs=0)
            scores = fold_ranks(scores, folds)
        aucs.append(roc_auc(scores, signals.is_member))
    error = np.sqrt((size + 1) / (12 * 90 * 90))  # of Mann and Whitney's statistic
    return float(np.mean(aucs)), float(np.mean(np.abs(np.array(aucs) - 0.5) < 1.96 * error))


@pytest.mark.parametrize("width", [1, 8])
def test_where_nothing_leaks_the_auc_is_one_half_and_an_interval_over_records_says_so(width: int) -> None:
    mean, inside = null_runs(1500, width=width)
    assert abs(mean - 0.5) < 0.003  # 2.7 standard errors
    assert 0.935 <= inside <= 0.965


def test_over_all_ways_to_call_records_members_the_mean_auc_is_exactly_one_half(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is learned: of four records a fold, two are members, and 6 x 6 x 6 ways are equally likely."""
    folds = np.repeat(np.arange(FOLDS), 4)
    monkeypatch.setattr(cross_fitting, "draw_folds", lambda signals, *, seed: folds)
    inputs, found = np.random.default_rng(0).normal(size=(12, 3)), []
    for chosen in product(combinations(range(4), 2), repeat=FOLDS):
        member = np.zeros(12, dtype=bool)
        member[[4 * fold + place for fold, places in enumerate(chosen) for place in places]] = True
        signals = TargetSignals.from_logits(np.zeros((12, 2)), np.zeros(12, dtype=np.int64), member)
        scores = learn_and_attack("cross_fit", signals, Direction(signals, inputs), seed=0).scores
        found.append(roc_auc(scores, member))
    assert len(set(found)) > 5 and np.mean(found) == pytest.approx(0.5, abs=1e-12)


def test_models_that_share_a_fold_would_make_the_interval_too_narrow() -> None:
    _, inside = null_runs(500, width=8, circle=False)
    assert inside < 0.9


def test_a_score_that_only_tells_how_many_members_a_model_knows_is_no_score() -> None:
    """In folds of unequal shares, and pooled as they are, such scores have an AUC far below one half."""
    signals = signals_of()

    def learner(known: Indices, attacked: Indices, *, epochs: int) -> Floats:
        return np.full(len(attacked), signals.is_member[known].mean())

    result = learn_and_attack("cross_fit", signals, learner, seed=0)
    assert roc_auc(result.scores, signals.is_member) == pytest.approx(0.5, abs=1e-3)
    pooled = []
    for seed in range(200):
        folds, scores = np.random.default_rng(seed).permutation(300) % FOLDS, np.empty(300)
        for fold in range(FOLDS):
            scores[folds == fold] = learner(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold), epochs=0)
        pooled.append(roc_auc(scores, signals.is_member))
    assert np.mean(pooled) < 0.49


def classes_learned(signals: TargetSignals) -> Direction:
    return Direction(signals, np.eye(CLASSES)[signals.labels])


@pytest.mark.parametrize("alike", [True, False])
def test_chance_in_the_counts_of_classes_is_no_leak(alike: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes held equally by both sides, or dealt by chance: a learner of classes must find nothing."""

    def mean_auc(runs: int) -> float:
        found = []
        for run in range(runs):
            signals = signals_of(members=60, others=60, seed=run, alike=alike)
            result = learn_and_attack("cross_fit", signals, classes_learned(signals), seed=run)
            found.append(roc_auc(result.scores, result.is_member))
        return float(np.mean(found))

    assert mean_auc(600) == pytest.approx(0.5, abs=0.006)
    monkeypatch.setattr(cross_fitting, "_equal_shares", lambda signals: not alike)
    assert abs(mean_auc(200) - 0.5) > 0.02


def test_the_papers_protocol_attacks_a_third_by_a_model_of_50_epochs() -> None:
    signals = signals_of(leak=1.0)
    result = get_attack("black_box_partial")(signals, seed=3, protocol="paper")
    known, attacked = split_known_third(signals.is_member, seed=3)
    features = black_box_features(signals)
    model = train_attack_model(
        lambda: BlackBoxAttackModel(CLASSES), [part[known] for part in features], signals.is_member[known], seed=3
    )
    assert np.array_equal(result.records, attacked) and len(attacked) == 100
    assert np.array_equal(result.scores, member_logits(model, [part[attacked] for part in features]))
    with pytest.raises(ConfigError, match=r"protocol: 'papers'; did you mean 'paper'\?"):
        get_attack("white_box_partial")(signals_with_features(signals), protocol="papers")


def signals_with_features(signals: TargetSignals) -> TargetSignals:
    features = np.ones((len(signals), 2), dtype=np.float32)
    return TargetSignals.from_logits(signals.logits, signals.labels, signals.is_member, features=features)


def test_an_interval_over_all_records_is_narrower_by_the_root_of_three() -> None:
    signals = signals_of(members=300, others=300, leak=0.3)
    for name in ("black_box_partial", "white_box_partial"):
        widths = {}
        for protocol in ("paper", "cross_fit"):
            found = report_attack(name, get_attack(name)(signals_with_features(signals), protocol=protocol)).metrics
            widths[protocol] = found["mia_auc_high"] - found["mia_auc_low"]  # type: ignore[operator]
        assert 1.5 < widths["paper"] / widths["cross_fit"] < 2.1


def test_a_fold_is_learned_for_ten_epochs_or_fifty_batches() -> None:
    found = [epochs_of_a_fold(records) for records in (2, 64, 65, 300, 640, 10_000)]
    assert found == [EPOCHS, EPOCHS, 25, 10, 10, 10]
