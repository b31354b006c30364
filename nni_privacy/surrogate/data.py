"""Architecture-to-MIA data: architectures with the AUC that an attack on them was measured to have, and its readers.

Read are a CSV file, the authors' published folder, and our own run directories.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from nni_privacy.cells.darts import Genotype
from nni_privacy.cells.genotypes import genotype_at
from nni_privacy.cells.spaces import space_of
from nni_privacy.errors import DataError, GenotypeError
from nni_privacy.files import atomic_write, read_table, read_text, to_csv
from nni_privacy.runs.lines import listed
from nni_privacy.runs.records import TRIALS, read_trials
from nni_privacy.surrogate.base import Floats

__all__ = ["CorruptLineWarning", "DuplicateArchitectureWarning", "MIAData", "read_mia_data", "write_mia_data"]

MINIMUM_ROWS = 50
"""With fewer, nothing about architectures can be told from the noise of training."""

PUBLISHED = Path("nas_eval", "data", "genos", "origin")
"""Where the paper's authors keep their measurements in their repository."""


class DuplicateArchitectureWarning(UserWarning):
    """An architecture was measured several times, with different results; their mean is used."""


class CorruptLineWarning(UserWarning):
    """A line of a run directory's ``trials.jsonl`` is no trial's record; it is skipped."""


@dataclass(frozen=True)
class MeasuredArchitecture:
    """A row: an architecture, its attack AUC, and its test accuracy if known; ``where`` it was read, for errors."""

    genotype: Genotype
    mia_auc: float
    accuracy: float | None = None
    where: str = ""


@dataclass(frozen=True, eq=False)
class MIAData:
    """Measured architectures, each once.

    Attributes:
        genotypes: n different ones, in the order in which they were first read.
        mia_auc: (n,), fractions between 0 and 1; 0.5 means that the attack guesses.
        accuracy: (n,), test accuracy, fractions; None unless all are known.
        sources: what was read.
        repeated: how many rows were merged into others.
    """

    genotypes: tuple[Genotype, ...]
    mia_auc: Floats
    accuracy: Floats | None = None
    sources: tuple[str, ...] = ()
    repeated: int = 0

    def __post_init__(self) -> None:
        lengths = {len(self.genotypes), *(len(x) for x in (self.mia_auc, self.accuracy) if x is not None)}
        if len(lengths) != 1:
            raise DataError(f"genotypes, mia_auc and accuracy have different lengths: {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.genotypes)

    def summary(self) -> str:
        """One line: how many architectures, and how their AUC is distributed."""
        auc = self.mia_auc
        merged = f" ({self.repeated} repeated rows merged)" if self.repeated else ""
        spread = f"mean {auc.mean():.3f}, sd {auc.std():.3f}, {auc.min():.3f} to {auc.max():.3f}"
        correlation = ""
        if self.accuracy is not None and np.ptp(self.accuracy) > 0 and np.ptp(auc) > 0:
            correlation = f"; correlation with accuracy {np.corrcoef(self.accuracy, auc)[0, 1]:+.3f}"
        return f"{len(self)} architectures{merged}; attack AUC {spread}{correlation}"


def _gather(rows: Sequence[MeasuredArchitecture], *, sources: tuple[str, ...], minimum: int) -> MIAData:
    """Merges rows of the same architecture; DataError if there are too few, or their numbers of nodes differ."""
    groups: dict[Genotype, list[MeasuredArchitecture]] = {}
    for row in rows:
        groups.setdefault(row.genotype, []).append(row)
    where = ", ".join(sources)
    if len(groups) < minimum:
        raise DataError(f"{where}: {len(groups)} different measured architectures; at least {minimum} are needed")
    nodes = {genotype.nodes for genotype in groups}
    if len(nodes) > 1:
        raise DataError(f"{where}: architectures with different numbers of intermediate nodes: {sorted(nodes)}")
    _warn_of_differences(where, groups.values())
    auc = np.array([np.mean([row.mia_auc for row in group]) for group in groups.values()])
    known = [[row.accuracy for row in group if row.accuracy is not None] for group in groups.values()]
    accuracy = np.array([np.mean(values) for values in known]) if all(known) else None
    return MIAData(tuple(groups), auc, accuracy, sources, len(rows) - len(groups))


def _warn_of_differences(where: str, groups: Iterable[list[MeasuredArchitecture]]) -> None:
    differing = [group for group in groups if len({row.mia_auc for row in group}) > 1]
    if differing:
        rows = ", ".join(row.where for row in differing[0] if row.where)
        values = ", ".join(f"{row.mia_auc:g}" for row in differing[0])
        warnings.warn(
            f"{where}: {len(differing)} architectures were measured several times with different AUC; the mean is "
            f"used (the first: {rows}: {values})",
            DuplicateArchitectureWarning,
            stacklevel=4,
        )


def write_mia_data(data: MIAData, path: str | Path) -> None:
    """Writes a CSV file with the columns genotype, mia_auc and, if known, accuracy; whole or not at all.

    Raises:
        DataError: if the file cannot be written.
    """
    target = Path(path)
    table = {"genotype": map(str, data.genotypes), "mia_auc": data.mia_auc.tolist()}
    if data.accuracy is not None:
        table["accuracy"] = data.accuracy.tolist()
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    try:
        atomic_write(target, to_csv(rows, tuple(table)))
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error.strerror or error}") from None


def read_mia_data(path: str | Path | Sequence[str | Path], *, minimum: int = MINIMUM_ROWS) -> MIAData:
    """Reads measured architectures, each once; rows of the same architecture are merged.

    Args:
        path: one or several of: a CSV file with the columns ``genotype``, ``mia_auc`` and maybe ``accuracy`` (or
            ``test_accuracy``); a clone of the authors' repository; a run directory of ``nni-privacy search``, or a
            folder of such. Failed trials are left out.
        minimum: the fewest different architectures allowed.

    Warns:
        DuplicateArchitectureWarning: if an architecture occurs with different AUC; the mean is used.
        CorruptLineWarning: if a line of a run directory is no trial's record; it is skipped.

    Raises:
        DataError: if something cannot be read, an AUC is not a fraction, or there are too few architectures.
        GenotypeError: if a genotype is not legal; the message names the line.
    """
    paths = [path] if isinstance(path, str | Path) else list(path)
    if not paths:
        raise DataError("no file or folder with measured architectures")
    rows = [row for one in paths for row in _read(Path(one))]
    return _gather(rows, sources=tuple(map(str, paths)), minimum=minimum)


def _read(path: Path) -> Iterator[MeasuredArchitecture]:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.is_file():
        return _read_csv(path)
    if (path / TRIALS).is_file():
        return _read_run(path)
    if (origin := _published_folder(path)) is not None:
        return _read_published(origin)
    if runs := sorted(path.glob(f"*/{TRIALS}")):
        return chain.from_iterable(_read_run(file.parent) for file in runs)
    raise DataError(
        f"{path}: neither a run directory ({TRIALS}), nor a folder of such, nor the authors' repository "
        f"({PUBLISHED / 'meminf'})"
    )


def _read_csv(path: Path) -> Iterator[MeasuredArchitecture]:
    columns, rows = read_table(path, ("genotype", "mia_auc"))
    accuracy = next((column for column in ("accuracy", "test_accuracy") if column in columns), None)
    for number, row in rows:
        known = row[accuracy] if accuracy else None
        yield _measured(f"{path}, line {number}", row["genotype"], row["mia_auc"], known or None)


def _read_published(origin: Path) -> Iterator[MeasuredArchitecture]:
    """Joins the authors' files: AUC follows the order of meminf/genotype.txt, accuracy that of origin/genotype.txt."""
    meminf = origin / "meminf"
    genotypes, aucs, indices = (_lines(meminf / f"{name}.txt") for name in ("genotype", "test_auc", "cell_indices"))
    all_genotypes, accuracies = (_lines(origin / f"{name}.txt") for name in ("genotype", "test_acc"))
    if not len(genotypes) == len(aucs) == len(indices):
        raise DataError(f"{meminf}: genotype, test_auc and cell_indices have different numbers of lines")
    if len(all_genotypes) != len(accuracies):
        raise DataError(f"{origin}: genotype and test_acc have different numbers of lines")
    for number, (genotype, auc, index) in enumerate(zip(genotypes, aucs, indices, strict=True), start=1):
        where = f"{meminf / 'genotype.txt'}, line {number}"
        position = int(index) if index.strip().isdecimal() else -1
        if not 0 <= position < len(all_genotypes):
            raise DataError(f"{meminf / 'cell_indices.txt'}, line {number}: {index!r} is not a line of {origin}")
        if all_genotypes[position].strip() != genotype.strip():
            raise DataError(f"{where}: not the genotype that cell_indices names in {origin / 'genotype.txt'}")
        yield _measured(where, genotype, auc, _as_fraction(accuracies[position]))


def _published_folder(path: Path) -> Path | None:
    """The folder that holds meminf/, whether ``path`` is the clone, nas_eval, ..., origin or meminf itself."""
    for folder in (path / PUBLISHED, *(path / Path(*PUBLISHED.parts[skip:]) for skip in range(1, 5)), path.parent):
        if (folder / "meminf" / "test_auc.txt").is_file() and (folder != path.parent or path.name == "meminf"):
            return folder
    return None


def _as_fraction(accuracy: str) -> str:
    """The authors' accuracies, which may be per cent."""
    try:
        value = float(accuracy)
    except ValueError:
        return accuracy
    return str(value / 100) if 1 < value <= 100 else accuracy


def _read_run(path: Path) -> Iterator[MeasuredArchitecture]:
    file = path / TRIALS
    trials, corrupt = read_trials(file)
    if corrupt:
        what = f"{file}: skipped, as no whole JSON object: line {listed(corrupt)}"
        warnings.warn(what, CorruptLineWarning, stacklevel=2)
    for trial in trials:
        if trial.succeeded and trial.mia_auc is not None:
            yield _measured(f"{file}, trial {trial.trial}", trial.architecture, trial.mia_auc, trial.accuracy)


def _measured(where: str, genotype: Any, auc: Any, accuracy: Any) -> MeasuredArchitecture:
    architecture = genotype_at(where, str(genotype or ""))
    if not isinstance(architecture, Genotype):
        title = space_of(architecture).title
        raise GenotypeError(f"{where}: of {title}; surrogates know architectures of the DARTS space only")
    value = _fraction(where, "AUC", auc)
    known = None if accuracy is None else _fraction(where, "accuracy", accuracy)
    return MeasuredArchitecture(architecture, value, known, where)


def _fraction(where: str, name: str, value: Any) -> float:
    try:
        number = float(value.replace(",", ".") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise DataError(f"{where}: {name} {value!r} is not a fraction between 0 and 1")
    return number


def _lines(file: Path) -> list[str]:
    return read_text(file).splitlines()
