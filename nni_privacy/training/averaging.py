"""An exponential moving average of a model's weights (EMA), which stands in for them where the model is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["WeightAverage"]


class WeightAverage:
    """The average of weights and of buffers of floats, such as BatchNorm's statistics.

    What torch's ``AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)`` holds, without a
    copy of the model: the first update takes the weights as they are, each further one moves the average by 1 - decay
    of the way to them.

    Args:
        model: that is trained, where it is trained.
        decay: 0 or more and below 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = model
        self.average: list[Tensor] = []
        self._move = get_ema_multi_avg_fn(decay)

    @property
    def live(self) -> list[Tensor]:
        """The tensors as the model has them now: buffers may be others than before, and weights be laid out anew."""
        tensors = (*self.model.parameters(), *self.model.buffers())
        return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Takes the weights after a step into the average."""
        live = self.live
        if self.average:
            self._move(self.average, live, len(self.average))
        else:
            self.average = [tensor.clone() for tensor in live]

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges weights and average, both ways."""
        for live, average in zip(self.live, self.average, strict=True):
            kept = live.clone()
            live.copy_(average)
            average.copy_(kept)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the average meanwhile."""
        self.swap()
        try:
            yield
        finally:
            self.swap()
