"""Files: atomic writes, appended lines, locks, the user's cache, and a YAML reader that tells a fault in one line.

Here stands, too, what a full disk means for a run and which exceptions a corrupt file raises. What lies in a cache is
used again without being made again: an overlay of NNI's manager is even run. A folder that another user of the machine
could write to would be a way in, so it is refused, not mended.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import logging
import os
import pickle
import re
import secrets
import shutil
import stat
import struct
import sys
import threading
import zipfile
import zlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml

from nni_privacy.errors import DISK_FAULTS, ConfigError, DataError, PrivacyError, RunStoppedError

__all__ = ["CACHE_VARIABLE", "CORRUPT_FILE", "DISK_FAULTS", "UNREADABLE", "LineFile", "Row", "atomic_write"]
__all__ += ["cache_folder", "file_lock", "full_disk", "new_folder", "private_folder", "read_table", "read_text"]
__all__ += ["read_yaml", "to_csv", "unwritten", "writing_run"]

FULL_BYTES = 1 << 16
"""With less room than this a disk is taken to be full."""

CACHE_VARIABLE = "NNI_PRIVACY_CACHE"

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A text that begins like this is a formula to a spreadsheet; an apostrophe before it keeps it a text."""

_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?", re.ASCII)

Row = Mapping[str, Any]
"""A row of a table: values by the names of their columns."""

_logger = logging.getLogger(__name__)

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

CORRUPT_FILE: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""Exceptions that numpy, zipfile, zlib and torch raise of a corrupt array or weight file; OSError is not among them."""

UNREADABLE: tuple[type[Exception], ...] = (OSError, *CORRUPT_FILE)
"""Exceptions of a file that is corrupt or cannot be read at all."""

_SIZE_LIMIT = 1 << 20
"""No configuration and no pattern is larger, in bytes."""

_EXPANDED_LIMIT = 4 << 20

_DEEPEST = 200
"""Brackets inside of brackets that a YAML file may have."""

TEXT_LIMIT = 1 << 26
"""The largest text file that is read, in bytes: about 100,000 genotypes."""


class LineFile:
    """A file of lines that several threads may append to; a full disk leaves no torn line.

    Args:
        path: the file; made with the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def append(self, line: str) -> None:
        """Adds ``line``; on disk when this returns.

        Raises:
            OSError: if it cannot be written; the file is then as it was.
        """
        content = (line + "\n").encode()
        with self._lock, self.path.open("ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                while content:
                    content = content[file.write(content) :]
                os.fsync(file.fileno())
            except BaseException as error:
                file.truncate(size)
                if isinstance(error, OSError):
                    raise _named(error, self.path) from None
                raise


def atomic_write(path: Path, content: bytes | str) -> None:
    """Writes a file atomically: it replaces an older one whole, or not at all, and is on disk when this returns.

    Safe among threads and processes that write the same file: the last one wins.

    Args:
        path: of the file; its folder exists.
        content: text is written in UTF-8.

    Raises:
        OSError: named after ``path``, if it cannot be written; what was there before is still there.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _named(error, path) from None
        raise


@contextmanager
def file_lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Holds an exclusive lock of the kernel, which ends with the process that holds it, however that ends.

    Yields false at once if another holds it and ``wait`` is false. The lock's file is removed at the end. On a file
    system without locks all get it: then two do the same work, and the second result replaces an equal first one.

    Raises:
        OSError: if the file cannot be made.
    """
    # By hand, since filelock (NNI pins <3.12) waits forever where a file system refuses locks (ENOLCK, EOPNOTSUPP), and
    # does not show the descriptor, without which its file cannot be removed safely.
    descriptor = _locked(path, wait=wait)
    if descriptor is None:
        yield False
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)  # while the lock is held: see _locked
        os.close(descriptor)


def _locked(path: Path, *, wait: bool) -> int | None:
    """An open, locked descriptor of ``path``; None if another holds it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            _logger.debug("no lock on %s: %s", path, error)
            return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        # Whoever held it before has removed the file: then a third one may hold the lock of a new file of that name.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


def to_csv(rows: Sequence[Row], first: Sequence[str] = ()) -> str:
    """Rows as CSV text; the columns are ``first``, which always stand, and then others as they come."""
    names = list(dict.fromkeys([*first, *(name for row in rows for name in row)]))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    csv.writer(buffer, lineterminator="\n").writerow(map(_safe, names))
    writer.writerows({name: _safe(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def _safe(value: Any) -> Any:
    text = value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else ""  # 3.10 writes no NUL
    return f"'{text}" if text.startswith(FORMULA) and not _NUMBER.fullmatch(text) else text or value


def _named(error: OSError, path: Path) -> OSError:
    """The error with the file's name: writing to an open file tells none."""
    return error if error.errno is None else OSError(error.errno, error.strerror, str(path))


def full_disk(folder: Path) -> str | None:
    """The message that a folder's disk is full; None if it has room, or nobody knows."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return None
    return f"{os.strerror(errno.ENOSPC)}: {folder}" if free < FULL_BYTES else None


def unwritten(error: OSError) -> str:
    """The message of a run's file that could not be written."""
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}; all that is finished is kept: mend that and go on with --resume"


@contextmanager
def writing_run() -> Iterator[None]:
    """Turns a file that cannot be written into the end of the run.

    Raises:
        RunStoppedError: if it cannot.
    """
    try:
        yield
    except OSError as error:
        raise RunStoppedError(unwritten(error)) from error


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A draft beside ``output`` to write files into; it takes the name of ``output`` at the end, if all went well.

    Args:
        output: does not exist yet, or is an empty folder.

    Raises:
        DataError: if the folder or a file in it cannot be written.
    """
    target = output.absolute()
    draft = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        draft.mkdir(parents=True)
        yield draft
        draft.replace(target)
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror or type(error).__name__})") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def cache_folder(*parts: str) -> Path:
    """A folder of the user's cache: ``$NNI_PRIVACY_CACHE``, else ``nni-privacy`` in the user's cache folder.

    Args:
        parts: the folder inside it, e.g. ``"shadows"``.

    Returns:
        Its absolute path; ``~`` is the user's home. It may not exist yet: see :func:`private_folder`.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        root = Path(chosen).expanduser().absolute()
    else:
        base = os.environ.get("XDG_CACHE_HOME")
        root = (Path(base).expanduser().absolute() if base else Path.home() / ".cache") / "nni-privacy"
    return root.joinpath(*parts)


def private_folder(folder: Path) -> Path:
    """Makes a folder that is this user's alone (mode 0700), or checks that it is.

    Where it lies in the user's cache (:func:`cache_folder`), the folders between are made and checked, too. One of ours
    that others may read but not write to is closed to them.

    Args:
        folder: an absolute path.

    Returns:
        ``folder``.

    Raises:
        ConfigError: if it is another user's, or others may write to it or to a folder above it; one line.
        OSError: if it cannot be made.
    """
    top = cache_folder()
    inside = [path for path in folder.parents if path == top or top in path.parents]
    for path in (*reversed(inside), folder):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        _check(path, ours=top in path.parents or (path == top and not os.environ.get(CACHE_VARIABLE)))
    for path in {*folder.parents, *folder.resolve().parents}:
        _check_above(path, folder)
    return folder


def _check_above(path: Path, folder: Path) -> None:
    """Raises ConfigError if another user could put something else in the place of ``folder``, which is in ``path``."""
    for state in (path.lstat(), path.stat()):
        if state.st_uid not in (os.getuid(), 0):
            raise ConfigError(f"cache: {folder} lies in {path}, which is another user's (uid {state.st_uid})")
    if state.st_mode & stat.S_ISVTX:
        return
    if state.st_mode & stat.S_IWOTH:
        raise ConfigError(f"cache: {folder}: every user may write to {path}, which it lies in: chmod o-w {path}")
    if state.st_mode & stat.S_IWGRP and not _is_own_group(state.st_gid):
        raise ConfigError(f"cache: {folder}: a group may write to {path}, which it lies in: chmod g-w {path}")


def _is_own_group(group: int) -> bool:
    """Whether a group has no other member than this user or root: many systems give each user one of that name."""
    import grp
    import pwd

    try:
        user, found = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(group)
    except KeyError:
        return False
    return found.gr_name in (user, "root") and set(found.gr_mem) <= {user, "root"}


def _check(folder: Path, *, ours: bool) -> None:
    """Raises ConfigError unless only this user can write to ``folder``.

    Args:
        folder: exists.
        ours: it is of our making, not one that the user has named: others need not even read it.
    """
    state = folder.lstat()
    if stat.S_ISLNK(state.st_mode):
        if state.st_uid not in (os.getuid(), 0):
            raise ConfigError(f"cache: {folder} is a link of another user's (uid {state.st_uid}): remove it")
        state = folder.stat()
    if not stat.S_ISDIR(state.st_mode):
        raise ConfigError(f"cache: {folder} is not a folder")
    mode = stat.S_IMODE(state.st_mode)
    if state.st_uid != os.getuid():
        raise ConfigError(
            f"cache: {folder} belongs to another user (uid {state.st_uid}); name one of your own in {CACHE_VARIABLE}"
        )
    if mode & _OTHERS_WRITE:
        raise ConfigError(
            f"cache: others may write to {folder} (mode {mode:03o}, allowed is 700); what it holds may be theirs: "
            f"empty it and chmod 700 {folder}, or name another folder in {CACHE_VARIABLE}"
        )
    if ours and mode & _OTHERS:
        folder.chmod(0o700)


def read_text(path: str | Path) -> str:
    """The content of a text file in UTF-8, without the mark that some editors put before it; ``-`` is standard input.

    Raises:
        DataError: if it cannot be read, is not in UTF-8, or is larger than 64 MiB; one line that names the file.
    """
    name = "standard input" if str(path) == "-" else str(path)
    try:
        if name != str(path):
            return sys.stdin.read().removeprefix("\ufeff")
        with Path(path).open("rb") as file:
            content = file.read(TEXT_LIMIT + 1)
        if len(content) > TEXT_LIMIT:
            raise DataError(f"{name}: larger than {TEXT_LIMIT:,} bytes; split it")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{name}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        found = "; it begins as UTF-16 does: save it as UTF-8" if error.object[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise DataError(f"{name}: not a text file in UTF-8{found}") from None
    except ValueError as error:  # a name with a zero in it
        raise DataError(f"{name!r}: {error}") from None


def read_table(path: str | Path, needed: Sequence[str]) -> tuple[list[str], Iterator[tuple[int, Row]]]:
    """Reads a CSV file, its cells parted by commas, semicolons or tabs, whichever its header has most of.

    Args:
        path: of the file.
        needed: columns that it must have.

    Returns:
        The names of its columns, in small letters; and each row, with the number of its first line.

    Raises:
        DataError: if it cannot be read, is not CSV or lacks a column; one line that names the file.
    """
    text = read_text(path)
    header = re.search(r"\S[^\r\n]*", text)
    delimiter = max(",;\t", key=header[0].count) if header else ","
    rows = _rows(path, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True))
    _, names = next(rows, (0, []))
    columns = [name.strip(" \t\"'").casefold() for name in names]
    for column in needed:
        if column not in columns:
            known = [name if name.isprintable() and len(name) <= 40 else repr(name[:40]) for name in columns[:20]]
            if any("(" in name for name in columns):  # a file without a header, of genotypes
                raise DataError(f"{path}: no column {column!r}; its first line must name columns: {', '.join(needed)}")
            raise DataError(f"{path}: no column {column!r}; it has {', '.join(known) or 'none'}")
    return columns, ((number, dict(zip_longest(columns, cells[: len(columns)]))) for number, cells in rows)


def _rows(path: str | Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    before = 0
    try:
        for cells in reader:
            if cells:
                yield before + 1, cells
            before = reader.line_num
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not CSV: {error}") from None


def read_yaml(path: str | Path, *, error: type[PrivacyError]) -> Any:
    """The content of a YAML file, as plain data.

    Args:
        path: the file.
        error: what to raise.

    Raises:
        PrivacyError: of type ``error``, if the file cannot be read, is larger than 1 MiB, is not valid YAML, names a
            python object or gives a key twice; the message is one line that names the file.
    """
    path, text = Path(path), ""
    try:
        if path.stat().st_size > _SIZE_LIMIT:
            raise error(f"{path}: larger than {_SIZE_LIMIT} bytes")
        text = path.read_text(encoding="utf-8")
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except OSError as fault:
        raise error(f"{path}: {fault.strerror or fault}") from None
    except UnicodeDecodeError:
        raise error(f"{path}: not a text file in UTF-8") from None
    except PrivacyError:
        raise
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError, LookupError) as fault:
        raise error(f"{path}: not valid YAML: {_yaml_fault(fault, text)}") from None


def _yaml_fault(fault: Exception, text: str) -> str:
    """What is wrong, and at which line and column, both from 1."""
    if isinstance(fault, yaml.reader.ReaderError):
        before = text[: fault.position]
        line, column = before.count("\n") + 1, fault.position - before.rfind("\n")
        return f"line {line}, column {column}: character {fault.character!r} is not allowed"
    if not isinstance(fault, yaml.MarkedYAMLError):
        return " ".join(str(fault).split())
    words = ", ".join(" ".join(part.split()) for part in (fault.context, fault.problem) if part)
    mark = fault.problem_mark or fault.context_mark
    return words if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {words}"


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses a key that is given twice and brackets that would take minutes."""

    def get_single_node(self) -> yaml.Node | None:
        """The document, unless its aliases make it huge."""
        node = super().get_single_node()
        _ = node and _expanded(node, {})
        return node

    def fetch_flow_collection_start(self, TokenClass: type) -> None:
        """Each bracket costs as much time as there are open ones around it."""
        if self.flow_level >= _DEEPEST:
            raise yaml.scanner.ScannerError(None, None, f"more than {_DEEPEST} brackets in brackets", self.get_mark())
        super().fetch_flow_collection_start(TokenClass)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable) or key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _expanded(node: yaml.Node, known: dict[int, int]) -> int:
    """Nodes and characters of a node with its aliases written out; ``known``: what was counted, 0 of what is being."""
    size = known.get(id(node))
    if size is None:
        known[id(node)] = 0
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in pairs for part in pair]
        text = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        size = known[id(node)] = 1 + text + sum(_expanded(part, known) for part in parts)
    if size == 0 or size > _EXPANDED_LIMIT:
        why = "more than a file may hold, by its aliases" if size else "a value contains itself"
        raise yaml.constructor.ConstructorError(None, None, why, node.start_mark)
    return size
