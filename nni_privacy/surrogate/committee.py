"""A committee: several fits, each without a part of the data, whose mean is the prediction.

Its members are regressors of encoded architectures. Every member leaves out another fold (a cross-validated committee:
Krogh & Vedelsby, NeurIPS 1995). So one fit yields an average that is steadier than a single model, out-of-fold
residuals that say how wrong predictions are, and a spread between the members that grows where there were no data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.errors import DataError, GenotypeError
from nni_privacy.schema import Count, checked
from nni_privacy.surrogate.base import Floats, Genotypes, State, Surrogate, as_codes
from nni_privacy.surrogate.topology import encode_topology

__all__ = ["Committee", "Encoder", "Regressor", "standardise"]

FOLDS = 10
"""Every member leaves out one of so many parts of the data (of ``members`` parts if these are more)."""
SEPARATOR = "/"


class Encoder(Protocol):
    """From architectures to what a regressor reads, row by row."""

    def __call__(self, codes: GenotypeCodes, /) -> Any:
        """Encodes n architectures as n rows: an array, or anything else that has a length and takes a mask."""


class Regressor(ABC):
    """One member of a :class:`~nni_privacy.surrogate.committee.Committee`.

    Attributes:
        encoder: makes the features, those of the topology by default; members that share it also share its result.
    """

    encoder: ClassVar[Encoder] = staticmethod(encode_topology)

    @abstractmethod
    def fit(self, features: Any, target: Floats, held: Any, held_target: Floats, *, seed: int) -> None:
        """Learns.

        Args:
            features: n encoded architectures.
            target: (n,), of about zero mean and unit variance.
            held: further encoded architectures, on which it may stop early.
            held_target: theirs.
            seed: of everything that is drawn.
        """

    @abstractmethod
    def predict(self, features: Any) -> Floats:
        """(n,) predicted targets of n encoded architectures."""

    @abstractmethod
    def state(self) -> State:
        """What has been learned."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Takes over what another instance has learned; KeyError, ValueError or TypeError if that does not fit."""


def standardise(features: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """(k,) mean and (k,) standard deviation of the columns of ``features`` (n, k); 1 where a column is constant."""
    spread = features.std(axis=0, dtype=np.float64)
    return features.mean(axis=0, dtype=np.float64), np.where(spread > 1e-12, spread, 1.0)


class Committee(Surrogate):
    """The mean of ``members`` fits of each of ``parts``.

    Args:
        parts: name to a function that makes an unfitted regressor; a member is the mean of all of them.
        members: number of fits; each leaves out another tenth of the data (less if there are more than ten).

    Raises:
        ConfigError: if ``members`` is not a whole number of at least 1.
    """

    def __init__(self, parts: Mapping[str, Callable[[], Regressor]], *, members: int) -> None:
        self._parts, self._size = dict(parts), checked(Count, members, "members")
        self.minimum_rows = 2 * max(FOLDS, self._size)  # folds of two
        self._members: list[dict[str, Regressor]] = []
        self._nodes = 0
        self._centre, self._scale, self._residual = 0.0, 1.0, 0.0

    def _fit(self, codes: GenotypeCodes, auc: Floats, *, seed: int) -> None:
        self._nodes = codes.nodes
        self._centre, self._scale = float(auc.mean()), float(auc.std()) or 1.0
        target = (auc - self._centre) / self._scale
        self._members = [{name: make() for name, make in self._parts.items()} for _ in range(self._size)]
        encoded = self._encode(codes)
        order_stream, *streams = np.random.SeedSequence(seed).spawn(self._size + 1)
        order = np.random.default_rng(order_stream).permutation(len(auc))
        folds = np.array_split(order, max(FOLDS, self._size))[: self._size]
        residuals = []
        for member, fold, stream in zip(self._members, folds, streams, strict=True):
            held = np.isin(np.arange(len(auc)), fold)
            seeds = stream.generate_state(len(member)).tolist()
            for part, part_seed in zip(member.values(), seeds, strict=True):
                rows = encoded[part.encoder]
                part.fit(rows[~held], target[~held], rows[held], target[held], seed=part_seed)
            residuals.append(target[held] - _mean_of_parts(member, encoded, held))
        self._residual = float(np.sqrt(np.mean(np.concatenate(residuals) ** 2)))

    def _encode(self, codes: GenotypeCodes) -> dict[Encoder, Any]:
        encoders = {part.encoder for member in self._members[:1] for part in member.values()}
        return {encoder: encoder(codes) for encoder in encoders}

    def predict_with_uncertainty(self, genotypes: Genotypes) -> tuple[Floats, Floats]:
        """(n,) mean of the members and (n,) standard deviation: out-of-fold residuals and the members' spread."""
        self._check_fitted()
        if not len(genotypes):
            return np.empty(0), np.empty(0)
        codes = as_codes(genotypes)
        if codes.nodes != self._nodes:
            raise GenotypeError(
                f"the genotypes have {codes.nodes} intermediate nodes; those it learned from had {self._nodes}"
            )
        encoded = self._encode(codes)
        predicted = np.stack([_mean_of_parts(member, encoded) for member in self._members])
        spread = predicted.std(axis=0, ddof=1) if self._size > 1 else np.zeros(len(codes))
        mean = np.clip(self._centre + self._scale * predicted.mean(axis=0), 0.0, 1.0)
        return mean, self._scale * np.hypot(self._residual, spread)

    def _check_fitted(self) -> None:
        if not self._members:
            raise DataError(f"the surrogate {self.name!r} has not been fitted")

    def state(self) -> State:
        """Every member's arrays and facts under its number and part."""
        self._check_fitted()
        arrays, facts = {}, {}
        for number, member in enumerate(self._members):
            for name, part in member.items():
                prefix = f"{number}{SEPARATOR}{name}"
                state = part.state()
                arrays.update({f"{prefix}{SEPARATOR}{key}": array for key, array in state.arrays.items()})
                facts[prefix] = dict(state.facts)
        scaling = {"centre": self._centre, "scale": self._scale, "residual": self._residual}
        return State(arrays, {"nodes": self._nodes, **scaling, "members": facts})

    def restore(self, state: State) -> None:
        """Takes over another committee's members."""
        members: list[dict[str, Regressor]] = []
        try:
            for number in range(self._size):
                members.append({name: make() for name, make in self._parts.items()})
                for name, part in members[-1].items():
                    prefix = f"{number}{SEPARATOR}{name}"
                    arrays = state.arrays_under(f"{prefix}{SEPARATOR}")
                    part.restore(State(arrays, state.facts["members"][prefix]))
            scaling = [float(state.facts[key]) for key in ("centre", "scale", "residual")]
            nodes = int(state.facts["nodes"])
        except (KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
            raise DataError(f"not the state of a surrogate {self.name!r}: {type(error).__name__}: {error}") from None
        self._members, self._nodes = members, nodes
        self._centre, self._scale, self._residual = scaling


def _mean_of_parts(member: Mapping[str, Regressor], encoded: Mapping[Encoder, Any], rows: Any = slice(None)) -> Floats:
    parts = [part.predict(encoded[part.encoder][rows]) for part in member.values()]
    mean: Floats = np.mean(parts, axis=0, dtype=np.float64)
    return mean
