"""Data sets as in-memory tensors, and the split of a pool into the paper's four parts. Torch comes on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nni_privacy.data.registry import check_dataset_options, dataset_names, load_dataset, register_dataset
from nni_privacy.data.split import FourWaySplit, split_four_ways

if TYPE_CHECKING:
    from nni_privacy.data.dataset import Dataset
    from nni_privacy.data.normalize import Normalizer, to_float

__all__ = [
    "Dataset",
    "FourWaySplit",
    "Normalizer",
    "check_dataset_options",
    "dataset_names",
    "load_dataset",
    "register_dataset",
    "split_four_ways",
    "to_float",
]

_LAZY = {
    "Dataset": "nni_privacy.data.dataset",
    "Normalizer": "nni_privacy.data.normalize",
    "to_float": "nni_privacy.data.normalize",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
