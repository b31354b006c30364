"""Checks the sizes of a network."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nni_privacy.errors import ConfigError

__all__ = ["MOST", "check_sizes"]

MOST: Mapping[str, int] = MappingProxyType({"channels": 4096, "cells": 100, "nodes": 16})
"""The largest sizes, in a configuration too."""


def check_sizes(sizes: Mapping[str, object], minimum: Mapping[str, int]) -> None:
    """Raises ConfigError for the first of ``sizes`` that is no whole number from ``minimum`` to :data:`MOST`."""
    for name, value in sizes.items():
        if type(value) is not int or value < minimum[name]:
            raise ConfigError(f"{name}: {value!r}; allowed is a whole number of at least {minimum[name]}")
        if value > MOST.get(name, value):
            raise ConfigError(f"{name}: {value!r}; allowed is a whole number of at most {MOST[name]}")
