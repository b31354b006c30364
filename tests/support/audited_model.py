"""A small classifier for tests of the audit, in a module that a command line can name."""

from __future__ import annotations

from torch import nn


def build() -> nn.Module:
    """A multi-layer perceptron for images 1 x 8 x 8 and ten classes."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def broken() -> nn.Module:
    """A factory that fails."""
    raise ValueError("no such layer")


def two_heads() -> nn.Module:
    """A model that returns a tuple."""

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = build()

        def forward(self, images: object) -> tuple[object, object]:
            logits = self.body(images)
            return logits, logits

    return Heads()
