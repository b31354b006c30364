"""``model.py``: plain torch, alone, with the logits of the network, of every space and of human-designed networks."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_run import SIZES, drawn_network, record_of
from torch import nn

from nni_privacy.auditing.model_record import (
    GenotypeArchitecture,
    ModelRecord,
    NetworkArchitecture,
    UnknownArchitecture,
    model_file,
)
from nni_privacy.cells.darts import DARTS_OPERATIONS
from nni_privacy.cells.spaces import SPACES
from nni_privacy.errors import ConfigError
from nni_privacy.networks import FAMILIES
from nni_privacy.release.loading import ReleasedModel, load_model
from nni_privacy.release.source import model_source
from nni_privacy.release.tracing import trace_network
from nni_privacy.runs.models import ModelStore

ALONE = """
import importlib.abc, sys

class Refuses(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ImportError(f"{name} is not installed here")

REFUSED = {"nni", "nni_privacy", "timm", "safetensors", "torchvision", "opacus", "torch_geometric", "lightning",
           "pytorch_lightning", "sklearn", "scipy", "pandas", "pydantic", "jinja2", "yaml", "psutil", "matplotlib"}
sys.meta_path.insert(0, Refuses())
sys.path.insert(0, sys.argv[1])
import torch
import model

images = torch.load(sys.argv[2])
torch.save({"logits": model.predict(images), "batched": model.predict(images, model.load(), batch_size=3),
            "classes": model.CLASSES}, sys.argv[3])
assert not {name.partition(".")[0] for name in sys.modules} & REFUSED
"""


def of_genotype(space: str, number: int = 0, **sizes: int) -> GenotypeArchitecture:
    genotype = SPACES[space].sample(number + 1, 5, {"nodes": 4})[number]
    return GenotypeArchitecture(space=space, genotype=str(genotype), sizes={**SIZES, **sizes})


def images_for(record: ModelRecord, count: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    if record.image_type == "uint8":
        return torch.randint(0, 256, (count, *record.image_shape), generator=generator, dtype=torch.uint8)
    return torch.randn(count, *record.image_shape, generator=generator)


def folder_of(record: ModelRecord, network: nn.Module, tmp_path: Path) -> Path:
    """A model's folder with its code."""
    store = ModelStore(tmp_path)
    store.save("exported", model_file(network, record))
    (store.path("exported") / "model.py").write_text(model_source(record, network), encoding="utf-8")
    return store.path("exported")


def answers_alone(folder: Path, images: torch.Tensor) -> dict[str, Any]:
    """What ``model.py`` says in a process that has nothing but torch."""
    torch.save(images, folder / "images.pt")
    arguments = [str(folder), str(folder / "images.pt"), str(folder / "answers.pt")]
    subprocess.run([sys.executable, "-c", ALONE, *arguments], check=True, cwd=folder)
    found: dict[str, Any] = torch.load(folder / "answers.pt")
    return found


def logits_in_process(folder: Path, images: torch.Tensor) -> torch.Tensor:
    from nni_privacy.release.export import _module_of

    found: torch.Tensor = _module_of(folder / "model.py").predict(images)
    return found


@pytest.mark.parametrize("space", ["darts", "nasbench201"])
def test_a_network_of_a_space_runs_where_there_is_torch_alone(space: str, tmp_path: Path) -> None:
    record = record_of(of_genotype(space))
    network = drawn_network(record)
    folder = folder_of(record, network, tmp_path)
    images = images_for(record)
    found = answers_alone(folder, images)
    with torch.inference_mode():
        expected = network(record.normalize(images))
        assert (load_model(folder)(images) - expected).abs().max() == 0
    assert (found["logits"] - expected).abs().max() <= 1e-6
    assert (found["batched"] - expected).abs().max() <= 1e-5
    assert found["classes"] == record.classes and expected.std() > 1e-3


@pytest.mark.parametrize("private", [False, True], ids=["plain", "dp"])
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(("space", "cells"), [("darts", 3), ("darts", 6), ("nasbench201", 1)])
def test_random_genotypes_of_any_size_have_the_same_logits(
    space: str, cells: int, number: int, private: bool, tmp_path: Path
) -> None:
    channels = (1, 3, 8, 16)[number]
    architecture = of_genotype(space, number, channels=channels, cells=cells, in_channels=3, num_classes=4)
    record = record_of(
        architecture, private=private, image_shape=(3, 9, 7), image_type="float32", num_classes=4,
        mean=(0.1, 0.2, 0.3), std=(1.0, 0.5, 2.0), classes=("a'\"\\", "b\n", "é", ""),
    )  # fmt: skip
    network = drawn_network(record)
    assert any(isinstance(layer, nn.GroupNorm) for layer in network.modules()) == private
    images = images_for(record)
    with torch.inference_mode():
        expected = network(record.normalize(images))
    assert torch.equal(logits_in_process(folder_of(record, network, tmp_path), images), expected)


def test_the_code_has_the_operations_that_it_uses_and_no_others() -> None:
    record = record_of(of_genotype("darts"))
    text = model_source(record, drawn_network(record))
    genotype = record.architecture.genotype  # type: ignore[union-attr]
    for name in DARTS_OPERATIONS:
        assert (f'"{name}": lambda' in text) == (name in genotype)
    assert "nni" not in text.replace("nni-privacy", "") and len(text.splitlines()) < 300


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("resnet", "vgg") else [pytest.mark.slow])
        for name in sorted(set(FAMILIES) - {"wide_resnet"})
    ],
)
def test_a_human_designed_network_is_plain_torch_layer_by_layer(name: str, tmp_path: Path) -> None:
    sizes = {"stem": "auto", "in_channels": 1, "num_classes": 10, "image_size": 8}
    record = record_of(NetworkArchitecture(name=name, options=sizes))
    network = drawn_network(record)
    images = images_for(record, 3)
    folder = folder_of(record, network, tmp_path)
    with torch.inference_mode():
        expected = network(record.normalize(images))
    assert "timm" not in (folder / "model.py").read_text()
    assert torch.equal(logits_in_process(folder, images), expected)
    assert torch.equal(load_model(folder)(images), expected)


class Asks(nn.Module):
    """Asks its images about their size and their values, and uses weights without a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([2.0]))
        self.register_buffer("shift", torch.tensor([0.5]))
        self.pool, self.classifier = nn.AvgPool2d(2, count_include_pad=False), nn.Linear(16, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[-1] > 4:
            images = self.pool(images)
        if self.pool(images).shape[-1] < 2:
            raise AssertionError
        logits: torch.Tensor = self.classifier(images.flatten(1)) * self.scale + self.shift
        return logits


def test_a_network_that_asks_about_its_images_is_traced_for_images_of_its_size(tmp_path: Path) -> None:
    record = record_of(UnknownArchitecture(text="asks"))
    network, images = Asks().eval(), images_for(record)
    folder = folder_of(record, network, tmp_path)
    with torch.inference_mode():
        expected = network(record.normalize(images))
    assert torch.equal(logits_in_process(folder, images), expected)
    with pytest.raises(ValueError, match=r"images have shape \(8, 1, 4, 4\), expected \(n, 1, 8, 8\)"):
        logits_in_process(folder, images[..., :4, :4])


class Cannot(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tensor(np.asarray(images.numpy()).mean((1, 2, 3))[:, None] * [1.0, 2.0])


def test_a_network_that_cannot_be_traced_is_told_in_one_line() -> None:
    with pytest.raises(
        ConfigError, match=r"^the network cannot be written as plain torch: torch\.fx fails \(\w+: .+\)$"
    ):
        trace_network(Cannot(), record_of(UnknownArchitecture(text="cannot")))


def test_a_released_model_has_its_preprocessing_inside() -> None:
    record = record_of()
    model = ReleasedModel(drawn_network(record), record)
    images = images_for(record)
    with torch.inference_mode():
        assert torch.equal(model(images), model.network((images.float() / 255 - 0.3) / 0.4))
        assert torch.equal(model(images), model(images.float() / 255))


def test_floats_that_are_no_fractions_are_refused_by_the_code(tmp_path: Path) -> None:
    record = record_of()
    folder = folder_of(record, drawn_network(record), tmp_path)
    spec = importlib.util.spec_from_file_location("made_model", folder / "model.py")
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    images = images_for(record)
    assert torch.equal(module.predict(images), module.predict(images.float() / 255))
    with pytest.raises(ValueError, match=r"floats 0\.\.\d+, expected 0\.\.1, or integers 0\.\.255"):
        module.predict(images.float() - images.min())
