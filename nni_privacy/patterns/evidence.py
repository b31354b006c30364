"""Evidence for an edge: intervals and stability under resampling, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from nni_privacy.cells.darts import Edge
from nni_privacy.patterns.cross_fitting import TWO_SIDED_95
from nni_privacy.patterns.edge_regression import SELECTION_T, OLSContrasts
from nni_privacy.patterns.importance import (
    MIN_SUPPORT,
    SIGN,
    EdgeMeans,
    ImportanceTable,
    assemble_pattern,
    edge_from_id,
    edge_means,
    order_edges,
)
from nni_privacy.patterns.pattern import EdgeEvidence, Objective

__all__ = ["EdgeFinding", "GroupImportance", "find_edges", "group_importance", "only_relevant"]
__all__ += ["patterns_by_table", "supported_edges"]

Floats = npt.NDArray[np.float64]

FALSE_DISCOVERY_RATE = 0.05
"""Of the edges called supported, by Benjamini and Hochberg (1995), over all candidates of a group and cell."""

MEDIAN_LEVEL, MEDIAN_SHARE = 0.05, 0.5
"""One-sided level at which the median contrast must differ from 0, and its least share of the importance. Where one
alternative is what matters, an edge differs from the mean of them, not from the median."""

RELEVANT_SHARE = 0.25
"""Of the importance of the strongest supported edge, which another one needs."""

BEYOND_DOUBT = 4.0
"""Standard errors: by chance in one of 30,000."""

OLS_LEVEL = 0.10
"""One-sided level at which OLS contrast and conditional t-statistic must agree. Mild, as it comes on top of the other
two, and as a single edge of a real search is in a tenth of the architectures, whose AUCs are four fifths noise."""


@dataclass(frozen=True)
class EdgeFinding:
    """All that was found out about one edge in one group of architectures.

    Attributes:
        edge: the edge.
        support: architectures of the group that contain it.
        importance: mean Operation Importance, in units of AUC; positive mitigates the attack.
        error: standard error of the importance, of surrogates and architectures together.
        typical: its median contrast, the importance against the median neighbour.
        typical_error: standard error of that.
        measured: its OLS contrast, on all measurements and without a surrogate.
        measured_error: standard error of that.
        beside: its conditional t-statistic, given the forward-selected edges; positive: it lowers the AUC.
        stability: fraction of the resamples in which Algorithm 1 took the edge.
        reason: why the edge is not supported; empty if it is.
    """

    edge: Edge
    support: int
    importance: float
    error: float
    typical: float
    typical_error: float
    measured: float
    measured_error: float
    beside: float
    stability: float
    reason: str = ""

    @property
    def supported(self) -> bool:
        """Whether the evidence is for the edge."""
        return not self.reason

    @property
    def forward_selected(self) -> bool:
        """Whether forward selection on the measurements alone takes the edge, among all candidates."""
        return abs(self.beside) > SELECTION_T

    @property
    def beyond_doubt(self) -> bool:
        """Whether it is forward-selected, or importance and OLS contrast each by itself leave no room for chance."""
        each = (
            abs(self.importance) > BEYOND_DOUBT * self.error and abs(self.measured) > BEYOND_DOUBT * self.measured_error
        )
        return self.supported and (each or self.forward_selected)

    @property
    def low(self) -> float:
        """Lower end of the 95% interval of the importance."""
        return self.importance - TWO_SIDED_95 * self.error

    @property
    def high(self) -> float:
        """Upper end of the 95% interval of the importance."""
        return self.importance + TWO_SIDED_95 * self.error

    def evidence(self) -> EdgeEvidence:
        """As it is written into a pattern's file, AUCs with six digits."""
        importance, low, high = (round(value, 6) for value in (self.importance, self.low, self.high))
        return EdgeEvidence(self.support, importance, low, high, round(self.stability, 3), self.supported)


@dataclass(frozen=True, eq=False)
class GroupImportance:
    """Importance of the E edges of one cell type in one group, and what resampling makes of it.

    Attributes:
        support: (E,) architectures that contain the edge.
        importance: (E,) mean importance, nan without support.
        median_contrast: (E,) the same against the median neighbour.
        importance_error: (E,) standard error of ``importance``.
        median_contrast_error: (E,) standard error of ``median_contrast``.
        stability: fraction of the resamples in which Algorithm 1 took an edge, by edge.
        nodes: the number M of intermediate nodes.
        surrogates: how many the resamples drew from.
    """

    support: npt.NDArray[np.int_]
    importance: Floats
    median_contrast: Floats
    importance_error: Floats
    median_contrast_error: Floats
    stability: dict[Edge, float]
    nodes: int
    surrogates: int

    def candidates(self) -> dict[Edge, float]:
        """Importance of the edges with enough support, by edge."""
        return _candidates(EdgeMeans(self.support.astype(np.float64), self.importance), self.nodes)


def group_importance(
    tables: Sequence[ImportanceTable],
    ids: npt.NDArray[np.intp],
    kind: int,
    *,
    objective: Objective,
    resamples: int,
    generator: np.random.Generator,
) -> GroupImportance:
    """Means over all surrogates, and over resamples of surrogates and architectures.

    A resample takes one surrogate and draws as many architectures as the group has, with replacement, from those that
    the surrogate did not see. So it differs from the mean by surrogate, by fold and by bootstrap: a little more than
    new data would, never less.

    Args:
        tables: one per surrogate, (g, 2, M, 2), nan for architectures that it saw.
        ids: (g, M, 2) edge numbers of the group's cells.
        kind: index of the cell type.
        objective: of the group; Algorithm 1 is run for it in each resample.
        resamples: how many.
        generator: draws them.
    """
    nodes = ids.shape[1]
    overall = [
        edge_means(ids, np.nanmean([getattr(table, name)[:, kind] for table in tables], axis=0), nodes=nodes)
        for name in ("importance", "median_contrast")
    ]
    drawn: dict[str, list[Floats]] = {"importance": [], "median_contrast": []}
    taken: Counter[Edge] = Counter()
    for number in range(resamples):
        table = tables[number % len(tables)]
        weights = _draw(~np.isnan(table.importance[:, kind, 0, 0]), generator)
        for name, means in drawn.items():
            found = edge_means(ids, np.nan_to_num(getattr(table, name)[:, kind]), nodes=nodes, weights=weights)
            means.append(found.mean)
            if name == "importance":
                taken.update(assemble_pattern(order_edges(_candidates(found, nodes), objective)))
    return GroupImportance(
        support=overall[0].support.astype(np.int_),
        importance=overall[0].mean,
        median_contrast=overall[1].mean,
        importance_error=_spread(drawn["importance"]),
        median_contrast_error=_spread(drawn["median_contrast"]),
        stability={edge: count / resamples for edge, count in taken.items()},
        nodes=nodes,
        surrogates=len(tables),
    )


def patterns_by_table(
    tables: Sequence[ImportanceTable], ids: npt.NDArray[np.intp], kind: int, objective: Objective
) -> Iterator[tuple[Edge, ...]]:
    """What Algorithm 1 makes of each surrogate alone, from the architectures that it did not see.

    These are half of the group, so each counts twice: an edge then needs the same share of the group as elsewhere.
    """
    nodes = ids.shape[1]
    for table in tables:
        values = table.importance[:, kind]
        weights = np.where(np.isnan(values[:, 0, 0]), 0.0, 2.0)
        means = edge_means(ids, np.nan_to_num(values), nodes=nodes, weights=weights)
        yield assemble_pattern(order_edges(_candidates(means, nodes), objective))


def _draw(unseen: npt.NDArray[np.bool_], generator: np.random.Generator) -> Floats:
    """How often each architecture is drawn: as many draws as there are architectures, from the unseen ones."""
    return generator.multinomial(len(unseen), unseen / unseen.sum()).astype(np.float64)


def _spread(means: Sequence[Floats]) -> Floats:
    """(E,) standard deviation over the resamples that contain the edge; infinite where there are fewer than two."""
    values = np.array(means)
    count = np.isfinite(values).sum(axis=0)
    centre = np.nansum(values, axis=0) / np.maximum(count, 1)
    squares = np.nansum((values - centre) ** 2, axis=0)
    return np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.inf)


def _candidates(means: EdgeMeans, nodes: int) -> dict[Edge, float]:
    numbers = np.flatnonzero(means.support >= MIN_SUPPORT)
    return {edge_from_id(int(number), nodes): float(means.mean[number]) for number in numbers}


def find_edges(
    group: GroupImportance, contrasts: OLSContrasts, objective: Objective, *, predictive: bool
) -> dict[Edge, EdgeFinding]:
    """A finding, with its verdict, for every edge that the group contains.

    An edge is supported if enough architectures contain it; if its importance has the objective's sign with a false
    discovery rate of 5% over the candidates; if its median contrast has it too, so that its importance is not owed to
    one other edge; and if OLS contrast and conditional t-statistic agree. Forward-selected edges need nothing else than
    enough architectures and the right sign.

    Args:
        group: importance in the objective's group.
        contrasts: of the same cell type.
        objective: which sign serves.
        predictive: whether the surrogate predicts unseen architectures at all; if not, nothing is supported.
    """
    sign = SIGN[objective]
    agreement, least = (NormalDist().inv_cdf(1 - level) for level in (OLS_LEVEL, MEDIAN_LEVEL))
    findings: dict[Edge, EdgeFinding] = {}
    for number in np.flatnonzero(group.support):
        edge = edge_from_id(int(number), group.nodes)
        findings[edge] = EdgeFinding(
            edge=edge,
            support=int(group.support[number]),
            importance=float(group.importance[number]),
            error=float(group.importance_error[number]),
            typical=float(group.median_contrast[number]),
            typical_error=float(group.median_contrast_error[number]),
            measured=float(contrasts.contrast[number]),
            measured_error=float(contrasts.standard_error[number]),
            beside=float(contrasts.conditional_t[number]),
            stability=group.stability.get(edge, 0.0),
        )
    discovered = _discoveries(list(findings.values()), sign, group.surrogates - 1)
    for edge, found in findings.items():
        needed = {
            "the surrogate does not predict architectures that it has not seen": not predictive,
            f"in {found.support} architectures of the group; needed are {MIN_SUPPORT}": found.support < MIN_SUPPORT,
            f"its importance has the sign of {'promotion' if sign > 0 else 'demotion'}": sign * found.importance <= 0,
        }
        evidence = {
            "its importance may be chance": edge not in discovered,
            "its importance is owed to a few alternatives": sign * found.typical
            < MEDIAN_SHARE * sign * found.importance
            or _z(sign * found.typical, found.typical_error) < least,
            "the measurements alone do not confirm it": _z(sign * found.measured, found.measured_error) < agreement,
            "it says nothing more beside the edges that the measurements single out": sign * found.beside < agreement,
        }
        reasons = needed if found.forward_selected and sign * found.beside > 0 else {**needed, **evidence}
        findings[edge] = replace(found, reason=next((reason for reason, holds in reasons.items() if holds), ""))
    return findings


def _z(value: float, error: float) -> float:
    """``value`` in standard errors; 0 where it is not known."""
    return value / error if np.isfinite(value) and np.isfinite(error) and error > 0 else 0.0


def _discoveries(findings: Sequence[EdgeFinding], sign: int, dof: int) -> set[Edge]:
    """Benjamini and Hochberg's step-up procedure over the candidates, one-sided.

    The standard errors come from few surrogates: Student's distribution.
    """
    from scipy.stats import false_discovery_control
    from scipy.stats import t as student

    candidates = [found for found in findings if found.support >= MIN_SUPPORT]
    if not candidates:
        return set()
    z_values = [_z(sign * found.importance, found.error) for found in candidates]
    adjusted = false_discovery_control(student.sf(z_values, dof), method="bh")
    return {found.edge for found, p in zip(candidates, adjusted, strict=True) if p <= FALSE_DISCOVERY_RATE}


def only_relevant(all_findings: Sequence[dict[Edge, EdgeFinding]]) -> list[dict[Edge, EdgeFinding]]:
    """The findings of several groups and cells, with edges of little importance no longer supported.

    Little is less than a quarter of the importance of the strongest supported edge of all. Where one edge matters much,
    every alternative to it matters a little, which is true and of no use. Forward-selected edges stay.
    """
    supported = [abs(found.importance) for findings in all_findings for found in findings.values() if found.supported]
    least = RELEVANT_SHARE * max(supported, default=0.0)
    reason = f"its importance is less than {RELEVANT_SHARE} of the strongest supported edge's"
    return [
        {
            edge: replace(found, reason=reason)
            if found.supported and not found.forward_selected and abs(found.importance) < least
            else found
            for edge, found in findings.items()
        }
        for findings in all_findings
    ]


def supported_edges(findings: dict[Edge, EdgeFinding], objective: Objective) -> tuple[Edge, ...]:
    """Algorithm 1 over the supported edges."""
    importance = {edge: found.importance for edge, found in findings.items() if found.supported}
    return assemble_pattern(order_edges(importance, objective))
