"""Cell modification of many architectures at once: what :meth:`CellPattern.apply` does, on arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nni_privacy.cells import CELL_TYPES, DARTS_OPERATIONS, INPUT_NODES, CellType, Edge
from nni_privacy.genotype_codes import GenotypeCodes
from nni_privacy.patterns.modification import edges_that_fit

__all__ = ["apply_edges"]


def apply_edges(codes: GenotypeCodes, cell: CellType, edges: Sequence[Edge]) -> GenotypeCodes:
    """The architectures with ``edges`` written into their cell of type ``cell``, by the rules of ``modify_cell``.

    Args:
        codes: n architectures; they stay as they are.
        cell: which of their cells.
        edges: at most two into any node, from different sources.
    """
    kind = CELL_TYPES.index(cell)
    sources, operations = codes.sources.copy(), codes.operations.copy()
    claims: dict[int, list[Edge]] = {}
    for edge in edges_that_fit(edges, codes.nodes):
        claims.setdefault(edge.target - INPUT_NODES, []).append(edge)
    for node, claimed in claims.items():
        if len(claimed) == 1:
            # The in-edge from the same source changes; where there is none, the one with the lower source (slot 0).
            slot = (codes.sources[:, kind, node] == claimed[0].source).argmax(axis=1)
            places = [slot]
        else:
            places = [np.zeros(len(codes), dtype=np.intp), np.ones(len(codes), dtype=np.intp)]
        for edge, place in zip(claimed, places, strict=True):
            sources[np.arange(len(codes)), kind, node, place] = edge.source
            operations[np.arange(len(codes)), kind, node, place] = DARTS_OPERATIONS.index(edge.op)
    return GenotypeCodes(sources, operations).canonical()
