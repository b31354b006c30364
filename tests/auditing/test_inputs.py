"""Records of which one side was prepared otherwise, and sides that are alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor

from nni_privacy.auditing.inputs import count_repeated, input_notices, repeated_notices
from nni_privacy.data import load_dataset

IMAGES = load_dataset("digits").images.float() / 255
TABLE = torch.from_numpy(load_breast_cancer().data)
TOKENS = torch.from_numpy(np.random.default_rng(0).zipf(1.5, (600, 40)).clip(max=999))
RGB = IMAGES.repeat(1, 3, 1, 1) * torch.tensor([1.0, 0.8, 0.6]).view(3, 1, 1)
KINDS = {"images": IMAGES, "rgb": RGB, "levels": (IMAGES * 255).byte(), "table": TABLE, "tokens": TOKENS}


def halves(records: Tensor, *, seed: int = 0, size: int | None = None) -> tuple[Tensor, Tensor]:
    """Two random parts of the same size."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(records)))
    half = size or len(order) // 2
    return records[order[:half]], records[order[half : 2 * half]]


def kinds(first: Any, second: Any) -> list[str]:
    return [notice.partition(":")[0] for notice in input_notices(first, second)]


def padded(records: Tensor) -> Tensor:
    return torch.cat([records[..., :-3], torch.zeros_like(records[..., -3:])], dim=-1)


def blinded(records: Tensor) -> Tensor:
    records = records.clone()
    records[:, 1] = 0
    return records


def normalised(mean: float, deviation: float) -> Callable[[Tensor], Tensor]:
    return lambda records: (records - mean) / deviation


IMAGENET = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

MISTAKES: dict[str, tuple[str, str, Callable[[Tensor], Tensor]]] = {
    "0..255": ("images", "different scales", lambda records: records * 255),
    "normalised": ("images", "different scales", normalised(0.3, 0.38)),
    "normalised otherwise": ("images", "different scales", normalised(0.02, 0.9)),
    "normalised by channel": ("rgb", "different scales", lambda records: (records - IMAGENET[0]) / IMAGENET[1]),
    "standardised table": ("table", "different scales", lambda x: (x - TABLE.mean(0)) / TABLE.std(0)),
    "whole numbers": ("table", "rounded values", torch.round),
    "levels": ("images", "rounded values", lambda records: records * 0.99 + 0.001),
    "padded tokens": ("tokens", "padding", lambda x: torch.cat([x[:, :20], torch.zeros_like(x[:, 20:])], dim=1)),
    "padded left": ("tokens", "padding", lambda x: torch.cat([torch.ones_like(x[:, :20]), x[:, 20:]], dim=1)),
    "a channel lost": ("rgb", "constant input", blinded),
    "a feature lost": ("table", "constant input", blinded),
    "transposed": ("images", "other distribution", lambda records: records.transpose(2, 3)),
    "negative": ("images", "other distribution", lambda records: 1 - records),
    "one column shifted": ("table", "other distribution", lambda x: x * torch.tensor([1.2, *[1.0] * 29])),
    "columns exchanged": ("table", "other distribution", lambda x: x.flip(1)),
    "other tokens": ("tokens", "other distribution", lambda x: torch.cat([x[:, :1] + 500, x[:, 1:]], dim=1)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("side", [0, 1])
def test_a_side_that_was_prepared_otherwise_is_told(mistake: str, side: int) -> None:
    of, kind, prepare = MISTAKES[mistake]
    sides = list(halves(KINDS[of]))
    assert kinds(*sides) == []
    sides[side] = prepare(sides[side])
    assert kind in kinds(*sides)


def test_a_pure_change_of_scale_is_only_that() -> None:
    first, second = halves(IMAGES)
    (notice,) = input_notices(first, normalised(0.3, 0.38)(second))
    assert notice.startswith("different scales: ") and ";" not in notice
    assert "lowest value 0 against -0.789" in notice


@pytest.mark.parametrize("of", KINDS)
def test_random_halves_are_alike(of: str) -> None:
    for seed in range(8):
        assert kinds(*halves(KINDS[of], seed=seed)) == []
        assert kinds(*halves(KINDS[of], seed=seed, size=25)) == []


def test_rounding_errors_are_no_other_scale() -> None:
    first, second = halves(IMAGES)
    assert kinds(first, second * (1 + 1e-6) + 1e-6) == []


@pytest.mark.parametrize("size", [25, 50])
def test_few_records_are_enough_for_a_large_difference(size: int) -> None:
    first, second = halves(IMAGES, size=size)
    assert kinds(first, normalised(0.3, 0.38)(second))[:1] == ["different scales"]
    assert "other distribution" in kinds(first, second.flip(3).transpose(2, 3)) or size == 25


def test_what_a_sample_shows_does_not_depend_on_the_type_or_the_layout() -> None:
    first, second = (part.double() for part in halves(IMAGES))
    wanted = input_notices(first, second * 2)
    assert wanted and input_notices(first.numpy(), second.numpy() * 2) == wanted
    layout = first.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert input_notices(layout, second * 2) == wanted
    assert kinds(first.half(), second.half() * 2) == [notice.partition(":")[0] for notice in wanted]


def test_the_input_is_named_where_there_are_several() -> None:
    first, second = halves(IMAGES)
    assert "of input 'mask' " in input_notices(first, second * 3, name="mask")[0]


@pytest.mark.parametrize("shape", [(), (1,), (3, 64, 64), (5000,), (2, 3, 4, 5)])
def test_records_of_any_shape_can_be_looked_at(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(40, *shape, generator=generator) for _ in range(2))
    assert kinds(first, second) == []
    assert "different scales" in kinds(first, second + 100)
    assert kinds(torch.zeros(40, *shape), torch.zeros(40, *shape)) == []
    assert kinds(first[:0], second) == [] and kinds(torch.empty(40, 0), torch.empty(40, 0)) == []


def test_equal_records_of_a_side_are_counted() -> None:
    for records in (TABLE[:99], TABLE[:99].half(), IMAGES[:50] > 0.5, torch.eye(9, dtype=torch.bfloat16), TOKENS[:, 0]):
        unique = len(np.unique(records.float().numpy().reshape(len(records), -1), axis=0))
        assert count_repeated(records) == len(records) - unique
        assert count_repeated(torch.cat([records] * 3)) == 3 * len(records) - unique
    twice = torch.cat([TABLE, TABLE])
    assert count_repeated((twice, torch.arange(len(twice)))) == 0
    assert count_repeated((twice, torch.arange(len(TABLE)).repeat(2))) == len(TABLE)


def test_repeated_records_are_told_from_five_in_a_hundred_on() -> None:
    assert repeated_notices(4, 4, counts=(100, 100)) == ()
    (notice,) = repeated_notices(0, 50, counts=(1000, 100))
    assert notice.startswith("repeated records: 50 of 100 non-members equal an earlier one")
