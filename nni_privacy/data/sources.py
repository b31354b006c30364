"""The loaders that ship with nni-privacy. Torch and scikit-learn are imported when one is called."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from nni_privacy.data.registry import register_dataset

if TYPE_CHECKING:
    from nni_privacy.data.dataset import Dataset

__all__ = ["load_digits", "load_npz"]

DIGITS_MAX = 16
"""Grey levels of scikit-learn's digits run from 0 to 16."""


@register_dataset("digits")
def load_digits() -> Dataset:
    """The 1,797 handwritten digits that ship with scikit-learn: 8x8, one channel, ten classes; nothing is downloaded.

    Grey levels 0..16 are scaled one to one to ``uint8`` 0..255 (``round(level * 255 / 16)``), the range of all images
    here.
    """
    import torch
    from sklearn.datasets import load_digits as sklearn_digits

    from nni_privacy.data.dataset import Dataset

    bunch = sklearn_digits()
    levels = np.rint(bunch.images * (255 / DIGITS_MAX)).astype(np.uint8)
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    return Dataset("digits", torch.from_numpy(levels[:, None]), labels, num_classes=10)


@register_dataset("npz")
def load_npz(*, path: str | PathLike[str], layout: str = "auto", num_classes: int | None = None) -> Dataset:
    """A numpy ``.npz`` file of the user's own.

    Args:
        path: the file; see :func:`nni_privacy.data.npz.read_npz` for the arrays it may hold. ``~`` is expanded.
        layout: ``channels_first``, ``channels_last``, or ``auto`` (tell from where 1 or 3 stands in the shape).
        num_classes: number of classes, for files in which not every class occurs; by default all of 0..K-1 must occur.

    Raises:
        ConfigError: if ``layout`` or ``num_classes`` is not valid.
        DataError: if the file is missing, not a ``.npz``, or its arrays are not valid.
    """
    from nni_privacy.data.npz import read_npz

    return read_npz(path, layout=layout, num_classes=num_classes)
