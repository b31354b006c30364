"""Checks the sizes of a network."""

from __future__ import annotations

from collections.abc import Mapping

from nni_privacy.errors import ConfigError

__all__ = ["check_sizes"]


def check_sizes(sizes: Mapping[str, object], minimum: Mapping[str, int]) -> None:
    """Raises ConfigError for the first of ``sizes`` that is not a whole number of at least its ``minimum``."""
    for name, value in sizes.items():
        if type(value) is not int or value < minimum[name]:
            raise ConfigError(f"{name}: {value!r}; allowed is a whole number of at least {minimum[name]}")
