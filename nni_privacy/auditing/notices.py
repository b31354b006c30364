"""Notices that an audit's numbers may be no result, read from the model's answers, and the counts they are read from.

What is wrong with the records themselves is told by :mod:`nni_privacy.auditing.inputs`. Each notice that comes from a
test has two conditions: the test is significant at :data:`ALARM`, and the effect is so large that it changes what an
audit says; so a sound audit has none, however few or many its records are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks import AttackReport, TargetSignals, roc_auc
from nni_privacy.attacks.epsilon import EpsilonBounds

__all__ = ["ALARM", "FEW_RECORDS", "ONE_CLASS", "SIDES", "accuracies", "balanced_accuracy", "class_counts"]
__all__ += ["exceeded_claim", "notices_of"]

Counts = npt.NDArray[np.integer]

SIDES = ("members", "non-members")

ALARM = 5e-5
"""Level of any one test: of the twenty that an audit makes one is wrong in at most one of 1,000 sound audits."""

FEW_RECORDS = 100
"""Attacked records below which an AUC's interval is some 0.2 wide."""

ONE_CLASS = 0.95
"""Share from which on one class is as good as all there is; a sample of such records may have a little less."""

SHARED = 0.05
"""Share of the members that are non-members, too, from which on an AUC is pulled to 0.5 by more than its interval."""

ONE_SIDED = 1.645
"""Standard errors that a guess exceeds once in twenty times."""

IMBALANCE = 0.1
"""Effect size (Cramer's V) of two equally large sides of which one has 55% of a class and the other 45%."""

LEAST_EXPECTED = 5
"""Records of a class that are expected on a side, below which the chi-square test puts it together with others."""

GAIN = 0.1
"""Balanced accuracy that another numbering of the classes gains at least."""

WORSE = 0.05
"""Accuracy that members lack at least, and AUC below 0.5 of the loss."""

MAPPED_CLASSES = 2000
"""Most classes of which another numbering is looked for: it takes their number squared in memory, cubed in time."""

TIED = 0.95
"""Share of records with one and the same loss from which on no attack can order them."""


def class_counts(signals: TargetSignals) -> dict[int, tuple[int, int]]:
    """Members and non-members of each class that occurs, by its label."""
    found = enumerate(_class_table(signals).T.tolist())
    return {label: (members, others) for label, (members, others) in found if members + others}


def accuracies(signals: TargetSignals) -> tuple[float, float]:
    """Share of the members, and of the non-members, that the model classifies right."""
    members, others = (float(signals.correct[side].mean()) for side in _sides(signals))
    return members, others


def balanced_accuracy(signals: TargetSignals) -> float:
    """Mean over the classes of the share of non-members that the model classifies right.

    One over the number of classes for a model that always answers the same, however common that class is.
    """
    _, others = _sides(signals)
    counts = np.bincount(signals.labels[others], minlength=signals.num_classes)
    right = np.bincount(signals.labels[others], signals.correct[others], minlength=signals.num_classes)
    return float(np.mean(right[counts > 0] / counts[counts > 0]))


def notices_of(
    signals: TargetSignals, attacks: Mapping[str, AttackReport], *, shared: int = 0, inputs: Sequence[str] = ()
) -> tuple[str, ...]:
    """What a reader must know before any number: each begins with its kind and a colon, and holds no semicolon.

    Args:
        signals: of the attacked model; there are members and non-members.
        attacks: the attacks on it by name.
        shared: members whose image is among the non-members, too.
        inputs: what :func:`~nni_privacy.auditing.inputs.input_notices` says of the records.
    """
    found = [*_chance(signals), *_few(attacks), *_one_class(signals), *_shared(signals, shared)]
    checks = _CHECKS if signals.tells_class else ()  # else labels may be unknown
    return (*found, *(notice for check in checks for notice in check(signals)), *inputs)


def _sides(signals: TargetSignals) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    return signals.is_member, ~signals.is_member


def _class_table(signals: TargetSignals) -> Counts:
    """Members and non-members of each class, ``(2, K)``."""
    return np.stack([np.bincount(signals.labels[side], minlength=signals.num_classes) for side in _sides(signals)])


def _chance(signals: TargetSignals) -> Iterator[str]:
    if not signals.tells_class:
        return
    _, others = _sides(signals)
    counts = np.bincount(signals.labels[others])
    counts = counts[counts > 0]
    if len(counts) < 2:
        return  # with one class there is nothing to guess
    chance, found = 1 / len(counts), balanced_accuracy(signals)
    reach = chance + ONE_SIDED * float(np.sqrt(np.sum(chance * (1 - chance) / counts))) / len(counts)
    if found > reach:
        return
    remedy = (
        "the model gives every record the same answer, so look at its last layer and at the scale of the records"
        if _is_constant(signals)
        else "so check that weights, labels and the preparation of the records are those of the training"
    )
    yield (
        f"accuracy at chance: balanced accuracy {found:.3f} on {len(signals.labels[others])} non-members of "
        f"{len(counts)} classes, guessing has {chance:.3f} and by luck up to {reach:.3f}: {remedy}"
    )


def _is_constant(signals: TargetSignals) -> bool:
    return bool(np.all(signals.logits == signals.logits[0]))


def _few(attacks: Mapping[str, AttackReport]) -> Iterator[str]:
    few = [f"{name} {len(attack.records)}" for name, attack in attacks.items() if len(attack.records) < FEW_RECORDS]
    if few:
        told = "intervals are wide and low false-positive rates are out of reach, so give more of both sides"
        yield f"few records: fewer than {FEW_RECORDS} attacked ({', '.join(few)}): {told}"


def _one_class(signals: TargetSignals) -> Iterator[str]:
    if not signals.tells_class:
        return  # labels may be unknown
    counts = np.bincount(signals.labels)
    share = counts.max() / counts.sum()
    scatter = 2 * float(np.sqrt(ONE_CLASS * (1 - ONE_CLASS) / counts.sum()))
    if share >= ONE_CLASS - scatter:
        told = "accuracy says little, and the numbers hold for that class, so give records of the others"
        yield f"one class: {share:.3f} of the records are of class {int(counts.argmax())}: {told}"


def _shared(signals: TargetSignals, shared: int) -> Iterator[str]:
    members = int(np.count_nonzero(signals.is_member))
    if shared and shared >= SHARED * members:
        told = "which no attack can tell apart, so take them out of one side"
        yield f"members among non-members: {shared} of {members} members, {told}"


def _class_shares(signals: TargetSignals) -> Iterator[str]:
    """Classes that only one side has, and other shares of those that both have."""
    table = _class_table(signals)
    table = table[:, table.sum(axis=0) > 0]
    labels, sizes, totals = np.unique(signals.labels), table.sum(axis=1), table.sum(axis=0)
    # Where sides are drawn by chance, all records of a class are on one of them with about this probability.
    alone = (table == 0) & ((sizes[::-1, None] / sizes.sum()) ** totals <= ALARM / table.size)
    for side, lacking in enumerate(alone):
        if lacking.any():
            yield (
                f"class of one side: {SIDES[side]} have no record of class {_listed(labels[lacking])}, of which there "
                f"are {int(totals[lacking].sum())} {SIDES[1 - side]}: an attack tells them by their class, so take "
                "both sides from one split"
            )
    both = table[:, ~alone.any(axis=0)]
    effect, p = _imbalance(both)
    if effect >= IMBALANCE and p <= ALARM:
        shares = both / both.sum(axis=1, keepdims=True)
        most = int(np.abs(shares[0] - shares[1]).argmax())
        yield (
            f"class balance: class {labels[~alone.any(axis=0)][most]} is {shares[0, most]:.3f} of the members and "
            f"{shares[1, most]:.3f} of the non-members (chi-square p = {p:.1g}, effect {effect:.2f}): an attack tells "
            "the sides by their classes, so draw both in equal shares"
        )


def _imbalance(table: Counts) -> tuple[float, float]:
    """Cramer's V without what chance adds to it, as of two sides of equal size, and the chi-square test's p-value."""
    from scipy.stats import chi2_contingency

    sizes = table.sum(axis=1)
    rare = table.sum(axis=0) * sizes.min() < LEAST_EXPECTED * sizes.sum()
    table = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2 or sizes.min() == 0:
        return 0.0, 1.0
    found = chi2_contingency(table, correction=False)
    share = sizes[0] / sizes.sum()
    excess = max(0.0, found.statistic - found.dof) / sizes.sum() / (4 * share * (1 - share))
    return float(np.sqrt(excess)), float(found.pvalue)


def _renumbered(signals: TargetSignals) -> Iterator[str]:
    """Sides whose labels become right when classes are exchanged, by the best one-to-one mapping of another half."""
    from scipy.stats import binomtest

    if signals.num_classes > MAPPED_CLASSES:
        return
    said = signals.logits.argmax(axis=1)
    for name, side in zip(SIDES, _sides(signals), strict=True):
        labels, answers = signals.labels[side], said[side]
        order = np.argsort(labels, kind="stable")
        halves = order[::2], order[1::2]
        read = np.empty_like(labels)
        for known, other in (halves, halves[::-1]):
            read[other] = _best_mapping(labels[known], answers[known], signals.num_classes)[labels[other]]
        before, after = labels == answers, read == answers
        if not np.any(after & ~before) or _per_class(after, labels) - _per_class(before, labels) < GAIN:
            continue
        # One class whose records all get one wrong answer is a poor model's; a permutation is of two or more.
        one = int(np.bincount(labels[after & ~before]).argmax())
        better, worse = (np.count_nonzero(gain & (labels != one)) for gain in (after & ~before, before & ~after))
        if better > worse and binomtest(better, better + worse, alternative="greater").pvalue <= ALARM:
            yield (
                f"labels permuted: {before.mean():.3f} of the {name} are classified right, but {after.mean():.3f} with "
                f"classes exchanged (label {one} for the model's {int(read[labels == one][0])}): number the labels of "
                "this side as those of the training"
            )


def _best_mapping(labels: Counts, answers: Counts, classes: int) -> Counts:
    """The one-to-one mapping of labels to answers that fits most records; each label to itself where none fits more."""
    from scipy.optimize import linear_sum_assignment

    fits = 2 * np.bincount(labels * classes + answers, minlength=classes * classes).reshape(classes, classes)
    common = fits.max(axis=1, initial=0)
    if np.all(fits.diagonal() >= common):
        return np.arange(classes, dtype=np.int64)
    fits[np.diag_indices(classes)] += 1
    return np.asarray(linear_sum_assignment(fits, maximize=True)[1], dtype=np.int64)


def _per_class(right: npt.NDArray[np.bool_], labels: Counts) -> float:
    """Mean over the classes of the share that is right."""
    counts = np.bincount(labels)
    return float(np.mean((np.bincount(labels, right) / np.maximum(counts, 1))[counts > 0]))


def _worse(signals: TargetSignals) -> Iterator[str]:
    """Members that the model fits less well than non-members."""
    from scipy.stats import mannwhitneyu, norm

    (first, second), sides = accuracies(signals), _sides(signals)
    sizes = [np.count_nonzero(side) for side in sides]
    spread = float(signals.correct.std()) * np.sqrt(sum(1 / size for size in sizes))
    less = second - first >= WORSE and norm.sf((second - first) / spread) <= ALARM
    auc = roc_auc(-signals.losses, signals.is_member)
    above = mannwhitneyu(*(signals.losses[side] for side in sides), alternative="greater", method="asymptotic")
    if less or (auc <= 0.5 - WORSE and above.pvalue <= ALARM):
        yield (
            f"members fit worse: accuracy {first:.3f} on members and {second:.3f} on non-members, AUC {auc:.3f} of the "
            "loss: the sides may be exchanged, or the members' labels or preparation be others than in the training"
        )


def _tied(signals: TargetSignals) -> Iterator[str]:
    if signals.answers == "prediction":
        return  # which has two losses
    _, counts = np.unique(signals.losses, return_counts=True)
    share = counts.max() / counts.sum()
    if share >= TIED and not _is_constant(signals):
        yield (
            f"saturated answers: {share:.3f} of the records have exactly the same loss, so no attack on answers can "
            "order them: give logits or unrounded log-probabilities instead of rounded probabilities"
        )


_CHECKS: tuple[Callable[[TargetSignals], Iterator[str]], ...] = (_class_shares, _renumbered, _worse, _tied)


def _listed(labels: Counts, most: int = 5) -> str:
    """The first labels, and how many there are more."""
    shown = ", ".join(str(label) for label in labels[:most])
    return shown if len(labels) <= most else f"{shown} and {len(labels) - most} others"


def exceeded_claim(found: EpsilonBounds, claimed: float) -> Iterator[str]:
    """A notice where attacks refute a claimed epsilon, with as few assumptions as that takes.

    The threshold's bound is not asked: for what DP-SGD claims the last one is the tighter.
    """
    gaussian = " if its noise is Gaussian"
    both = f"{gaussian} and records are independent"
    for known, condition in ((found.one_run, ""), (found.one_run_gaussian, gaussian), (found.gaussian, both)):
        if known.epsilon > claimed:
            yield (
                f"epsilon exceeded: {known.attack} shows at least {known.epsilon:.3f}{condition} with "
                f"{found.confidence:.0%} confidence, claimed is at most {claimed:.3f} at delta {found.delta:g}"
            )
            return
