"""The data sets that a configuration can name. No torch here: names and options are checked before a load."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

from pydantic import ConfigDict, Field, PydanticUserError, TypeAdapter

from nni_privacy.errors import ConfigError, nearest
from nni_privacy.plugins import expect, plugin_faults
from nni_privacy.schema import Count, Seed, checked

if TYPE_CHECKING:
    from nni_privacy.data.dataset import Dataset

__all__ = ["COMMON_OPTIONS", "check_dataset_options", "dataset_loader", "dataset_names", "load_dataset"]
__all__ += ["register_dataset"]

Loader = TypeVar("Loader", bound=Callable[..., Any])

_LOADERS: dict[str, Callable[..., Any]] = {}
_BUILT_IN = "nni_privacy.data.sources"
_COMMON: Mapping[str, Any] = {
    "limit": Count | None,
    "limit_seed": Seed,
    "image_size": Annotated[int, Field(ge=1, le=4096)] | None,
    "stratified": bool,
}
COMMON_OPTIONS = tuple(_COMMON)


def register_dataset(name: str) -> Callable[[Loader], Loader]:
    """Registers a loader: a function with keyword-only, documented options that returns a :class:`Dataset`.

    Raises:
        ConfigError: if the name is taken.
    """

    def register(loader: Loader) -> Loader:
        if name in _LOADERS:
            raise ConfigError(f"dataset {name!r} is registered already")
        _LOADERS[name] = loader
        return loader

    return register


def dataset_names() -> tuple[str, ...]:
    """The names of all registered data sets, sorted."""
    import_module(_BUILT_IN)
    return tuple(sorted(_LOADERS))


def check_dataset_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Checks the name of a data set and its options, by the loader's annotations, without loading anything.

    Returns:
        The options, with numpy's numbers and paths as plain ones.

    Raises:
        ConfigError: if the name or an option is unknown (with the nearest known one), a required option is missing, or
            a value is of another type or out of range.
    """
    loader = dataset_loader(name)
    parameters = inspect.signature(loader).parameters
    known = {**{key: value.annotation for key, value in parameters.items()}, **_COMMON}
    for option in options:
        if option not in known:
            raise ConfigError(f"dataset {name!r} has no option {option!r}: {nearest(str(option), known)}")
    missing = [key for key, value in parameters.items() if value.default is value.empty and key not in options]
    if missing:
        raise ConfigError(f"dataset {name!r} needs the option {missing[0]!r}")
    return {
        option: checked(_hint(loader, known[option]), value, f"dataset {name!r}: {option}")
        for option, value in options.items()
    }


def _hint(loader: Callable[..., Any], annotation: Any) -> Any:
    """What an annotation stands for; anything, if it has no meaning while the program runs."""
    try:
        holder = SimpleNamespace(__annotations__={"value": annotation})
        hint = get_type_hints(holder, loader.__globals__, include_extras=True)["value"]
        TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except (NameError, TypeError, PydanticUserError):
        return Any
    return Any if hint is inspect.Parameter.empty else hint


def load_dataset(
    name: str,
    *,
    limit: int | None = None,
    limit_seed: int = 0,
    image_size: int | None = None,
    stratified: bool = False,
    **options: Any,
) -> Dataset:
    """Loads a data set by name, as a pool: official training and test parts together.

    Args:
        name: a registered name, see :func:`dataset_names`.
        limit: keep a random subset of at most so many records (for quick runs); everything by default.
        limit_seed: the seed of that subset.
        image_size: height and width in pixels that all images are resized to (bilinear); by default they stay as they
            are, but for ``celeba`` (64).
        stratified: whether ``Dataset.split`` gives each of the four parts as many records of every class.
        **options: the loader's own options, such as ``path`` of ``npz``.

    Raises:
        ConfigError: see :func:`check_dataset_options`.
        DataError: if the data is missing or not valid.
    """
    common = {"limit": limit, "limit_seed": limit_seed, "image_size": image_size, "stratified": stratified}
    options = check_dataset_options(name, {**options, **common})
    limit, limit_seed, image_size, stratified = (options.pop(key) for key in COMMON_OPTIONS)
    loader = dataset_loader(name)
    if image_size is not None and "image_size" in inspect.signature(loader).parameters:
        options["image_size"] = image_size  # it resizes while it reads
    what = f"dataset {name!r}"
    with plugin_faults(what, loader):
        dataset: Dataset = loader(**options)
    expect(dataset, import_module("nni_privacy.data.dataset").Dataset, what, loader)
    if limit is not None:
        dataset = dataset.subset(limit, seed=limit_seed)
    if image_size is not None:
        dataset = dataset.resized(image_size)
    return replace(dataset, stratified=True) if stratified else dataset


def dataset_loader(name: str) -> Callable[..., Any]:
    """The loader that is registered under a name; ConfigError with the nearest one if there is none."""
    names = dataset_names()
    if name not in names:
        raise ConfigError(f"unknown dataset {name!r}: {nearest(str(name), names)}")
    return _LOADERS[name]
