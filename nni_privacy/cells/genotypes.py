"""Genotypes of every space: found in text as people have it, read from files, and taken apart into cells."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from heapq import merge
from itertools import chain
from pathlib import Path

from nni_privacy.cells.darts import CELL_TYPES, Cell, Edge, Genotype
from nni_privacy.cells.dictionaries import nested_genotypes
from nni_privacy.cells.literals import FORM, brackets, call_spans, parse_literal, quoted
from nni_privacy.cells.nasbench201 import NASBENCH201_FORM, NasBench201Genotype
from nni_privacy.cells.spaces import SPACES, AnyGenotype, SpaceRecord
from nni_privacy.errors import DataError, GenotypeError
from nni_privacy.files import read_table, read_text

__all__ = ["AnyCell", "AnyGenotype", "FoundGenotype", "cell_title", "cells_of", "genotype_at", "genotype_or_none"]
__all__ += ["locate_genotypes", "parse_genotype", "read_genotypes"]

_CSV_COLUMN = "genotype"
_TABLES = (".csv", ".tsv")

_COMMENT = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
_EDGE = r"[ \t]*[^\s|~+\"'\\]{1,40}[ \t]*~[ \t]*[^\s|~+\"'\\]{1,9}[ \t]*\|"
_NODE = rf"\|(?:{_EDGE}){{1,9}}"
_NASBENCH201 = re.compile(rf"{_NODE}(?:\s*\+\s*{_NODE}){{0,9}}")
_NESTED = re.compile(r"\{\s*\\*['\"]|[\[(]\s*[\[(]\s*[\[(]\s*\\*['\"]")
_OPERATION = re.compile(r"normal|reduc|none|conv|pool|skip")
_STRAY = re.compile(r"(?:conv|pool|skip_connect|none)\w{0,9}(?:\\*['\"]\s*,\s*\d|~\d)")
"""An operation and its source, which stand outside of all that was found: a part of a genotype that was cut."""
_NAME = re.compile(r"([A-Za-z_][\w.-]*)['\"]?\s*[=:]\s*['\"]?$")
_SEPARATORS = re.compile(r"[\s\"',;\[\](){}]*")
_NUMBERS = re.compile(r"[\[(\d][\d\s,\[\]()]*")
_LONGEST_NESTED = 100_000


@dataclass(frozen=True)
class PlainCell:
    """The edges of a cell that has no class of its own."""

    edges: tuple[Edge, ...]


AnyCell = Cell | PlainCell


@dataclass(frozen=True)
class FoundGenotype:
    """A genotype, the name of the file that it was read from, and the number of its line there, from 1."""

    genotype: AnyGenotype
    file: str
    line: int

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.file}, line {self.line}"


@dataclass(frozen=True)
class _Span:
    """A part of a text that is, or should be, a genotype; a dictionary may hold several."""

    begin: int
    end: int
    read: Callable[[str], list[AnyGenotype]]


def parse_genotype(text: str) -> AnyGenotype:
    """Reads ``Genotype(normal=[...], ...)`` (DARTS), ``|op~0|+|op~0|op~1|+...`` (NAS-Bench-201), or of another space.

    What may stand around it, and other tools' forms: see :func:`locate_genotypes`.

    Raises:
        GenotypeError: if the text is none of these, describes no legal genotype, or more than one.

    >>> str(parse_genotype("|conv_1x1~0|+|none~0|none~1|+|none~0|none~1|none~2|"))
    '|nor_conv_1x1~0|+|none~0|none~1|+|none~0|none~1|none~2|'
    """
    if not isinstance(text, str):
        raise GenotypeError(
            f"not a genotype but a {type(text).__name__}; expected a text, {FORM} or {NASBENCH201_FORM}"
        )
    if (plain := genotype_or_none(text)) is not None:
        return plain
    found = list(_find(text))
    if len(found) != 1:
        raise GenotypeError(f"{len(found)} genotypes where one is expected" if found else _expected(text))
    return found[0][1]


def genotype_or_none(text: str) -> AnyGenotype | None:
    """A text that is nothing but a genotype; None if it is none, as of a space of a user's own."""
    begins = (record.genotype for record in SPACES.values() if text.lstrip().startswith(record.prefix))
    try:
        kind = next(begins, None)
        return None if kind is None else kind.parse(text)
    except GenotypeError:
        return None


class _FaultAtLineError(GenotypeError):
    """A text is no genotype, with the number of its line from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def _find(text: str) -> Iterator[tuple[int, AnyGenotype]]:
    """The genotypes in a text, each with the number of its line; _FaultAtLineError at one that is not legal."""
    lines = _COMMENT.sub(lambda comment: " " * len(comment[0]), text)
    line, at, is_list = 1, 0, False
    for span in chain(_spans(lines), [_Span(len(lines), len(lines), lambda _: [])]):
        if span.begin < at:
            continue
        place = _stray(lines, at, span.begin, is_list=is_list)
        if place is not None:
            raise _FaultAtLineError(line + lines.count("\n", at, place), _expected(_line_at(lines, place)))
        line += lines.count("\n", at, span.begin)
        is_list = is_list or (at == 0 and _SEPARATORS.fullmatch(lines, 0, span.begin) is not None)
        try:
            for genotype in span.read(lines[span.begin : span.end]):
                yield line, genotype
        except GenotypeError as error:
            before = lines[max(0, span.begin - 100) : span.begin].rpartition("\n")[2]
            name = _NAME.search(before)
            named = f"{name[1]}: " if name and name[1].casefold() != "genotype" else ""
            raise _FaultAtLineError(line, f"{named}{error}") from None
        line += lines.count("\n", span.begin, span.end)
        at = span.end


def _stray(text: str, begin: int, end: int, *, is_list: bool) -> int | None:
    """Where, outside of genotypes, a part of one stands, or a whole line in a list of them; None if nowhere."""
    part = _STRAY.search(text, begin, end)
    if part is not None:
        return part.start()
    if is_list:
        # What follows a genotype on its line, or stands before the next one, is no line of its own.
        first, last = text.find("\n", begin, end), text.rfind("\n", begin, end) if end < len(text) else end
        rest = _SEPARATORS.match(text, max(first, 0), max(last, 0))
        if first >= 0 and rest is not None and rest.end() < last:
            return rest.end()
    return None


def _line_at(text: str, place: int) -> str:
    end = text.find("\n", place)
    return text[text.rfind("\n", 0, place) + 1 : end if end >= 0 else len(text)]


def _expected(text: str) -> str:
    if _NUMBERS.fullmatch(text.strip()):
        known = f"numbers, which stand for other operations in each tool; expected {FORM} or {NASBENCH201_FORM}"
        return f"not a genotype: {quoted(text)}: {known}"
    return f"not a genotype: {quoted(text)}; expected {FORM} or {NASBENCH201_FORM}"


def _spans(text: str) -> Iterator[_Span]:
    """All of a text in the order in which they begin; of a huge text only as many are looked for as are used."""
    closed = brackets(text)
    finders = [_FINDERS.get(record.prefix, partial(_rest_of_line, record)) for record in SPACES.values()]
    return merge(*(find(text, closed) for find in [*finders, _nested]), key=lambda span: span.begin)


def _calls(text: str, closed: Mapping[int, int]) -> Iterator[_Span]:
    for begin, end in call_spans(text, closed):
        yield _Span(begin, end if end >= 0 else len(text), lambda found: [Genotype.parse(found)])
        if end < 0:
            return


def _edge_lists(text: str, closed: Mapping[int, int]) -> Iterator[_Span]:
    for found in _NASBENCH201.finditer(text):
        yield _Span(found.start(), found.end(), lambda found: [NasBench201Genotype.parse(found)])


def _rest_of_line(record: SpaceRecord, text: str, closed: Mapping[int, int]) -> Iterator[_Span]:
    """Genotypes of a space of a user's own end with their line, but for a quotation mark or a comma."""
    for found in re.finditer(rf"(?<!\w){re.escape(record.prefix)}.*", text):
        yield _Span(found.start(), found.end(), lambda found: [record.genotype.parse(found.rstrip(" \t\r\"',;"))])


def _nested(text: str, closed: Mapping[int, int]) -> Iterator[_Span]:
    at = 0
    for found in _NESTED.finditer(text):
        begin, end = found.start(), closed.get(found.start(), -1) + 1
        whole = text[begin:end] if 0 < end - begin < _LONGEST_NESTED else ""
        if begin < at or not _OPERATION.search(whole):
            continue
        try:
            value = parse_literal(whole)
        except GenotypeError as error:
            at = end if "nested" in str(error) else at  # else each of thousands of brackets in brackets would be tried
            continue
        at = end
        try:
            genotypes: list[AnyGenotype] = list(nested_genotypes(value))
        except GenotypeError as error:
            yield _Span(begin, end, partial(_refused, str(error)))
        else:
            if genotypes:
                yield _Span(begin, end, partial(_known, genotypes))


def _refused(message: str, _: str) -> list[AnyGenotype]:
    raise GenotypeError(message)


def _known(genotypes: list[AnyGenotype], _: str) -> list[AnyGenotype]:
    return genotypes


_FINDERS: Mapping[str, Callable[[str, Mapping[int, int]], Iterator[_Span]]] = {
    SPACES["darts"].prefix: _calls,
    SPACES["nasbench201"].prefix: _edge_lists,
}
"""How a genotype is found in a text by how it begins; of other spaces it is the rest of the line."""


def read_genotypes(file: str | Path) -> list[AnyGenotype]:
    """Reads the genotypes of any space in a file; see :func:`locate_genotypes`.

    Raises:
        DataError: if the file cannot be read or holds no genotype.
        GenotypeError: if one is not legal; the message names its line.
    """
    return [found.genotype for found in locate_genotypes(file)]


def locate_genotypes(file: str | Path) -> list[FoundGenotype]:
    """Reads the genotypes of any space in a file, in their order, each with its place.

    Found is every call ``Genotype(...)`` and every ``|op~0|+...`` in the text, whatever stands around it (names, dates,
    quotes, line breaks), and the dictionaries and tuples of :mod:`nni_privacy.cells.dictionaries`. Lines that begin
    with ``#`` are comments. A file that begins with a genotype is a list: there, a line that holds none is refused.

    Args:
        file: the path of a text file, or of a ``.csv`` or ``.tsv`` file with a column ``genotype``; ``-`` is standard
            input.

    Raises:
        DataError: if the file cannot be read or holds no genotype.
        GenotypeError: if one is not legal; the message names its line.
    """
    name = "standard input" if str(file) == "-" else str(file)
    table = Path(file).suffix.lower() in _TABLES
    found = _in_table(name, file) if table else _in_text(name, read_text(file))
    if not found:
        raise DataError(f"{name}: no genotype in it; expected {FORM} or {NASBENCH201_FORM}")
    return found


def _in_table(name: str, file: str | Path) -> list[FoundGenotype]:
    _, rows = read_table(file, [_CSV_COLUMN])
    cells = ((number, row[_CSV_COLUMN] or "") for number, row in rows)
    return [
        FoundGenotype(genotype_at(f"{name}, line {number}", text), name, number)
        for number, text in cells
        if text.strip()
    ]


def genotype_at(where: str, text: str) -> AnyGenotype:
    """As :func:`parse_genotype`; the message of its error begins with ``where`` the text stands."""
    try:
        return parse_genotype(text)
    except GenotypeError as error:
        raise GenotypeError(f"{where}: {error}") from None


def _in_text(name: str, text: str) -> list[FoundGenotype]:
    try:
        found = [FoundGenotype(genotype, name, line) for line, genotype in _find(text)]
    except _FaultAtLineError as fault:
        raise GenotypeError(f"{name}, line {fault.line}: {fault}") from None
    if not found:
        lines = enumerate(_COMMENT.sub("", text).split("\n"), start=1)
        for number, line in lines:
            if line.strip():
                raise GenotypeError(f"{name}, line {number}: {_expected(line)}")
    return found


def cells_of(genotype: AnyGenotype) -> dict[str, AnyCell]:
    """The searched cells by name: ``normal`` and ``reduction`` in the DARTS space, or ``cell`` in NAS-Bench-201."""
    if isinstance(genotype, Genotype):
        return {cell_type: genotype.cell(cell_type) for cell_type in CELL_TYPES}
    return {name: PlainCell(edges) for name, edges in genotype.edges_by_cell().items()}


def cell_title(name: str) -> str:
    """What a cell is called in a sentence: ``normal cell``, or ``cell`` where there is but one."""
    return name if name.endswith("cell") else f"{name} cell"
