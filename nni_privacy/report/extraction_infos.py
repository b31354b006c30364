"""What the page of an extraction shows, as plain values: computed here, drawn and written elsewhere."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nni_privacy.cells import CELL_TYPES, DARTS_OPERATIONS, INPUT_NODES, CellType, Edge
from nni_privacy.genotype_codes import GenotypeCodes
from nni_privacy.patterns.algorithm import MIN_SUPPORT
from nni_privacy.patterns.findings import Extraction, FoundPattern

__all__ = ["GROUPS", "DistributionInfo", "HeatMapInfo", "TopologyInfo", "distribution_info", "heat_map_info"]
__all__ += ["oi_csv", "topology_info"]

Floats = npt.NDArray[np.float64]

GROUPS = ("lowest AUC", "all", "highest AUC")
"""Of architectures: those that made the demotion patterns, all of them, those that made the promotion patterns."""

COLUMNS = (
    *("pattern", "source", "target", "op", "support", "importance", "importance_low", "importance_high", "typical"),
    *("measured", "measured_error", "beside", "stability", "position", "supported", "reason"),
)


@dataclass(frozen=True, eq=False)
class DistributionInfo:
    """Shares of the operations by group (Figure 6 of the paper).

    Attributes:
        cell: type of cell.
        shares: (3, 7) groups by operations, each row sums to 1.
    """

    cell: CellType
    shares: Floats


@dataclass(frozen=True, eq=False)
class TopologyInfo:
    """Where convolutions take their input, by group (Figure 11 of the paper).

    Attributes:
        cell: type of cell.
        direct: (3, k) share of the group's architectures with 0, 1, ... convolutions on edges from the cell's inputs.
        inner: (3, k) the same for convolutions on edges between intermediate nodes.
    """

    cell: CellType
    direct: Floats
    inner: Floats


@dataclass(frozen=True, eq=False)
class HeatMapInfo:
    """Mean Operation Importance by place and operation.

    Attributes:
        places: (source, target) of the rows.
        values: (rows, 7) in units of AUC; nan where too few architectures contain the edge.
        supported: (rows, 7) whether the edge is supported.
    """

    places: tuple[tuple[int, int], ...]
    values: Floats
    supported: npt.NDArray[np.bool_]


def _groups(extraction: Extraction) -> tuple[GenotypeCodes, ...]:
    codes, groups = extraction.codes, extraction.groups
    return codes[groups["demotion"]], codes, codes[groups["promotion"]]


def distribution_info(extraction: Extraction, cell: CellType) -> DistributionInfo:
    """How often each operation occurs in cells of type ``cell``."""
    kind = CELL_TYPES.index(cell)
    counts = [
        np.bincount(codes.operations[:, kind].ravel(), minlength=len(DARTS_OPERATIONS)) for codes in _groups(extraction)
    ]
    return DistributionInfo(cell, np.array([count / count.sum() for count in counts]))


def topology_info(extraction: Extraction, cell: CellType) -> TopologyInfo:
    """How many convolutions start at an input, and how many at an intermediate node."""
    kind, most = CELL_TYPES.index(cell), 2 * extraction.codes.nodes
    convolutions = np.array(["conv" in operation for operation in DARTS_OPERATIONS])
    shares: list[list[Floats]] = [[], []]
    for codes in _groups(extraction):
        convolution = convolutions[codes.operations[:, kind]]
        direct = codes.sources[:, kind] < INPUT_NODES
        for place, chosen in enumerate((convolution & direct, convolution & ~direct)):
            count = np.bincount(chosen.sum(axis=(1, 2)), minlength=most + 1)
            shares[place].append(count / count.sum())
    return TopologyInfo(cell, np.array(shares[0]), np.array(shares[1]))


def heat_map_info(found: FoundPattern, nodes: int) -> HeatMapInfo:
    """Operation Importance of all candidates of one pattern."""
    places = tuple((source, target) for target in range(INPUT_NODES, INPUT_NODES + nodes) for source in range(target))
    values, supported = np.full((len(places), len(DARTS_OPERATIONS)), np.nan), np.zeros((len(places), 7), dtype=bool)
    for row, (source, target) in enumerate(places):
        for column, operation in enumerate(DARTS_OPERATIONS):
            finding = found.findings.get(Edge(source, target, operation))
            if finding is not None and finding.support >= MIN_SUPPORT:
                values[row, column], supported[row, column] = finding.importance, finding.supported
    return HeatMapInfo(places, values, supported)


def oi_csv(extraction: Extraction) -> str:
    """Every edge of every group with all that is known about it, as CSV; AUCs in fractions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for found in extraction.found:
        for edge, entry in sorted(found.findings.items()):
            position = found.edges.index(edge) + 1 if edge in found.edges else ""
            numbers = (entry.importance, entry.low, entry.high, entry.typical, entry.measured, entry.measured_error)
            texts = [f"{value:.6f}" if np.isfinite(value) else "" for value in numbers]
            head = (found.name, edge.source, edge.target, edge.op, entry.support)
            shares = (f"{entry.beside:.2f}", f"{entry.stability:.3f}")
            writer.writerow([*head, *texts, *shares, position, int(entry.supported), entry.reason])
    return text.getvalue()
