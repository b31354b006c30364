"""The parts that a committee is made of: regressors of encoded architectures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from nni_privacy.genotype_codes import GenotypeCodes
from nni_privacy.surrogate.base import Floats, State

__all__ = ["Encoder", "Features", "Regressor", "standardise"]


class Features(Protocol):
    """Encoded architectures: an array, or anything else that has rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


class Encoder(Protocol):
    """From architectures to what a regressor reads, row by row."""

    def __call__(self, codes: GenotypeCodes, /) -> Features:
        """Encodes n architectures as n rows."""


class Regressor(ABC):
    """One member of a :class:`~nni_privacy.surrogate.committee.Committee`.

    Attributes:
        encoder: makes the features; members that share it also share its result.
    """

    encoder: ClassVar[Encoder]

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
