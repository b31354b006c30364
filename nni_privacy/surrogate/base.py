"""The surrogate: its base class, the registry that a user adds one to, and its file.

A file is one ``.npz`` of plain arrays and a JSON text. Never a pickle: a file cannot run code.
"""

from __future__ import annotations

import inspect
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.cells.darts import Genotype
from nni_privacy.errors import ConfigError, DataError, GenotypeError, check_keys, nearest
from nni_privacy.files import CORRUPT_FILE, atomic_write
from nni_privacy.plugins import expect, plugin_faults

__all__ = ["Floats", "Genotypes", "State", "Surrogate", "as_codes", "build_surrogate", "load_surrogate"]
__all__ += ["register_surrogate", "surrogate_builder", "surrogate_names", "surrogates_without_extra"]

Floats = npt.NDArray[np.float64]
Genotypes = Sequence[Any] | GenotypeCodes
"""Architectures of the DARTS space: a sequence of Genotype, or their codes."""

_BUILDERS: dict[str, Callable[..., Surrogate]] = {}
_NEED_EXTRA: set[str] = set()
_BUILT_IN = "nni_privacy.surrogate.models"

FORMAT = "nni-privacy surrogate"
VERSION = 1
METADATA = "metadata"
SHIPPED = Path(__file__).parent / "shipped" / "default.npz"


@dataclass(frozen=True, eq=False)
class State:
    """What a fitted model consists of: plain arrays, and facts that JSON can hold."""

    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def arrays_under(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """The arrays whose names begin with ``prefix``, without it."""
        return {key.removeprefix(prefix): array for key, array in self.arrays.items() if key.startswith(prefix)}


class Surrogate(ABC):
    """A model that predicts the attack's AUC of architectures it has not seen.

    Build one with :func:`~nni_privacy.surrogate.build_surrogate`, which sets name and options.

    Attributes:
        name: under which it is registered.
        options: with which it was built.
        minimum_rows: the fewest architectures that it can learn from.
    """

    name: str = ""
    options: Mapping[str, Any]
    minimum_rows: int = 2

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
        with self._faults_told():
            self._fit(codes, values, seed=seed)
        return self

    def predict(self, genotypes: Genotypes) -> Floats:
        """(n,) predicted AUC, between 0 and 1.

        Raises:
            DataError: if the surrogate has not been fitted.
            GenotypeError: if the architectures have another number of nodes than those it learned from.
        """
        with self._faults_told():
            return self.predict_with_uncertainty(genotypes)[0]

    def _faults_told(self) -> AbstractContextManager[None]:
        return plugin_faults(f"surrogate {self.name!r}", _BUILDERS.get(self.name, type(self)))

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
        target, state, options = Path(path), self.state(), dict(self.options)
        head = {"format": FORMAT, "version": VERSION, "surrogate": self.name, "options": options, "facts": state.facts}
        arrays: dict[str, Any] = {**state.arrays, METADATA: np.array(json.dumps(head, sort_keys=True))}
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **arrays)
        try:
            atomic_write(target, content.getvalue())
        except OSError as error:
            raise DataError(f"{target}: cannot be written: {error.strerror or error}") from None

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


Builder = TypeVar("Builder", bound=Callable[..., Surrogate])


def register_surrogate(name: str, *, needs_extra: bool = False) -> Callable[[Builder], Builder]:
    """Registers a function that builds an unfitted surrogate; its keyword-only arguments are the options.

    Args:
        name: under which it can be built.
        needs_extra: whether it imports a package that nni-privacy does not depend on.

    Raises:
        ConfigError: if the name is taken.
    """
    if name in _BUILDERS:
        raise ConfigError(f"surrogate {name!r} is registered already")

    def register(builder: Builder) -> Builder:
        _BUILDERS[name] = builder
        if needs_extra:
            _NEED_EXTRA.add(name)
        return builder

    return register


def surrogate_names() -> tuple[str, ...]:
    """The names of all registered surrogates, sorted."""
    import_module(_BUILT_IN)
    return tuple(sorted(_BUILDERS))


def surrogates_without_extra() -> tuple[str, ...]:
    """The names of those that need no further package, sorted."""
    return tuple(name for name in surrogate_names() if name not in _NEED_EXTRA)


def surrogate_builder(name: str) -> Callable[..., Surrogate]:
    """The function that is registered under a name; ConfigError with the nearest one if there is none."""
    names = surrogate_names()
    if name not in names:
        raise ConfigError(f"unknown surrogate {name!r}: {nearest(str(name), names)}")
    return _BUILDERS[name]


def build_surrogate(name: str, **options: Any) -> Surrogate:
    """An unfitted surrogate.

    Args:
        name: of :func:`surrogate_names`.
        **options: its own, see the builder's documentation in :mod:`nni_privacy.surrogate.models`.

    Raises:
        ConfigError: if the name or an option is unknown or a value is not allowed.
    """
    builder = surrogate_builder(name)
    check_keys(f"surrogate {name!r}", options, inspect.signature(builder).parameters)
    with plugin_faults(f"surrogate {name!r}", builder):
        surrogate = builder(**options)
    expect(surrogate, Surrogate, f"surrogate {name!r}", builder)
    surrogate.name, surrogate.options = name, dict(sorted(options.items()))
    return surrogate


def load_surrogate(path: str | Path | None = None) -> Surrogate:
    """Reads a fitted surrogate.

    Args:
        path: a file that :meth:`Surrogate.save` wrote; by default the one that ships with the package, which learned
            from White-Box/Partial attacks on CIFAR-10 networks of the DARTS space (4 intermediate nodes).

    Raises:
        DataError: if the file is missing or is no such file, or is of a newer version.
    """
    source = SHIPPED if path is None else Path(path)
    foreign = DataError(f"{source}: not a surrogate's file; write one with `nni-privacy surrogate fit`")
    try:
        with np.load(source, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
        head = json.loads(str(content.pop(METADATA)))
    except OSError as error:
        raise DataError(f"{source}: cannot be read: {error.strerror or error}") from None
    except CORRUPT_FILE:
        raise foreign from None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise foreign
    if head.get("version") != VERSION:
        raise DataError(
            f"{source}: its format has version {head.get('version')!r}; this nni-privacy reads version {VERSION}"
        )
    try:
        surrogate = build_surrogate(head["surrogate"], **head["options"])
        surrogate.restore(State(content, head["facts"]))
    except (DataError, ConfigError, KeyError, TypeError) as error:
        raise DataError(f"{source}: not a valid surrogate: {error}") from None
    return surrogate
