"""Cases of the conformance suites: both spaces, without a pattern and with two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import SimplifiedModelSpace
from nni.nas.strategy import Strategy

from nni_privacy.cells.genotypes import AnyGenotype
from nni_privacy.search_spaces import DARTS, FixedEdges, NasBench201
from nni_privacy.strategies.fixed_pattern import FixedPattern

__all__ = ["CASES", "Case", "tiny_data"]

CLASSES = 3
CHANNELS = 4


def _darts() -> ModelSpace:
    return DARTS(channels=CHANNELS, cells=3, in_channels=1, num_classes=CLASSES)


def _nasbench201() -> ModelSpace:
    return NasBench201(channels=CHANNELS, cells=1, in_channels=1, num_classes=CLASSES)


@dataclass(frozen=True)
class Case:
    """A space and what is fixed in it.

    Attributes:
        name: for the names of tests.
        make_space: makes the (tiny) space.
        pattern: name of a shipped pattern, or None for an unconstrained search.
        budget: how many of its edges are fixed.
    """

    name: str
    make_space: Callable[[], ModelSpace]
    pattern: str | None = None
    budget: int = 0

    def model_space(self) -> SimplifiedModelSpace:
        """A fresh model space as NNI hands it to a strategy."""
        return SimplifiedModelSpace.from_model(self.make_space(), None)

    def wrap(self, strategy: Strategy) -> Strategy:
        """``strategy`` inside a FixedPattern, if the case has a pattern."""
        return strategy if self.pattern is None else FixedPattern(strategy, self.pattern, budget=self.budget)

    def fixed(self) -> FixedEdges:
        """The edges that every architecture must have."""
        wrapped = self.wrap(Strategy())
        return wrapped.fit_to(self.make_space()) if isinstance(wrapped, FixedPattern) else FixedEdges({})

    def genotype_of(self, sample: dict[str, Any]) -> AnyGenotype:
        """The architecture of a sample of the space."""
        return self.make_space().genotype_of(sample)


CASES = tuple(
    Case(f"{name}-{label}", make, pattern, budget)
    for name, make in (("darts", _darts), ("nasbench201", _nasbench201))
    for label, pattern, budget in (
        ("free", None, 0),
        ("demotion-4", "demotion-reduction", 4),
        ("promotion-3", "promotion-normal", 3),
    )
)


def tiny_data(records: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (records, 1, 8, 8) in 0..1 and labels; the classes differ by where the images are bright."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(records) % CLASSES
    images = 0.5 * torch.rand(records, 1, 8, 8, generator=generator)
    for label in range(CLASSES):
        images[labels == label, :, 2 * label : 2 * label + 2] += 0.5
    return images, labels
