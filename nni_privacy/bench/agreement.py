"""Whether AUC and TPR at 1% FPR rank networks alike, and how far TPRs differ where the gap does not.

N. Carlini et al., "Membership Inference Attacks From First Principles" (IEEE S&P 2022), show networks whose gaps
between train and test accuracy are equal and whose TPRs at a low FPR differ a hundredfold. A TPR is a small count's
share, and of many networks the largest and the smallest differ by a lot even if all leak alike; so their ratio is
compared with what noise alone would give: that of the attacked records, and that between trainings of other seeds.
(Networks attacked on the same records share some of that noise, and differ by less than is drawn here.)

A network is an original cell at a width, at its last epoch, its seeds averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nni_privacy.analysis.bootstrap import BOOTSTRAP_FROM, LEVEL
from nni_privacy.analysis.rows import ORIGINAL
from nni_privacy.analysis.rules import HOLDS, UNDECIDED, Verdict, holm
from nni_privacy.bench.points import Measure, grids, measured_attacks
from nni_privacy.errors import DataError, nearest
from nni_privacy.rng import derived_seed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DRAWS", "AttackedNetworks", "NoiseRatio", "RankAgreement", "Third", "noise_ratio", "rank_agreements"]
__all__ += ["weighted_spearman", "within_thirds"]

Floats = npt.NDArray[np.float64]

DRAWS = 1999
"""Resamples, and draws of noise."""
THIRDS = 3
LEAST = 2
"""Networks of a third between which there is a ratio."""


@dataclass(frozen=True)
class RankAgreement:
    """Spearman's correlation over networks of an attack's AUC and TPR at 1% FPR.

    Attributes:
        dataset: label of the data set.
        space: label of the search space.
        attack: its name.
        rho: in [-1, 1]; None of fewer than three networks, or where all AUCs or all TPRs are equal.
        low: lower end of the 95% interval, cells drawn with replacement, with all their widths; None where there are
            fewer than eight cells.
        high: upper end.
        networks: how many.
        cells: how many they belong to.
        reason: why there is no correlation or no interval; else empty.
    """

    dataset: str
    space: str
    attack: str
    rho: float | None
    low: float | None
    high: float | None
    networks: int
    cells: int
    reason: str


@dataclass(frozen=True)
class NoiseRatio:
    """The ratio of largest to smallest that noise alone would give, if all networks leaked alike.

    Attributes:
        expected: its mean.
        high: the ratio that it stays below in 95% of the draws.
        p_value: share of the draws in which it is at least as large as the one observed, that one counted among them.
    """

    expected: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Third:
    """The networks of one third of the gap, and how far their TPRs at 1% FPR differ.

    Attributes:
        dataset: label of the data set.
        space: label of the search space.
        attack: its name.
        by: the column that the networks are divided by.
        place: 0 of the lowest third, to 2.
        low: the least ``by`` among its networks.
        high: the largest.
        networks: how many.
        smallest: cell, width and TPR of the network with the smallest.
        largest: of the one with the largest.
        ratio: the largest by the smallest, both with half a member found more.
        records: what the noise of the attacked records gives; None without their standard errors.
        seeds: what the noise between seeds gives, that of the records of one training included; None where no network
            has two seeds.
        p_holm: the larger p-value of the two, adjusted for all thirds returned together; None where there is neither.
        verdict: whether the TPRs differ by more than noise: it holds up to a ``p_holm`` of .05; else it is undecided.
    """

    dataset: str
    space: str
    attack: str
    by: str
    place: int
    low: float
    high: float
    networks: int
    smallest: tuple[str, int, float]
    largest: tuple[str, int, float]
    ratio: float
    records: NoiseRatio | None
    seeds: NoiseRatio | None
    p_holm: float | None
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class AttackedNetworks:
    """The networks of one place that one attack has both numbers of, seeds averaged.

    Attributes:
        dataset: label of the data set.
        space: label of the search space.
        attack: its name.
        cells: ``(n,)`` label of the cell of each.
        widths: ``(n,)`` channels asked for.
        auc: ``(n,)`` mean over seeds.
        tpr: ``(n,)`` mean over seeds.
        members: ``(n,)`` attacked members of all seeds together.
        record_se: ``(n,)`` standard error of ``tpr`` over records, its seeds' taken for independent; NaN where not
            measured.
        squares: ``(n,)`` sum over seeds of the squared distance of a seed's TPR from ``tpr``.
        seeds: ``(n,)`` how many.
        by: ``(n,)`` mean over seeds of what they are divided by; NaN where not measured.
    """

    dataset: str
    space: str
    attack: str
    cells: tuple[str, ...]
    widths: tuple[int, ...]
    auc: Floats
    tpr: Floats
    members: Floats
    record_se: Floats
    squares: Floats
    seeds: Floats
    by: Floats


def rank_agreements(
    table: pd.DataFrame, *, attacks: Sequence[str] | None = None, seed: int = 0
) -> tuple[RankAgreement, ...]:
    """The correlation of AUC and TPR of every place and attack.

    The interval is the percentile bootstrap's over cells: of eight cells or more it holds the truth in 93% to 98% of
    simulated tables. The noise of either number draws the correlation towards 0.

    Args:
        table: see :func:`nni_privacy.bench.points.grids`.
        attacks: names; by default all that the table has an AUC and a TPR of.
        seed: of the bootstrap.

    Raises:
        DataError: if the table is not valid, or has no such attack.
    """
    return tuple(_agreement(one, seed) for one in _every(table, attacks, "gap"))


def within_thirds(
    table: pd.DataFrame, *, attacks: Sequence[str] | None = None, by: str = "gap", seed: int = 0
) -> tuple[Third, ...]:
    """How far TPRs differ among the networks of each third of the gap, of every place and attack.

    Args:
        table: see :func:`nni_privacy.bench.points.grids`; with ``by``.
        attacks: names; by default all that the table has an AUC and a TPR of.
        by: the column of which networks are divided into thirds.
        seed: of the draws of noise.

    Raises:
        DataError: if the table is not valid, or has no such attack or column.
    """
    found = [third for one in _every(table, attacks, by) for third in _thirds(one, by, seed)]
    worst = [max((one.p_value for one in (third.records, third.seeds) if one), default=None) for third in found]
    values = iter(holm([value for value in worst if value is not None]))
    adjusted = [None if value is None else next(values) for value in worst]
    return tuple(
        replace(third, p_holm=p, verdict=HOLDS if p is not None and p <= 1 - LEVEL else UNDECIDED)
        for third, p in zip(found, adjusted, strict=True)
    )


def weighted_spearman(x: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike) -> Floats:
    """Spearman's correlation of samples in which each pair stands so and so often; ties have the mean of their ranks.

    Args:
        x: ``(n,)`` one number a pair.
        y: ``(n,)``.
        weights: ``(m, n)`` how often each pair stands in each of the samples, at least 0.

    Returns:
        ``(m,)`` correlations; NaN of a sample with one value only on a side.
    """
    often = np.asarray(weights, dtype=np.float64)
    total = often.sum(axis=1, keepdims=True)
    sides = []
    for values in (np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)):
        below = (values[:, None] < values) + (values[:, None] == values) / 2
        ranks = often @ below
        sides.append(ranks - (often * ranks).sum(axis=1, keepdims=True) / total)
    a, b = sides
    scale = np.sqrt((often * a * a).sum(axis=1) * (often * b * b).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(scale > 0, (often * a * b).sum(axis=1) / scale, np.nan))


def noise_ratio(tpr: Floats, error: Floats, members: Floats, *, seed: int = 0) -> NoiseRatio:
    """The ratio of the largest to the smallest TPR if all were the same and differed by noise.

    Noise is drawn from gamma distributions, as TPRs are not negative and, being shares of small counts, skew.

    Args:
        tpr: ``(n,)`` the observed TPRs, n at least 2; their mean is what all are supposed to be.
        error: ``(n,)`` standard deviations of the noise, above 0.
        members: ``(n,)`` attacked members behind each: half of one is added to what is found.
        seed: of the draws.
    """
    rng = np.random.default_rng(derived_seed(seed, "ratio of TPRs"))
    mean, half = max(float(tpr.mean()), 0.5 / float(members.sum())), 0.5 / members
    drawn = rng.gamma((mean / error) ** 2, error**2 / mean, size=(DRAWS, len(tpr))) + half
    ratios = drawn.max(axis=1) / drawn.min(axis=1)
    beyond = int((ratios >= _ratio(tpr + half)).sum())
    return NoiseRatio(float(ratios.mean()), float(np.quantile(ratios, LEVEL)), (beyond + 1) / (DRAWS + 1))


def _ratio(values: Floats) -> float:
    return float(values.max() / values.min())


def _every(table: pd.DataFrame, attacks: Sequence[str] | None, by: str) -> list[AttackedNetworks]:
    known = [name for name in measured_attacks(table) if f"{name}_tpr" in table.columns]
    for name in attacks or ():
        if name not in known:
            raise DataError(f"table: no AUC and TPR of attack {name!r}; {nearest(name, known)}")
    if by not in table.columns:
        raise DataError(f"table: no column {by!r}; {nearest(by, [str(column) for column in table.columns])}")
    found = []
    for attack in known if attacks is None else attacks:
        for grid in grids(table, Measure(f"{attack}_tpr", log=True)):  # which checks the table
            here = (table["dataset"] == grid.dataset) & (table["space"] == grid.space)
            rows = table[here & (table["variant"] == ORIGINAL) & (table["epoch"] == grid.epochs)]
            rows = rows[rows[f"{attack}_auc"].notna() & rows[f"{attack}_tpr"].notna()]
            if len(rows):
                found.append(_networks(rows, grid.dataset, grid.space, attack, by))
    return found


def _networks(rows: pd.DataFrame, dataset: str, space: str, attack: str, by: str) -> AttackedNetworks:
    auc, tpr, error = (f"{attack}_{end}" for end in ("auc", "tpr", "tpr_se"))
    groups = rows.groupby(["cell", "width"])
    labels = list(groups.groups)
    seeds = groups.size().to_numpy(dtype=np.float64)
    if error in rows.columns:
        record_se = np.sqrt(
            groups[error].agg(lambda one: (one**2).mean(skipna=False)).to_numpy(dtype=np.float64) / seeds
        )
    else:
        record_se = np.full(len(seeds), np.nan)
    return AttackedNetworks(
        *(dataset, space, attack),
        cells=tuple(str(cell) for cell, _ in labels),
        widths=tuple(int(width) for _, width in labels),
        auc=groups[auc].mean().to_numpy(dtype=np.float64),
        tpr=groups[tpr].mean().to_numpy(dtype=np.float64),
        members=groups["members"].sum().to_numpy(dtype=np.float64),
        record_se=record_se,
        squares=groups[tpr].agg(lambda one: ((one - one.mean()) ** 2).sum()).to_numpy(dtype=np.float64),
        seeds=seeds,
        by=groups[by].mean().to_numpy(dtype=np.float64),
    )


def _agreement(one: AttackedNetworks, seed: int) -> RankAgreement:
    names = sorted(set(one.cells))
    count, networks = len(names), len(one.cells)
    place = one.dataset, one.space, one.attack
    rho = float(weighted_spearman(one.auc, one.tpr, np.ones((1, networks)))[0])
    if networks < 3 or np.isnan(rho):
        reason = "fewer than three networks" if networks < 3 else "all AUCs or all TPRs are equal"
        return RankAgreement(*place, None, None, None, networks, count, reason)
    if count < BOOTSTRAP_FROM:
        reason = f"{count} cells; an interval needs at least {BOOTSTRAP_FROM}"
        return RankAgreement(*place, rho, None, None, networks, count, reason)
    rng = np.random.default_rng(derived_seed(seed, "rank agreement", *place))
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=DRAWS)
    often = drawn[:, [names.index(cell) for cell in one.cells]]
    resampled = weighted_spearman(one.auc, one.tpr, often)
    low, high = np.nanquantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return RankAgreement(*place, rho, low, high, networks, count, "")


def _thirds(one: AttackedNetworks, by: str, seed: int) -> list[Third]:
    """The thirds that hold enough networks; of equal values the order is that of cells and widths."""
    order = np.argsort(one.by, kind="stable")
    parts = np.array_split(order[: int(np.isfinite(one.by).sum())], THIRDS)  # what is not measured is sorted last
    return [_third(one, by, place, part, seed) for place, part in enumerate(parts) if len(part) >= LEAST]


def _third(one: AttackedNetworks, by: str, place: int, part: npt.NDArray[np.intp], seed: int) -> Third:
    tpr, members, values = one.tpr[part], one.members[part], one.by[part]
    ends = [part[int(np.argmin(tpr))], part[int(np.argmax(tpr))]]
    smallest, largest = ((one.cells[end], one.widths[end], float(one.tpr[end])) for end in ends)
    # If all leak alike, so do their errors, which each network's own TPR tells with much noise.
    pooled = np.sqrt(np.mean(one.record_se[part] ** 2 * one.seeds[part]) / one.seeds[part])
    more = one.seeds[part].sum() - len(part)
    between = np.sqrt(one.squares[part].sum() / more / one.seeds[part]) if more else np.full(len(part), np.nan)
    records, seeds = (
        noise_ratio(tpr, error, members, seed=seed) if np.isfinite(error).all() and (error > 0).all() else None
        for error in (pooled, between)
    )
    return Third(
        *(one.dataset, one.space, one.attack, by, place, float(values.min()), float(values.max()), len(part)),
        smallest=smallest,
        largest=largest,
        ratio=_ratio(tpr + 0.5 / members),
        records=records,
        seeds=seeds,
        p_holm=None,
        verdict=UNDECIDED,
    )
