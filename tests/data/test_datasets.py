import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from nni_privacy.data import Dataset, Normalizer, dataset_names, load_dataset, register_dataset, to_float
from nni_privacy.errors import ConfigError, DataError

RNG = np.random.default_rng(0)
RECORDS = 12
LABELS = np.arange(RECORDS) % 3


def grey(*shape):
    return RNG.integers(0, 256, size=shape, dtype=np.uint8)


@pytest.fixture
def save(tmp_path):
    def write(**arrays):
        path = tmp_path / "records.npz"
        np.savez(path, **arrays)
        return path

    return write


def test_digits_are_scikit_learns_scaled_one_to_one():
    digits, truth = load_dataset("digits"), load_digits()
    assert digits.images.shape == (1797, 1, 8, 8) and digits.images.dtype == torch.uint8
    assert digits.num_classes == 10 and np.array_equal(digits.labels.numpy(), truth.target)
    assert np.array_equal(np.rint(digits.images.numpy()[:, 0] * (16 / 255)), truth.images)
    assert int(digits.images.max()) == 255


def test_limit_gives_the_same_subset_for_the_same_seed():
    whole, few, again = load_dataset("digits"), load_dataset("digits", limit=100), load_dataset("digits", limit=100)
    other = load_dataset("digits", limit=100, limit_seed=1)
    assert len(few) == 100 and torch.equal(few.images, again.images) and torch.equal(few.labels, again.labels)
    assert not torch.equal(few.images, other.images)
    assert len(load_dataset("digits", limit=10**6)) == len(whole)


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((RECORDS, 5, 6), {}, (RECORDS, 1, 5, 6)),
        ((RECORDS, 5, 6, 1), {}, (RECORDS, 1, 5, 6)),
        ((RECORDS, 5, 6, 3), {}, (RECORDS, 3, 5, 6)),
        ((RECORDS, 3, 5, 6), {}, (RECORDS, 3, 5, 6)),
        ((RECORDS, 2, 5, 5), {}, (RECORDS, 2, 5, 5)),
        ((RECORDS, 3, 3, 3), {"layout": "channels_last"}, (RECORDS, 3, 3, 3)),
        ((RECORDS, 5, 5, 4), {"layout": "channels_last"}, (RECORDS, 4, 5, 5)),
    ],
)
def test_npz_layouts(save, shape, options, expected):
    images = grey(*shape)
    dataset = load_dataset("npz", path=save(x=images, y=LABELS), **options)
    assert tuple(dataset.images.shape) == expected
    channels_last = len(shape) == 4 and expected[1:] != shape[1:]
    truth = images.transpose(0, 3, 1, 2) if channels_last else images.reshape(expected)
    if options:
        truth = images.transpose(0, 3, 1, 2)
    assert np.array_equal(dataset.images.numpy(), truth)
    assert np.array_equal(dataset.labels.numpy(), LABELS)


def test_npz_pools_train_and_test_and_accepts_cifars_label_columns(save):
    images = grey(RECORDS, 5, 6, 3)
    path = save(x_train=images[:8], y_train=LABELS[:8, None], x_test=images[8:], y_test=LABELS[8:, None])
    dataset = load_dataset("npz", path=str(path))
    assert np.array_equal(dataset.images.numpy(), images.transpose(0, 3, 1, 2))
    assert np.array_equal(dataset.labels.numpy(), LABELS)


def test_npz_types(save):
    floats = RNG.normal(size=(RECORDS, 4, 4))
    dataset = load_dataset("npz", path=save(images=floats, labels=LABELS.astype(np.uint8)))
    assert dataset.images.dtype == torch.float32 and dataset.labels.dtype == torch.int64
    whole = grey(RECORDS, 4, 4)
    assert load_dataset("npz", path=save(x=whole.astype(np.int64), y=LABELS)).images.dtype == torch.uint8


def test_num_classes_allows_for_classes_without_records(save):
    path = save(x=grey(RECORDS, 4, 4), y=LABELS * 2)
    with pytest.raises(DataError, match="class 1 has no record"):
        load_dataset("npz", path=path)
    assert load_dataset("npz", path=path, num_classes=7).num_classes == 7


NAN = np.full((RECORDS, 4, 4), np.nan)
GOOD = np.zeros((RECORDS, 4, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": GOOD, "z": LABELS}, "found x, z; expected x and y"),
        ({}, "found none"),
        ({"x": GOOD, "y": LABELS[:-1]}, "x has 12 records, y has 11"),
        ({"x": np.zeros((RECORDS, 4)), "y": LABELS}, r"shape \(12, 4\)"),
        ({"x": GOOD, "y": np.eye(3)[LABELS]}, "one-hot"),
        ({"x": GOOD, "y": LABELS + 1}, "from 1 to 3.*class 0 has no record"),
        ({"x": GOOD, "y": LABELS - 1}, "from -1"),
        ({"x": GOOD, "y": LABELS + 0.5}, "not whole numbers"),
        ({"x": GOOD, "y": np.array(["a"] * RECORDS)}, "expected integers"),
        ({"x": GOOD, "y": np.zeros(RECORDS, dtype=int)}, "num_classes is 1"),
        ({"x": NAN, "y": LABELS}, "NaN or infinite"),
        ({"x": np.full((RECORDS, 4, 4), 1e300), "y": LABELS}, "NaN or infinite"),
        ({"x": GOOD.astype(int) + 300, "y": LABELS}, "integer images run from 300"),
        ({"x": GOOD.astype(bool), "y": LABELS}, "expected uint8 or float"),
        ({"x": np.zeros((RECORDS, 3, 5, 3)), "y": LABELS}, "set layout"),
        ({"x": np.zeros((RECORDS, 5, 5, 4)), "y": LABELS}, "set layout"),
        ({"x": np.zeros((0, 4, 4)), "y": np.zeros(0, dtype=int)}, "no records"),
        ({"x": np.array([None] * RECORDS), "y": LABELS}, "plain arrays"),
        ({"x_train": GOOD, "y_train": LABELS, "x_test": GOOD[:, :2], "y_test": LABELS}, "differ in shape"),
    ],
)
def test_bad_npz_files_are_named_and_explained(save, arrays, message):
    path = save(**arrays)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset("npz", path=path)
    assert str(path) in str(caught.value) or "records" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_npz_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_dataset("npz", path=tmp_path / "absent.npz")
    for name, content in (("text.npz", b"hello"), ("empty.npz", b""), ("cut.npz", b"PK\x03\x04")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            load_dataset("npz", path=tmp_path / name)
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(DataError, match="single array"):
        load_dataset("npz", path=tmp_path / "single.npy")
    with pytest.raises(DataError, match="cannot be read"):
        load_dataset("npz", path=tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("digit", {}, "did you mean 'digits'"),
        ("npz", {}, "needs the option 'path'"),
        ("npz", {"paht": "x.npz"}, "did you mean 'path'"),
        ("npz", {"path": 3}, "path: 3; input should be a valid string"),
        (
            "npz",
            {"path": "x.npz", "layout": "channel_last"},
            "layout: 'channel_last'; input should be 'auto', 'channels_first'",
        ),
        ("npz", {"path": "x.npz", "num_classes": 1}, "num_classes: 1"),
        ("digits", {"path": "x.npz"}, "no option 'path'"),
        ("digits", {"limit": 0}, "limit: 0"),
        ("digits", {"limit": "many"}, "limit: 'many'"),
    ],
)
def test_bad_names_and_options_are_config_errors(name, options, message):
    with pytest.raises(ConfigError, match=message):
        load_dataset(name, **options)


def test_a_registered_name_cannot_be_taken():
    assert set(dataset_names()) >= {"digits", "npz"}
    with pytest.raises(ConfigError, match="registered already"):
        register_dataset("digits")(lambda: None)


@pytest.mark.parametrize(
    ("images", "labels", "classes", "message"),
    [
        (torch.zeros(4, 8, 8), torch.zeros(4, dtype=torch.int64), 2, "shape"),
        (torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.int64), 2, "non-empty"),
        (torch.zeros(4, 1, 8, 8, dtype=torch.float64), torch.zeros(4, dtype=torch.int64), 2, "float64"),
        (torch.zeros(4, 1, 8, 8), torch.zeros(4), 2, "expected torch.int64"),
        (torch.zeros(4, 1, 8, 8), torch.zeros(3, dtype=torch.int64), 2, "4 images but 3 labels"),
        (torch.zeros(4, 1, 8, 8), torch.full((4,), 2), 2, "from 2 to 2"),
        (torch.zeros(4, 1, 8, 8) / 0, torch.zeros(4, dtype=torch.int64), 2, "NaN"),
    ],
)
def test_a_dataset_checks_its_tensors(images, labels, classes, message):
    with pytest.raises(DataError, match=message):
        Dataset("mine", images, labels, classes)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_normalizer_equals_numpys_mean_and_deviation(dtype):
    images = RNG.integers(0, 256, size=(50, 3, 7, 5)).astype(dtype)
    batch = Normalizer.fit(torch.from_numpy(images))(torch.from_numpy(images))
    units = images.astype(np.float64)
    expected = (units - units.mean((0, 2, 3), keepdims=True)) / units.std((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(batch.numpy(), expected, atol=1e-5)
    assert batch.dtype == torch.float32


def test_a_constant_channel_is_only_centred():
    images = torch.full((5, 1, 2, 2), 7, dtype=torch.uint8)
    assert torch.all(Normalizer.fit(images)(images).abs() < 1e-6)
    with pytest.raises(DataError, match="3 channels"):
        Normalizer.fit(images)(torch.zeros(2, 3, 2, 2))
    assert to_float(torch.tensor([255], dtype=torch.uint8)).item() == 1.0


def test_names_are_checked_without_importing_torch():
    code = (
        "import sys; from nni_privacy.data import check_dataset_options; "
        "from nni_privacy.attacks import attack_metrics; "
        "check_dataset_options('digits', {'limit': 5}); attack_metrics([1, 2, 3], [1, 0, 1]); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
