"""Data sets as in-memory tensors, and the split of a pool into the paper's four parts. Torch comes on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.data.registry import check_dataset_options, dataset_names, load_dataset, register_dataset
from nni_privacy.data.split import FourWaySplit, split_four_ways
from nni_privacy.lazy import lazy_names

if TYPE_CHECKING:
    from nni_privacy.data.dataset import Dataset
    from nni_privacy.data.inputs import Inputs
    from nni_privacy.data.normalize import Normalizer, to_float

__all__ = ["Dataset", "FourWaySplit", "Inputs", "Normalizer", "check_dataset_options", "dataset_names", "load_dataset"]
__all__ += ["register_dataset", "split_four_ways", "to_float"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "data.dataset": ["Dataset"],
        "data.inputs": ["Inputs"],
        "data.normalize": ["Normalizer", "to_float"],
    },
)
