import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from nni_privacy.auditing.shadows import CallableModel, ModelSpec, ShadowData, ShadowTask
from nni_privacy.data import Normalizer
from nni_privacy.errors import ConfigError, DataError
from nni_privacy.training.recipe import Recipe

DATA = ShadowData(torch.arange(640, dtype=torch.uint8).reshape(10, 1, 8, 8), torch.arange(10))
TASK = ShadowTask(
    number=0,
    model=ModelSpec("shadows.factories:tiny", {"hidden": 8}),
    model_digest="ab",
    recipe=Recipe(epochs=2),
    data=DATA.digest,
    training=np.arange(5),
    queries=np.arange(10),
    seed=1,
    device="cpu",
)


@pytest.mark.parametrize(
    "change",
    [
        {"model": ModelSpec("shadows.factories:tiny", {"hidden": 9})},
        {"model": ModelSpec("shadows.factories:Tiny", {"hidden": 8})},
        {"model_digest": "cd"},
        {"recipe": Recipe(epochs=3)},
        {"recipe": Recipe(epochs=2, milestones=(0.5,))},
        {"data": ShadowData(DATA.images + 1, DATA.labels).digest},
        {"data": ShadowData(DATA.images, DATA.labels.flip(0)).digest},
        {"data": ShadowData(DATA.images.float(), DATA.labels).digest},
        {"data": ShadowData(DATA.images.reshape(10, 4, 4, 4), DATA.labels).digest},
        {"training": np.arange(6)},
        {"training": np.arange(5)[::-1]},
        {"queries": np.arange(9)},
        {"views": 2},
        {"gradients": True},
        {"normalize": None},
        {"normalize": Normalizer((0.5,), (0.2,))},
        {"seed": 2},
        {"device": "cuda:0"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_ingredient_changes_the_key(change):
    assert replace(TASK, **change).key != TASK.key


def test_the_versions_and_the_code_change_the_key(monkeypatch):
    key = TASK.key
    monkeypatch.setattr("nni_privacy.auditing.shadows.plan.version", lambda _: "9.9.9")
    assert replace(TASK).key != key
    monkeypatch.undo()
    monkeypatch.setattr(torch, "__version__", "9.9.9")
    assert replace(TASK).key != key
    monkeypatch.undo()
    monkeypatch.setattr("nni_privacy.auditing.shadows.plan._code_digest", lambda: "other")
    assert replace(TASK).key != key


@pytest.mark.parametrize(
    "change",
    [
        {"number": 7},
        {"model": ModelSpec("shadows.factories:tiny", {"hidden": 8})},
        {"recipe": Recipe(epochs=np.int64(2), milestones=[0.5, 0.75])},
        {"data": ShadowData(DATA.images.clone(), DATA.labels.clone()).digest},
        {"training": np.arange(5, dtype=np.int32).astype(np.int64)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_does_not_matter_does_not_change_the_key(change):
    assert replace(TASK, **change).key == TASK.key


def test_another_device_of_the_same_kind_has_the_same_key():
    assert replace(TASK, device="cuda:0").key == replace(TASK, device="cuda:1").key


def test_the_digest_of_data_in_another_memory_layout_is_the_same():
    images = torch.rand(6, 3, 4, 4)
    other = images.contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(6, dtype=torch.int64)
    assert ShadowData(images, labels).digest == ShadowData(other, labels).digest


@pytest.mark.parametrize("normalize", ["own", None, Normalizer((0.1,), (0.7,))], ids=str)
def test_a_task_survives_the_way_to_a_worker(normalize):
    task = replace(TASK, normalize=normalize, number=5, views=3, recipe=Recipe(epochs=4, milestones=(0.3,)))
    copy = ShadowTask.from_message(json.loads(json.dumps(task.to_message())))
    assert copy.key == task.key and copy.number == 5 and copy.normalize == task.normalize
    np.testing.assert_array_equal(copy.training, task.training)


def test_a_closure_cannot_go_to_a_worker():
    with pytest.raises(ConfigError, match="in this process only"):
        replace(TASK, model=CallableModel(lambda: None)).to_message()


def test_answers_of_other_shapes_are_not_accepted():
    logits = np.zeros((10, 1, 4), dtype=np.float32)
    assert TASK.accepts({"logits": logits})
    assert not TASK.accepts({})
    assert not TASK.accepts({"logits": logits[:9]})
    assert not TASK.accepts({"logits": logits[:, 0]})
    assert not TASK.accepts({"logits": logits, "features": np.zeros((10, 2))})
    wants = replace(TASK, gradients=True)
    assert not wants.accepts({"logits": logits})
    assert wants.accepts({"logits": logits, "features": np.zeros((10, 2))})
    assert not wants.accepts({"logits": logits, "features": np.zeros((9, 2))})


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(3, 8, 8), torch.zeros(2, dtype=torch.int64), r"\(3, 8, 8\), labels \(2,\)"),
        (torch.zeros(3, 1, 8, 8), torch.zeros(2, dtype=torch.int64), r"labels \(2,\)"),
        (torch.zeros(3, 1, 8, 8).double(), torch.zeros(3, dtype=torch.int64), "float64"),
        (torch.zeros(3, 1, 8, 8), torch.zeros(3), "labels torch.float32"),
    ],
)
def test_data_of_another_form_is_refused(images, labels, message):
    with pytest.raises(DataError, match=message):
        ShadowData(images, labels)
