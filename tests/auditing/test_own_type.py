"""Models of half, bfloat16 or double weights are asked in their own type, by every attack."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nni_privacy import Recipe, audit
from nni_privacy.attacks import attack_names
from nni_privacy.auditing.forward import extract_signals
from nni_privacy.auditing.options import Effort
from nni_privacy.auditing.shadows import ModelSpec, ShadowOptions
from nni_privacy.data import Normalizer
from nni_privacy.errors import AuditError
from nni_privacy.training.fit import fit, predict_logits

TYPES = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float64: 1e-5}
"""How far answers may be from those of float32, relative to the largest."""
N = 48


class Scaled(nn.Module):
    """Its logits are not those of its linear layer, so that gradients are taken one by one."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images) * 2


def build(dtype: torch.dtype = torch.float32, *, scaled: bool = False) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    return (Scaled(model) if scaled else model).to(dtype).eval()


def build_half() -> nn.Module:
    return build(torch.float16)


def build_bfloat16() -> nn.Module:
    return build(torch.bfloat16)


def build_double() -> nn.Module:
    return build(torch.float64)


FACTORIES = dict(zip(TYPES, (build_half, build_bfloat16, build_double), strict=True))


@pytest.fixture(scope="module")
def records() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4 * N, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return images, torch.randint(0, 10, (4 * N,), generator=generator)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("scaled", [False, True], ids=["features", "gradients"])
@pytest.mark.parametrize("normalised", [False, True])
def test_answers_and_gradients_are_those_of_the_model(
    records: tuple[Tensor, Tensor], dtype: torch.dtype, scaled: bool, normalised: bool
) -> None:
    images, labels = (part[:N] for part in records)
    normalize = Normalizer.fit(images) if normalised else None
    found, expected = (
        extract_signals(
            build(one, scaled=scaled),
            images,
            labels,
            np.arange(N) % 2 == 0,
            device="cpu",
            gradients=True,
            views=3,
            normalize=normalize,
        )
        for one in (dtype, torch.float32)
    )
    for name in ("logits", "view_logits", "gradients" if scaled else "features"):
        one, other = getattr(found, name), getattr(expected, name)
        assert one is not None
        assert one.dtype == np.float32
        assert np.abs(one - other).max() <= TYPES[dtype] * np.abs(other).max()
    direct = build(dtype, scaled=scaled)((normalize(images) if normalize else images / 255).to(dtype))
    assert np.allclose(found.logits, direct.detach().float().numpy(), atol=1e-2 if dtype != torch.float64 else 1e-6)
    assert np.allclose(predict_logits(build(dtype, scaled=scaled), images, device="cpu", normalize=normalize),
                       found.logits, atol=2e-2)  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_every_attack_runs(records: tuple[Tensor, Tensor], dtype: torch.dtype) -> None:
    images, labels = records
    parts = [(images[start : start + N], labels[start : start + N]) for start in range(0, 4 * N, N)]
    model = build(dtype)
    shadow = ShadowOptions(
        recipe=Recipe(epochs=2),
        model=ModelSpec(f"{__name__}:{FACTORIES[dtype].__name__}"),
        count=4,
        train=parts[2],
        test=parts[3],
        cache=False,
    )
    effort = Effort(views=2, boundary_records=4, boundary_queries=20)
    report = audit(model, parts[0], parts[1], attacks=attack_names(), shadow=shadow, effort=effort, device="cpu",
                   loss_trace=np.linspace(1, 2, 4 * N).reshape(2, 2 * N))  # fmt: skip
    for attack in report.attacks.values():
        assert np.isfinite(attack.scores).all()
    assert next(model.parameters()).dtype == dtype


def test_double_models_are_trained_in_double(records: tuple[Tensor, Tensor]) -> None:
    images, labels = (part[:N] for part in records)
    models = [build(dtype) for dtype in (torch.float32, torch.float64)]
    losses = [fit(one, images, labels, recipe=Recipe(epochs=2), seed=0, device="cpu").losses for one in models]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3) and models[1][0].weight.dtype == torch.float64


def test_what_a_model_cannot_take_is_told_in_one_line(records: tuple[Tensor, Tensor]) -> None:
    images, labels = (part[:N] for part in records)
    pairs = [(images.repeat(1, 3, 1, 1)[half], labels[half]) for half in (slice(0, 24), slice(24, 48))]
    with pytest.raises(
        AuditError, match=r"the model fails on torch.float32 images \(48, 3, 8, 8\): RuntimeError: "
    ) as at:
        audit(build(), *pairs, device="cpu")
    assert "\n" not in str(at.value)
