"""Sections of a configuration file, and what is wrong with one in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from nni_privacy.errors import ConfigError, PrivacyError, nearest
from nni_privacy.files import read_yaml

__all__ = ["NamedSection", "Section", "one_line", "read_section", "validated"]

_Model = TypeVar("_Model", bound=BaseModel)


class Section(BaseModel):
    """A mapping with known keys and strict types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NamedSection(BaseModel):
    """A name, and options that depend on it."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """All but the name."""
        return dict(self.model_extra or {})


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


def one_line(error: ValidationError, model: type[BaseModel]) -> str:
    """The first fault of a configuration in one line: field, value, and what is allowed."""
    fault: Any = error.errors(include_url=False)[0]
    path = [str(part) for part in fault["loc"]]
    if fault["type"] == "extra_forbidden":
        return f"{'.'.join(path)}: unknown key; {nearest(path[-1], _fields_at(model, path[:-1]))}"
    if fault["type"] == "missing":
        return f"{'.'.join(path)}: missing"
    if fault["type"] == "value_error":
        return _with_path(path, " ".join(str(fault["ctx"]["error"]).split()))
    return f"{'.'.join(path)}: {fault['input']!r:.80}; {fault['msg'][:1].lower()}{fault['msg'][1:]}"


def _with_path(path: list[str], message: str) -> str:
    """Puts the path of a section before what the section said of one of its fields ("budget: 9 ...")."""
    field, colon, rest = message.partition(": ")
    if colon and f"_{field.replace('.', '_')}".isidentifier():  # "0.host" is an item of a list
        inner = field.split(".")
        inner = inner[1:] if path and inner[0] == path[-1] else inner
        return f"{'.'.join(path + inner)}: {rest}"
    return f"{'.'.join(path)}: {message}" if path else message


def _fields_at(model: type[BaseModel], path: list[str]) -> set[str]:
    for part in path:
        if part.isdigit():  # an item of a list of sections
            continue
        field = model.model_fields.get(part)
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), Section)
    return set(model.model_fields)
