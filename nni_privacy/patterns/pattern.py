"""Cell patterns: ordered edges that, written into a cell, lower or raise what membership inference learns."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, InstanceOf, Strict, model_validator

from nni_privacy.cells.darts import CELL_TYPES, CellType, Edge, Genotype, check_darts_edge
from nni_privacy.cells.nasbench201 import NasBench201Genotype
from nni_privacy.cells.spaces import AnyGenotype, space_of
from nni_privacy.errors import PatternError
from nni_privacy.patterns.apply import modify_cell, modify_nasbench201
from nni_privacy.schema import Options, options, plain

__all__ = ["OBJECTIVES", "CellPattern", "DualPattern", "EdgeEvidence", "Objective", "Pattern"]

_Genotype = TypeVar("_Genotype", Genotype, NasBench201Genotype, AnyGenotype)

Objective = Literal["demotion", "promotion"]
OBJECTIVES: tuple[Objective, ...] = ("demotion", "promotion")


@options(error=PatternError, kw_only=False)
class EdgeEvidence(Options):
    """What speaks for one edge of a pattern; ``None`` where it was not measured.

    Attributes:
        support: number of architectures of the group that contain the edge.
        importance: mean Operation Importance (equation 1 of the paper), in units of AUC; positive mitigates the attack.
        importance_low: lower end of its 95% interval.
        importance_high: upper end of its 95% interval.
        stability: fraction of resamples, 0 to 1, in which the edge was found again.
        supported: whether the evidence is for the edge.
    """

    support: int | None = None
    importance: float | None = None
    importance_low: float | None = None
    importance_high: float | None = None
    stability: float | None = None
    supported: bool | None = None


def _as_edge(value: Any) -> Any:
    if isinstance(value, list):
        if len(value) != 3:
            raise PatternError(f"{value!r:.80} is not [source, target, operation]")
        value = Edge(*value)
    if isinstance(value, Edge):
        check_darts_edge(value)
    return value


@options(error=PatternError, kw_only=False)
class CellPattern(Options):
    """Ordered edges for one type of cell; the first are the most important.

    Args:
        name: how the pattern is called.
        cell: the type of cell that it belongs to, ``normal`` or ``reduction``.
        objective: ``demotion`` (lowers the attack's AUC) or ``promotion`` (raises it).
        edges: legal edges, at most two into any node and those from different sources.
        source: where the pattern comes from.
        evidence: nothing, or one entry an edge.
        effect: predicted change of the AUC when the first m edges are fixed, by m.
        supported: whether the evidence is for the pattern as a whole; ``None`` where that was not judged.

    Raises:
        PatternError: if one of these does not hold.
    """

    name: str
    cell: CellType
    objective: Objective
    edges: Annotated[tuple[Annotated[InstanceOf[Edge], BeforeValidator(_as_edge)], ...], Strict(False)]
    source: str = ""
    evidence: Annotated[tuple[EdgeEvidence, ...], Strict(False)] = ()
    effect: dict[int, float] = field(default_factory=dict, hash=False)
    supported: bool | None = None

    @model_validator(mode="after")
    def _is_legal(self) -> CellPattern:
        if self.evidence and len(self.evidence) != len(self.edges):
            raise PatternError(
                f"pattern {self.name!r}: {len(self.evidence)} evidence entries for {len(self.edges)} edges"
            )
        for (source, target), count in Counter((edge.source, edge.target) for edge in self.edges).items():
            if count > 1:
                raise PatternError(
                    f"pattern {self.name!r}: {count} edges from node {source} to node {target}; allowed is one"
                )
        for target, count in Counter(edge.target for edge in self.edges).items():
            if count > 2:
                raise PatternError(f"pattern {self.name!r}: {count} edges into node {target}; a node has two in-edges")
        return self

    def first(self, budget: int) -> CellPattern:
        """The pattern made of the first ``budget`` edges.

        Raises:
            PatternError: if the pattern has fewer edges, or ``budget`` is negative.
        """
        budget = plain(budget)
        if type(budget) is not int or not 0 <= budget <= len(self.edges):
            raise PatternError(f"budget: {budget!r} for pattern {self.name!r}, which has {len(self.edges)} edges")
        return replace(self, edges=self.edges[:budget], evidence=self.evidence[:budget])

    def apply(self, genotype: _Genotype) -> _Genotype:
        """``genotype`` with this pattern's edges written into its cell of type :attr:`cell`.

        NAS-Bench-201 has one searched cell and other operations: of the pattern count there only its objective and the
        number of its edges; see :func:`~nni_privacy.patterns.modify_nasbench201`.

        Raises:
            PatternError: if the genotype is of a further space: there patterns only say what a search fixes.
        """
        return _apply(self, genotype)

    def edges_of(self, cell_type: CellType) -> tuple[Edge, ...]:
        """The edges that this pattern fixes in cells of ``cell_type``."""
        return self.edges if cell_type == self.cell else ()

    @property
    def cells(self) -> str:
        """Which cells the pattern constrains: its own type."""
        return self.cell

    @property
    def unsupported(self) -> tuple[str, ...]:
        """Its name, if evidence was looked for and is not there."""
        return (self.name,) if self.supported is False else ()

    def __len__(self) -> int:
        return len(self.edges)


@dataclass(frozen=True)
class DualPattern:
    """A pattern for the normal cell and one for the reduction cell, applied together (the paper's *Dual*)."""

    normal: CellPattern
    reduction: CellPattern

    def __post_init__(self) -> None:
        for cell_type in CELL_TYPES:
            part: CellPattern = getattr(self, cell_type)
            if part.cell != cell_type:
                raise PatternError(
                    f"dual pattern: {part.name!r} is for the {part.cell} cell, not for the {cell_type} cell"
                )

    @property
    def name(self) -> str:
        """The names of both parts."""
        return f"{self.normal.name} + {self.reduction.name}"

    @property
    def objective(self) -> Objective:
        """The objective of both parts.

        Raises:
            PatternError: if they have two.
        """
        if self.normal.objective != self.reduction.objective:
            raise PatternError(
                f"dual pattern {self.name!r}: one part is for {self.normal.objective}, the other for "
                f"{self.reduction.objective}; where there is but one cell (NAS-Bench-201) they must agree"
            )
        return self.normal.objective

    @property
    def cells(self) -> str:
        """Which cells the pattern constrains: both."""
        return "dual"

    def first(self, budget: int) -> DualPattern:
        """The first ``budget`` edges of either part."""
        return DualPattern(self.normal.first(budget), self.reduction.first(budget))

    def apply(self, genotype: _Genotype) -> _Genotype:
        """``genotype`` with both parts written into its cells; as :meth:`CellPattern.apply` in NAS-Bench-201.

        Raises:
            PatternError: if the genotype is one of NAS-Bench-201 and the parts have different objectives.
        """
        return _apply(self, genotype)

    def edges_of(self, cell_type: CellType) -> tuple[Edge, ...]:
        """The edges that this pattern fixes in cells of ``cell_type``."""
        return getattr(self, cell_type).edges

    @property
    def unsupported(self) -> tuple[str, ...]:
        """The names of the parts for which evidence was looked for and is not there."""
        return self.normal.unsupported + self.reduction.unsupported

    def __len__(self) -> int:
        return min(len(self.normal), len(self.reduction))


Pattern = CellPattern | DualPattern


def _apply(pattern: Pattern, genotype: _Genotype) -> _Genotype:
    if isinstance(genotype, NasBench201Genotype):
        return modify_nasbench201(genotype, pattern.objective, len(pattern))
    if not isinstance(genotype, Genotype):
        raise PatternError(f"pattern {pattern.name!r}: no rule says what it changes in {space_of(genotype).title}")
    for cell_type in CELL_TYPES:
        genotype = genotype.with_cell(cell_type, modify_cell(genotype.cell(cell_type), pattern.edges_of(cell_type)))
    return genotype
