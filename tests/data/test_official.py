"""CIFAR, STL-10 and Fashion-MNIST from small files in their official formats."""

from __future__ import annotations

import gzip
import os
import tarfile

import numpy as np
import official_files as files
import pytest
import torch
from torchvision import datasets

from nni_privacy.data import load_dataset
from nni_privacy.data import official as official_module
from nni_privacy.data.official import DEBIAN_FASHION_MNIST
from nni_privacy.errors import ConfigError, DataError


@pytest.mark.parametrize(("name", "classes", "records"), [("cifar10", 10, 120), ("cifar100", 100, 40)])
def test_cifar_pools_training_and_test_files(tmp_path, monkeypatch, name, classes, records):
    images, labels = files.write_cifar(tmp_path, name, monkeypatch)
    dataset = load_dataset(name, root=str(tmp_path))
    assert dataset.images.dtype == torch.uint8 and dataset.num_classes == classes and len(dataset) == records
    assert np.array_equal(dataset.images.numpy(), images) and np.array_equal(dataset.labels.numpy(), labels)
    own = getattr(datasets, name.upper())(tmp_path, train=False)
    assert np.array_equal(dataset.images[-len(own) :].permute(0, 2, 3, 1).numpy(), own.data)


def test_stl10_is_read_column_by_column_without_its_unlabelled_images(tmp_path, monkeypatch):
    images, labels = files.write_stl10(tmp_path, monkeypatch)
    dataset = load_dataset("stl10", root=tmp_path)
    assert np.array_equal(dataset.images.numpy(), images) and np.array_equal(dataset.labels.numpy(), labels)
    assert dataset.num_classes == 10 and dataset.images.is_contiguous()


@pytest.mark.parametrize("below", ["FashionMNIST/raw", "."])
@pytest.mark.parametrize("zipped", [True, False])
def test_fashion_mnist_is_read_from_idx_files(tmp_path, monkeypatch, below, zipped):
    folder = tmp_path / "data" / below
    images, labels = files.write_fashion_mnist(folder, zipped=zipped)
    sums = [(name, files.md5(folder / name) if zipped else sum_) for name, sum_ in datasets.FashionMNIST.resources]
    monkeypatch.setattr(datasets.FashionMNIST, "resources", sums)
    dataset = load_dataset("fashion_mnist", root=tmp_path / "data")
    assert dataset.image_shape == (1, 28, 28) and dataset.num_classes == 10
    assert np.array_equal(dataset.images.numpy(), images) and np.array_equal(dataset.labels.numpy(), labels)


def test_debians_fashion_mnist_is_found_by_itself(tmp_path, monkeypatch):
    images, _ = files.write_fashion_mnist(tmp_path / "debian", zipped=True)
    monkeypatch.setattr(official_module, "DEBIAN_FASHION_MNIST", tmp_path / "debian")
    monkeypatch.setenv("NNI_PRIVACY_DATA", str(tmp_path / "absent"))
    assert np.array_equal(load_dataset("fashion_mnist").images.numpy(), images)
    with pytest.raises(DataError, match="missing file"):  # a root is taken at its word
        load_dataset("fashion_mnist", root=tmp_path)


@pytest.mark.skipif(not DEBIAN_FASHION_MNIST.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_debians_own_files_are_the_whole_of_fashion_mnist():
    dataset = load_dataset("fashion_mnist")
    assert dataset.images.shape == (70_000, 1, 28, 28)
    assert torch.bincount(dataset.labels).tolist() == [7_000] * 10


def test_the_default_root_comes_from_the_environment(tmp_path, monkeypatch):
    files.write_cifar(tmp_path, "cifar100", monkeypatch)
    monkeypatch.setenv("NNI_PRIVACY_DATA", str(tmp_path))
    assert len(load_dataset("cifar100")) == 40


def test_an_official_archive_that_is_there_is_unpacked(tmp_path, monkeypatch):
    images, _ = files.write_cifar(tmp_path / "made", "cifar100", monkeypatch)
    archive = tmp_path / "root" / datasets.CIFAR100.filename
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "made" / "cifar-100-python", "cifar-100-python")
    with pytest.raises(DataError, match=r"wrong checksum of .*cifar-100-python.tar.gz"):
        load_dataset("cifar100", root=archive.parent)
    monkeypatch.setattr(datasets.CIFAR100, "tgz_md5", files.md5(archive))
    assert np.array_equal(load_dataset("cifar100", root=archive.parent).images.numpy(), images)
    # download: true with everything on disk asks nobody
    archive.unlink()
    assert np.array_equal(load_dataset("cifar100", root=archive.parent, download=True).images.numpy(), images)


def test_a_failed_download_is_one_line(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("Name or service\nnot known")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", refuse)
    with pytest.raises(DataError, match=r"cannot be fetched into .*: Name or service not known"):
        load_dataset("cifar10", root=tmp_path / "new", download=True)


class Tripwire:
    """Unpickled, it would leave a file."""

    def __reduce__(self):
        return (os.mkdir, (os.environ["TRIPWIRE"],))


def test_a_pickle_with_another_checksum_is_never_opened(tmp_path, monkeypatch):
    import pickle

    files.write_cifar(tmp_path, "cifar10", monkeypatch)
    monkeypatch.setenv("TRIPWIRE", str(tmp_path / "sprung"))
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(pickle.dumps(Tripwire()))
    with pytest.raises(DataError, match=r"wrong checksum of .*data_batch_3: MD5 is ") as caught:
        load_dataset("cifar10", root=tmp_path)
    assert "\n" not in str(caught.value) and not (tmp_path / "sprung").exists()


def test_wrong_checksums_are_named(tmp_path, monkeypatch):
    files.write_stl10(tmp_path, monkeypatch)
    with (tmp_path / "stl10_binary" / "test_y.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"wrong checksum of .*test_y.bin"):
        load_dataset("stl10", root=tmp_path)
    files.write_fashion_mnist(tmp_path / "fashion", zipped=True)
    with pytest.raises(DataError, match=r"wrong checksum of .*train-images-idx3-ubyte.gz"):
        load_dataset("fashion_mnist", root=tmp_path / "fashion")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "stl10", "fashion_mnist"])
def test_missing_roots_and_files_are_named(tmp_path, name):
    with pytest.raises(DataError, match=f"dataset '{name}': no such folder: .*absent"):
        load_dataset(name, root=tmp_path / "absent")
    with pytest.raises(DataError, match=f"dataset '{name}': missing file .*download: true"):
        load_dataset(name, root=tmp_path)
    with pytest.raises(ConfigError, match="root: 3"):
        load_dataset(name, root=3)
    with pytest.raises(ConfigError, match="download: 'yes'"):
        load_dataset(name, root=tmp_path, download="yes")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="a file, not a folder"):
        load_dataset(name, root=tmp_path / "file")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("t10k-images-idx3-ubyte", files.idx(files.pixels(10, 27, 28)), "differ in shape"),
        ("t10k-labels-idx1-ubyte", files.idx(np.zeros(9)), "10 images goes with one of 9 labels"),
        ("t10k-labels-idx1-ubyte", files.idx(np.full(10, 10)), "labels run from 0 to 10, expected 0..9"),
        ("train-images-idx3-ubyte", files.idx(files.pixels(20, 28, 28))[:-1], "cannot be read as an IDX file"),
        ("train-images-idx3-ubyte", b"", "cannot be read as an IDX file"),
        ("train-images-idx3-ubyte", files.idx(files.pixels(20)), "cannot be read as an IDX file"),
        ("train-images-idx3-ubyte", b"<html>", "cannot be read as an IDX file"),
    ],
)
def test_idx_files_that_do_not_fit_are_refused(tmp_path, file, content, message):
    files.write_fashion_mnist(tmp_path / "f", zipped=False)
    (tmp_path / "f" / file).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset("fashion_mnist", root=tmp_path / "f")
    assert "\n" not in str(caught.value)


def test_a_damaged_gzip_is_refused(tmp_path, monkeypatch):
    files.write_fashion_mnist(tmp_path / "f", zipped=True)
    path = tmp_path / "f" / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(b"x")[:-3])
    sums = [(name, files.md5(tmp_path / "f" / name)) for name, _ in datasets.FashionMNIST.resources]
    monkeypatch.setattr(datasets.FashionMNIST, "resources", sums)
    with pytest.raises(DataError, match="cannot be read as an IDX file"):
        load_dataset("fashion_mnist", root=tmp_path / "f")


def test_labels_that_are_not_classes_are_refused(tmp_path, monkeypatch):
    files.write_stl10(tmp_path, monkeypatch)
    file = tmp_path / "stl10_binary" / "train_y.bin"
    file.write_bytes(bytes(8))  # 0: no class
    monkeypatch.setattr(datasets.STL10, "train_list", [
        [name, files.md5(file) if name == file.name else checksum] for name, checksum in datasets.STL10.train_list
    ])  # fmt: skip
    with pytest.raises(DataError, match=r"labels run from 0 to 255, expected 0..9"):
        load_dataset("stl10", root=tmp_path)
