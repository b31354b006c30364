"""Notices that members and non-members are not alike as records, whatever the model says of them.

An attack tells the two sides apart by all that differs between them, and whatever is not membership fakes a leak or
hides one. Each record is summed up in a few numbers: mean, deviation, lowest and highest value, the share of whole
numbers, the share that looks like padding. Their distributions on the two sides are compared (Kolmogorov and Smirnov),
and so is what a linear classifier makes of the records' shape, without the model (a two-sample test by a classifier:
Lopez-Paz and Oquab, ICLR 2017). As in :mod:`nni_privacy.auditing.notices` the difference must be certain and large.

Only a sample of the records and of each record's values is looked at, a few records at a time: the data is not copied,
and the cost does not grow with it. Equal records alone are counted among all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nni_privacy.attacks import roc_auc
from nni_privacy.attacks.ensemble import cross_fitted_ranks, deal_folds
from nni_privacy.auditing.notices import ALARM, SIDES
from nni_privacy.data.inputs import Inputs

__all__ = ["count_repeated", "input_notices", "notices_of_inputs", "repeated_notices"]

Floats = npt.NDArray[np.float64]

SCALES, ROUNDED = "different scales", "rounded values"
FEWEST = 6
"""Records of a side that are compared at all: two a fold."""

RECORDS, VALUES, CHUNK = 500, 2048, 64
"""Of a side that are looked at, values of each, and records that are held at once."""

APART = 0.3
"""Distance of two distribution functions (Kolmogorov and Smirnov) that is large."""

SHIFT = 0.05
"""Mean distance of two distributions (Wasserstein) in standard deviations of all values that is not rounding."""

SHARE = 0.1
"""The same of shares."""

STRETCH = 2.0
"""Ratio of the records' deviations that no other distribution explains alone."""

TOLD_APART = 0.6
"""AUC of a classifier of inputs from which on an attack's is hardly about membership."""

BLOCKS, CLIPPED = 32, 3.0
"""Parts of a record that are averaged for the classifier, and deviations from the mean that it sees at most."""

REPEATED = 0.05
"""Share of a side that equals other records of it, from which on intervals are too narrow."""


def input_notices(members: Any, nonmembers: Any, *, name: str = "") -> tuple[str, ...]:
    """What is odd about the two sides of one input; each begins with its kind and a colon, and holds no semicolon.

    Args:
        members: ``(n, ...)`` finite numbers of any type, a tensor or an array.
        nonmembers: ``(m, ...)``, of the same shape otherwise.
        name: of the input where a record has several; quoted in each notice.
    """
    sides = [torch.as_tensor(side) for side in (members, nonmembers)]
    if any(len(side) < FEWEST or not side.numel() for side in sides):
        return ()
    first, second = (_Summary.of(side) for side in sides)
    of = f"of input {name!r} " if name else ""
    prepared = list(_prepared(first, second, of))
    scaled = any(notice.startswith(SCALES) for notice in prepared)  # which ends all rounding
    shares = (notice for notice in _shares(first, second, of) if not (scaled and notice.startswith(ROUNDED)))
    return (*prepared, *shares, *_constant(first, second, of))


def repeated_notices(members: int, nonmembers: int, *, counts: tuple[int, int]) -> tuple[str, ...]:
    """A notice of the sides that hold many records more than once.

    Args:
        members: that equal an earlier member, see :func:`count_repeated`.
        nonmembers: likewise.
        counts: of all members and non-members.
    """
    pairs = list(zip(SIDES, (members, nonmembers), counts, strict=True))
    if all(again < REPEATED * count for _, again, count in pairs):
        return ()
    told = " and ".join(f"{again} of {count} {side}" for side, again, count in pairs if again)
    remedy = "they count as more than they are, and intervals are too narrow, so keep each once"
    return (f"repeated records: {told} equal an earlier one of their side: {remedy}",)


def notices_of_inputs(members: Inputs, nonmembers: Inputs) -> tuple[str, ...]:
    """All that is odd about the records of the two sides, of each of their inputs, and those that are there again."""
    pairs = zip(members.items(), nonmembers.tensors, strict=True)
    several = members.several
    odd = [notice for (name, one), other in pairs for notice in input_notices(one, other, name=name * several)]
    repeated = count_repeated(members), count_repeated(nonmembers)
    return (*odd, *repeated_notices(*repeated, counts=(len(members), len(nonmembers))))


def count_repeated(records: Any) -> int:
    """Number of records that equal an earlier one; ``records`` as :meth:`~nni_privacy.data.Inputs.of` takes them."""
    digests = Inputs.of(records).digests
    return len(digests) - len(set(digests))


@dataclass(frozen=True, eq=False)
class _Summary:
    """A sample of one side's records: values ``(r, C, V)``, C being channels, features or positions."""

    values: Floats

    @classmethod
    def of(cls, records: Tensor) -> _Summary:
        order = np.random.default_rng(0).permutation(len(records))[:RECORDS]
        parts = [_thinned(records[part]) for part in torch.from_numpy(np.sort(order)).split(CHUNK)]
        return cls(torch.cat(parts).cpu().numpy())

    @cached_property
    def flat(self) -> Floats:
        return self.values.reshape(len(self.values), -1)

    @cached_property
    def scale(self) -> dict[str, Floats]:
        """What changes with how records are scaled."""
        return {
            "mean": self.flat.mean(axis=1),
            "deviation": self.flat.std(axis=1),
            "lowest value": self.flat.min(axis=1),
            "highest value": self.flat.max(axis=1),
        }

    @cached_property
    def shares(self) -> dict[str, Floats]:
        """Kinds of values by their share of a record."""
        flat = self.flat
        levels = 255 * flat
        ends = [(flat == flat[:, [end]]).mean(axis=1) for end in (0, -1)]
        return {
            "whole numbers": (np.abs(flat - np.rint(flat)) < 1e-4).mean(axis=1),
            "multiples of 1/255": (np.abs(levels - np.rint(levels)) < 1e-3).mean(axis=1),
            "equal to their record's first or last one": np.maximum(*ends),
        }

    @property
    def standardised(self) -> Floats:
        """The values with each record, or of large ones each channel, standardised: what no other scale explains."""
        axes: tuple[int, ...] = (2,) if self.values.shape[2] >= BLOCKS else (1, 2)
        spread = self.values.std(axis=axes, keepdims=True)
        centred = self.values - self.values.mean(axis=axes, keepdims=True)
        return np.asarray(centred / np.where(spread > 0, spread, 1))


def _thinned(records: Tensor) -> Tensor:
    """At most :data:`VALUES` values of each record as ``float64``, the first dimension kept apart."""
    shaped = records.reshape(len(records), records.shape[1] if records.ndim > 1 else 1, -1)
    channels = shaped[:, :: -(-shaped.shape[1] // VALUES)]
    return channels[:, :, :: -(-channels.shape[1] * channels.shape[2] // VALUES)].double()


def _apart(first: Floats, second: Floats, *, unit: float) -> bool:
    """Whether two samples are certainly and widely apart, in units of ``unit``."""
    from scipy.stats import ks_2samp, wasserstein_distance

    test = ks_2samp(first, second, method="asymp")
    return bool(test.statistic >= APART and test.pvalue <= ALARM and wasserstein_distance(first, second) >= unit)


def _prepared(first: _Summary, second: _Summary, of: str) -> Iterator[str]:
    """Sides of different scale, or from different distributions."""
    spread = float(np.concatenate([first.flat[:, ::7], second.flat[:, ::7]]).std())
    unit = SHIFT * spread
    pairs = {key: (values, second.scale[key]) for key, values in first.scale.items()}
    apart = [key for key, pair in pairs.items() if _apart(*pair, unit=unit)]
    told = {key: [float(np.median(side)) for side in pair] for key, pair in pairs.items()}
    auc, p = _classified(*(side.standardised if apart else side.values for side in (first, second)))
    other = auc >= TOLD_APART and p <= ALARM
    least, most = sorted(told["deviation"])
    if apart and (not other or most > STRETCH * least):
        shown = ", ".join(f"{key} {a:.3g} against {b:.3g}" for key, (a, b) in told.items())
        yield (
            f"{SCALES}: values {of}of members and of non-members are spread differently (medians over the "
            f"records: {shown}), which an attack takes for a leak: scale and normalise both sides alike"
        )
    if other:
        yield (
            f"other distribution: without the model, a linear classifier of the inputs {of}tells members from "
            f"non-members with an AUC of {auc:.3f}, so a leak may be that difference: draw both sides at random from "
            "one source and prepare them alike"
        )


def _classified(first: Floats, second: Floats) -> tuple[float, float]:
    """AUC of a cross-fitted linear classifier of two samples of values, and its p-value (Mann and Whitney)."""
    from scipy.stats import mannwhitneyu

    member = np.repeat([True, False], [len(first), len(second)])
    scores = cross_fitted_ranks(_outline(np.concatenate([first, second])), member, deal_folds(member, seed=0))
    p = mannwhitneyu(scores[member], scores[~member], alternative="greater", method="asymptotic").pvalue
    return roc_auc(scores, member), float(p)


def _outline(values: Floats) -> Floats:
    """Block means and extremes of records, in deviations; less than :data:`SHIFT` of the channel's makes none."""
    channels = values.std(axis=(0, 2), keepdims=True)
    flat = (values - values.mean(axis=(0, 2), keepdims=True)) / np.where(channels > 0, channels, 1)
    flat = flat.reshape(len(values), -1)
    starts = np.unique(np.linspace(0, flat.shape[1], BLOCKS, endpoint=False).astype(int))
    means = np.add.reduceat(flat, starts, axis=1) / np.diff([*starts, flat.shape[1]])
    found = np.column_stack([means, flat.min(axis=1), flat.max(axis=1)])
    spread = np.maximum(found.std(axis=0), SHIFT)
    return np.asarray(np.clip((found - found.mean(axis=0)) / spread, -CLIPPED, CLIPPED))


def _shares(first: _Summary, second: _Summary, of: str) -> Iterator[str]:
    """Values that one side only was rounded to, and padding."""
    told: set[str] = set()
    for key, one in first.shares.items():
        other, (kind, cause) = second.shares[key], _CAUSES[key]
        if kind not in told and _apart(one, other, unit=SHARE):
            told.add(kind)
            yield (
                f"{kind}: {one.mean():.3f} of the members' values {of}are {key}, of the non-members' "
                f"{other.mean():.3f}: {cause}"
            )


_ROUNDED = ROUNDED, "one side was stored or transformed otherwise, so read both from files of one kind"
_CAUSES = {
    "whole numbers": _ROUNDED,
    "multiples of 1/255": _ROUNDED,
    "equal to their record's first or last one": (
        "padding", "one side is padded, cropped or cut to length otherwise, so prepare both alike",
    ),
}  # fmt: skip


def _constant(first: _Summary, second: _Summary, of: str) -> Iterator[str]:
    """Channels or features that are constant on one side, but not on the other."""
    ends = [(side.values.min(axis=2), side.values.max(axis=2)) for side in (first, second)]
    sizes = [len(side.values) for side in (first, second)]
    for side in (0, 1):
        low, high = (end.min(axis=0) if at == 0 else end.max(axis=0) for at, end in enumerate(ends[side]))
        deviating = np.count_nonzero((ends[1 - side][0] != low) | (ends[1 - side][1] != low), axis=0)
        # By chance all records that deviate are on one side with about this probability.
        luck = (sizes[1 - side] / sum(sizes)) ** deviating * 2 * len(low)
        odd = (low == high) & (luck <= ALARM) & (deviating >= SHARE * sizes[1 - side])
        if odd.any():
            at = int(odd.argmax())
            yield (
                f"constant input: {np.count_nonzero(odd)} of {len(low)} channels or features {of}are constant in the "
                f"{SIDES[side]} only (the first is number {at}, always {low[at]:.3g}): fill them as on the other side, "
                "or take them out of both"
            )
