"""Files of answers: tables in text (plain or gzipped), ``.npz`` and Parquet. See docs/auditing.md, "Predictions only".

Names are read generously, values are not: what is wrong is told in one line with file, line and column. Nothing is
unpickled.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks import TargetSignals
from nni_privacy.auditing.prediction_columns import (
    GUESSED,
    OF_ANY_KIND,
    PER_CLASS,
    SINGLE,
    Layout,
    Role,
    class_order,
    layout_of,
    role_of,
    whole,
)
from nni_privacy.auditing.predictions import TOTAL, Place, prediction_signals
from nni_privacy.errors import AuditError, DataError, nearest
from nni_privacy.files import UNREADABLE

__all__ = ["PredictionFile", "read_predictions"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

FLAGS: Mapping[str, bool] = MappingProxyType(
    dict.fromkeys(("1", "1.0", "true", "t", "yes", "y", "member", "in", "train"), True)
    | dict.fromkeys(("0", "0.0", "false", "f", "no", "n", "nonmember", "non-member", "out"), False)
    | dict.fromkeys(("test", "val", "valid", "validation", "holdout"), False)
)
GZIP, ZIP, PARQUET = b"\x1f\x8b", b"PK\x03\x04", b"PAR1"


@dataclass(frozen=True, eq=False)
class PredictionFile:
    """What a file of answers holds.

    Attributes:
        signals: of all its records, in their order.
        told: what was read, in one line.
        facts: what a reader of the report should know of the file, by name.
    """

    signals: TargetSignals
    told: str
    facts: Mapping[str, str]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Content:
    """What any kind of file holds: arrays, and where their numbers stand."""

    outputs: str
    answers: Floats
    member: npt.NDArray[np.bool_]
    place: Place
    labels: Labels | None = None
    classes: Sequence[str] = ()
    references: Floats | None = None
    reference_members: npt.NDArray[np.bool_] | None = None
    reference_place: Place = str
    unused: Sequence[str] = ()


def read_predictions(path: Path) -> PredictionFile:
    """Reads a file by how it begins, whatever its name is.

    Raises:
        DataError: with file, line and column, or array and index, if it cannot be read or holds what cannot be audited.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    read = {ZIP: _read_npz, PARQUET: _read_parquet}.get(start, _read_text)
    content = read(path)
    outputs = _guess(content.answers) if content.outputs == GUESSED else content.outputs
    try:
        signals = prediction_signals(
            content.answers,
            content.labels,
            content.member,
            outputs=outputs,
            references=content.references,
            reference_members=content.reference_members,
            place=content.place,
            reference_place=content.reference_place,
        )
    except AuditError as error:
        raise DataError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    told = _told(content, signals, outputs)
    facts = {
        "Predictions": f"{path} (SHA-256 of the file: {digest})",
        "Read as": told,
        "Classes": ", ".join(f"{at} = {name}" for at, name in enumerate(content.classes) if str(at) != name),
    }
    return PredictionFile(signals, told, {key: value for key, value in facts.items() if value})


def _told(content: _Content, signals: TargetSignals, outputs: str) -> str:
    classes = f" of {signals.num_classes} classes" if outputs in PER_CLASS else ""
    guessed = " (by their values, no name tells it)" if content.outputs == GUESSED else ""
    shadows = signals.shadows
    references = "" if shadows is None else f", {shadows.shadows} reference models"
    unused = f"; not used: {', '.join(content.unused[:20])}" if content.unused else ""
    return f"{len(signals)} records, {outputs.replace('_', '-')}{classes}{guessed}{references}{unused}"


def _guess(answers: Floats) -> str:
    """Probabilities, if all numbers of a class can be; else logits, which log-probabilities are, too."""
    totals = answers.sum(axis=-1) if answers.ndim > 1 else np.ones(1)
    chances = (answers >= 0).all() and (answers <= 1).all() and (np.abs(totals - 1) <= TOTAL).all()
    return "probabilities" if chances else "logits"


# --- tables ---


def _read_text(path: Path) -> _Content:
    with path.open("rb") as raw:
        compressed = raw.read(2) == GZIP
        raw.seek(0)
        stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if compressed else raw
        try:
            return _read_lines(path, TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
        except UnicodeDecodeError:
            raise DataError(f"{path}: not a table in UTF-8, nor a .npz or Parquet file") from None
        except csv.Error as error:
            raise DataError(f"{path}: not CSV: {error}") from None
        except DataError:
            raise
        except UNREADABLE as error:
            raise DataError(f"{path}: cannot be read ({error})") from None


def _read_lines(path: Path, lines: Iterator[str]) -> _Content:
    """A table whose cells are parted by commas, semicolons or tabs, whichever its first line has most of."""
    before, first = 0, ""
    for first in lines:
        if first.strip():
            break
        before += 1
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(chain([first], lines), delimiter=delimiter, skipinitialspace=True)
    names = next(reader, [])
    layout = layout_of(names, str(path))
    numbers, texts = _number_columns(layout), _text_columns(layout)
    values, cells_of, at = array("d"), {column: list[str]() for column in texts}, array("q")
    for cells in reader:
        if not cells:
            continue
        line = before + reader.line_num
        if len(cells) != len(names):
            raise DataError(f"{path}, line {line}: {len(cells)} cells, but the first line names {len(names)} columns")
        try:
            values.extend([float(cells[column]) for column in numbers])
        except ValueError:
            values.extend(_decimals(cells, names, numbers, delimiter, f"{path}, line {line}"))
        for column, texts_of in cells_of.items():
            texts_of.append(cells[column])
        at.append(line)
    table = np.array(values).reshape(len(at), len(numbers))
    return _Table(path, names, layout, table, cells_of, lambda row: f"line {at[row]}").content()


def _decimals(cells: Sequence[str], names: Sequence[str], columns: Sequence[int], delimiter: str, where: str) -> Floats:
    """The numbers of a row that has others than Python's: where semicolons part cells, a comma may begin decimals."""
    found = []
    for column in columns:
        text = cells[column].replace(",", ".") if delimiter == ";" else cells[column]
        try:
            found.append(float(text))
        except ValueError:
            raise DataError(f"{where}, column {names[column]}: {cells[column]!r:.60}; expected a number") from None
    return np.asarray(found)


def _number_columns(layout: Layout) -> list[int]:
    if layout.outputs == "predicted":
        return []
    return [*layout.answers, *chain.from_iterable(layout.references)]


def _text_columns(layout: Layout) -> list[int]:
    named = layout.answers if layout.outputs == "predicted" else ()
    return [*([] if layout.label is None else [layout.label]), layout.member, *layout.reference_members, *named]


@dataclass(frozen=True, eq=False)
class _Table:
    """The columns of a table that are read.

    Attributes:
        path: of its file.
        names: of all columns.
        layout: what they hold.
        numbers: ``(n, c)``, the :func:`_number_columns`.
        texts: the :func:`_text_columns` by their places.
        line: what a message calls a row.
    """

    path: Path
    names: Sequence[str]
    layout: Layout
    numbers: Floats
    texts: Mapping[int, Sequence[str]]
    line: Callable[[int], str]

    def content(self) -> _Content:
        """What is in it."""
        layout = self.layout
        member = self._flags(layout.member)
        if not len(member):
            raise DataError(f"{self.path}: no records, only names of columns")
        models, columns = len(layout.references), len(layout.answers)
        labels, classes, named = self._labels()
        answers = self.numbers[:, :columns] if named is None else named
        others = self.numbers[:, columns:].reshape(len(member), models, columns) if models and named is None else None
        if not layout.classes and named is None:  # one number a record
            answers, others = answers[:, 0], None if others is None else others[..., 0]
        return _Content(
            outputs=layout.outputs,
            answers=answers,
            member=member,
            place=self._place,
            labels=labels,
            classes=classes,
            references=others,
            reference_members=np.stack([self._flags(one) for one in layout.reference_members], axis=1)
            if models
            else None,
            reference_place=self._reference_place,
            unused=[name for name in layout.unused if name.strip()],
        )

    def _cell(self, row: int, column: int) -> str:
        return f"{self.path}, {self.line(row)}, column {self.names[column]}"

    def _place(self, row: int, *of_class: int) -> str:
        columns = self.layout.answers
        if not of_class and len(columns) > 1:
            return f"{self.path}, {self.line(row)}"
        return self._cell(row, columns[of_class[0] if of_class else 0])

    def _reference_place(self, row: int, model: int, *of_class: int) -> str:
        return self._cell(row, self.layout.references[model][of_class[0] if of_class else 0])

    def _flags(self, column: int) -> npt.NDArray[np.bool_]:
        found = [FLAGS.get(text.strip().casefold()) for text in self.texts[column]]
        if None in found:
            row = found.index(None)
            told = "allowed are 0 and 1, or true and false"
            raise DataError(f"{self._cell(row, column)}: {self.texts[column][row]!r:.60}; {told}")
        return np.array(found, dtype=np.bool_)

    def _labels(self) -> tuple[Labels | None, Sequence[str], Floats | None]:
        """Numbers of the true classes, names of the classes, and numbers of the predicted ones where these are all."""
        layout = self.layout
        if layout.label is None:
            return None, (), None
        columns = [layout.label, *(layout.answers if layout.outputs == "predicted" else ())]
        texts = [[whole(text) for text in self.texts[column]] for column in columns]
        classes: Sequence[str] = layout.classes or class_order(sorted(set(chain.from_iterable(texts))))
        if layout.classes and len(classes) == 1:
            if classes != ("1",):
                one = self.names[layout.answers[0]]
                raise DataError(
                    f"{self.path}: column {one} is of one class only; of two classes give both, or that of 1"
                )
            classes = ("0", "1")
        numbers = [self._numbered(column, named, classes) for column, named in zip(columns, texts, strict=True)]
        return numbers[0], classes, numbers[1].astype(np.float64) if numbers[1:] else None

    def _numbered(self, column: int, texts: Sequence[str], classes: Sequence[str]) -> Labels:
        return _numbers_of(texts, classes, lambda row: f"{self._cell(row, column)}: {self.texts[column][row]!r:.60}")


def _numbers_of(texts: Sequence[str], classes: Sequence[str], where: Callable[[int], str]) -> Labels:
    """Numbers of named classes; names that are numbers stand for themselves where no class is called so."""
    known = {name: at for at, name in enumerate(classes)}
    if known.keys().isdisjoint(texts):
        known = {str(at): at for at in range(len(classes))}
    found = [known.get(text) for text in texts]
    if None in found:
        row = found.index(None)
        raise DataError(f"{where(row)} is not a class; {nearest(texts[row], classes)}")
    return np.array(found, dtype=np.int64)


# --- arrays ---


def _read_npz(path: Path) -> _Content:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files if role_of(name) is not None}
            unused = [name for name in archive.files if name not in arrays]
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as a .npz file of plain arrays ({error})") from None
    return _of_arrays(path, arrays, unused)


def _of_arrays(path: Path, arrays: Mapping[str, Array], unused: Sequence[str]) -> _Content:
    """The content of arrays, each of one row a record."""
    names: dict[Role, str] = {}
    for name in arrays:
        role = cast(Role, role_of(name))
        if role in names:
            raise DataError(f"{path}: arrays {names[role]} and {name} say the same; keep one")
        names[role] = name
    outputs = next((one for one in (*PER_CLASS, *SINGLE) if Role(one) in names), None)
    if outputs is None or Role("member") not in names:
        lacks = EXPECTED_ARRAYS if outputs is None else "no array 'member' (1: the model was trained on the record)"
        raise DataError(f"{path}: {lacks}; it has {', '.join((*arrays, *unused)) or 'none'}")
    answers = _floats(path, names[Role(outputs)], arrays)
    member = _flags(path, names[Role("member")], arrays)
    labels, classes = _array_labels(path, names, arrays, per_class=outputs in PER_CLASS)
    others = names.get(Role(outputs, reference="")) or names.get(Role("references"))
    trained = names.get(Role("member", reference=""))
    used = {*(names.get(Role(one)) for one in ("member", "label", "classes", outputs)), others, trained}
    return _Content(
        outputs=GUESSED if answers.ndim > 1 and outputs in OF_ANY_KIND else outputs,
        answers=answers,
        member=member,
        place=_entry(path, names[Role(outputs)]),
        labels=labels,
        classes=classes,
        references=None if others is None else _records_first(_floats(path, others, arrays), len(member)),
        reference_members=None if trained is None else _records_first(_flags(path, trained, arrays), len(member)),
        reference_place=_entry(path, others or ""),
        unused=[*(name for name in arrays if name not in used), *unused],
    )


EXPECTED_ARRAYS = f"no array of answers; expected one of {', '.join((*PER_CLASS, *SINGLE))}"


def _entry(path: Path, name: str) -> Place:
    return lambda *index: f"{path}: {name}[{', '.join(map(str, index))}]"


def _floats(path: Path, name: str, arrays: Mapping[str, Array]) -> Floats:
    if not (np.issubdtype(arrays[name].dtype, np.number) and np.isrealobj(arrays[name])):
        raise DataError(f"{path}: {name} is of {arrays[name].dtype}, expected numbers")
    return arrays[name].astype(np.float64)


def _flags(path: Path, name: str, arrays: Mapping[str, Array]) -> npt.NDArray[np.bool_]:
    values = arrays[name]
    if values.dtype.kind in "US":
        values = np.vectorize(lambda text: FLAGS.get(str(text).strip().casefold(), 2), otypes=[np.int64])(values)
    if not np.isin(values, (0, 1)).all():
        index = np.argwhere(~np.isin(values, (0, 1)))[0]
        found = arrays[name][tuple(index)]
        raise DataError(f"{_entry(path, name)(*index)}: {found!s:.60}; allowed are 0 and 1, or true and false")
    return values.astype(np.bool_)


def _array_labels(
    path: Path, names: Mapping[Role, str], arrays: Mapping[str, Array], *, per_class: bool
) -> tuple[Labels | None, Sequence[str]]:
    """Numbers of the true classes, and names of the classes where the file has them."""
    classes = [whole(str(one)) for one in arrays[names[Role("classes")]].ravel()] if Role("classes") in names else []
    name = names.get(Role("label"))
    if name is None:
        return None, classes
    values = arrays[name]
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.ndim != 1:
        raise DataError(f"{path}: {name} has shape {values.shape}, expected one class for each record")
    if not classes and values.dtype.kind in "biuf" and (values == np.floor(values)).all():
        return values.astype(np.int64), classes
    texts = [whole(str(one)) for one in values.tolist()]
    if not classes and per_class:
        raise DataError(
            f"{path}: {name} holds no integers; give the classes' names in their order as the array 'classes'"
        )
    classes = classes or class_order(sorted(set(texts)))
    return _numbers_of(texts, classes, lambda row: f"{_entry(path, name)(row)}: {values[row]!s:.60}"), classes


def _records_first(values: Any, records: int) -> Any:
    """Answers of reference models with the record first, also where the model was."""
    swapped = values.ndim > 1 and values.shape[0] != records == values.shape[1]
    return np.swapaxes(values, 0, 1) if swapped else values


def _read_parquet(path: Path) -> _Content:
    try:
        import pandas

        frame = pandas.read_parquet(path)
    except ImportError:
        told = "reading Parquet needs pandas and pyarrow (pip install pandas pyarrow); or save it as .npz or CSV"
        raise DataError(f"{path}: {told}") from None
    except Exception as error:  # whatever the engine raises of a file that is none
        raise DataError(f"{path}: cannot be read as Parquet ({' '.join(str(error).split()):.200})") from None
    names = [str(name) for name in frame.columns]
    listed = [isinstance(column.iloc[0], (list, np.ndarray)) for _, column in frame.items()] if len(frame) else []
    if any(listed):
        return _of_lists(path, frame, names)
    layout = layout_of(names, str(path))
    texts = {at: [str(value) for value in frame.iloc[:, at]] for at in _text_columns(layout)}
    try:
        numbers = frame.iloc[:, _number_columns(layout)].to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: a column of answers does not hold numbers ({error})") from None
    return _Table(path, names, layout, numbers, texts, lambda row: f"record {row}").content()


def _of_lists(path: Path, frame: Any, names: Sequence[str]) -> _Content:
    """The content of a table with all classes' numbers in one column of lists."""
    arrays, unused = {}, []
    for at, name in enumerate(names):
        if role_of(name) is None:
            unused.append(name)
            continue
        try:
            column = np.array(frame.iloc[:, at].tolist())
        except ValueError:
            raise DataError(f"{path}: column {name}: the lists differ in length") from None
        arrays[name] = column.astype(np.str_) if column.dtype == object else column
    return _of_arrays(path, arrays, unused)
