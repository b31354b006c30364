"""The attack models (ML-Doctor's architectures, after section 3 of reference/paper.md) and how they are trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy.training import epoch_batches, evaluation_mode

__all__ = ["BlackBoxAttackModel", "branch", "member_logits", "train_attack_model"]

BRANCH_HIDDEN = 128
BRANCH_WIDTH = 64
EPOCHS = 50
BATCH_SIZE = 64
LEARNING_RATE = 1e-3  # Adam's own default; at the released code's 5e-7 nothing is learned (trap 3 of section 12)


def branch(inputs: int) -> nn.Sequential:
    """One input's branch: ``inputs -> 128 -> 64``, a ReLU between."""
    return nn.Sequential(nn.Linear(inputs, BRANCH_HIDDEN), nn.ReLU(), nn.Linear(BRANCH_HIDDEN, BRANCH_WIDTH))


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


def train_attack_model(
    build: Callable[[], nn.Module],
    features: Sequence[npt.NDArray[np.float32]],
    is_member: npt.NDArray[np.bool_],
    *,
    seed: int,
    epochs: int = EPOCHS,
) -> nn.Module:
    """Builds and trains an attack model: Adam, cross-entropy on raw logits, on the CPU; same seed, same bits.

    Args:
        build: makes the model; called with torch's generator seeded, so that the initial weights follow the seed.
        features: arrays of ``n`` rows each, passed to the model in this order.
        is_member: ``(n,)`` booleans.
        seed: of initial weights, dropout and batches; torch's global generator is left as it was.
        epochs: passes over the records.
    """
    inputs = [torch.from_numpy(np.ascontiguousarray(feature)) for feature in features]
    labels = torch.from_numpy(is_member.astype(np.int64))
    order = torch.Generator().manual_seed(seed)
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build().train()
        optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
        for _ in range(epochs):
            for index in epoch_batches(len(labels), batch_size=BATCH_SIZE, generator=order):
                optimizer.zero_grad(set_to_none=True)
                logits = model(*(feature[index] for feature in inputs))
                functional.cross_entropy(logits, labels[index]).backward()
                optimizer.step()
    return model


def member_logits(model: nn.Module, features: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float64]:
    """The logit of the member probability, ``(n,)``: the difference of the two logits, which does not saturate."""
    inputs = [torch.from_numpy(np.ascontiguousarray(feature)) for feature in features]
    with _one_thread(), evaluation_mode(model), torch.inference_mode():
        logits = model(*inputs).double()
    return (logits[:, 1] - logits[:, 0]).numpy()


@contextmanager
def _one_thread() -> Iterator[None]:
    """These layers are too small for threads to pay, and results must not depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
