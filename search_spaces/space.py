"""Model spaces as NNI knows them: the base class of ours, and the class of a user's own under NNI's wrappers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from nni.mutable import Categorical, Sample, SampleValidationError
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import BaseModelSpace, ExecutableModelSpace, current_model, model_context
from torch import Tensor, nn

from nni_privacy.cells.spaces import AnyGenotype
from nni_privacy.errors import ConfigError, GenotypeError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["SIZES", "CellSpace", "Size", "architecture_of", "size_factors", "size_of", "unwrap_space"]

SIZES = ("channels", "cells")
"""The sizes of a network that a space can leave to be searched, and the labels of their choices."""

Size = int | Sequence[int]
"""A size, or those that there are to choose from."""

G = TypeVar("G", bound=AnyGenotype)


# Generic comes first: NNI's __init_subclass__ calls no other. A wrapped __init__ would open a second context of NNI's.
class CellSpace(Generic[G], ModelSpace, disable_init_wrapper=True):  # type: ignore[call-arg]
    """A model space whose samples all are legal genotypes, and whose instances run the network of one of them.

    All choices are plain categoricals, so NNI's TPE and the web UI's hyper-parameter chart work with them. Labels and
    values are those of the genotype's ``to_sample``.

    Maps images (n, in_channels, h, w) to logits (n, K).

    Attributes:
        network: of the genotype; a subclass builds it.
        factors: where the size is searched, that of this instance, as :func:`size_factors` tells it; else empty.
    """

    network: Any
    factors: Mapping[str, Any] = MappingProxyType({})

    def chosen(self, choices: Mapping[str, Categorical], sizes: Mapping[str, Size] | None = None) -> Sample:
        """The sample to build: the one that NNI freezes, or the default of ``choices``, which the space then gets.

        Args:
            choices: those of the cells, by label.
            sizes: channels and cells. Where one of them is a list, both are choices too, and the sample has both.
        """
        searched = size_choices(sizes or {})
        choices = {**choices, **searched}
        sample: Sample | None = current_model()
        if sample is None:
            for mutable in choices.values():
                self.add_mutable(mutable)
            sample = {label: mutable.default() for label, mutable in choices.items()}
        self.factors = size_factors(sample) if searched else {}
        return sample if searched else {**sample, **(sizes or {})}

    @property
    def genotype(self) -> G:
        """The architecture that this instance runs."""
        return self.network.genotype

    @property
    def classifier(self) -> nn.Linear:
        """The last layer."""
        return self.network.classifier

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features: (n, in_channels, h, w) -> (n, F)."""
        return self.network.features(images)

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, in_channels, h, w) -> logits (n, K)."""
        return self.network(images)

    @staticmethod
    def genotype_of(sample: Mapping[str, Any]) -> G:
        """The architecture that ``sample`` stands for; GenotypeError if it is none."""
        raise NotImplementedError

    def check_contains(self, sample: Sample) -> SampleValidationError | None:
        """None if ``sample`` describes an architecture of this space; else what is wrong with it."""
        for mutable in self.mutables:
            error: SampleValidationError | None = mutable.check_contains(sample)
            if error is not None:
                return error
        try:
            self.genotype_of(sample)
        except GenotypeError as fault:
            return SampleValidationError(str(fault))
        return None

    def freeze(self, sample: Sample) -> Self:
        """A fresh network for ``sample``; the space holds no weights worth keeping."""
        self.validate(sample)
        with model_context(sample):
            return type(self)(**self.trace_kwargs)


def size_choices(sizes: Mapping[str, Size]) -> dict[str, Categorical]:
    """The choices of the sizes, by label, if any of them is a list; a single number is a choice of one then.

    Raises:
        ConfigError: if a list is empty or names a size twice.
    """
    if not any(_is_list(size) for size in sizes.values()):
        return {}
    choices = {}
    for label, size in sizes.items():
        values = list(size) if isinstance(size, Sequence) else [size]
        if not values or len(set(values)) < len(values):
            raise ConfigError(f"{label}: {size!r}; allowed is a whole number, or a list of different ones")
        choices[label] = Categorical(values, label=label)
    return choices


def size_factors(sample: Mapping[str, Any]) -> dict[str, Any]:
    """The size of a searched network under the names that the factors of a study have; empty if it was not searched."""
    if not all(isinstance(sample.get(label), int) for label in SIZES):
        return {}
    channels, cells = (sample[label] for label in SIZES)
    return {"size": f"{channels} channels, {cells} cells", "channels": channels, "network_cells": cells}


def size_of(model: ExecutableModelSpace) -> dict[str, Any]:
    """The factors of a frozen model of one of our spaces whose size is searched; else empty."""
    kind = unwrap_space(model)
    return size_factors(model.sample or {}) if isinstance(kind, type) and issubclass(kind, CellSpace) else {}


def architecture_of(model: ExecutableModelSpace) -> str:
    """The architecture of a frozen model as text: its genotype, or for other spaces the sample as JSON."""
    genotype_of = getattr(unwrap_space(model), "genotype_of", None)
    if genotype_of is not None:
        return str(genotype_of(model.sample))
    return json.dumps(model.sample, sort_keys=True, default=str)


def _is_list(size: Size) -> bool:
    return isinstance(size, Sequence) and not isinstance(size, str)


def unwrap_space(model_space: ExecutableModelSpace) -> Any:
    """The class of the space that the user wrote, under NNI's wrappers; None where it cannot be found."""
    simplified = getattr(getattr(model_space, "model", None), "trace_symbol", None)
    if simplified is not None:
        return simplified
    raw = getattr(model_space, "model_space", None)
    seen_through = getattr(raw, "space", None)  # FixedPattern's view of a raw space
    return type(seen_through if isinstance(seen_through, BaseModelSpace) else raw)
