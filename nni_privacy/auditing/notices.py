"""Notices that an audit's numbers may be no result, and the counts that they are read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks import AttackReport, TargetSignals
from nni_privacy.attacks.epsilon import EpsilonBounds

__all__ = ["FEW_RECORDS", "ONE_CLASS", "balanced_accuracy", "class_counts", "exceeded_claim", "notices_of"]

FEW_RECORDS = 100
"""Attacked records below which an AUC's interval is some 0.2 wide."""

ONE_CLASS = 0.95
"""Share from which on one class is as good as all there is; a sample of such records may have a little less."""

SHARED = 0.05
"""Share of the members that are non-members, too, from which on an AUC is pulled to 0.5 by more than its interval."""

ONE_SIDED = 1.645
"""Standard errors that a guess exceeds once in twenty times."""


def class_counts(signals: TargetSignals) -> dict[int, tuple[int, int]]:
    """Members and non-members of each class that occurs, by its label."""
    sides = [np.bincount(signals.labels[side], minlength=signals.num_classes) for side in _sides(signals)]
    found = enumerate(zip(*(side.tolist() for side in sides), strict=True))
    return {label: (members, others) for label, (members, others) in found if members + others}


def balanced_accuracy(signals: TargetSignals) -> float:
    """Mean over the classes of the share of non-members that the model classifies right.

    One over the number of classes for a model that always answers the same, however common that class is.
    """
    _, others = _sides(signals)
    counts = np.bincount(signals.labels[others], minlength=signals.num_classes)
    right = np.bincount(signals.labels[others], signals.correct[others], minlength=signals.num_classes)
    return float(np.mean(right[counts > 0] / counts[counts > 0]))


def notices_of(signals: TargetSignals, attacks: Mapping[str, AttackReport], *, shared: int = 0) -> tuple[str, ...]:
    """What a reader must know before any number: each begins with its kind and a colon, and holds no semicolon.

    Args:
        signals: of the attacked model; there are members and non-members.
        attacks: the attacks on it by name.
        shared: members whose image is among the non-members, too.
    """
    return (*_chance(signals), *_few(attacks), *_one_class(signals), *_shared(signals, shared))


def _sides(signals: TargetSignals) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    return signals.is_member, ~signals.is_member


def _chance(signals: TargetSignals) -> Iterator[str]:
    _, others = _sides(signals)
    counts = np.bincount(signals.labels[others])
    counts = counts[counts > 0]
    if len(counts) < 2:
        return  # with one class there is nothing to guess
    chance, found = 1 / len(counts), balanced_accuracy(signals)
    reach = chance + ONE_SIDED * float(np.sqrt(np.sum(chance * (1 - chance) / counts))) / len(counts)
    if found <= reach:
        yield (
            f"accuracy at chance: balanced accuracy {found:.3f} on {len(signals.labels[others])} non-members of "
            f"{len(counts)} classes, guessing has {chance:.3f} and by luck up to {reach:.3f}"
        )


def _few(attacks: Mapping[str, AttackReport]) -> Iterator[str]:
    few = [f"{name} {len(attack.records)}" for name, attack in attacks.items() if len(attack.records) < FEW_RECORDS]
    if few:
        yield f"few records: fewer than {FEW_RECORDS} attacked ({', '.join(few)})"


def _one_class(signals: TargetSignals) -> Iterator[str]:
    counts = np.bincount(signals.labels)
    share = counts.max() / counts.sum()
    scatter = 2 * float(np.sqrt(ONE_CLASS * (1 - ONE_CLASS) / counts.sum()))
    if share >= ONE_CLASS - scatter:
        yield f"one class: {share:.3f} of the records are of class {int(counts.argmax())}"


def _shared(signals: TargetSignals, shared: int) -> Iterator[str]:
    members = int(np.count_nonzero(signals.is_member))
    if shared and shared >= SHARED * members:
        yield f"members among non-members: {shared} of {members} members, which no attack can tell apart"


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
