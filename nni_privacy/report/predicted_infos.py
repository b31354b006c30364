"""What a page of predictions shows, as plain values: computed here, drawn and written elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nni_privacy.cells import CELL_TYPES, Edge, Genotype
from nni_privacy.predicted_search import PredictedArchitecture, PredictedSearch
from nni_privacy.report.run import FixedEdges, RunInfo

__all__ = ["HistogramInfo", "PredictedGroup", "group_of_run", "group_of_search", "histogram_info", "lowest_so_far"]

Floats = npt.NDArray[np.float64]

BINS = 60


@dataclass(frozen=True, eq=False)
class PredictedGroup:
    """The architectures of one search, none of them trained.

    Attributes:
        name: what sets the search apart, for example ``without pattern``.
        predicted_mia_auc: (n,) predicted AUC of all of them, ascending.
        best: those of the lowest predicted AUC, in this order.
        seconds: how long the search took.
        fixed: per cell the edges that all of them have.
    """

    name: str
    predicted_mia_auc: Floats
    best: tuple[PredictedArchitecture, ...]
    seconds: float
    fixed: Mapping[str, tuple[Edge, ...]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class HistogramInfo:
    """Shares of the groups' architectures by predicted AUC, on common axes.

    Attributes:
        names: g names of groups.
        edges: (b + 1,) ends of the intervals of AUC.
        shares: (g, b) share of a group's architectures in an interval; each row sums to 1.
        means: (g,) mean predicted AUC.
    """

    names: tuple[str, ...]
    edges: Floats
    shares: Floats
    means: Floats


def group_of_search(search: PredictedSearch, *, best: int) -> PredictedGroup:
    """A search on random architectures, with its ``best`` lowest predictions."""
    pattern = search.pattern
    name = "without pattern"
    fixed: dict[str, tuple[Edge, ...]] = {}
    if pattern is not None:
        fixed = {cell: pattern.edges_of(cell) for cell in CELL_TYPES if pattern.edges_of(cell)}
        name = f"with {pattern.name}, {sum(map(len, fixed.values()))} edges fixed"
    return PredictedGroup(name, search.predicted_mia_auc, tuple(search.best(best)), search.seconds, fixed)


def group_of_run(run: RunInfo, *, best: int) -> PredictedGroup:
    """The different architectures of a run whose trials were predicted; those without a genotype are left out."""
    found: dict[str, PredictedArchitecture] = {}
    for trial in run.succeeded:
        auc = trial.metrics.get("predicted_mia_auc")
        if auc is not None and isinstance(trial.genotype, Genotype):
            sd = trial.metrics.get("predicted_mia_auc_sd", np.nan)
            found.setdefault(str(trial.genotype), PredictedArchitecture(trial.genotype, auc, sd))
    ordered = sorted(found.values(), key=lambda one: one.predicted_mia_auc)
    values = np.array([one.predicted_mia_auc for one in ordered], dtype=float)
    seconds = sum(trial.seconds or 0.0 for trial in run.trials)
    return PredictedGroup(run.name, values, tuple(ordered[:best]), seconds, _given(run.fixed_edges))


def histogram_info(groups: Sequence[PredictedGroup]) -> HistogramInfo:
    """Histograms of groups of at least one architecture each over the same intervals."""
    everything = np.concatenate([group.predicted_mia_auc for group in groups])
    edges = np.histogram_bin_edges(everything, BINS)
    counts = np.array([np.histogram(group.predicted_mia_auc, edges)[0] for group in groups], dtype=float)
    return HistogramInfo(
        names=tuple(group.name for group in groups),
        edges=edges,
        shares=counts / counts.sum(axis=1, keepdims=True),
        means=np.array([group.predicted_mia_auc.mean() for group in groups]),
    )


def lowest_so_far(run: RunInfo) -> tuple[tuple[int, ...], Floats, Floats]:
    """Of the trials with a prediction: their numbers, (n,) predicted AUC, and (n,) the lowest up to each."""
    trials = [trial for trial in run.succeeded if "predicted_mia_auc" in trial.metrics]
    auc = np.array([trial.metrics["predicted_mia_auc"] for trial in trials], dtype=float)
    return tuple(trial.sequence for trial in trials), auc, np.fmin.accumulate(auc)


def _given(fixed: FixedEdges) -> FixedEdges:
    return {name: edges for name, edges in fixed.items() if edges}
