"""Files with one genotype a line."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from nni_privacy.errors import DataError, GenotypeError
from nni_privacy.genotypes import AnyGenotype, parse_genotype

__all__ = ["read_genotypes"]

_CSV_COLUMN = "genotype"


def read_genotypes(file: str | Path) -> list[AnyGenotype]:
    """Reads genotypes of either space, one a line; empty lines are passed over.

    Args:
        file: the path of a text file, or of a ``.csv`` file with a column ``genotype``; ``-`` is standard input.

    Raises:
        DataError: if the file cannot be read or holds no genotype.
        GenotypeError: if a line is not a legal genotype; the message names the line.
    """
    name = "standard input" if str(file) == "-" else str(file)
    try:
        text = sys.stdin.read() if str(file) == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{name}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{name}: not a text file in UTF-8") from None
    lines = text.splitlines()
    numbered = _csv_cells(name, lines) if str(file).endswith(".csv") else enumerate(lines, start=1)
    genotypes = list(_parse(name, numbered))
    if not genotypes:
        raise DataError(f"{name}: no genotype in it")
    return genotypes


def _parse(name: str, numbered: Iterable[tuple[int, str]]) -> Iterator[AnyGenotype]:
    for number, line in numbered:
        if line.strip():
            try:
                yield parse_genotype(line)
            except GenotypeError as error:
                raise GenotypeError(f"{name}, line {number}: {error}") from None


def _csv_cells(name: str, lines: list[str]) -> Iterator[tuple[int, str]]:
    reader = csv.DictReader(lines)
    if _CSV_COLUMN not in (reader.fieldnames or ()):
        raise DataError(f"{name}: no column {_CSV_COLUMN!r}; it has {', '.join(reader.fieldnames or ()) or 'none'}")
    for row in reader:
        yield reader.line_num, row[_CSV_COLUMN] or ""
