"""The NAS-Bench-201 search space as an NNI model space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import nni
from nni.mutable import Categorical, Mutable, Sample, SampleValidationError
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import current_model, model_context
from torch import Tensor, nn

from nni_privacy.cells.nasbench201 import (
    NASBENCH201_CELL,
    NASBENCH201_EDGES,
    NASBENCH201_OPERATIONS,
    NasBench201Genotype,
    edge_label,
)
from nni_privacy.patterns import Pattern, input_edges
from nni_privacy.search_spaces.constraints import FixedEdges
from nni_privacy.search_spaces.nasbench201_network import NasBench201Network

if TYPE_CHECKING:
    from nni_privacy.search_spaces.supernet import Supernet

__all__ = ["NasBench201"]

DEFAULT_OPERATION = "nor_conv_3x3"
"""On every edge of an unfrozen space: with the first of the operations, ``none``, its network would be cut in two."""


class NasBench201(ModelSpace):
    """The space of NAS-Bench-201 (Dong & Yang, ICLR 2020): one cell of six edges with one of five operations each.

    All choices are plain categoricals, so NNI's TPE and the web UI's hyper-parameter chart work with them, and every
    sample is a legal :class:`~nni_privacy.cells.NasBench201Genotype`. Labels and values are those of its
    ``to_sample``.

    Args:
        channels: channels of the first stage, C.
        cells: cells a stage, of which there are three.
        in_channels: channels of the images: 1 grey, 3 RGB.
        num_classes: number of classes, K.

    Maps images (n, in_channels, h, w) to logits (n, K). Unfrozen, it runs the architecture with nor_conv_3x3 on every
    edge.

    Raises:
        ConfigError: if a size is not a whole number or too small.
    """

    def __init__(self, *, channels: int = 16, cells: int = 5, in_channels: int = 3, num_classes: int = 10) -> None:
        super().__init__()
        sample = current_model()
        if sample is None:
            sample = {}
            for mutable in self.choices().values():
                self.add_mutable(mutable)
                sample[mutable.label] = mutable.default()
        self.network = NasBench201Network(
            NasBench201Genotype.from_sample(sample),
            channels=channels,
            cells=cells,
            in_channels=in_channels,
            num_classes=num_classes,
        )

    @property
    def genotype(self) -> NasBench201Genotype:
        """The architecture that this instance runs."""
        return self.network.genotype

    @property
    def classifier(self) -> nn.Linear:
        """The last layer."""
        return self.network.classifier

    def features(self, images: Tensor) -> Tensor:
        """What the classifier sees: (n, in_channels, h, w) -> (n, 4 * channels)."""
        return self.network.features(images)

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, in_channels, h, w) -> logits (n, K)."""
        return self.network(images)

    @staticmethod
    def choices() -> dict[str, Categorical]:
        """The choices of the space by label: an operation on each edge."""
        labels = [edge_label(*pair) for pair in NASBENCH201_EDGES]
        operations = list(NASBENCH201_OPERATIONS)
        return {label: Categorical(operations, label=label, default=DEFAULT_OPERATION) for label in labels}

    @staticmethod
    def fixed_edges(pattern: Pattern) -> FixedEdges:
        """The edges that a search with ``pattern`` fixes here: from the input to each of the first nodes.

        See :func:`nni_privacy.patterns.input_edges`.

        Raises:
            PatternError: if the pattern is a dual one with two objectives.
        """
        return FixedEdges({NASBENCH201_CELL: input_edges(pattern.objective, len(pattern))})

    @classmethod
    def constrain(cls, mutables: Mapping[str, Mutable], fixed: FixedEdges) -> dict[str, Mutable]:
        """``mutables`` with those of the edges in ``fixed`` narrowed to their one operation.

        Labels stay as they are, so samples keep all their keys and build the unmodified space.

        Args:
            mutables: the simplified space, label to choice.
            fixed: the edges that every architecture shall have.
        """
        constrained = dict(mutables)
        for edge in fixed.edges.get(NASBENCH201_CELL, ()):
            label = edge_label(edge.source, edge.target)
            constrained[label] = nni.choice(label, [edge.op])
        return constrained

    @staticmethod
    def supernet(choices: Mapping[str, Sequence[Any]], **options: Any) -> Supernet:
        """The supernet of a (constrained) space; see :func:`~..nasbench201_supernet.build_nasbench201_supernet`."""
        from nni_privacy.search_spaces.nasbench201_supernet import build_nasbench201_supernet

        return build_nasbench201_supernet(choices, **options)

    @staticmethod
    def genotype_of(sample: Mapping[str, Any]) -> NasBench201Genotype:
        """The architecture that ``sample`` stands for."""
        return NasBench201Genotype.from_sample(sample)

    def check_contains(self, sample: Sample) -> SampleValidationError | None:
        """None if ``sample`` describes an architecture of this space; else what is wrong with it."""
        for mutable in self.mutables:
            error = mutable.check_contains(sample)
            if error is not None:
                return error
        return None

    def freeze(self, sample: Sample) -> NasBench201:
        """A fresh network for ``sample``; the space holds no weights worth keeping."""
        self.validate(sample)
        with model_context(sample):
            return type(self)(**self.trace_kwargs)
