"""The attack models and how they are trained: ML-Doctor's architectures, as in Huang et al. (CCS 2022)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.training.fit import epoch_batches, evaluation_mode
from nni_privacy.training.gradients import gradients_on

__all__ = ["BlackBoxAttackModel", "Inputs", "WhiteBoxAttackModel", "branch", "epochs_of_a_fold", "member_logits"]
__all__ += ["train_attack_model"]

BRANCH_HIDDEN = 128
BRANCH_WIDTH = 64
EPOCHS = 50
FOLD_EPOCHS, FOLD_BATCHES = 10, 50
"""Of each of the three models of cross-fitting, at least: together they take less time than one of 50 epochs. Measured
on digits (docs/measured.md), longer training gains nothing: white-box models begin to remember what they learn from."""
BATCH_SIZE = 64
PREDICTION_BATCH = 512
DROPOUT = 0.2
LEARNING_RATE = 1e-3  # Adam's own default; at the released code's 5e-7 nothing is learned (trap 3 of section 12)


class Inputs(Protocol):
    """One input of an attack model: an array of one row a record, or something that makes rows when asked for them."""

    def __len__(self) -> int:
        """Number of records."""

    def __getitem__(self, index: Tensor) -> Tensor:
        """The rows of those records, the record first."""


def branch(inputs: int, *, dropout: float = 0.0) -> nn.Sequential:
    """One input's branch: ``inputs -> 128 -> 64``, a ReLU between, dropout before."""
    layers = [nn.Linear(inputs, BRANCH_HIDDEN), nn.ReLU(), nn.Linear(BRANCH_HIDDEN, BRANCH_WIDTH)]
    return nn.Sequential(*([nn.Dropout(dropout)] if dropout else []), *layers)


class BlackBoxAttackModel(nn.Module):
    """Branches for the sorted posteriors (K -> 128 -> 64) and for correctness (1 -> 128 -> 64), joined by an encoder.

    The reference writes the joined part as 256 -> 128 -> 64 -> 2, but two branches of 64 give 128 numbers. White-box
    has four branches, so 256 numbers, and its line reads 256 -> 256 -> 128 -> 64 -> 2: the first 256 is what comes in,
    the second the first hidden layer. Read the same way, the black-box line starts at its first hidden layer: 128 ->
    256 -> 128 -> 64 -> 2.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.posteriors = branch(num_classes)
        self.correctness = branch(1)
        self.encoder = nn.Sequential(
            nn.Linear(2 * BRANCH_WIDTH, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(),
            nn.Linear(64, 2),
        )  # fmt: skip

    def forward(self, posteriors: Tensor, correct: Tensor) -> Tensor:
        """Logits of non-member and member, ``(B, 2)``, of posteriors ``(B, K)`` and correctness ``(B, 1)``."""
        joined = torch.cat([self.posteriors(posteriors), self.correctness(correct)], dim=1)
        return self.encoder(joined)


class FlatConvolution(nn.Conv2d):
    """A 5x5 convolution of images with one channel; equal to ``nn.Conv2d(1, 1, 5, padding=2)``, twice as fast on a CPU.

    An image of few rows is convolved along its columns only, its rows being the channels: the kernel becomes a banded
    matrix, rows x rows, for each of the five column offsets.
    """

    MAX_ROWS = 16
    """With more rows the band is too thin for this to pay."""

    def __init__(self) -> None:
        super().__init__(1, 1, 5, padding=2)

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 1, rows, columns)`` -> the same shape."""
        rows = images.shape[2]
        if rows > self.MAX_ROWS or self.bias is None:
            return super().forward(images)
        row = torch.arange(rows)[:, None].expand(rows, 5)
        band = images.new_zeros(rows, rows + 4, 5).index_put(
            (row, row + torch.arange(5)), self.weight[0, 0].expand(rows, 5, 5)
        )
        padded = functional.pad(images[:, 0], (0, 0, 2, 2))
        return functional.conv1d(padded, band, self.bias.expand(rows), padding=2)[:, None]


class WhiteBoxAttackModel(nn.Module):
    """Four branches, each 64 wide: sorted posteriors, loss, label and the gradient of the classifier's weight.

    The gradient is an image of one channel, rows x columns (K x F): 5x5 convolution to one channel, batch norm, ReLU,
    2x2 max-pool, then 256 -> 128 -> 64. An odd last row or column is pooled alone, so that none is lost. The four are
    joined and go through 256 -> 256 -> 128 -> 64 -> 2. Dropout 0.2 stands before each branch and in the gradient's
    dense layers, where most weights are.
    """

    def __init__(self, num_classes: int, gradient_shape: tuple[int, int]) -> None:
        super().__init__()
        rows, columns = gradient_shape
        pooled = -(-rows // 2) * -(-columns // 2)
        self.posteriors = branch(num_classes, dropout=DROPOUT)
        self.loss = branch(1, dropout=DROPOUT)
        self.label = branch(num_classes, dropout=DROPOUT)
        self.gradient = nn.Sequential(
            nn.Dropout(DROPOUT), FlatConvolution(), nn.BatchNorm2d(1), nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True), nn.Flatten(),
            nn.Dropout(DROPOUT), nn.Linear(pooled, 256), nn.ReLU(),
            nn.Dropout(DROPOUT), nn.Linear(256, 128), nn.ReLU(),
            nn.Dropout(DROPOUT), nn.Linear(128, BRANCH_WIDTH),
        )  # fmt: skip
        self.encoder = nn.Sequential(
            nn.Dropout(DROPOUT), nn.Linear(4 * BRANCH_WIDTH, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(),
            nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 2),
        )  # fmt: skip

    def forward(self, posteriors: Tensor, loss: Tensor, label: Tensor, gradient: Tensor) -> Tensor:
        """Logits of non-member and member, ``(B, 2)``.

        Args:
            posteriors: ``(B, K)``, descending.
            loss: ``(B, 1)``.
            label: ``(B, K)``, one-hot.
            gradient: ``(B, 1, rows, columns)``.
        """
        parts = [self.posteriors(posteriors), self.loss(loss), self.label(label), self.gradient(gradient)]
        return self.encoder(torch.cat(parts, dim=1))


def epochs_of_a_fold(records: int) -> int:
    """Passes over the ``records`` of a fold in cross-fitting, up to 50: 10, or more where that is under 50 batches."""
    return min(EPOCHS, max(FOLD_EPOCHS, -(-FOLD_BATCHES // -(-records // BATCH_SIZE))))


@gradients_on()
def train_attack_model(
    build: Callable[[], nn.Module],
    features: Sequence[npt.NDArray[np.float32] | Inputs],
    is_member: npt.NDArray[np.bool_],
    *,
    seed: int,
    epochs: int = EPOCHS,
) -> nn.Module:
    """Builds and trains an attack model: Adam, cross-entropy on raw logits, on the CPU; same seed, same bits.

    Args:
        build: makes the model; called with torch's generator seeded, so that the initial weights follow the seed.
        features: inputs of ``n`` rows each, passed to the model in this order.
        is_member: ``(n,)`` booleans.
        seed: of initial weights, dropout and batches; torch's global generator is left as it was.
        epochs: passes over the records.
    """
    inputs = [_as_inputs(feature) for feature in features]
    labels = torch.from_numpy(is_member.astype(np.int64))
    order = torch.Generator().manual_seed(seed)
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build().train()
        optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
        for _ in range(epochs):
            for index in epoch_batches(len(labels), batch_size=BATCH_SIZE, generator=order):
                optimizer.zero_grad(set_to_none=True)
                logits = model(*(part[index] for part in inputs))
                functional.cross_entropy(logits, labels[index]).backward()
                optimizer.step()
    return model


def member_logits(model: nn.Module, features: Sequence[npt.NDArray[np.float32] | Inputs]) -> npt.NDArray[np.float64]:
    """The logit of the member probability, ``(n,)``: the difference of the two logits, which does not saturate."""
    inputs = [_as_inputs(feature) for feature in features]
    parts = []
    with _one_thread(), evaluation_mode(model), torch.inference_mode():
        for index in torch.arange(len(inputs[0])).split(PREDICTION_BATCH):
            logits = model(*(part[index] for part in inputs)).double()
            parts.append(logits[:, 1] - logits[:, 0])
    return torch.cat(parts).numpy()


def _as_inputs(feature: npt.NDArray[np.float32] | Inputs) -> Inputs:
    return torch.from_numpy(np.ascontiguousarray(feature)) if isinstance(feature, np.ndarray) else feature


@contextmanager
def _one_thread() -> Iterator[None]:
    """These layers are too small for threads to pay, and results must not depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
