"""Loss traces: what a model in training says of chosen records after some of its epochs, as it goes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.training.fit import predict_logits

__all__ = ["TRACED_SHARE", "LossTrace", "traced_epochs"]

TRACED_SHARE = 10
"""One of so many epochs is traced by default: to ask about all members and non-members takes up to two thirds of the
time of an epoch's training."""
_FEWEST = 4
"""Of fewer epochs there are no quartiles."""


def traced_epochs(epochs: int, count: int | None = None) -> tuple[int, ...]:
    """The epochs of a training that are traced, evenly spread and counted from 1.

    The last is not among them: what the trained model says, the audit asks it anyway.

    Args:
        epochs: of the training.
        count: how many are traced, the last included; by default a tenth, but at least 4.
    """
    wanted = min(epochs, max(_FEWEST, round(epochs / TRACED_SHARE)) if count is None else count)
    return tuple(epochs * number // wanted for number in range(1, wanted))


class LossTrace:
    """Records losses during a training, as ``on_epoch`` of :func:`~nni_privacy.training.fit.fit`.

    Args:
        images: ``(n, C, H, W)``, asked as they are, in evaluation mode: members and non-members alike.
        labels: ``(n,)`` classes.
        epochs: that are traced, see :func:`traced_epochs`.
        normalize: what the model's images go through.
        device: of the training.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        epochs: tuple[int, ...],
        normalize: Callable[[Tensor], Tensor] | None = None,
        device: str | torch.device = "auto",
    ) -> None:
        self.images, self.labels, self.epochs = images, labels.long().cpu(), frozenset(epochs)
        self.normalize, self.device = normalize, device
        self._rows: list[Tensor] = []

    def __call__(self, epoch: int, model: nn.Module) -> npt.NDArray[np.float32] | None:
        """Asks the model about the records, if the epoch is one of those: its logits ``(n, K)``, else None."""
        if epoch not in self.epochs:
            return None
        logits = predict_logits(model, self.images, device=self.device, normalize=self.normalize)
        answers, own = torch.from_numpy(logits).double(), self.labels[:, None]
        others = answers.scatter(1, own, -torch.inf).logsumexp(1)
        # Not the cross-entropy of torch, which is 0 where p rounds to 1.
        self._rows.append(functional.softplus(others - answers.gather(1, own)[:, 0]).float())
        return logits

    @property
    def losses(self) -> npt.NDArray[np.float32]:
        """Cross-entropies ``(E, n)``, a row for each epoch that was traced so far."""
        if not self._rows:
            return np.empty((0, len(self.labels)), dtype=np.float32)
        return torch.stack(self._rows).numpy()
