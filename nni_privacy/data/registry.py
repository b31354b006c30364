"""The data sets that a configuration can name. No torch here: names and options are checked before a load."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from nni_privacy.errors import ConfigError, nearest

if TYPE_CHECKING:
    from nni_privacy.data.dataset import Dataset

__all__ = ["COMMON_OPTIONS", "check_dataset_options", "dataset_names", "load_dataset", "register_dataset"]

Loader = TypeVar("Loader", bound=Callable[..., Any])

_LOADERS: dict[str, Callable[..., Any]] = {}
_BUILT_IN = "nni_privacy.data.sources"
COMMON_OPTIONS = ("limit", "limit_seed", "image_size", "stratified")


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


def check_dataset_options(name: str, options: Mapping[str, Any]) -> None:
    """Checks the name of a data set and its options without loading anything.

    Raises:
        ConfigError: if the name or an option is unknown (with the nearest known one), a required option is missing,
            ``limit``, ``limit_seed`` or ``image_size`` is not an integer in its range, or ``stratified`` not a boolean.
    """
    loader = _loader(name)
    parameters = inspect.signature(loader).parameters
    known = {*parameters, *COMMON_OPTIONS}
    for option in options:
        if option not in known:
            raise ConfigError(f"dataset {name!r} has no option {option!r}: {nearest(option, known)}")
    missing = [key for key, value in parameters.items() if value.default is value.empty and key not in options]
    if missing:
        raise ConfigError(f"dataset {name!r} needs the option {missing[0]!r}")
    _check_integer(name, "limit", options.get("limit"), minimum=1)
    _check_integer(name, "limit_seed", options.get("limit_seed"), minimum=0)
    _check_integer(name, "image_size", options.get("image_size"), minimum=1)
    stratified = options.get("stratified", False)
    if not isinstance(stratified, bool):
        raise ConfigError(f"dataset {name!r}: stratified is {stratified!r}: allowed are true and false")


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
    check_dataset_options(name, {**options, **common})
    loader = _loader(name)
    if image_size is not None and "image_size" in inspect.signature(loader).parameters:
        options["image_size"] = image_size  # it resizes while it reads
    dataset: Dataset = loader(**options)
    if limit is not None:
        dataset = dataset.subset(limit, seed=limit_seed)
    if image_size is not None:
        dataset = dataset.resized(image_size)
    return replace(dataset, stratified=True) if stratified else dataset


def _loader(name: str) -> Callable[..., Any]:
    names = dataset_names()
    if name not in names:
        raise ConfigError(f"unknown dataset {name!r}: {nearest(str(name), names)}")
    return _LOADERS[name]


def _check_integer(name: str, option: str, value: Any, *, minimum: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ConfigError(f"dataset {name!r}: {option} is {value!r}: allowed are integers of {minimum} or more")
