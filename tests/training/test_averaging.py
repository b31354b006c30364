"""The average of weights follows the model wherever its tensors go."""

from __future__ import annotations

import torch
from torch import nn

from nni_privacy.training.fit import fit, predict_logits, seed_everything
from nni_privacy.training.recipe import Recipe


def test_a_look_at_the_model_changes_no_average() -> None:
    """Whoever asks a model may lay its weights out anew, and buffers may be rebound."""
    images, labels = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 5

    def ask(_epoch: int, model: nn.Module) -> None:
        predict_logits(model, images, device="cpu")

    found = []
    for on_epoch in (None, ask):
        seed_everything(0)
        model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5))
        recipe = Recipe(ema=0.95, epochs=3, batch_size=16)
        fit(model, images, labels, recipe=recipe, seed=0, device="cpu", on_epoch=on_epoch)
        found.append(model.state_dict())
    assert all(torch.equal(*pair) for pair in zip(found[0].values(), found[1].values(), strict=True))
