"""The loaders that ship with nni-privacy. Torch and scikit-learn are imported when one is called."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from nni_privacy.data.registry import register_dataset
from nni_privacy.errors import ConfigError

if TYPE_CHECKING:
    from nni_privacy.data.dataset import Dataset

__all__ = ["load_celeba", "load_cifar10", "load_cifar100", "load_digits", "load_fashion_mnist", "load_imagefolder"]
__all__ += ["load_npz", "load_stl10"]

Folder = Annotated[str, Field(min_length=1)] | PathLike[str]
Layout = Literal["auto", "channels_first", "channels_last"]
Classes = Annotated[int, Field(ge=2, le=10**9)]
Splits = Literal["refuse", "pool", "classes"]
White = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _grey_or_colour(channels: int) -> int:
    if channels not in (1, 3):
        raise ConfigError(f"{channels}; allowed are 1 (grey) and 3 (colour)")
    return channels


Channels = Annotated[int, AfterValidator(_grey_or_colour)]

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
    return Dataset("digits", torch.from_numpy(levels[:, None]), labels, num_classes=10, classes=tuple("0123456789"))


@register_dataset("npz")
def load_npz(*, path: Folder, layout: Layout = "auto", num_classes: Classes | None = None) -> Dataset:
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


@register_dataset("cifar10")
def load_cifar10(*, root: Folder | None = None, download: bool = False) -> Dataset:
    """CIFAR-10: 60,000 photographs, 32x32, three channels, ten classes; official training and test part pooled.

    Args:
        root: the folder that holds ``cifar-10-batches-py`` (or ``cifar-10-python.tar.gz``), as torchvision's. By
            default ``$NNI_PRIVACY_DATA``, else ``nni-privacy/data`` in the user's cache folder.
        download: fetch the official archive into ``root`` if it is not there (with its checksum and a progress bar).

    Raises:
        ConfigError: if an option is not valid.
        DataError: if a file is missing, cannot be downloaded, or has another checksum than the official one.
    """
    from nni_privacy.data.official import read_cifar

    return read_cifar("cifar10", root=root, download=download)


@register_dataset("cifar100")
def load_cifar100(*, root: Folder | None = None, download: bool = False) -> Dataset:
    """CIFAR-100 with its 100 fine classes; otherwise as :func:`load_cifar10` (``cifar-100-python``)."""
    from nni_privacy.data.official import read_cifar

    return read_cifar("cifar100", root=root, download=download)


@register_dataset("stl10")
def load_stl10(*, root: Folder | None = None, download: bool = False) -> Dataset:
    """STL-10's 13,000 labelled photographs, 96x96, three channels, ten classes; options as :func:`load_cifar10`.

    They are in the official ``stl10_binary``; its file of unlabelled images may be missing.
    """
    from nni_privacy.data.official import read_stl10

    return read_stl10("stl10", root=root, download=download)


@register_dataset("fashion_mnist")
def load_fashion_mnist(*, root: Folder | None = None, download: bool = False) -> Dataset:
    """Fashion-MNIST: 70,000 pictures of clothes, 28x28, one channel, ten classes; official parts pooled.

    Args:
        root: the folder that holds the IDX files, or ``FashionMNIST/raw`` with them, plain or gzipped. By default those
            of Debian's package ``dataset-fashion-mnist`` if it is installed, else as for :func:`load_cifar10`.
        download: as for :func:`load_cifar10`.

    Raises:
        ConfigError: if an option is not valid.
        DataError: if a file is missing, cannot be downloaded or read, or a gzipped one has another checksum.
    """
    from nni_privacy.data.official import read_fashion_mnist

    return read_fashion_mnist("fashion_mnist", root=root, download=download)


@register_dataset("celeba")
def load_celeba(
    *, root: Folder | None = None, download: bool = False, image_size: int = 64, cache: Folder | None = None
) -> Dataset:
    """CelebA: 202,599 aligned faces and the paper's eight classes, 1*HeavyMakeup + 2*MouthSlightlyOpen + 4*Smiling.

    The JPEGs are decoded once, into a file that is mapped into memory (64x64: 2.5 GB); an interrupted build goes on.

    Args:
        root: the folder that holds ``celeba`` with ``list_attr_celeba.txt`` and ``img_align_celeba`` (or its ``.zip``);
            by default as for :func:`load_cifar10`.
        download: fetch both from Google Drive if they are not there; needs the package gdown.
        image_size: height and width; the 178x218 images are stretched, as in the paper.
        cache: the folder of that file; by default ``images`` in ``$NNI_PRIVACY_CACHE``, else ``nni-privacy/images`` in
            the user's cache folder.

    Raises:
        ConfigError: if an option is not valid.
        DataError: if a file is missing, cannot be downloaded or decoded, or has another checksum, or the disk is full.
    """
    from nni_privacy.data.celeba import read_celeba

    return read_celeba("celeba", root=root, download=download, image_size=image_size, cache=cache)


@register_dataset("imagefolder")
def load_imagefolder(
    *,
    root: Folder,
    image_size: int | None = None,
    channels: Channels = 3,
    splits: Splits = "refuse",
    exif_orientation: bool = True,
    white: White | None = None,
) -> Dataset:
    """Any folder of class folders of images; class 0 is the first folder in alphabetical order. See docs/data.md.

    Args:
        root: the folder.
        image_size: height and width that all images are resized to; by default all must have the same size.
        channels: 3 (colour) or 1 (grey).
        splits: what is done where ``root`` holds parts (``train/cat``, ``val/cat``) in place of classes: ``refuse``;
            ``pool``: the classes inside them, all parts together; ``classes``: they are the classes all the same.
        exif_orientation: turn photographs as their EXIF data say, as programs that show them do.
        white: the grey value that becomes 255 in images of more than 8 bits; by default 65535 for those of 16 bits,
            and others are refused.

    Raises:
        ConfigError: if an option is not valid.
        DataError: if there are fewer than two class folders, one has fewer than two images, an image cannot be decoded,
            images differ in size and no ``image_size`` is given, or they would not fit into memory.
    """
    from nni_privacy.data.folders import read_image_folder

    return read_image_folder(
        "imagefolder",
        root=root,
        image_size=image_size,
        channels=channels,
        splits=splits,
        exif_orientation=exif_orientation,
        white=white,
    )
