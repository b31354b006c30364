"""How the architecture of a measurement comes about: named, given as a genotype, or searched.

A source crosses to the trial as plain data (:meth:`Source.to_dict`, :func:`source_from_dict`) and builds the network
there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar

from nni_privacy.cells.genotypes import parse_genotype
from nni_privacy.cells.spaces import SPACES, AnyGenotype, space_of
from nni_privacy.data import Dataset
from nni_privacy.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from nni_privacy.auditing.shadows.models import ModelSource

__all__ = ["GenotypeSource", "NetworkSource", "SearchSource", "Source", "source_from_dict"]


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """Where a network comes from.

    Attributes:
        space: name and sizes of the search space; empty for networks.
    """

    kind: ClassVar[str]
    space: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def text(self) -> str | None:
        """The architecture as reports write it; None if only the trial will know."""
        return None

    @property
    def nodes(self) -> int | None:
        """Intermediate nodes M of a DARTS cell."""
        return None

    @abstractmethod
    def build(self, data: Dataset, *, evaluator: Any, folder: Path | None) -> nn.Module:
        """The untrained network for images and classes as in ``data``.

        Args:
            data: the data set.
            evaluator: of the trial: gives the seed, and a search its device, its threads, and the data to search on.
            folder: where the log and checkpoint of a search go; one that holds a checkpoint goes on from it.
        """

    def check(self, data: Dataset) -> None:
        """Raises ConfigError if there is no such network for images as in ``data``, as far as it is known before."""
        return

    def shadow_model(self, data: Dataset) -> ModelSource | None:
        """How another process builds the network, for shadow models; None where the network itself tells."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; :func:`source_from_dict` reads them back."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class NetworkSource(Source):
    """A human-designed network."""

    kind: ClassVar[str] = "network"
    name: str
    stem: str = "auto"

    @property
    def text(self) -> str:
        """Its name."""
        return self.name

    def check(self, data: Dataset) -> None:
        """Raises ConfigError if there is no such network for images as in ``data``."""
        self._build(data)

    def build(self, data: Dataset, *, evaluator: Any, folder: Path | None) -> nn.Module:
        """See :func:`nni_privacy.networks.build_network`."""
        from nni_privacy.training.fit import seed_everything

        seed_everything(evaluator.seed)
        return self._build(data)

    def shadow_model(self, data: Dataset) -> ModelSource:
        """The same network."""
        from nni_privacy.auditing.shadows.models import ModelSpec

        return ModelSpec("nni_privacy.networks:build_network", self._arguments(data))

    def _build(self, data: Dataset) -> nn.Module:
        from nni_privacy.networks import build_network

        return build_network(**self._arguments(data))

    def _arguments(self, data: Dataset) -> dict[str, Any]:
        channels, height, width = data.image_shape
        if height != width:
            raise ConfigError(
                f"dataset {data.name!r}: images of {height} x {width}; networks take square ones: set image_size"
            )
        sizes = {"in_channels": channels, "num_classes": data.num_classes, "image_size": height}
        return {"name": self.name, "stem": self.stem, **sizes}


@dataclass(frozen=True, kw_only=True)
class GenotypeSource(Source):
    """A genotype, and the sizes of its network."""

    kind: ClassVar[str] = "genotype"
    genotype: str

    @property
    def text(self) -> str:
        """The genotype."""
        return str(parse_genotype(self.genotype))

    @property
    def nodes(self) -> int | None:
        """Intermediate nodes M of a DARTS cell."""
        return getattr(parse_genotype(self.genotype), "nodes", None)

    def build(self, data: Dataset, *, evaluator: Any, folder: Path | None) -> nn.Module:
        """The network, its initial weights drawn layer by layer: variants share those of the layers that they share."""
        from nni_privacy.training.fit import seed_everything
        from nni_privacy.training.initialization import initialize_paired

        seed_everything(evaluator.seed)
        network = self._network(data)
        initialize_paired(network, seed=evaluator.seed)
        return network

    def resized_like(self, other: GenotypeSource, data: Dataset) -> GenotypeSource:
        """This genotype with as many channels as give it about as many weights as ``other`` has."""
        from nni_privacy.patterns.controls import size_matched_channels

        wanted = other._parameters(other.space["channels"], data)
        channels = size_matched_channels(
            wanted, parameters=lambda count: self._parameters(count, data), channels=self.space["channels"]
        )
        return self._with_channels(channels)

    def _with_channels(self, channels: int) -> GenotypeSource:
        return replace(self, space={**self.space, "channels": channels})

    def _parameters(self, channels: int, data: Dataset) -> int:
        import torch

        from nni_privacy.training.costs import parameters

        with torch.device("meta"):  # shapes only: nothing is allocated or drawn
            network = self._with_channels(channels)._network(data)
        return parameters(network)

    def _network(self, data: Dataset) -> nn.Module:
        genotype = parse_genotype(self.genotype)
        sizes = {key: self.space[key] for key in ("channels", "cells")}
        sizes |= {"in_channels": data.image_shape[0], "num_classes": data.num_classes}
        return resolve_name(space_of(genotype).network)(genotype, **sizes)


@dataclass(frozen=True, kw_only=True)
class SearchSource(Source):
    """What a one-shot strategy finds on target-train."""

    kind: ClassVar[str] = "search"
    strategy: Mapping[str, Any] = field(default_factory=dict, hash=False)
    pattern: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def nodes(self) -> int | None:
        """Intermediate nodes M of a DARTS cell."""
        return self.space.get("nodes")

    def build(self, data: Dataset, *, evaluator: Any, folder: Path | None) -> nn.Module:
        """The network of the best architecture that the search finds."""
        genotype = self._search(data, evaluator, folder)
        return GenotypeSource(genotype=str(genotype), space=self.space).build(data, evaluator=evaluator, folder=folder)

    def _search(self, data: Dataset, evaluator: Any, folder: Path | None) -> AnyGenotype:
        from nni.nas.space import SimplifiedModelSpace

        from nni_privacy.patterns import load_pattern
        from nni_privacy.strategies import FixedPattern, build_strategy

        kind = resolve_name(SPACES[self.space["name"]].model_space)
        sizes = {key: value for key, value in self.space.items() if key != "name"}
        space = kind(**sizes, in_channels=data.image_shape[0], num_classes=data.num_classes)
        options = {key: value for key, value in self.strategy.items() if key != "name"}
        strategy: Any = build_strategy(self.strategy["name"], options, seed=evaluator.seed)
        strategy.device, strategy.threads, strategy.folder = evaluator.device, evaluator.threads, folder
        outer = strategy
        if self.pattern is not None:
            pattern = load_pattern(self.pattern["name"], cells=self.pattern["cells"])
            outer = FixedPattern(strategy, pattern, budget=self.pattern["budget"])
        # No engine: what the search finds is trained here, not submitted.
        outer.initialize(SimplifiedModelSpace.from_model(space, evaluator), None)
        return kind.genotype_of(strategy.search()[0])


_SOURCES: Mapping[str, type[Source]] = {kind.kind: kind for kind in (NetworkSource, GenotypeSource, SearchSource)}


def source_from_dict(content: Mapping[str, Any]) -> Source:
    """Reads what :meth:`Source.to_dict` wrote."""
    options = {key: value for key, value in content.items() if key != "kind"}
    return _SOURCES[content["kind"]](**options)
