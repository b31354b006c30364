"""Which statistics that need no shadow models rank the leakage of architectures.

Two questions, of the same table. *All networks*: a bigger network leaks more or less than a smaller one, and a
predictor may know no more than the size. *Within widths*: among networks of one width, what tells which cell leaks; the
mean over widths of the rank correlation within each.

The unit is a network, a cell at a width, with the means over its seeds. The sample is that of cells: resamples draw
whole cells, with all their widths.

- A correlation's interval is Student's on Fisher's scale (atanh), with the bootstrap's standard error and as many
  degrees of freedom as cells less one. Percentiles covered less of the truth with few cells.
- A difference of two |rho| is of the networks that have both predictors, in the same resamples. Between the best and
  the runner-up no adjustment is needed for having looked for the best, as the runner-up was looked for, too (Gutmann
  and Maymin, Annals of Statistics, 1987; Hung and Fithian, Annals of Statistics, 2019).
- Against one reference that was named before, such as the gap, the best of many is the luckiest, too: the interval is
  one of a band over all predictors at once (the largest of their studentised differences; Dunnett, 1955, by bootstrap).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

from nni_privacy.analysis.bootstrap import LEVEL, Estimate, t_estimate
from nni_privacy.analysis.rules import RAISES, Verdict
from nni_privacy.bench.networks import LEAST_CELLS, Networks, networks_of
from nni_privacy.bench.rank_bootstrap import Floats, cluster_counts, rank_correlations
from nni_privacy.errors import ConfigError, nearest

if TYPE_CHECKING:
    import pandas

__all__ = ["PREDICTORS", "CeilingInfo", "ComparisonInfo", "PredictorInfo", "PredictorsInfo", "RankingInfo", "Scope"]
__all__ += ["Stage", "rank_predictors"]

Stage = Literal["built", "trained", "attacked", "unknown"]
"""What a predictor takes: the untrained network; one training; an attack without shadow models on it."""
Scope = Literal["all networks", "within widths"]

PREDICTORS: Mapping[str, Stage] = MappingProxyType(
    {
        **dict.fromkeys(("parameters", "multiply_adds", "surrogate"), "built"),
        **dict.fromkeys(("synflow", "grad_norm", "snip", "naswot"), "built"),
        **dict.fromkeys(("accuracy", "gap", "train_loss", "loss_gap"), "trained"),
        **dict.fromkeys(("stable_rank", "log_spectral_norm", "weight_norm"), "trained"),
        **dict.fromkeys(("loss_threshold_auc", "lt_iqr_auc", "loss_trace_iqr"), "attacked"),
    }
)
"""The candidates: column of the table to what it takes. ``loss_gap`` is computed, ``loss - train_loss``."""

HIGHEST = 0.9999
"""Correlations beyond count as this one on Fisher's scale, where 1 is infinite."""


@dataclass(frozen=True)
class PredictorInfo:
    """How a predictor ranks the outcome.

    Attributes:
        name: its column.
        stage: what it takes.
        rho: Spearman's correlation with the outcome, or the mean over widths; from -1 to 1.
        low: lower end of its 95% interval.
        high: upper end.
        networks: that have both numbers.
        cells: that these are of.
    """

    name: str
    stage: Stage
    rho: float
    low: float
    high: float
    networks: int
    cells: int


@dataclass(frozen=True)
class ComparisonInfo:
    """Whether the best predictor ranks better than another one.

    Attributes:
        best: name of the one.
        other: name of the other.
        estimate: |rho| of the best less that of the other, on the networks that have both.
        verdict: on the claim that it is above 0.
    """

    best: str
    other: str
    estimate: Estimate
    verdict: Verdict


@dataclass(frozen=True)
class CeilingInfo:
    """How well any predictor could rank an outcome that another seed would have turned out otherwise.

    A predictor that is measured on the same trainings as the outcome (gap, losses) shares their chance, and may come
    above. The formulas are of Pearson's correlation, and nearly right of ranks.

    Attributes:
        seeds: mean number of seeds a network.
        single: mean over pairs of seeds of the correlation of the outcome of one with that of the other.
        low: lower end of its 95% interval.
        high: upper end.
        reliability: of the mean over so many seeds (Spearman and Brown, 1910); 0 to 1.
        ceiling: its square root, the |rho| of a predictor that knew the mean over all seeds there could be.
        ceiling_low: lower end of its 95% interval.
        ceiling_high: upper end.
    """

    seeds: float
    single: float
    low: float
    high: float
    reliability: float
    ceiling: float
    ceiling_low: float
    ceiling_high: float


@dataclass(frozen=True)
class RankingInfo:
    """The answer to one of the questions.

    Attributes:
        scope: which.
        strata: number of widths (of a space) whose correlations are averaged; 1 of all networks.
        predictors: by |rho|, the highest first.
        undefined: names of predictors that have one value only, or too few networks.
        runner_up: the best against the second; None if there is no second.
        reference: the best of all others against the predictor named beforehand; None if that has no correlation.
        ceiling: None with one seed a network.
    """

    scope: Scope
    strata: int
    predictors: tuple[PredictorInfo, ...]
    undefined: tuple[str, ...]
    runner_up: ComparisonInfo | None
    reference: ComparisonInfo | None
    ceiling: CeilingInfo | None


@dataclass(frozen=True)
class PredictorsInfo:
    """What ranks the leakage of the architectures of a data set.

    Attributes:
        dataset: its name.
        outcome: column of what is ranked.
        networks: cells x widths that have it.
        cells: number of cells.
        overall: of all networks.
        within: within widths.
    """

    dataset: str
    outcome: str
    networks: int
    cells: int
    overall: RankingInfo
    within: RankingInfo


def rank_predictors(
    table: pandas.DataFrame,
    *,
    outcome: str = "rmia_auc",
    log: bool = False,
    predictors: Sequence[str] | None = None,
    reference: str = "gap",
    rounds: int = 2000,
    seed: int = 0,
) -> PredictorsInfo:
    """Ranks predictors by how well they rank the outcome, in the rows of original cells at their last epochs.

    Args:
        table: of one data set; its columns are those of :mod:`nni_privacy.bench`.
        outcome: column of the leakage.
        log: takes the logarithm of the outcome before it is averaged over seeds; of a TPR, 0 counts as half a record.
        predictors: columns; by default those of :data:`PREDICTORS` that have a number.
        reference: the predictor that the best one is to be better than, named before the data are seen.
        rounds: resamples of the bootstrap.
        seed: of the bootstrap.

    Raises:
        DataError: if rows are of several data sets, a setting is there twice, or fewer than 5 cells have the outcome.
        ConfigError: if a column that was asked for is not there, or an option is out of its range.
    """
    if rounds < 100:
        raise ConfigError(f"rounds: {rounds}; allowed is 100 or more")
    found = networks_of(table, outcome, tuple(PREDICTORS if predictors is None else predictors), log=log)
    missing = [name for name in predictors or () if name not in found.predictors]
    if missing:
        raise ConfigError(f"predictors: no column {missing[0]!r} with numbers; {nearest(missing[0], found.predictors)}")
    if reference not in {*PREDICTORS, *found.predictors}:
        raise ConfigError(f"reference: {reference!r}; {nearest(reference, {*PREDICTORS, *found.predictors})}")
    counts = cluster_counts(found.cells, rounds=rounds, seed=seed)
    everything = [np.arange(len(found.cells))]
    return PredictorsInfo(
        dataset=found.dataset,
        outcome=outcome,
        networks=len(found.cells),
        cells=len(set(found.cells)),
        overall=_ranking("all networks", _Resamples(found, counts, everything), reference),
        within=_ranking("within widths", _Resamples(found, counts, found.strata()), reference),
    )


class _Resamples:
    """Correlations within strata, of the networks as they are and in resamples of cells.

    Args:
        networks: the networks.
        counts: ``(1 + rounds, n)`` of :func:`cluster_counts`.
        strata: places of the networks of each.
    """

    def __init__(self, networks: Networks, counts: Floats, strata: Sequence[np.ndarray]) -> None:
        self.networks, self.counts, self.strata = networks, counts, strata
        self._known: dict[tuple[str, bytes], Floats] = {}

    def correlation(self, x: Floats, y: Floats) -> Floats:
        """``(1 + rounds,)`` mean over strata, without those that have too few cells or one value; NaN if all have."""
        rows = []
        for places in self.strata:
            known = np.isfinite(x[places]) & np.isfinite(y[places])
            if len({self.networks.cells[place] for place in places[known]}) >= LEAST_CELLS:
                rows.append(rank_correlations(x[places], y[places], self.counts[:, places]))
        defined = [row for row in rows if np.isfinite(row[0])]
        return np.mean(defined, axis=0) if defined else np.full(len(self.counts), np.nan)

    def of(self, name: str, among: np.ndarray) -> Floats:
        """The same of a predictor with the outcome, among the networks ``(n,)`` that have other numbers, too."""
        values = np.where(among, self.networks.predictors[name], np.nan)
        key = (name, np.isfinite(values).tobytes())
        if key not in self._known:
            self._known[key] = self.correlation(values, self.networks.outcome)
        return self._known[key]

    def has(self, *names: str) -> np.ndarray:
        """``(n,)`` whether a network has all of the predictors."""
        return np.all([np.isfinite(self.networks.predictors[name]) for name in names], axis=0)

    def sizes(self, among: np.ndarray) -> tuple[int, int]:
        """Number of these networks, and of their cells."""
        return int(among.sum()), len({cell for cell, one in zip(self.networks.cells, among, strict=True) if one})


def _ranking(scope: Scope, resamples: _Resamples, reference: str) -> RankingInfo:
    infos, undefined = [], []
    for name in resamples.networks.predictors:
        has = resamples.has(name)
        row, (networks, cells) = resamples.of(name, has), resamples.sizes(has)
        if np.isfinite(row[0]):
            infos.append(PredictorInfo(name, PREDICTORS.get(name, "unknown"), *_interval(row, cells), networks, cells))
        else:
            undefined.append(name)
    ranked = sorted(infos, key=lambda info: -abs(info.rho))
    names = [info.name for info in ranked]
    return RankingInfo(
        scope=scope,
        strata=len(resamples.strata),
        predictors=tuple(ranked),
        undefined=tuple(undefined),
        runner_up=_against_runner_up(resamples, *names[:2]) if len(names) > 1 else None,
        reference=_against_reference(resamples, names, reference) if reference in names and len(names) > 1 else None,
        ceiling=_ceiling(resamples),
    )


def _interval(row: Floats, cells: int) -> tuple[float, float, float]:
    """A correlation with the ends of its interval."""
    rho, scaled = float(row[0]), np.arctanh(np.clip(row, -HIGHEST, HIGHEST))
    reach = _quantile(cells) * float(np.nanstd(scaled[1:], ddof=1))
    low, high = (float(np.tanh(scaled[0] + side * reach)) for side in (-1, 1))
    return rho, min(low, rho), max(high, rho)


def _quantile(cells: int) -> float:
    return float(stats.t.ppf((1 + LEVEL) / 2, cells - 1))


def _difference(resamples: _Resamples, first: str, second: str) -> Floats:
    """``(1 + rounds,)`` |rho| of the first less that of the second."""
    both = resamples.has(first, second)
    return np.asarray(np.abs(resamples.of(first, both)) - np.abs(resamples.of(second, both)))


def _against_runner_up(resamples: _Resamples, best: str, second: str) -> ComparisonInfo | None:
    row = _difference(resamples, best, second)
    if not np.isfinite(row[0]):
        return None
    networks, cells = resamples.sizes(resamples.has(best, second))
    error = float(np.nanstd(row[1:], ddof=1))
    estimate = t_estimate(float(row[0]), error, cells - 1, networks, cells, "cluster bootstrap, Student's t")
    return ComparisonInfo(best, second, estimate, RAISES.judge(estimate))


def _against_reference(resamples: _Resamples, names: Sequence[str], reference: str) -> ComparisonInfo | None:
    """The best of ``names``, the highest first, but for the reference; its interval is the band's.

    Its lower end is that of the best; its upper one the highest of all, as another may be the best in truth.
    """
    others = [name for name in names if name != reference]
    rows = {name: _difference(resamples, name, reference) for name in others}
    rows = {name: row for name, row in rows.items() if np.isfinite(row[0])}
    if not rows:
        return None
    best = next(iter(rows))
    networks, cells = resamples.sizes(resamples.has(best, reference))
    values = np.array([row[0] for row in rows.values()])
    errors = np.array([np.nanstd(row[1:], ddof=1) for row in rows.values()])
    drawn = np.array([row[1:] for row in rows.values()]) - values[:, None]
    # Equal predictors have no error, and of five cells some resamples are of one, without a correlation.
    studentised = np.divide(np.abs(drawn), errors[:, None], out=np.zeros_like(drawn), where=errors[:, None] > 0)
    largest = np.nan_to_num(studentised).max(axis=0) * _quantile(cells) / stats.norm.ppf((1 + LEVEL) / 2)
    reach = float(np.quantile(largest, LEVEL))
    estimate = Estimate(
        value=float(values[0]),
        low=float(values[0] - reach * errors[0]),
        high=float((values + reach * errors).max()),
        standard_error=float(errors[0]),
        pairs=networks,
        architectures=cells,
        method=f"cluster bootstrap, band over {len(rows)} predictors",
        t_statistics=np.sort(np.concatenate([-largest, largest])),
    )
    return ComparisonInfo(best, reference, estimate, RAISES.judge(estimate))


def _ceiling(resamples: _Resamples) -> CeilingInfo | None:
    by_seed = resamples.networks.by_seed
    seeds = range(by_seed.shape[1])
    pairs = [resamples.correlation(by_seed[:, a], by_seed[:, b]) for a in seeds for b in seeds if a < b]
    defined = [row for row in pairs if np.isfinite(row[0])]
    if not defined:
        return None
    single = _interval(np.mean(defined, axis=0), len(set(resamples.networks.cells)))
    number = float(np.isfinite(by_seed).sum(axis=1).mean())
    reliability, low, high = (number * max(one, 0.0) / (1 + (number - 1) * max(one, 0.0)) for one in single)
    return CeilingInfo(number, *single, reliability, *(float(np.sqrt(one)) for one in (reliability, low, high)))
