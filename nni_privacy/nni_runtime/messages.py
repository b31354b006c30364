"""Reading NNI's messages without running anything that they say.

NNI writes what it sends as JSON with objects in it: ``{"__nni_obj__": <a pickle>}``, ``{"__symbol__": <a name>,
"__args__": [...]}`` and the like. Reading a pickle runs what it says; so does importing a name and calling it. A
message that comes from NNI's manager, a trial or a file of a run is therefore read under a :class:`Trust`: what it
does not name is refused. JSON that a program reads by itself, with ``nni.load``, is the program's own business and is
read as before.

This module knows NNI's marks and nothing of NNI; :mod:`~nni_privacy.nni_runtime.message_repairs` puts it to use.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from nni_privacy.errors import PrivacyError

__all__ = ["PLAIN", "Trust", "UnsafeMessageError", "check_object", "current_trust", "objects_in", "trust_only"]
__all__ += ["trusting"]

PICKLE = "__nni_obj__"
NAMES = ("__nni_type__", "__symbol__", "__instance_type__")
"""Marks whose value is a name to be imported, ``path:package.module.name``, or a pickle, ``bytes:...``."""

_ENUM, _ARRAY = "__enum__", "__ndarray__"
_RICH = (
    *("__date__", "__time__", "__datetime__", "__timedelta__", "__complex__", "__set__", "__pathlib__"),
    *("__decimal__", "__fraction__", "__pandas_dataframe__", "__pandas_series__"),
)
"""Marks of data that is made by calling something with what the message says, which may raise anything."""

_MAX_BYTES = 1 << 26
"""Size of an array that a message may ask for; NNI's messages have 50 MB at most."""


class UnsafeMessageError(PrivacyError, ValueError):
    """A message holds what would have to be unpickled or imported to be read, or to be written."""


@dataclass(frozen=True)
class Trust:
    """Allow-list of what a message may hold besides plain data: numbers, texts, lists, mappings, arrays of numbers.

    Attributes:
        types: dotted names of classes and functions that may be imported; ``None``: any, for what is only written.
        pickles: whether pickled objects are accepted; whoever can send one can run anything.
        rich: whether dates, sets, fractions, data frames and the like are made.
        known: SHA-256 of pickles that are accepted all the same: this very search has written them.
        written: those that this process has written, by the id of what each is of, which is written the same again;
            None: nothing is kept.
    """

    types: frozenset[str] | None = frozenset()
    pickles: bool = False
    rich: bool = True
    known: frozenset[str] = frozenset()
    written: dict[int, tuple[Any, str]] | None = field(default=None, compare=False, repr=False)

    def has_type(self, name: str) -> bool:
        """Whether a dotted name may be imported."""
        return self.types is None or name in self.types

    def has_pickle(self, text: Any) -> bool:
        """Whether a pickle, as a message holds it, may be loaded."""
        return self.pickles or (isinstance(text, str) and _digest(text) in self.known)

    def once_written(self, thing: Any, text: str) -> str:
        """The pickle of a thing: ``text``, or what was written of it before, as no two need be the same.

        Raises:
            UnsafeMessageError: if it may not be sent.
        """
        if self.written is not None:
            text = self.written.setdefault(id(thing), (thing, text))[1]
        if not self.has_pickle(text):
            raise UnsafeMessageError("it is none of the pickles that this search has begun with")
        return text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


PLAIN = Trust(rich=False)
"""Numbers, texts, lists, mappings and arrays of numbers: what trials report, and what files of a run hold."""

_trust: ContextVar[Trust | None] = ContextVar("nni_privacy_trust", default=None)
_of_process: list[Trust] = []


@contextmanager
def trusting(trust: Trust | None) -> Iterator[None]:
    """Context in which what this thread reads and writes is a message from, or to, somebody trusted that far only.

    ``None``: it is no message.
    """
    token = _trust.set(trust)
    try:
        yield
    finally:
        _trust.reset(token)


def trust_only(trust: Trust) -> None:
    """All that this process reads and writes from now on is a message: that of a process which does nothing else."""
    _of_process[:] = [trust]


def current_trust() -> Trust | None:
    """The trust under which this thread reads now; ``None``: what it reads is no message."""
    trust = _trust.get()
    return trust if trust is not None or not _of_process else _of_process[0]


def check_object(found: Any, trust: Trust) -> Any:
    """Refuses one JSON object of a message, before anything is made of it.

    Returns:
        ``found``.

    Raises:
        UnsafeMessageError: if it stands for something that ``trust`` does not allow.
    """
    if not isinstance(found, Mapping):
        return found
    if PICKLE in found and not trust.has_pickle(found[PICKLE]):
        raise UnsafeMessageError(f"a pickled object ({PICKLE}) is refused")
    for mark in NAMES:
        if mark in found:
            _check_name(mark, found[mark], trust)
    if _ENUM in found:
        described = found[_ENUM].get("__enum_instance_type__") if isinstance(found[_ENUM], Mapping) else None
        _check_name(_ENUM, ".".join(map(str, described)) if isinstance(described, list) else None, trust)
    if _ARRAY in found:
        _check_array(found)
    refused = None if trust.rich else next((mark for mark in _RICH if mark in found), None)
    if refused is not None:
        raise UnsafeMessageError(f"{refused} is refused: report numbers, texts, lists and mappings")
    return found


def _check_name(mark: str, value: Any, trust: Trust) -> None:
    if isinstance(value, str) and value.startswith("bytes:"):
        if not trust.has_pickle(value.removeprefix("bytes:")):
            raise UnsafeMessageError(f"a pickled class or function ({mark}) is refused")
    elif not isinstance(value, str) or not trust.has_type(value.removeprefix("path:")):
        raise UnsafeMessageError(f"{mark}: {value!r:.200} is refused: it is none of this experiment's types")


def _check_array(found: Mapping[str, Any]) -> None:
    """An array's type is looked up by its name, among all that numpy holds: functions that read files, too."""
    import numpy as np
    from json_tricks import json_numpy_obj_hook

    kind, shape = found.get("dtype"), found.get("shape", [])
    try:
        number = np.dtype(kind) if isinstance(kind, str) else np.dtype(object)
        lengths = [length for length in shape if type(length) is int and length >= 0]
        size = number.itemsize * math.prod(lengths)
        if number.kind not in "biuf" or len(lengths) != len(shape) or size > _MAX_BYTES:
            raise ValueError
        if isinstance(found[_ARRAY], str) and not found[_ARRAY].startswith("b64:"):
            raise ValueError  # compressed, or a text in place of a number
        json_numpy_obj_hook(dict(found))
    except Exception:  # whatever numpy says: this is read where an exception must end nothing
        raise UnsafeMessageError(f"{_ARRAY}: no array of numbers (type {kind!r:.80}, shape {shape!r:.80})") from None


def objects_in(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Names that reading a message would import, and the pickles that it would load.

    Args:
        text: JSON as NNI writes it.

    Returns:
        The dotted names, and the pickles' SHA-256.
    """
    names, pickles = set(), set()
    for mark, value in _marks(json.loads(text)):
        if mark == PICKLE or value.startswith("bytes:"):
            pickles.add(_digest(value.removeprefix("bytes:")))
        else:
            names.add(value.removeprefix("path:"))
    return frozenset(names), frozenset(pickles)


def _marks(value: Any) -> Iterator[tuple[str, str]]:
    children: Iterable[Any] = ()
    if isinstance(value, dict):
        for mark in (PICKLE, *NAMES):
            if mark in value:
                yield mark, str(value[mark])
        if _ENUM in value:
            yield _ENUM, ".".join(map(str, value[_ENUM]["__enum_instance_type__"]))
        children = value.values()
    elif isinstance(value, list):
        children = value
    for child in children:
        yield from _marks(child)
