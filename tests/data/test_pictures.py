"""CelebA, folders of images, the cache of decoded images, and resizing."""

from __future__ import annotations

import zipfile

import numpy as np
import official_files as files
import pytest
import torch
from PIL import Image
from torchvision import datasets

from nni_privacy.data import load_dataset, pictures
from nni_privacy.data.dataset import resize_images
from nni_privacy.data.pictures import mapped_images
from nni_privacy.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NNI_PRIVACY_CACHE", str(tmp_path / "cache"))


def test_celebas_eight_classes_are_those_of_the_table(tmp_path, monkeypatch):
    colours, classes = files.write_celeba(tmp_path, monkeypatch)
    dataset = load_dataset("celeba", root=tmp_path)
    assert dataset.images.shape == (16, 3, 64, 64) and dataset.num_classes == 8
    assert np.array_equal(dataset.labels.numpy(), classes)
    found = dataset.images.numpy().astype(int)
    assert np.abs(found - colours[:, :, None, None]).max() <= 3  # JPEG
    assert load_dataset("celeba", root=tmp_path, image_size=32).image_shape == (3, 32, 32)


def test_celebas_labels_are_torchvisions(tmp_path, monkeypatch):
    files.write_celeba(tmp_path, monkeypatch)
    reader = datasets.CelebA.__new__(datasets.CelebA)
    reader.root = str(tmp_path)
    table = reader._load_csv("list_attr_celeba.txt", header=1)
    columns = [table.header.index(name) for name in ("Heavy_Makeup", "Mouth_Slightly_Open", "Smiling")]
    bits = (table.data[:, columns] + 1) // 2
    assert torch.equal(load_dataset("celeba", root=tmp_path).labels, bits @ torch.tensor([1, 2, 4]))


def test_celeba_is_decoded_once(tmp_path, monkeypatch):
    files.write_celeba(tmp_path, monkeypatch)
    first = load_dataset("celeba", root=tmp_path, cache=tmp_path / "here")
    monkeypatch.setattr(pictures, "decode_all", None)
    again = load_dataset("celeba", root=tmp_path, cache=tmp_path / "here")
    assert torch.equal(first.images, again.images)
    first.images[0] = 0  # the file stays as it is
    assert torch.equal(load_dataset("celeba", root=tmp_path, cache=tmp_path / "here").images, again.images)


def test_celeba_is_read_from_its_zip(tmp_path, monkeypatch):
    files.write_celeba(tmp_path, monkeypatch)
    whole = load_dataset("celeba", root=tmp_path).images
    folder = tmp_path / "celeba" / "img_align_celeba"
    with zipfile.ZipFile(tmp_path / "celeba" / "img_align_celeba.zip", "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"img_align_celeba/{file.name}")
            file.unlink()
    folder.rmdir()
    with pytest.raises(DataError, match=r"wrong checksum of .*img_align_celeba.zip"):
        load_dataset("celeba", root=tmp_path)
    files.use_celeba_checksums(tmp_path / "celeba", monkeypatch)
    assert torch.equal(load_dataset("celeba", root=tmp_path).images, whole)


def test_what_is_wrong_with_celebas_files_is_said(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no such folder"):
        load_dataset("celeba", root=tmp_path / "absent")
    with pytest.raises(DataError, match=r"missing file .*list_attr_celeba.txt"):
        load_dataset("celeba", root=tmp_path)
    files.write_celeba(tmp_path, monkeypatch)
    (tmp_path / "celeba" / "img_align_celeba" / "000005.jpg").unlink()
    with pytest.raises(DataError, match=r"000005.jpg: no such file"):
        load_dataset("celeba", root=tmp_path)
    (tmp_path / "celeba" / "img_align_celeba" / "000005.jpg").write_bytes(b"GIF")
    with pytest.raises(DataError, match=r"000005.jpg: cannot be read as an image"):
        load_dataset("celeba", root=tmp_path)
    with pytest.raises(ConfigError, match="cache: 3"):
        load_dataset("celeba", root=tmp_path, cache=3)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cache of decoded images"):
        load_dataset("celeba", root=tmp_path, cache=tmp_path / "file")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("16\n", "17\n", 1), "lists 17 images, but lists 16"),
        (lambda text: text.replace("Smiling", "Smirking"), "not CelebA's list of attributes"),
        (lambda text: text.replace(" -1", "  0"), "attributes are 0, 1, expected -1 and 1"),
        (lambda text: "", "not CelebA's list of attributes"),
        (lambda text: text.replace("000001.jpg", "000001.jpg x"), "not CelebA's list of attributes"),
    ],
)
def test_a_wrong_list_of_attributes_is_refused(tmp_path, monkeypatch, change, message):
    files.write_celeba(tmp_path, monkeypatch)
    path = tmp_path / "celeba" / "list_attr_celeba.txt"
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=r"wrong checksum of .*list_attr_celeba.txt"):
        load_dataset("celeba", root=tmp_path)
    files.use_celeba_checksums(tmp_path / "celeba", monkeypatch)
    with pytest.raises(DataError, match=message):
        load_dataset("celeba", root=tmp_path)


def test_a_cache_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "CHUNK", 4)
    truth = files.pixels(11, 1, 3, 2)
    decoded = []

    def source(fails_at):
        def load(index):
            if index == fails_at:
                raise KeyboardInterrupt
            decoded.append(index)
            return truth[index]

        return lambda: load

    with pytest.raises(KeyboardInterrupt):
        mapped_images(tmp_path / "c", {"of": "test"}, truth.shape, source(9))
    assert sorted(set(decoded)) >= list(range(8))
    decoded.clear()
    assert np.array_equal(mapped_images(tmp_path / "c", {"of": "test"}, truth.shape, source(None)), truth)
    assert sorted(decoded) == [8, 9, 10]
    decoded.clear()
    assert np.array_equal(mapped_images(tmp_path / "c", {"of": "other"}, truth.shape, source(None)), truth)
    assert len(decoded) == 11


def test_a_disk_that_is_full_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(DataError, match=r"needs 100000000000000.0 GB"):
        mapped_images(tmp_path, {}, (10**20, 1, 10, 100), lambda: None)
    assert not list(tmp_path.glob("*.npy"))


def test_class_folders_in_alphabetical_order(tmp_path):
    written = files.write_image_folder(tmp_path / "pets", {"dog": 3, "cat": 2})
    dataset = load_dataset("imagefolder", root=tmp_path / "pets")
    assert dataset.name == "pets" and dataset.labels.tolist() == [0, 0, 1, 1, 1]
    truth = np.stack(written["cat"] + written["dog"]).transpose(0, 3, 1, 2)
    assert np.array_equal(dataset.images.numpy(), truth) and dataset.image_shape == (3, 7, 9)
    grey = load_dataset("imagefolder", root=tmp_path / "pets", channels=1, image_size=8)
    assert grey.image_shape == (1, 8, 8)


def test_folders_that_are_no_data_set_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="needs the option 'root'"):
        load_dataset("imagefolder")
    with pytest.raises(DataError, match="no such folder"):
        load_dataset("imagefolder", root=tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="find any class folder"):
        load_dataset("imagefolder", root=tmp_path / "empty")
    files.write_image_folder(tmp_path / "one", {"cat": 4})
    with pytest.raises(DataError, match="one class folder, 'cat'"):
        load_dataset("imagefolder", root=tmp_path / "one")
    files.write_image_folder(tmp_path / "few", {"cat": 4, "dog": 1})
    with pytest.raises(DataError, match="few/dog has 1 image; expected 2 or more"):
        load_dataset("imagefolder", root=tmp_path / "few")
    with pytest.raises(ConfigError, match="channels: 2; allowed are 1"):
        load_dataset("imagefolder", root=tmp_path / "few", channels=2)
    (tmp_path / "few" / "dog" / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken.png: cannot be read as an image"):
        load_dataset("imagefolder", root=tmp_path / "few")


def test_images_of_several_sizes_need_an_image_size(tmp_path):
    files.write_image_folder(tmp_path / "mixed", {"cat": 2, "dog": 2})
    Image.new("RGB", (5, 4)).save(tmp_path / "mixed" / "dog" / "zzz.png")
    with pytest.raises(DataError, match=r"cat/000.png is 9 x 7, but .*dog/zzz.png is 5 x 4 .*set image_size"):
        load_dataset("imagefolder", root=tmp_path / "mixed")
    assert load_dataset("imagefolder", root=tmp_path / "mixed", image_size=6).image_shape == (3, 6, 6)


@pytest.mark.parametrize("size", [4, 8, 20])
def test_resizing_is_pillows(size):
    images = files.pixels(5, 3, 11, 8)
    resized = resize_images(torch.from_numpy(images), size).numpy().astype(int)
    for image, found in zip(images, resized, strict=True):
        picture = Image.fromarray(image.transpose(1, 2, 0)).resize((size, size), Image.Resampling.BILINEAR)
        assert np.abs(found - np.asarray(picture).transpose(2, 0, 1)).max() <= 1


def test_image_size_is_an_option_of_every_data_set():
    digits = load_dataset("digits", image_size=16, limit=50)
    assert digits.images.shape == (50, 1, 16, 16) and digits.images.dtype == torch.uint8
    assert torch.equal(digits.labels, load_dataset("digits", limit=50).labels)
    assert load_dataset("digits", image_size=8).images.shape == (1797, 1, 8, 8)
    floats = resize_images(torch.full((2, 1, 4, 4), -3.5), 8)
    assert floats.dtype == torch.float32 and torch.all(floats == -3.5)
    with pytest.raises(ConfigError, match="image_size: 0; input should be greater"):
        load_dataset("digits", image_size=0)
