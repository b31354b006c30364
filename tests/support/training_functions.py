"""Functions that train a model as a user's own would, for ``train: module:function``."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader


def train(model: Any, data: Any, recipe: Any, seed: int, device: Any, on_epoch: Any) -> float:
    """A plain loop over a DataLoader, with an optimiser that no recipe has."""
    optimizer = torch.optim.RMSprop(model.parameters(), lr=recipe.learning_rate)
    order = torch.Generator().manual_seed(seed)
    loader = DataLoader(data, batch_size=recipe.batch_size, shuffle=True, generator=order)
    loss = torch.zeros(())
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
        on_epoch(epoch, model)
    return loss.item()


def draws(model: Any, **rest: Any) -> None:
    """Leaves a trace of each library's random numbers in the weights."""
    drawn = [random.random(), np.random.rand(), torch.rand(()).item()]  # noqa: NPY002 - what users do
    with torch.no_grad():
        next(model.parameters()).flatten()[:3] = torch.tensor(drawn)


def fails(model: Any, data: Any, recipe: Any, seed: int, device: Any, on_epoch: Any) -> None:
    raise KeyError("nothing here")


def spoils(model: Any, **rest: Any) -> None:
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)


def takes_less(model: Any, data: Any) -> None:
    pass
