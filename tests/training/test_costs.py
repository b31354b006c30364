"""Costs of networks, compared with torch's own counter of floating-point operations."""

from __future__ import annotations

import time
from pkgutil import resolve_name

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nni_privacy.cells.spaces import SPACES
from nni_privacy.networks import FAMILIES, build_network
from nni_privacy.training.costs import LATENCY_BATCH, latency, multiply_adds, parameters


def counted(network: nn.Module, shape: tuple[int, ...]) -> float:
    """Half of the operations that torch counts on the meta device, where a dilated convolution is one."""
    network = network.to("meta").eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *shape, device="meta"))
    return counter.get_total_flops() / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["darts", "nasbench201"])
def test_fifty_random_networks_have_the_multiply_adds_of_torchs_counter(name: str) -> None:
    record = SPACES[name]
    genotypes = record.sample(25, 3, {"nodes": 4})
    for number, genotype in enumerate(genotypes):
        sizes = {"channels": 1 + number % 7, "cells": 3 + number % 2, "in_channels": 1 + 2 * (number % 2)}
        network = resolve_name(record.network)(genotype, **sizes)
        shape = (sizes["in_channels"], 8 + number % 3, 9)  # odd sides, too
        found = multiply_adds(network, shape)
        assert network.training
        assert found == counted(network, shape) > 0
        assert multiply_adds(network, shape) == found  # on the meta device


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_human_designed_networks_have_the_multiply_adds_of_torchs_counter(name: str) -> None:
    network = build_network(name, in_channels=3, num_classes=10, image_size=16)
    assert parameters(network) == sum(p.numel() for p in network.parameters())
    assert multiply_adds(network, (3, 16, 16)) == counted(network, (3, 16, 16)) > 1e5


def test_the_definition_by_hand() -> None:
    shared = nn.Conv2d(4, 4, 3, padding=1, groups=2)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1, dtype=torch.float64),
        shared.double(),
        nn.BatchNorm2d(4).double(),
        shared,
        nn.ConvTranspose2d(4, 2, 2, stride=2).double(),
        nn.Flatten(),
        nn.Linear(2 * 8 * 8, 5).double(),
    )
    convolutions = 16 * 4 * 9 + 2 * (16 * 4 * 2 * 9) + 16 * 4 * 4 * 2
    assert multiply_adds(network, (1, 8, 8)) == convolutions + 128 * 5
    assert parameters(network) == (36 + 4) + (72 + 4) + 8 + (32 + 2) + (640 + 5)


def test_latency_is_that_of_passes_in_evaluation_mode_one_image_and_a_batch() -> None:
    class Sleeper(nn.Module):
        seen: list[tuple[int, bool]] = []  # noqa: RUF012

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.seen.append((len(images), self.training))
            until = 2e-3 + 1e-3 * len(images)

            time.sleep(until)
            return images

    found = latency(Sleeper(), torch.zeros(100, 1, 2, 2))
    assert {count for count, _ in Sleeper.seen} == {1, LATENCY_BATCH} and not any(mode for _, mode in Sleeper.seen)
    assert found["latency_ms"] >= 3.0 > found["batch_latency_ms"] >= 1.0
