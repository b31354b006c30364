"""The bare PyTorch loop that trainings by a recipe are compared with; of ours it has the order of batches alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.training.fit import epoch_batches, seed_everything

SEED, BATCH, RATE = 7, 32, 0.05


def network(seed: int = 0, *, channels: int = 1) -> nn.Module:
    seed_everything(seed)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(144, 10)
    )


def sgd(model: nn.Module, **options: Any) -> torch.optim.Optimizer:
    settings = {"lr": RATE, "momentum": 0.9, "weight_decay": 5e-4, **options}
    return torch.optim.SGD(model.parameters(), **settings)


def bare_loop(
    model: nn.Module,
    data: Any,
    *,
    epochs: int = 3,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: Any = None,
    each_step: bool = False,
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None,
    backward: Callable[[Tensor], None] = Tensor.backward,
    step: Callable[[Any], None] = lambda optimizer: optimizer.step(),
    after_step: Callable[[nn.Module], None] = lambda model: None,
    before_epoch: Callable[[int, nn.Module], None] = lambda epoch, model: None,
) -> list[float]:
    """Trains ``model`` on all of ``data``; returns the learning rate of each epoch's last step."""
    model.to(memory_format=torch.channels_last)
    optimizer = sgd(model) if optimizer is None else optimizer
    loss = loss or (lambda model, batch, truth: functional.cross_entropy(model(batch), truth))
    order, rates = torch.Generator().manual_seed(SEED), []
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        for epoch in range(epochs):
            model.train()
            before_epoch(epoch, model)
            for index in epoch_batches(len(data.labels), batch_size=BATCH, generator=order):
                batch = (data.images[index].float() / 255).contiguous(memory_format=torch.channels_last)
                optimizer.zero_grad()
                backward(loss(model, batch, data.labels[index]))
                step(optimizer)
                after_step(model)
                rate = optimizer.param_groups[0]["lr"]
                if scheduler is not None and each_step:
                    scheduler.step()
            rates.append(rate)
            if scheduler is not None and not each_step:
                scheduler.step()
    return rates


def same(first: nn.Module, second: nn.Module) -> bool:
    """Whether all weights and buffers are equal bit for bit."""
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)
