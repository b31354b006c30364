"""NNI model spaces whose cells can be constrained by cell patterns. Imported as ``nni_privacy.search_spaces``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_names
from nni_privacy.search_spaces.constraints import FixedEdges

if TYPE_CHECKING:
    from nni_privacy.search_spaces.darts import DARTS
    from nni_privacy.search_spaces.nasbench201 import NasBench201
    from nni_privacy.search_spaces.nasbench201_network import NasBench201Network
    from nni_privacy.search_spaces.network import CellNetwork

__all__ = ["DARTS", "MOST", "SPACES", "CellNetwork", "FixedEdges", "NasBench201", "NasBench201Network"]

MOST: Mapping[str, int] = MappingProxyType({"channels": 4096, "cells": 100, "nodes": 16})
"""The largest sizes of a network, in a configuration too."""
SPACES = {"darts": "DARTS", "nasbench201": "NasBench201"}
"""Names of the spaces in a configuration, and of their classes in this package."""

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "search_spaces.darts": ["DARTS"],
        "search_spaces.nasbench201": ["NasBench201"],
        "search_spaces.nasbench201_network": ["NasBench201Network"],
        "search_spaces.network": ["CellNetwork"],
    },
)
