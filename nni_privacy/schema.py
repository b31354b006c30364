"""Options and sections of a configuration, checked alike in Python and in YAML; a fault is told in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import field
from difflib import get_close_matches
from functools import wraps
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from typing_extensions import Self, dataclass_transform

from nni_privacy.errors import ConfigError, PrivacyError, nearest
from nni_privacy.files import read_yaml

__all__ = ["Count", "Fraction", "FractionBelowOne", "OpenFraction", "Positive", "Seed", "Several", "Share"]
__all__ += ["NamedSection", "Options", "Section", "checked", "named", "one_line", "options", "plain", "read_section"]
__all__ += ["validated"]

_Model = TypeVar("_Model", bound=BaseModel)
_Class = TypeVar("_Class", bound="type[Options]")

_MOST = 10**9
Count = Annotated[int, Field(ge=1, le=_MOST)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""Numpy's range."""
Several = Annotated[Count, Field(ge=2)]
Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
FractionBelowOne = Annotated[float, Field(ge=0, lt=1)]

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


class Section(BaseModel):
    """A mapping with known keys and strict types: no text is a number, no truth value an integer."""

    model_config = ConfigDict(**_STRICT, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _made_plain(cls, content: Any) -> Any:
        return plain(content)


class NamedSection(Section):
    """A name, and options that depend on it; a text is the name alone."""

    model_config = ConfigDict(extra="allow")

    name: str

    @model_validator(mode="before")
    @classmethod
    def _of_a_name(cls, content: Any) -> Any:
        return named(content)

    @property
    def options(self) -> dict[str, Any]:
        """All but the name."""
        return dict(self.model_extra or {})


def named(content: Any) -> Any:
    """``"digits"`` -> ``{"name": "digits"}``; all else as it is."""
    return {"name": content} if isinstance(content, str) else content


class Options:
    """Base of the dataclasses that :func:`options` makes."""

    section: ClassVar[str] = ""
    """What the options are called in a configuration."""
    error: ClassVar[type[PrivacyError]] = ConfigError

    @classmethod
    def from_mapping(cls, content: Any) -> Self:
        """Makes the options of a part of a configuration, with the class's error for what is not valid."""
        if not isinstance(content, Mapping):
            fields = ", ".join(_fields_of(cls))
            raise cls.error(_with_path(_split(cls.section), f"{content!r:.80}; allowed is a mapping of {fields}"))
        with told_by(cls):
            return TypeAdapter(cls).validate_python(plain(content))

    @classmethod
    def of(cls, given: Self | Mapping[str, Any]) -> Self:
        """What was given, if that are such options already; else as :meth:`from_mapping`."""
        return given if isinstance(given, cls) else cls.from_mapping(given)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a YAML or JSON file; :meth:`from_mapping` reads them back."""
        content: dict[str, Any] = TypeAdapter(type(self)).dump_python(self, mode="json")
        return content

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        schema: Any = handler(source)
        node: Any = handler.resolve_ref_schema(schema)
        while node["type"] != "dataclass":
            node = node["schema"]
        node["strict"] = False  # a mapping will do, too; each of its fields stays strict
        return schema


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field, field))
def options(
    *, section: str = "", error: type[PrivacyError] = ConfigError, eq: bool = True, kw_only: bool = True
) -> Callable[[_Class], _Class]:
    """Decorator of a subclass of :class:`Options`: a frozen dataclass with fields of strict types.

    Numpy's numbers and paths are taken as plain ones.

    Args:
        section: what the options are called in a configuration, before a field's name in messages.
        error: raised with one line that names field, value and what is allowed.
        eq: whether two with equal values are equal.
        kw_only: whether fields are given by keyword only.
    """

    def make(cls: _Class) -> _Class:
        made: Any = dataclass(frozen=True, kw_only=kw_only, eq=eq, config=_STRICT)(cls)
        initialise = made.__init__

        @wraps(initialise)
        def init(self: Options, *arguments: Any, **values: Any) -> None:
            with told_by(made):
                initialise(self, *map(plain, arguments), **plain(values))

        made.__init__, made.section, made.error = init, section, error
        return made

    return make


@contextmanager
def told_by(kind: type[Options]) -> Iterator[None]:
    """Turns what pydantic finds into the one line of a class's error."""
    try:
        yield
    except ValidationError as error:
        raise kind.error(one_line(error, kind, section=kind.section)) from None
    except ConfigError as error:
        raise kind.error(str(error)) from None


def plain(value: Any, known: dict[int, Any] | None = None) -> Any:
    """Numpy's numbers as Python's, paths as texts, also inside of mappings, lists and tuples; all else as it is.

    A character that was written as two halves, as JSON does it (a surrogate pair), becomes one.
    ``known`` is what was met before, by identity: YAML's anchors may name one list in many places, or in itself.
    """
    if isinstance(value, Mapping) or type(value) in (list, tuple):
        known = {} if known is None else known
        if id(value) not in known:
            known[id(value)] = Options  # until it is finished
            if isinstance(value, Mapping):
                known[id(value)] = {plain(key, known): plain(entry, known) for key, entry in value.items()}
            else:
                known[id(value)] = type(value)([plain(entry, known) for entry in value])
        if known[id(value)] is Options:
            raise ConfigError("a value contains itself")
        return known[id(value)]
    if isinstance(value, PathLike):
        value = fspath(value)
    if isinstance(value, str) and not value.isascii():
        with suppress(UnicodeDecodeError):  # half a pair: whoever wants a text says so
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    numpy = sys.modules.get("numpy")
    return value.item() if numpy is not None and isinstance(value, numpy.generic) else value


def checked(kind: Any, value: Any, name: str, *, error: type[PrivacyError] = ConfigError) -> Any:
    """A single value as ``kind``, a type with limits such as :data:`Count`.

    Raises:
        PrivacyError: of type ``error``; one line that begins with ``name``.
    """
    try:
        return TypeAdapter(kind, config=_STRICT).validate_python(plain(value))
    except ValidationError as fault:
        raise error(one_line(fault, None, section=name)) from None


def read_section(
    kind: type[_Model], path: str | Path, change: Callable[[dict[str, Any]], Mapping[str, Any]] = dict
) -> _Model:
    """Reads a YAML file as a section.

    Args:
        kind: what it must be.
        path: of the file.
        change: applied to its content before it is checked.

    Raises:
        ConfigError: if the file cannot be read or a value is not valid; one line that names file, field, value and what
            is allowed.
    """
    content = read_yaml(path, error=ConfigError)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a configuration is a mapping; found {type(content).__name__}")
    try:
        return validated(kind, change(content))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def validated(kind: type[_Model], content: Mapping[str, Any]) -> _Model:
    """Plain data as a section.

    Raises:
        ConfigError: on the first value that is not valid, in one line.
    """
    try:
        return kind.model_validate(dict(content))
    except ValidationError as error:
        raise ConfigError(one_line(error, kind)) from None
    except PrivacyError as error:
        raise ConfigError(str(error)) from None


def one_line(error: ValidationError, model: type | None, *, section: str = "") -> str:
    """The first fault of a configuration in one line: field, value, and what is allowed.

    Args:
        error: what pydantic found.
        model: the section or options that were wanted; None for a single value.
        section: what goes before the path of a field.
    """
    faults: list[Any] = error.errors(include_url=False)
    # A misspelled key is told before what it leaves missing.
    fault = next((one for one in faults if one["type"] in _UNKNOWN), faults[0])
    own = [str(part) for part in fault["loc"]] if model is not None else []
    path, kind = [*_split(section), *own], fault["type"]
    where = ".".join(path)
    if kind in _UNKNOWN:
        return f"{where}: unknown key; {nearest(own[-1], _fields_at(model, own[:-1]))}"
    if kind == "missing":
        written = _misspelled(own[-1], fault["input"], _fields_at(model, own[:-1]))
        return f"{where}: missing" if written is None else _unknown_for(path, written)
    if kind == "string_unicode":
        return f"{where}: {fault['input']!r:.80}; a part of it is half a character (a lone surrogate)"
    if kind == "value_error":
        return _with_path(path, " ".join(str(fault["ctx"]["error"]).split()))
    message = f"{fault['msg'][:1].lower()}{fault['msg'][1:]}".replace("tuple", "list")
    if kind in ("dataclass_type", "model_type"):
        message = f"allowed is a mapping of {', '.join(_fields_at(model, own))}"
    if kind == "float_type" and isinstance(fault["input"], str):
        message += " (YAML reads 1e-2 as text: write 0.01 or 1.0e-2)"
    return f"{where}: {fault['input']!r:.80}; {message}"


_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


def _misspelled(missing: str, content: Any, known: list[str]) -> str | None:
    """The key of a section with free options that seems to mean the one that is missing."""
    others = [key for key in content if key not in known] if isinstance(content, Mapping) else []
    return next(iter(get_close_matches(missing, [str(key) for key in others], n=1)), None)


def _unknown_for(path: list[str], written: str) -> str:
    return f"{'.'.join([*path[:-1], written])}: unknown key; did you mean {path[-1]!r}?"


def _split(section: str) -> list[str]:
    return section.split(".") if section else []


def _with_path(path: list[str], message: str) -> str:
    """Puts the path of a section before what the section said of one of its fields ("budget: 9 ...")."""
    name, colon, rest = message.partition(": ")
    if colon and f"_{name.replace('.', '_')}".isidentifier():  # "0.host" is an item of a list
        inner = name.split(".")
        inner = inner[1:] if path and inner[0] == path[-1] else inner
        return f"{'.'.join(path + inner)}: {rest}"
    return f"{'.'.join(path)}: {message}" if path else message


def _fields_of(model: Any) -> dict[str, Any]:
    """The fields of a section or of options, by name; none of anything else."""
    return dict(getattr(model, "__pydantic_fields__", {}))


def _fields_at(model: Any, path: list[str]) -> list[str]:
    for part in path:
        if part.isdigit():  # an item of a list of sections
            continue
        found = _fields_of(model).get(part)
        kinds = [found.annotation, *getattr(found.annotation, "__args__", ())] if found else []
        model = next((kind for kind in kinds if _fields_of(kind)), None)
    return list(_fields_of(model))
