"""The section ``search_space`` of a configuration: a registered space and its sizes, or a class of the user's own."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Annotated, Any

from pydantic import Field, PlainValidator, model_validator

from nni_privacy.cells.spaces import MOST, SPACES
from nni_privacy.errors import ConfigError, nearest
from nni_privacy.plugins import plugin_faults
from nni_privacy.schema import NamedSection, Section, checked, validated

__all__ = ["DartsSizes", "NasBench201Sizes", "SearchSpaceConfig", "is_own"]


def is_own(name: Any) -> bool:
    """Whether a name of a space is that of a class, ``mypackage.spaces:MySpace``."""
    return isinstance(name, str) and ":" in name


def _one_or_several(name: str, least: int) -> PlainValidator:
    """What checks a size of a network, or a list of sizes that a search is to choose from."""
    kind = Annotated[int, Field(ge=least, le=MOST[name])]

    def check(value: Any) -> int | list[int]:
        if not isinstance(value, list):
            return int(checked(kind, value, name))
        sizes = [int(checked(kind, one, name)) for one in value]
        if not sizes or len(set(sizes)) < len(sizes):
            raise ConfigError(f"{name}: {value!r}; allowed is a whole number, or a list of different ones")
        return sizes

    return PlainValidator(check)


class DartsSizes(Section):
    """Sizes of ``search_space: {name: darts}``; a list of channels or cells is a choice of the search."""

    channels: Annotated[int | list[int], _one_or_several("channels", 1)] = 16
    cells: Annotated[int | list[int], _one_or_several("cells", 3)] = 5
    nodes: int = Field(4, ge=1, le=MOST["nodes"])


class NasBench201Sizes(Section):
    """Sizes of ``search_space: {name: nasbench201}``, as above; ``cells`` are those of one of its three stages."""

    channels: Annotated[int | list[int], _one_or_several("channels", 1)] = 16
    cells: Annotated[int | list[int], _one_or_several("cells", 1)] = 5


class SearchSpaceConfig(NamedSection):
    """``search_space``: its name and sizes; channels of the images and classes come from the data set.

    A space of the user's own is named by its class, ``mypackage.spaces:MySpace``, whose arguments are ``options``.
    """

    @model_validator(mode="after")
    def _check(self) -> SearchSpaceConfig:
        if self.own:
            from nni_privacy.search_spaces.own_space import check_section

            check_section(self.name, self.model_extra or {})
            return self
        if self.name not in SPACES:
            own = "a class of your own is named mypackage.spaces:MySpace"
            raise ConfigError(f"name: unknown search space {self.name!r}; {nearest(self.name, SPACES)}; {own}")
        sizes = SPACES[self.name].sizes
        with plugin_faults(f"search space {self.name!r}", sizes):
            kind = resolve_name(sizes)
        validated(kind, super().options)
        return self

    @property
    def own(self) -> bool:
        """Whether it is a class of the user's own."""
        return is_own(self.name)

    @property
    def options(self) -> dict[str, Any]:
        """The space's sizes, defaults included; of a user's own, the arguments that are given."""
        if self.own:
            return dict(super().options.get("options") or {})
        return resolve_name(SPACES[self.name].sizes)(**super().options).model_dump()

    @property
    def content(self) -> dict[str, Any]:
        """The section as it can stand in a file."""
        return {"name": self.name, **({"options": self.options} if self.own else self.options)}

    @property
    def searched_sizes(self) -> dict[str, list[int]]:
        """The sizes that are a list, which a search chooses from; a space of the user's own says itself what it is."""
        return {} if self.own else {name: size for name, size in self.options.items() if isinstance(size, list)}
