"""How close lower bounds on epsilon come to a known one, how often they pass it, and what bugs in DP-SGD they catch.

First mechanisms of known epsilon: randomised response, and Gaussian noise on a mean, with 1,000 coins each. Then real
trainings of a small network on digits with planted canaries: DP-SGD as it is, with the noise left out, and with the
clipping left out, each claiming the accountant's epsilon.

    python benchmarks/epsilon.py [--runs 200] [--canaries 1000] [--seeds 20] [--bugged 5]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from nni_privacy.attacks.epsilon import EpsilonBounds, epsilon_bounds, gaussian_epsilon
from nni_privacy.auditing.canaries import Canaries
from nni_privacy.data import load_dataset
from nni_privacy.training import dp_sgd
from nni_privacy.training.fit import fit, predict_logits, seed_everything
from nni_privacy.training.recipe import Recipe

DELTA = 1e-5
KINDS = ("one_run", "one_run_gaussian", "threshold", "gaussian")
MEMBERS = 449


def randomised_response(epsilon: float, coins: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Each coin as it fell with the probability that epsilon allows, else turned."""
    truth = generator.random(len(coins)) < 1 / (1 + math.exp(-epsilon))
    return np.where(truth, coins, ~coins).astype(float)


def gaussian_mean(epsilon: float, coins: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Coordinates of a noisy sum of unit vectors along different axes, of those whose coin fell so."""
    low, high = 1e-3, 20.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if gaussian_epsilon(middle, DELTA) > epsilon else (middle, high)
    return np.asarray(coins + generator.normal(0, 1 / low, len(coins)))


MECHANISMS = MappingProxyType({"randomised response": randomised_response, "Gaussian mean": gaussian_mean})


def planted(runs: int, canaries: int) -> None:
    """Prints a row for each mechanism and epsilon: of each bound, median over the truth, and runs that pass it."""
    print(f"{canaries} coins, {runs} runs: median of the bound over the truth (and runs in which it exceeds the truth)")
    for name, mechanism in MECHANISMS.items():
        for epsilon in (1.0, 2.0, 4.0, 8.0):
            found = []
            for run in range(runs):
                generator = np.random.default_rng([7, run])
                coins = generator.random(canaries) < 0.5
                scores = mechanism(epsilon, coins, generator)
                bounds = epsilon_bounds({"a": (scores, coins)}, delta=DELTA, drawn="coins", seed=run)
                found.append([getattr(bounds, kind).epsilon for kind in KINDS])
            values = np.array(found)
            ratios, wrong = np.median(values, axis=0) / epsilon, (values > epsilon).mean(axis=0)
            cells = (f"{kind} {r:5.2f} ({w:5.1%})" for kind, r, w in zip(KINDS, ratios, wrong, strict=True))
            print(f"{name:<20} epsilon {epsilon:3g}  " + "  ".join(cells), flush=True)


class WithoutNoise(dp_sgd.DPOptimizer):
    """The bug that the noise is forgotten."""

    def add_noise(self) -> None:
        """Adds none."""
        for parameter in self.params:
            parameter.grad = parameter.summed_grad.view_as(parameter)


class WithoutClipping(dp_sgd.DPOptimizer):
    """The bug that gradients are summed as they are; the noise is what clipped ones would need."""

    def clip_and_accumulate(self) -> None:
        """Sums."""
        for parameter in self.params:
            total = self._get_flat_grad_sample(parameter).sum(dim=0)
            parameter.summed_grad = total if parameter.summed_grad is None else parameter.summed_grad + total
            parameter.grad_sample._processed = True


BUGS: Mapping[str, type[Any] | None] = MappingProxyType(
    {"correct": None, "no noise": WithoutNoise, "no clipping": WithoutClipping}
)


def bug(name: str) -> AbstractContextManager[Any]:
    """Plants it in the trainings inside."""
    kind = BUGS[name]
    return nullcontext() if kind is None else patch.object(dp_sgd, "DPOptimizer", kind)


def audited_training(
    name: str, *, seed: int, canaries: int, epsilon: float, clip: float, epochs: int
) -> tuple[float, EpsilonBounds]:
    """The claimed epsilon of a training with a bug or without, and what its canaries show."""
    data = load_dataset("digits")
    generator = np.random.default_rng([11, seed])
    rows = generator.permutation(len(data))
    index = rows[MEMBERS : MEMBERS + canaries]
    labels = (data.labels[index].numpy() + generator.integers(1, 10, len(index))) % 10
    planted = Canaries(index, labels, generator.random(len(index)) < 0.5)
    seed_everything(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    dp = {"epsilon": epsilon, "max_grad_norm": clip}
    recipe = Recipe.from_mapping(
        {"epochs": epochs, "learning_rate": 0.3, "weight_decay": 0.0, "milestones": [], "dp": dp}
    )
    images, targets = planted.records(data, rows[:MEMBERS])
    with bug(name):
        result = fit(model, images, targets, recipe=recipe, seed=seed, device="cpu")
    scores = planted.scored(predict_logits(model, data.images[index], device="cpu"))
    bounds = epsilon_bounds({"loss": (scores.scores, scores.included)}, delta=DELTA, drawn="coins")
    return float(result.epsilon or 0.0), bounds


TRAININGS = (("correct", 1.5, 40), ("no noise", 1.5, 40), ("correct", 0.1, 60), ("no clipping", 0.1, 60))
"""Bug, clipping norm and epochs: forgotten clipping shows where the norm is small, forgotten noise where it is not."""


def trainings(seeds: int, bugged: int, canaries: int, epsilon: float) -> None:
    """Prints a row for each kind of training."""
    print(f"\nDP-SGD on digits, {canaries} mislabelled canaries: medians (and trainings whose claim is refuted)")
    for name, clip, epochs in TRAININGS:
        started, found = time.process_time(), []
        count = seeds if BUGS[name] is None else bugged
        for seed in range(count):
            claimed, bounds = audited_training(
                name, seed=seed, canaries=canaries, epsilon=epsilon, clip=clip, epochs=epochs
            )
            found.append([getattr(bounds, kind).epsilon for kind in KINDS])
        values = np.array(found)
        middle, refuted = np.median(values, axis=0), (values > claimed).sum(axis=0)
        cells = (f"{kind} {m:5.2f} ({r}/{count})" for kind, m, r in zip(KINDS, middle, refuted, strict=True))
        spent = (time.process_time() - started) / count
        print(f"claimed {claimed:4.2f}, clip {clip:3g} {name:<12} {'  '.join(cells)}  {spent:.1f} CPU s", flush=True)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--canaries", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--bugged", type=int, default=5, help="seeds of trainings with a bug")
    parser.add_argument("--epsilon", type=float, default=2.0, help="claimed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.runs:
        planted(args.runs, args.canaries)
    if args.seeds:
        trainings(args.seeds, args.bugged, args.canaries, args.epsilon)


if __name__ == "__main__":
    main()
