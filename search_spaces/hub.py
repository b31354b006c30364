"""Cell patterns in the spaces of NNI's hub: its labels, nodes and operations in terms of ours.

A space says itself what a pattern means there, by ``fixed_edges`` and ``constrain``. NNI's cannot, so a registry by the
name of their class says it for them, and for classes derived from them. ``nni.nas.hub`` is not imported for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from nni.mutable import Categorical, CategoricalMultiple, Mutable

from nni_privacy.cells.darts import CellType
from nni_privacy.cells.nasbench201 import NASBENCH201_CELL, NNI_NAMES
from nni_privacy.errors import PatternError
from nni_privacy.patterns import Pattern, input_edges
from nni_privacy.search_spaces.constraints import FixedEdges

__all__ = ["HubCells", "HubNasBench201", "pattern_rules", "space_name"]

_CELLS: Mapping[CellType, str] = MappingProxyType({"normal": "normal", "reduction": "reduce"})
"""Our types of cells to the first part of the hub's labels."""
_OPERATIONS: Mapping[str, str] = MappingProxyType({ours: theirs for theirs, ours in NNI_NAMES.items()})
"""The benchmark's names of operations to NNI's, where they differ."""


class HubCells:
    """The spaces of the hub that are built on ``NDS``: DARTS, ENAS, NASNet, AmoebaNet and PNAS.

    Nodes are numbered as ours, and operations are called as ours where they are the same. Slot k of node v has two
    choices, its source ``normal/input_v_k`` and its operation ``normal/op_v_k``. The hub allows both slots to take the
    same source; what is not fixed stays as the space has it.

    Args:
        space: the class.
    """

    def __init__(self, space: Any) -> None:
        self.space = space

    @staticmethod
    def fixed_edges(pattern: Pattern) -> FixedEdges:
        """The edges that a search with ``pattern`` fixes: the pattern's own."""
        return FixedEdges.of(pattern)

    def constrain(self, mutables: Mapping[str, Mutable], fixed: FixedEdges) -> dict[str, Mutable]:
        """``mutables`` with the first slots of every node that ``fixed`` names narrowed to the fixed edges.

        Edges into nodes that the space does not have are left out.

        Raises:
            PatternError: if the space does not have the operation of an edge.
        """
        constrained = dict(mutables)
        for cell_type, name in _CELLS.items():
            for target, edges in fixed.by_target(cell_type).items():
                for slot, edge in enumerate(edges):
                    label = f"{name}/op_{target}_{slot}"
                    if label not in mutables:
                        continue
                    self._narrow(constrained, label, edge.op, f"{cell_type} cell, edge {edge}")
                    sources = f"{name}/input_{target}_{slot}"
                    source = CategoricalMultiple([edge.source], n_chosen=1, label="fixed")
                    constrained[sources] = _labelled(source, sources)
        return constrained

    def _narrow(self, choices: dict[str, Mutable], label: str, operation: str, place: str) -> None:
        choice: Any = choices[label]
        if operation not in choice.values:
            raise PatternError(
                f"{place}: the space {space_name(self.space)} has no operation {operation!r}; it has "
                f"{', '.join(map(str, choice.values))}: take a smaller budget, or another pattern"
            )
        choices[label] = _labelled(Categorical([operation], label="fixed"), label)


class HubNasBench201(HubCells):
    """The hub's NasBench201: one choice ``cell/u_v`` an edge, and other names of the convolutions."""

    @staticmethod
    def fixed_edges(pattern: Pattern) -> FixedEdges:
        """Those of :class:`nni_privacy.search_spaces.NasBench201`: from the input to each of the first nodes.

        Raises:
            PatternError: if the pattern is a dual one with two objectives.
        """
        return FixedEdges({NASBENCH201_CELL: input_edges(pattern.objective, len(pattern))})

    def constrain(self, mutables: Mapping[str, Mutable], fixed: FixedEdges) -> dict[str, Mutable]:
        """``mutables`` with those of the edges in ``fixed`` narrowed to their one operation."""
        constrained = dict(mutables)
        for edge in fixed.edges.get(NASBENCH201_CELL, ()):
            label = f"cell/{edge.source}_{edge.target}"
            self._narrow(constrained, label, _OPERATIONS.get(edge.op, edge.op), f"edge {edge}")
        return constrained


_RULES: Mapping[str, Callable[[Any], HubCells]] = MappingProxyType(
    {
        "nni.nas.hub.pytorch.nasnet.NDS": HubCells,
        "nni.nas.hub.pytorch.nasbench201.NasBench201": HubNasBench201,
    }
)


def pattern_rules(space: Any) -> Any:
    """What says what a pattern means in the space of a class: the class itself, or rules for a class of NNI's hub.

    ``None`` where nothing does. The result has ``constrain`` and maybe ``fixed_edges``.
    """
    if hasattr(space, "constrain"):
        return space
    names = map(space_name, getattr(space, "__mro__", ()))
    return next((_RULES[name](space) for name in names if name in _RULES), None)


def space_name(space: Any) -> str:
    """The name of a space's class with its module, as messages write it."""
    return f"{getattr(space, '__module__', '')}.{getattr(space, '__qualname__', space)}".lstrip(".")


def _labelled(choice: Any, label: str) -> Mutable:
    """``choice`` under a label with slashes, which NNI's constructors take from their own scopes only."""
    choice.label = label
    return choice
