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
from nni_privacy.patterns.importance import MIN_SUPPORT, SIGN, ImportanceTable, edge_from_id, edge_means, grow_pattern
from nni_privacy.patterns.pattern import EdgeEvidence, Objective

__all__ = ["EdgeFinding", "find_edges", "judge_edges", "only_relevant", "patterns_by_table", "supported_edges"]

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


def find_edges(
    tables: Sequence[ImportanceTable],
    ids: npt.NDArray[np.intp],
    kind: int,
    contrasts: OLSContrasts,
    *,
    objective: Objective,
    resamples: int,
    generator: np.random.Generator,
) -> dict[Edge, EdgeFinding]:
    """A finding, to be judged, on every edge that the group contains.

    Importance is a mean over all surrogates; errors and stability are those of resamples.

    A resample takes one surrogate and draws as many architectures as the group has, with replacement, from those that
    the surrogate did not see. So it differs from the mean by surrogate, by fold and by bootstrap: a little more than
    new data would, never less.

    Args:
        tables: one per surrogate, (g, 2, M, 2), nan for architectures that it saw.
        ids: (g, M, 2) edge numbers of the group's cells.
        kind: index of the cell type.
        contrasts: of this cell type.
        objective: of the group; Algorithm 1 is run for it in each resample.
        resamples: how many.
        generator: draws them.
    """
    nodes, drawn = ids.shape[1], dict[str, list[Floats]](importance=[], median_contrast=[])
    importance, typical = (
        edge_means(ids, np.nanmean([getattr(table, name)[:, kind] for table in tables], axis=0), nodes=nodes)
        for name in drawn
    )
    taken: Counter[Edge] = Counter()
    for number in range(resamples):
        table = tables[number % len(tables)]
        unseen = ~np.isnan(table.importance[:, kind, 0, 0])
        weights = generator.multinomial(len(unseen), unseen / unseen.sum()).astype(np.float64)
        for name, means in drawn.items():
            found = edge_means(ids, np.nan_to_num(getattr(table, name)[:, kind]), nodes=nodes, weights=weights)
            means.append(found.mean)
            if name == "importance":
                taken.update(grow_pattern(found.candidates(nodes), objective))
    error, typical_error = (_spread(means) for means in drawn.values())
    findings = {}
    for place in np.flatnonzero(importance.support):
        edge = edge_from_id(int(place), nodes)
        findings[edge] = EdgeFinding(
            edge=edge,
            support=int(importance.support[place]),
            importance=float(importance.mean[place]),
            error=float(error[place]),
            typical=float(typical.mean[place]),
            typical_error=float(typical_error[place]),
            measured=float(contrasts.contrast[place]),
            measured_error=float(contrasts.standard_error[place]),
            beside=float(contrasts.conditional_t[place]),
            stability=taken[edge] / resamples,
        )
    return findings


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
        yield grow_pattern(means.candidates(nodes), objective)


def _spread(means: Sequence[Floats]) -> Floats:
    """(E,) standard deviation over the resamples that contain the edge; infinite where there are fewer than two."""
    values = np.array(means)
    count = np.isfinite(values).sum(axis=0)
    centre = np.nansum(values, axis=0) / np.maximum(count, 1)
    squares = np.nansum((values - centre) ** 2, axis=0)
    return np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.inf)


def judge_edges(
    findings: dict[Edge, EdgeFinding], objective: Objective, *, predictive: bool, dof: int
) -> dict[Edge, EdgeFinding]:
    """The findings with their verdicts.

    An edge is supported if enough architectures contain it; if its importance has the objective's sign with a false
    discovery rate of 5% over the candidates; if its median contrast has it too, so that its importance is not owed to
    one other edge; and if OLS contrast and conditional t-statistic agree. Forward-selected edges need nothing else than
    enough architectures and the right sign.

    Args:
        findings: on the edges of one cell type in the objective's group.
        objective: which sign serves.
        predictive: whether the surrogate predicts unseen architectures at all; if not, nothing is supported.
        dof: degrees of freedom of the standard errors: the number of surrogates less one.
    """
    sign = SIGN[objective]
    agreement, least = (NormalDist().inv_cdf(1 - level) for level in (OLS_LEVEL, MEDIAN_LEVEL))
    discovered, judged = _discoveries(list(findings.values()), sign, dof), {}
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
        judged[edge] = replace(found, reason=next((reason for reason, holds in reasons.items() if holds), ""))
    return judged


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
    return grow_pattern(importance, objective)
