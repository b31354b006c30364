"""Genotypes of every space: parsed from text, read from files, and taken apart into cells."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nni_privacy.cells.darts import CELL_TYPES, Cell, Edge, Genotype
from nni_privacy.cells.spaces import SPACES, AnyGenotype
from nni_privacy.errors import DataError, GenotypeError

__all__ = ["AnyCell", "AnyGenotype", "cell_title", "cells_of", "genotype_or_none", "parse_genotype", "read_genotypes"]

_CSV_COLUMN = "genotype"


@dataclass(frozen=True)
class PlainCell:
    """The edges of a cell that has no class of its own."""

    edges: tuple[Edge, ...]


AnyCell = Cell | PlainCell


def parse_genotype(text: str) -> AnyGenotype:
    """Reads ``Genotype(normal=[...], ...)`` (DARTS), ``|op~0|+|op~0|op~1|+...`` (NAS-Bench-201), or of another space.

    Raises:
        GenotypeError: if the text is none of these, or describes no legal genotype.

    >>> str(parse_genotype("|conv_1x1~0|+|none~0|none~1|+|none~0|none~1|none~2|"))
    '|nor_conv_1x1~0|+|none~0|none~1|+|none~0|none~1|none~2|'
    """
    begins = (record.genotype for record in SPACES.values() if text.lstrip().startswith(record.prefix))
    return next(begins, Genotype).parse(text)


def genotype_or_none(text: str) -> AnyGenotype | None:
    """As :func:`parse_genotype`; None if the text is no genotype, as of a space of a user's own."""
    try:
        return parse_genotype(text)
    except GenotypeError:
        return None


def read_genotypes(file: str | Path) -> list[AnyGenotype]:
    """Reads genotypes of any space, one a line; empty lines are passed over.

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
    genotypes: list[AnyGenotype] = []
    for number, line in _csv_cells(name, lines) if str(file).endswith(".csv") else enumerate(lines, start=1):
        try:
            if line.strip():
                genotypes.append(parse_genotype(line))
        except GenotypeError as error:
            raise GenotypeError(f"{name}, line {number}: {error}") from None
    if not genotypes:
        raise DataError(f"{name}: no genotype in it")
    return genotypes


def _csv_cells(name: str, lines: list[str]) -> Iterator[tuple[int, str]]:
    reader = csv.DictReader(lines)
    if _CSV_COLUMN not in (reader.fieldnames or ()):
        raise DataError(f"{name}: no column {_CSV_COLUMN!r}; it has {', '.join(reader.fieldnames or ()) or 'none'}")
    for row in reader:
        yield reader.line_num, row[_CSV_COLUMN] or ""


def cells_of(genotype: AnyGenotype) -> dict[str, AnyCell]:
    """The searched cells by name: ``normal`` and ``reduction`` in the DARTS space, or ``cell`` in NAS-Bench-201."""
    if isinstance(genotype, Genotype):
        return {cell_type: genotype.cell(cell_type) for cell_type in CELL_TYPES}
    return {name: PlainCell(edges) for name, edges in genotype.edges_by_cell().items()}


def cell_title(name: str) -> str:
    """What a cell is called in a sentence: ``normal cell``, or ``cell`` where there is but one."""
    return name if name.endswith("cell") else f"{name} cell"
