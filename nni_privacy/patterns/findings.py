"""What an extraction is asked for and what it finds, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, model_validator

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.cells.darts import CellType, Edge
from nni_privacy.errors import ConfigError
from nni_privacy.patterns.cross_fitting import Effect
from nni_privacy.patterns.evidence import EdgeFinding
from nni_privacy.patterns.importance import SIGN, Floats, Rows
from nni_privacy.patterns.pattern import CellPattern, Objective
from nni_privacy.schema import Count, Fraction, Options, Seed, options

__all__ = ["Assessment", "Extraction", "ExtractionOptions", "FoundPattern", "Predictiveness"]

SMALLEST_PATTERN = 2
"""Edges that a supported pattern has at least, unless one is beyond doubt."""


@options()
class ExtractionOptions(Options):
    """How patterns are extracted.

    Args:
        high: architectures with an AUC above it make the promotion patterns.
        low: architectures with an AUC below it make the demotion patterns.
        cuts: random cuts of the data; each fits two surrogates.
        resamples: of surrogates and architectures, for intervals and stability.
        effect_sample: architectures whose predicted AUC is compared with and without pattern.
        seed: of everything.

    Raises:
        ConfigError: if one of these is out of range.
    """

    high: Fraction = 0.84
    low: Fraction = 0.78
    cuts: Annotated[Count, Field(ge=2)] = 10
    resamples: Annotated[Count, Field(ge=20)] = 100
    effect_sample: Annotated[Count, Field(ge=10)] = 200
    seed: Seed = 0

    @model_validator(mode="after")
    def _in_order(self) -> ExtractionOptions:
        if self.low > self.high:
            raise ConfigError(f"low: {self.low}; high is {self.high}: needed is 0 <= low <= high <= 1")
        return self


@dataclass(frozen=True)
class Predictiveness:
    """Whether the surrogates predict architectures that they have not seen.

    Attributes:
        spearman: rank correlation of cross-fitted predictions and measurements.
        needed: the least correlation that is more than chance, at a level of .001.
    """

    spearman: float
    needed: float

    @property
    def holds(self) -> bool:
        """Whether they do."""
        return self.spearman > self.needed


@dataclass(frozen=True)
class FoundPattern:
    """What was found for one objective and cell type.

    Attributes:
        cell: type of cell.
        objective: demotion or promotion.
        findings: on every edge that the group's architectures contain.
        literal: Algorithm 1 as the paper has it, over all edges with support, whatever the evidence.
        edges: Algorithm 1 over the supported edges; may be empty.
        by_fold: Algorithm 1 over what each surrogate says of the half of the data that it did not see.
        literal_effects: predicted effect of the first 1, 2, ... literal edges.
        effects: predicted effect of the first 1, 2, ... supported edges.
        replicated: effects of ``by_fold``, judged by the surrogate of the *other* half: free of the winner's curse.
    """

    cell: CellType
    objective: Objective
    findings: dict[Edge, EdgeFinding]
    literal: tuple[Edge, ...]
    edges: tuple[Edge, ...]
    by_fold: tuple[tuple[Edge, ...], ...]
    literal_effects: tuple[Effect, ...] = ()
    effects: tuple[Effect, ...] = ()
    replicated: tuple[Effect, ...] = ()

    @property
    def name(self) -> str:
        """For example ``demotion-reduction``."""
        return f"{self.objective}-{self.cell}"

    @property
    def supported(self) -> bool:
        """Whether there are at least two supported edges and their predicted effect as a whole is of the right sign.

        A single edge must be beyond doubt, as among some two hundred candidates one is soon found by chance.
        """
        enough = len(self.edges) >= SMALLEST_PATTERN or any(self.findings[edge].beyond_doubt for edge in self.edges)
        return enough and self.effects[-1].serves(SIGN[self.objective])

    def pattern(self, *, name: str, source: str) -> CellPattern:
        """The pattern with its evidence: the supported edges, or Algorithm 1's, marked so, if it is not supported.

        It has no edges if no edge occurs in enough architectures.
        """
        edges, effects = (self.edges, self.effects) if self.supported else (self.literal, self.literal_effects)
        return CellPattern(
            name=name,
            cell=self.cell,
            objective=self.objective,
            edges=edges,
            source=source,
            evidence=tuple(self.findings[edge].evidence() for edge in edges),
            effect={budget: round(effect.change, 6) for budget, effect in enumerate(effects, start=1)},
            supported=self.supported,
        )


@dataclass(frozen=True)
class Assessment:
    """What the data say about a pattern that comes from elsewhere.

    Attributes:
        pattern: the pattern.
        findings: on its edges, those that no architecture of the group contains left out.
        effects: predicted effect of its first 1, 2, ... edges.
        judged_at: the number m of edges at which the pattern is judged, and at which patterns are used by default.
        reason: why it is not supported; empty if it is.
    """

    pattern: CellPattern
    findings: dict[Edge, EdgeFinding]
    effects: tuple[Effect, ...]
    judged_at: int
    reason: str

    @property
    def supported(self) -> bool:
        """Whether the evidence is for the pattern."""
        return not self.reason


@dataclass(frozen=True, eq=False)
class Extraction:
    """The result of :func:`extract_patterns`.

    Attributes:
        codes: the n architectures.
        auc: (n,) their measured AUCs.
        options: how it was done.
        groups: rows of the architectures of each objective's group.
        predictiveness: of the cross-fitted surrogates.
        found: one a cell type and objective.
        assessed: the given patterns.
    """

    codes: GenotypeCodes
    auc: Floats
    options: ExtractionOptions
    groups: dict[Objective, Rows]
    predictiveness: Predictiveness
    found: tuple[FoundPattern, ...]
    assessed: tuple[Assessment, ...]
