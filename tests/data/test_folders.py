"""Folders of images as people have them: parts in place of classes, more than 8 bits, odd modes, broken files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from nni_privacy.data import Dataset, folders, load_dataset
from nni_privacy.errors import ConfigError, DataError

EIGHT = np.random.default_rng(0).integers(0, 256, (6, 8, 8)).astype(np.uint8)
PARTS = {"train": 3, "val": 2}


def save(path: Path, array: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def write(root: Path, kind: Callable[[np.ndarray], np.ndarray] = np.asarray, suffix: str = ".png") -> Path:
    """Two classes of three grey images each, in another kind of pixels."""
    for number, image in enumerate(EIGHT):
        save(root / "ab"[number // 3] / f"{number}{suffix}", kind(image))
    return root


def write_tree(root: Path, *places: str) -> Path:
    """Two images in each of the folders; the classes are told by their grey."""
    for place in places:
        for number in range(2):
            level = sum(map(ord, place.rpartition("/")[2].casefold())) % 251
            save(root / place / f"{number}.png", np.full((4, 4), level, np.uint8))
    return root


def load(root: Path, **options: object) -> Dataset:
    return load_dataset("imagefolder", root=root, channels=1, **options)


def refusal(root: Path, **options: object) -> str:
    """The one line that a folder is refused with; nothing is warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((DataError, ConfigError)) as caught:
            load(root, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("places", "inner"),
    [
        (("train/cat", "train/dog", "val/cat", "val/dog"), "train"),
        (("train/cat", "train/dog", "valid/cat", "valid/dog", "test/cat", "test/dog"), "train"),
        (("TRAIN/cat", "TRAIN/dog", "Val/cat", "Val/dog"), "TRAIN"),
        (("Training/Cat", "Training/Dog", "Testing/cat", "Testing/dog"), "Training"),
        (("train/cat", "train/dog", "test"), "train"),  # what is to be predicted has no classes
        (("fold0/cat", "fold0/dog", "fold1/cat", "fold1/dog", "fold1/owl"), "fold0"),
        (("seg_train/seg_train/sea", "seg_train/seg_train/ice", "seg_test/seg_test/sea"), "seg_train/seg_train"),
        (("one/train/cat", "one/train/dog", "two/train/cat", "two/val/dog", "one/val/cat"), "one/train"),
        (("train2017/cat", "train2017/dog", "val2017/cat", "val2017/dog"), "train2017"),
    ],
)
def test_parts_are_no_classes_and_the_folder_of_the_classes_is_named(
    tmp_path: Path, places: tuple[str, ...], inner: str
) -> None:
    root = write_tree(tmp_path / "pets", *places)
    said = refusal(root)
    assert "which are parts, not classes" in said and f"set root to {root / inner}, or splits: pool" in said
    assert load(root / inner).num_classes == 2


def test_parts_with_one_class_are_parts_too(tmp_path: Path) -> None:
    root = write_tree(tmp_path, "train/cat", "val/cat")
    assert "which are parts, not classes (by their names): set splits: pool" in refusal(root)
    assert "one class folder, 'cat'" in refusal(root, splits="pool")


def test_a_folder_around_the_classes_is_told(tmp_path: Path) -> None:
    root = write_tree(tmp_path, "data/train/cat", "data/train/dog", "data/val/cat", "data/val/dog")
    said = refusal(root)
    assert f"one class folder, 'data'; expected two or more (set root to {root / 'data' / 'train'})" in said


def test_parts_are_pooled_on_request(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "flat", "train/cat", "train/dog", "val/cat", "val/dog", "test/dog")
    pooled = load(root, splits="pool")
    assert pooled.num_classes == 2 and pooled.labels.tolist() == [0] * 4 + [1] * 6
    for label in range(2):
        assert len(pooled.images[pooled.labels == label].unique()) == 1
    deep = write_tree(tmp_path / "deep", *(f"{a}/{b}/{c}" for a in "xy" for b in PARTS for c in ("cat", "dog")))
    assert load(deep, splits="pool").labels.tolist() == [0] * 8 + [1] * 8
    assert load(root, splits="classes").num_classes == 3
    assert "splits: 'both'" in refusal(root, splits="both")


def test_what_cannot_be_pooled_is_named(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "a", "train/cat", "train/dog", "test")
    assert f"{root / 'test' / '0.png'}: in no class folder" in refusal(root, splits="pool")
    root = write_tree(tmp_path / "b", "train/Cat", "train/Dog", "val/cat", "val/dog")
    assert "classes 'Cat' and 'cat' differ in upper case only" in refusal(root, splits="pool")


@pytest.mark.parametrize(
    "places",
    [
        ("n01/images", "n02/images"),  # Tiny ImageNet
        ("cat", "cat/edited", "cat/raw", "dog", "dog/edited", "dog/raw"),
        ("train", "bus", "car"),
        ("test_positive", "test_negative"),
        ("cat/indoors", "cat/outdoors", "dog"),
        ("cat/2019", "cat/2020", "dog/2020", "dog/2021"),
    ],
)
def test_classes_that_hold_folders_stay_classes(tmp_path: Path, places: tuple[str, ...]) -> None:
    root = write_tree(tmp_path, *places)
    dataset = load(root)
    assert dataset.num_classes == len({place.partition("/")[0] for place in places})
    assert len(dataset) == 2 * len(places)


@pytest.mark.parametrize(
    ("kind", "suffix", "options"),
    [
        (lambda image: image.astype(np.uint16) * 257, ".png", {}),
        (lambda image: image.astype(np.uint16) << 8, ".png", {}),
        (lambda image: image.astype(np.uint16) * 257, ".tif", {}),
        (lambda image: (image.astype(np.uint16) * 257).astype(">u2"), ".tif", {}),
        (lambda image: image.astype(np.uint16) * 257, ".pgm", {}),
        (lambda image: image.astype(np.uint16) * 16, ".png", {"white": 4080}),
        (lambda image: image.astype(np.int32) * 1000, ".tif", {"white": 255_000}),
        (lambda image: (image / 255).astype(np.float32), ".tif", {"white": 1}),
    ],
    ids=["16", "16 shifted", "16 tif", "16 big endian", "16 pgm", "12", "32", "float"],
)
def test_more_than_8_bits_are_scaled(tmp_path: Path, kind: Callable, suffix: str, options: dict[str, float]) -> None:
    root = write(tmp_path, kind, suffix)
    assert np.array_equal(load(root, **options).images[:, 0].numpy(), EIGHT)
    colour = load_dataset("imagefolder", root=root, **options).images.numpy()
    assert np.array_equal(colour, np.repeat(EIGHT[:, None], 3, axis=1))


@pytest.mark.parametrize(
    ("kind", "suffix", "options", "message"),
    [
        (lambda image: image.astype(np.int32) * 99, ".tif", {}, "are 32-bit integers, which have no largest one"),
        (lambda image: image.astype(np.float32) / 255, ".tif", {}, "are floats, which have no largest one: set white"),
        (lambda image: image.astype(np.float32) - 1, ".tif", {"white": 255}, "run from -1.0 to"),
        (lambda image: image * np.float32("nan"), ".tif", {"white": 255}, "run from nan to nan; allowed are 0..255"),
        (lambda image: image.astype(np.uint16) * 257, ".png", {"white": 4095}, "allowed are 0..4095 (white)"),
        (lambda image: image.astype(np.uint16) * 16, ".png", {}, "nearly black (all below 4096 of 65535): set white"),
        (lambda image: image, ".png", {"white": 0}, "white: 0"),
    ],
)
def test_grey_values_without_a_scale_are_refused(
    tmp_path: Path, kind: Callable, suffix: str, options: dict[str, float], message: str
) -> None:
    said = refusal(write(tmp_path, kind, suffix), **options)
    assert message in said and (str(tmp_path / "a" / "0") in said or "white: 0" in said)


def test_dark_images_of_16_bits_can_be_meant(tmp_path: Path) -> None:
    root = write(tmp_path, lambda image: image.astype(np.uint16) * 16)
    assert load(root, white=65535).images.max() == 16


def upright(image: Image.Image, root: Path, **options: object) -> np.ndarray:
    """The image as it is read, in a data set of its own."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees to the right to see it upright
    for number in range(4):
        (root / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        image.save(root / "ab"[number % 2] / f"{number}.png", exif=exif)
    return load(root, **options).images[0, 0].numpy()


@pytest.mark.parametrize("scale", [1, 257])
def test_photographs_are_turned_as_their_exif_data_say(tmp_path: Path, scale: int) -> None:
    levels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    image = Image.fromarray(levels if scale == 1 else levels.astype(np.uint16) * 257)
    assert np.array_equal(upright(image, tmp_path / "on"), np.rot90(levels, -1))
    assert np.array_equal(upright(image, tmp_path / "off", exif_orientation=False), levels)


COLOUR = np.tile(np.uint8([200, 100, 0]), (4, 4, 1))
CLEAR = np.dstack([COLOUR, np.zeros((4, 4), np.uint8)])
GREY = np.full((4, 4), 118, np.uint8)


@pytest.mark.parametrize(
    ("image", "suffix", "expected"),
    [
        (Image.fromarray(COLOUR).convert("CMYK"), ".tif", (200, 100, 0)),
        (Image.fromarray(COLOUR).quantize(4), ".png", (200, 100, 0)),
        (Image.fromarray(GREY > 1), ".png", (255, 255, 255)),
        (Image.fromarray(np.dstack([COLOUR, np.full((4, 4), 255, np.uint8)])), ".png", (200, 100, 0)),
        (Image.fromarray(CLEAR), ".png", (255, 255, 255)),
        (Image.fromarray(np.dstack([GREY, np.full((4, 4), 255, np.uint8)])), ".png", (118, 118, 118)),
        (Image.fromarray(np.dstack([GREY, GREY * 0])), ".png", (255, 255, 255)),
        (Image.fromarray(CLEAR).quantize(4), ".png", (255, 255, 255)),
        (Image.new("LAB", (4, 4), (128, 128, 128)), ".tif", (119, 119, 119)),
    ],
    ids=["CMYK", "palette", "1 bit", "opaque", "clear", "grey opaque", "grey clear", "clear palette", "LAB"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_colour_is_read_as_it_is_seen(
    tmp_path: Path, image: Image.Image, suffix: str, expected: tuple[int, ...], channels: int
) -> None:
    for number in range(4):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        image.save(tmp_path / "ab"[number % 2] / f"{number}{suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = load_dataset("imagefolder", root=tmp_path, channels=channels).images
    wanted = expected if channels == 3 else (round(np.dot(expected, (0.299, 0.587, 0.114))),)
    assert np.abs(found[0].flatten(1).numpy().astype(int) - np.reshape(wanted, (-1, 1))).max() <= 1


@pytest.mark.parametrize("side", [5800, 9500, 14000])
def test_huge_pictures_are_refused_in_one_line(tmp_path: Path, side: int) -> None:
    root = write(tmp_path)
    Image.new("1", (side, side)).save(root / "a" / "HUGE.PNG")
    said = refusal(root, image_size=8)
    assert said.startswith(f"{root / 'a' / 'HUGE.PNG'}: ") and "pixels; allowed are 33,554,432" in said


def test_more_images_than_memory_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 300}))
    assert "6 images of 1 x 8 x 8 need 0.0 GB of memory" in refusal(write(tmp_path))


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"no picture", b"\xff\xd8\xff\xe0" * 9])
def test_broken_pictures_are_named(tmp_path: Path, content: bytes) -> None:
    root = write(tmp_path)
    (root / "b" / "zz.jpg").write_bytes(content)
    said = refusal(root)
    assert said.startswith(f"{root / 'b' / 'zz.jpg'}: cannot be read as an image (") and said.count("zz.jpg") == 1
    assert ("the file is empty" in said) == (not content)


def test_a_picture_that_was_cut_is_named(tmp_path: Path) -> None:
    root = write(tmp_path, lambda image: np.kron(image, np.ones((20, 20), np.uint8)))
    file = root / "a" / "1.png"
    file.write_bytes(file.read_bytes()[:-400])
    assert refusal(root).startswith(f"{file}: cannot be read as an image (")


def test_hidden_files_and_folders_are_no_images(tmp_path: Path) -> None:
    root = write(tmp_path)
    for name in (
        "a/._0.png",
        ".ipynb_checkpoints/x.png",
        "a/.ipynb_checkpoints/0-checkpoint.png",
        "__MACOSX/b/._1.png",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not an image")
    (root / "a" / "Thumbs.db").write_bytes(b"neither")
    dataset = load(root)
    assert len(dataset) == 6 and dataset.num_classes == 2


def test_links_are_followed_and_those_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    root = write(tmp_path / "real")
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in "ab":
        (linked / name).symlink_to(root / name)
    assert torch.equal(load(linked).images, load(root).images)
    (root / "a" / "gone.png").symlink_to("nowhere.png")
    assert refusal(root).startswith(f"{root / 'a' / 'gone.png'}: not a file, or a link to one that is missing")
    (root / "a" / "gone.png").unlink()
    (root / "a" / "self.png").symlink_to("self.png")
    assert str(root / "a" / "self.png") in refusal(root)
    (root / "a" / "self.png").unlink()
    (root / "a" / "loop").symlink_to(root)
    assert "a link to a folder that it lies in" in refusal(root)
    (root / "a" / "loop").unlink()
    os.mkfifo(root / "a" / "pipe.png")
    assert refusal(root).startswith(f"{root / 'a' / 'pipe.png'}: not a file")


def test_a_class_without_images_is_named_with_what_is_read(tmp_path: Path) -> None:
    root = write(tmp_path)
    (root / "c").mkdir()
    (root / "c" / "photo.heic").touch()
    said = refusal(root)
    assert f"class folder {root / 'c'} has 0 images; expected 2 or more (" in said and ".webp" in said


def test_images_come_in_the_order_of_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(tmp_path, "b", "b/x", "b/x-y", "b/x/z", "a/q", "a/r", "C")
    files: list[Path] = []
    monkeypatch.setattr(
        folders, "_images", lambda found, *_, **__: files.extend(found) or np.zeros((14, 1, 4, 4), "u1")
    )
    labels = load(root).labels.tolist()
    assert [(str(file), label) for file, label in zip(files, labels, strict=True)] == ImageFolder(root).samples


def test_images_of_formats_that_are_not_read_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        for number in range(3):
            Image.new("L", (4, 4), number).save(tmp_path / kind / f"{number}.png")
    (tmp_path / "cat" / "photo.HEIC").touch()
    (tmp_path / "cat" / "notes.txt").touch()
    assert len(load_dataset("imagefolder", root=str(tmp_path))) == 6
    (told,) = [record.getMessage() for record in caplog.records]
    assert "1 left out, not read as images" in told and "photo.HEIC" in told and "notes" not in told
