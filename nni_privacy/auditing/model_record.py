"""A trained network made whole: what is written beside its weights, and how it is built again from there.

A trial writes both into one safetensors file, the record as its metadata, so that neither can be without the other.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from safetensors.torch import save
from torch import nn

from nni_privacy.auditing.shadows.models import ModelSource, ModelSpec, frozen_space, network_of, spec_for
from nni_privacy.cells.spaces import SPACES
from nni_privacy.data import Normalizer
from nni_privacy.errors import ConfigError, DataError, nearest
from nni_privacy.networks import build_network
from nni_privacy.rng import isolated
from nni_privacy.runs.models import DIGEST, METADATA, weights_digest
from nni_privacy.schema import Count, Section, Seed, Several, validated

__all__ = ["Architecture", "ModelRecord", "architecture_of", "model_file"]


class GenotypeArchitecture(Section):
    """The network of a genotype.

    Attributes:
        space: name of the search space.
        genotype: its text.
        sizes: keywords of the network: width, depth, channels of the images, classes.
    """

    kind: Literal["genotype"] = "genotype"
    space: str
    genotype: str
    sizes: dict[str, int]

    @property
    def source(self) -> ModelSpec:
        """How the network is built; ConfigError if nobody has registered the space."""
        if self.space not in SPACES:
            raise ConfigError(
                f"search space {self.space!r} is not known here: import the plugin that registers it first "
                f"(--plugins); {nearest(self.space, SPACES)}"
            )
        return ModelSpec(_factory(SPACES[self.space].network), {"genotype": self.genotype, **self.sizes})


class NetworkArchitecture(Section):
    """A human-designed network, by the arguments of :func:`~nni_privacy.networks.build_network`."""

    kind: Literal["network"] = "network"
    name: str
    options: dict[str, Any]

    @property
    def source(self) -> ModelSpec:
        """How the network is built."""
        return ModelSpec(_NETWORK, {"name": self.name, **self.options})


class SampleArchitecture(Section):
    """A sample of a model space of the user's own.

    Attributes:
        model_space: ``module:Class``.
        arguments: of its constructor.
        sample: what is chosen, label to value.
    """

    kind: Literal["sample"] = "sample"
    model_space: str
    arguments: dict[str, Any]
    sample: dict[str, Any]

    @property
    def source(self) -> ModelSpec:
        """How the network is built; ConfigError unless it is a model space that is imported: a file imports nothing."""
        from nni.nas.space import BaseModelSpace

        module, _, name = self.model_space.partition(":")
        if module not in sys.modules:
            raise ConfigError(f"model space {self.model_space} is not known here: import {module} first (--plugins)")
        found = getattr(sys.modules[module], name, None)
        if not isinstance(found, type) or not issubclass(found, BaseModelSpace):
            raise ConfigError(f"model space {self.model_space} is none: {module} has no class of that name that is one")
        return ModelSpec(frozen_space, {"space": self.model_space, **self.model_dump(include={"arguments", "sample"})})


class UnknownArchitecture(Section):
    """A network that nothing is known of but how reports write it."""

    kind: Literal["unknown"] = "unknown"
    text: str

    @property
    def source(self) -> ModelSpec:
        """None: a ConfigError."""
        raise ConfigError(f"nothing says how the network {self.text!r:.80} is built; only its weights were kept")


Architecture = Annotated[
    GenotypeArchitecture | NetworkArchitecture | SampleArchitecture | UnknownArchitecture, Field(discriminator="kind")
]


class ModelRecord(Section):
    """What makes the weights of a trained network whole.

    Attributes:
        format: of the record.
        architecture: how the network is built.
        private: whether layers that mix records were replaced for DP-SGD.
        image_shape: channels, height and width.
        image_type: ``uint8`` (0..255) or ``float32``, of the images it was trained on.
        num_classes: K.
        classes: names of the classes in the order of the logits; empty where the data set has none.
        mean: of each channel of target-train, in the units of :func:`~nni_privacy.data.to_float`.
        std: its standard deviation.
        dataset: name and options of the data set.
        recipe: how it was trained.
        seed: of the split, the weights, the batches and the attacks.
        attacks: names, the primary one first; ``effort`` is their budget, ``shadows`` their number of reference models.
        threads: torch's threads on the CPU, on which the last bits depend.
        versions: of Python and of the packages that matter.
    """

    format: Literal[1] = 1
    architecture: Architecture
    private: bool = False
    image_shape: tuple[Count, Count, Count]
    image_type: Literal["uint8", "float32"]
    num_classes: Several
    classes: tuple[str, ...] = ()
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dataset: dict[str, Any]
    recipe: dict[str, Any]
    seed: Seed
    attacks: tuple[str, ...]
    effort: dict[str, Any] = Field(default_factory=dict)
    shadows: Count = 4
    threads: Count = 1
    versions: dict[str, str | None] = Field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str | bytes, *, place: str) -> ModelRecord:
        """Reads what :meth:`to_json` wrote.

        Raises:
            DataError: if it is something else; one line that begins with ``place``.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place}: not JSON ({' '.join(str(error).split()):.120})") from None
        if not isinstance(content, Mapping):
            raise DataError(f"{place}: a {type(content).__name__}, expected the record of a model")
        lists = ("image_shape", "classes", "mean", "std", "attacks")
        given = {key: tuple(value) if key in lists and isinstance(value, list) else value
                 for key, value in content.items()}  # fmt: skip
        try:
            record = validated(cls, given)
            _ = record.normalize
        except (ConfigError, DataError) as error:
            raise DataError(f"{place}: {error}") from None
        if len(record.mean) != record.image_shape[0] or len(record.classes) not in (0, record.num_classes):
            raise DataError(f"{place}: mean, std and classes do not fit image_shape and num_classes")
        return record

    def to_json(self) -> str:
        """The record as JSON, one field a line."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"

    @cached_property
    def normalize(self) -> Normalizer:
        """What the network is fed with."""
        return Normalizer(self.mean, self.std)

    def build(self) -> nn.Module:
        """The network, with weights that mean nothing yet.

        Raises:
            ConfigError: if it cannot be built here: a plugin is not imported, or there is no such architecture.
        """
        source = self.architecture.source
        with isolated():
            network = network_of(source.build())
        if self.private:
            from nni_privacy.training.dp_layers import make_private_layers

            make_private_layers(network)
        return network


def architecture_of(model: nn.Module, source: ModelSource | None, *, text: str) -> Architecture:
    """How a trial's network can be built again.

    Args:
        model: the network, or NNI's frozen space.
        source: how its evaluator says that it is built, if it does.
        text: how reports write it.
    """
    try:
        found = source or spec_for(model)
    except ConfigError:
        return _sample_of(model) or UnknownArchitecture(text=text)
    if isinstance(found, ModelSpec) and isinstance(found.factory, str):
        arguments = dict(found.arguments)
        for record in SPACES.values():
            if found.factory == _factory(record.network):
                return GenotypeArchitecture(space=record.name, genotype=arguments.pop("genotype"), sizes=arguments)
        if found.factory == _NETWORK:
            return NetworkArchitecture(name=arguments.pop("name"), options=arguments)
    return UnknownArchitecture(text=text)


def model_file(model: nn.Module, record: ModelRecord) -> bytes:
    """The content of a safetensors file: the weights on the CPU; record and digest as its metadata; always the same."""
    tensors = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in network_of(model).state_dict().items()
        if isinstance(value, torch.Tensor)
    }
    return bytes(save(tensors, metadata={METADATA: record.to_json(), DIGEST: weights_digest(save(tensors))}))


def _factory(network: str) -> str:
    return f"{network}.of"


_NETWORK = f"{build_network.__module__}:{build_network.__qualname__}"


def _sample_of(model: nn.Module) -> SampleArchitecture | None:
    """A frozen model space of the user's own; None if it cannot be written as plain values."""
    import nni

    parameters = nni.get_current_parameter()
    sample = getattr(parameters, "sample", parameters)
    arguments = getattr(model, "trace_kwargs", None)
    if not isinstance(sample, Mapping) or not isinstance(arguments, Mapping):
        return None
    place = f"{type(model).__module__}:{type(model).__qualname__}"
    try:
        content = json.loads(json.dumps({"arguments": dict(arguments), "sample": dict(sample)}, allow_nan=False))
        return validated(SampleArchitecture, {"model_space": place, **content})
    except (TypeError, ValueError):
        return None
