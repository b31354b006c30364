"""NNI model spaces whose cells can be constrained by cell patterns. Imported as ``nni_privacy.search_spaces``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.cells.spaces import MOST
from nni_privacy.lazy import lazy_names
from nni_privacy.search_spaces.constraints import FixedEdges

if TYPE_CHECKING:
    from nni_privacy.search_spaces.darts import DARTS
    from nni_privacy.search_spaces.nasbench201 import NasBench201
    from nni_privacy.search_spaces.nasbench201_network import NasBench201Network
    from nni_privacy.search_spaces.network import CellNetwork

__all__ = ["DARTS", "MOST", "CellNetwork", "FixedEdges", "NasBench201", "NasBench201Network"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "search_spaces.darts": ["DARTS"],
        "search_spaces.nasbench201": ["NasBench201"],
        "search_spaces.nasbench201_network": ["NasBench201Network"],
        "search_spaces.network": ["CellNetwork"],
    },
)
