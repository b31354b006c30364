"""What every surrogate can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nni_privacy.cells import Genotype
from nni_privacy.errors import DataError, GenotypeError
from nni_privacy.genotype_codes import GenotypeCodes

__all__ = ["Floats", "Genotypes", "State", "Surrogate", "as_codes"]

Floats = npt.NDArray[np.float64]
Genotypes = Sequence[Any] | GenotypeCodes
"""Architectures of the DARTS space: a sequence of Genotype, or their codes."""


@dataclass(frozen=True, eq=False)
class State:
    """What a fitted model consists of: plain arrays, and facts that JSON can hold."""

    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Surrogate(ABC):
    """A model that predicts the attack's AUC of architectures it has not seen.

    Build one with :func:`~nni_privacy.surrogate.build_surrogate`, which sets both attributes.

    Attributes:
        name: under which it is registered.
        options: with which it was built.
    """

    name: str = ""
    options: Mapping[str, Any]

    def fit(self, genotypes: Genotypes, auc: npt.ArrayLike, *, seed: int) -> Surrogate:
        """Learns from measured architectures.

        Args:
            genotypes: n architectures, all with the same number of intermediate nodes.
            auc: (n,), their measured AUC, fractions between 0 and 1.
            seed: of everything that is drawn; equal seeds give equal models.

        Returns:
            Itself.

        Raises:
            DataError: if lengths differ, there are too few rows, or an AUC is not a fraction.
            GenotypeError: if the genotypes' numbers of nodes differ.
        """
        codes = as_codes(genotypes)
        values = np.asarray(auc, dtype=np.float64)
        if values.shape != (len(codes),):
            raise DataError(f"auc has shape {values.shape}, expected ({len(codes)},): one value a genotype")
        if len(values) < self.minimum_rows:
            raise DataError(f"{len(values)} architectures; the surrogate {self.name!r} needs {self.minimum_rows}")
        if not ((values >= 0) & (values <= 1)).all():
            raise DataError("auc: every value must be a fraction between 0 and 1")
        self._fit(codes, values, seed=seed)
        return self

    def predict(self, genotypes: Genotypes) -> Floats:
        """(n,) predicted AUC, between 0 and 1.

        Raises:
            DataError: if the surrogate has not been fitted.
            GenotypeError: if the architectures have another number of nodes than those it learned from.
        """
        return self.predict_with_uncertainty(genotypes)[0]

    @property
    def minimum_rows(self) -> int:
        """The fewest architectures that it can learn from."""
        return 2

    @abstractmethod
    def predict_with_uncertainty(self, genotypes: Genotypes) -> tuple[Floats, Floats]:
        """(n,) predicted AUC and (n,) standard deviation of the AUC that *one* training run would measure."""

    @abstractmethod
    def _fit(self, codes: GenotypeCodes, auc: Floats, *, seed: int) -> None: ...

    @abstractmethod
    def state(self) -> State:
        """What has been learned.

        Raises:
            DataError: if the surrogate has not been fitted.
        """

    @abstractmethod
    def restore(self, state: State) -> None:
        """Takes over what another instance, built with the same options, has learned.

        Raises:
            DataError: if the state is not that of such an instance.
        """

    def save(self, path: str | Path) -> None:
        """Writes the fitted model to ``path``, whole or not at all; see :func:`load_surrogate`.

        Raises:
            DataError: if it has not been fitted, or the file cannot be written.
        """
        from nni_privacy.surrogate.storage import save_surrogate

        save_surrogate(self, path)

    def __repr__(self) -> str:
        options = "".join(f", {key}={value!r}" for key, value in self.options.items())
        return f"build_surrogate({self.name!r}{options})"


def as_codes(genotypes: Genotypes) -> GenotypeCodes:
    """``genotypes`` as arrays in canonical order.

    Raises:
        GenotypeError: if there are none, one is of another search space, or their numbers of nodes differ.
    """
    if isinstance(genotypes, GenotypeCodes):
        return genotypes.canonical()
    if not all(isinstance(genotype, Genotype) for genotype in genotypes):
        raise GenotypeError("surrogates know architectures of the DARTS space only: Genotype(normal=[...], ...)")
    return GenotypeCodes.from_genotypes(genotypes)  # edges of a Cell are in canonical order
