"""The NAS-Bench-201 space as a supernet: every edge of the cell with all its operations, fixed edges aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from nni_privacy.cells.nasbench201 import NASBENCH201_EDGES, NASBENCH201_NODES, NasBench201Genotype, edge_label
from nni_privacy.search_spaces.nasbench201_network import NasBench201Skeleton
from nni_privacy.search_spaces.operations import build_nasbench201_operation
from nni_privacy.search_spaces.supernet import (
    NONE,
    FlatLayout,
    MixedOperation,
    Supernet,
    Switchboard,
    run_edges,
    use_batch_statistics,
)

__all__ = ["NasBench201MixedCell", "build_nasbench201_supernet"]


def _build(op: str, channels: int, stride: int = 1) -> nn.Module:
    return build_nasbench201_operation(op, channels, affine=False)


class NasBench201MixedCell(nn.Module):
    """One cell of the supernet: (n, channels, h, w) -> (n, channels, h, w).

    Arguments are those of :class:`~nni_privacy.search_spaces.darts_supernet.MixedCell`, and the channels of every node.
    """

    def __init__(self, layout: FlatLayout, *, channels: int, switchboard: Switchboard, partial: int = 1) -> None:
        super().__init__()
        decisions = {decision.key: decision for decision in layout.decisions}
        self.edges = nn.ModuleDict()
        self._into: list[list[tuple[str, int]]] = [[] for _ in range(NASBENCH201_NODES)]
        for source, target in NASBENCH201_EDGES:
            label = edge_label(source, target)
            if label in decisions:
                self.edges[label] = MixedOperation(
                    decisions[label],
                    channels=channels,
                    stride=1,
                    build=_build,
                    switchboard=switchboard,
                    partial=partial,
                )
            elif layout.fixed[label] != NONE:
                self.edges[label] = _build(layout.fixed[label], channels)
            else:
                continue
            self._into[target].append((label, source))

    def forward(self, x: Tensor) -> Tensor:
        """The cell's input -> its last node, of the same shape."""
        states = [x]
        # A product, not new zeros: what lies before keeps a gradient, of zero.
        run_edges(self.edges, self._into[1:], states, absent=lambda _: x * 0.0)
        return states[-1]


def build_nasbench201_supernet(
    choices: Mapping[str, Sequence[Any]],
    *,
    partial: int = 1,
    candidates: Mapping[str, Sequence[str]] | None = None,
    **sizes: int,
) -> Supernet:
    """The supernet of a (constrained) NAS-Bench-201 space; BatchNorm of cells without parameters, batch statistics.

    Arguments are those of :func:`~nni_privacy.search_spaces.darts_supernet.build_darts_supernet`.
    """
    layout = FlatLayout(
        choices, candidates=candidates, describe=lambda sample: str(NasBench201Genotype.from_sample(sample))
    )
    switchboard = Switchboard()
    network = NasBench201Skeleton(
        lambda width: NasBench201MixedCell(layout, channels=width, switchboard=switchboard, partial=partial), **sizes
    )
    return Supernet(use_batch_statistics(network), layout, switchboard)
