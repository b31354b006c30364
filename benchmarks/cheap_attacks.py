"""Attacks at the price of a search against LiRA with 16 reference models of each architecture, on the same targets.

    python benchmarks/cheap_attacks.py --output FOLDER [--data CIFAR10.npz] [--architectures 12] [--seeds 2]
        [--records 300] [--epochs 15] [--size 8] [--channels 4] [--references 16] [--jobs 2] [--every-epoch]

Targets are random NAS-Bench-201 cells, one cell a stage, trained on RECORDS images as trials are; each seed has a split
of its own. DATA holds images and labels (x, y; or x_train, y_train, ...); without it, digits. FOLDER keeps what was
computed: a run that was interrupted goes on, and a finished one only prints.

For each attack: Spearman's correlation of its AUC with LiRA's over architectures (the mean of the seeds); the share of
the 1% of members with the highest scores that LiRA finds at 1% FPR; its own TPR at 1% FPR; its AUC; and CPU seconds as
a share of the target's training (median). Reference models and networks that all trials of a search share are spread
over TRIALS trials. Intervals are 95%, by a bootstrap over architectures. A target whose scores are kept is not
measured again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from nni_privacy import Recipe
from nni_privacy.attacks import TargetSignals, get_attack, roc_curve
from nni_privacy.attacks.exposure import found_members
from nni_privacy.auditing.collect import SignalRequest, gather_signals
from nni_privacy.auditing.forward import extract_signals
from nni_privacy.auditing.options import Effort
from nni_privacy.auditing.shadows import ShadowOptions
from nni_privacy.cells.nasbench201 import random_cells
from nni_privacy.data import Dataset, FourWaySplit, Normalizer, load_dataset
from nni_privacy.files import atomic_write
from nni_privacy.search_spaces.nasbench201_network import NasBench201Network
from nni_privacy.training import LossTrace, seed_everything, traced_epochs
from nni_privacy.training.fit import fit

TRUTH = "lira 16"
TRIALS = 100
"""Over so many trials the cost of what they share is spread."""
POOLS = {
    "small_cnn": "small_cnn",
    "cell": "|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
}
"""Reference architectures of shared pools."""
REFERENCE_ATTACKS = ("lira", "rmia", "bavaria")
COUNTS = (4, 16)
FREE = ("loss_threshold", "black_box_partial", "white_box_partial", "lt_iqr", "loss_trajectory", "quantile")
ROUNDS = 2000
MOST_EXPOSED = 0.01


@dataclass(frozen=True)
class Target:
    """One training: the number of its architecture, and its seed."""

    architecture: int
    seed: int

    def path(self, folder: Path) -> Path:
        """Where its scores are kept."""
        return folder / f"target-{self.architecture}-{self.seed}.npz"


def recipe_of(options: argparse.Namespace) -> Recipe:
    """How targets and reference models are trained: a rate at which these small networks memorise in a few epochs."""
    return Recipe(epochs=options.epochs, learning_rate=0.05)


def load(options: argparse.Namespace, seed: int) -> tuple[Dataset, FourWaySplit]:
    """The records of a seed, and their split."""
    limit = {"limit": 4 * options.records, "limit_seed": seed}
    if options.data is None:
        data = load_dataset("digits", **limit)
    else:
        data = load_dataset("npz", path=str(options.data), image_size=options.size, **limit)
    return data, data.split(seed=seed)


def request_of(target: Target, options: argparse.Namespace) -> tuple[SignalRequest, dict[str, float]]:
    """Trains a target as a trial does, its trace with it; what it cost in CPU seconds."""
    data, split = load(options, target.seed)
    records = np.concatenate([split.target_train, split.target_test])
    normalize = Normalizer.fit(data.images[split.target_train])
    genotype = random_cells(options.architectures, 0)[target.architecture]
    sizes = {"channels": options.channels, "cells": 1, "in_channels": data.image_shape[0]}
    seed_everything(target.seed)
    model = NasBench201Network(genotype, **sizes, num_classes=data.num_classes)
    recipe = recipe_of(options)
    epochs = tuple(range(1, options.epochs)) if options.every_epoch else traced_epochs(options.epochs)
    trace = LossTrace(data.images[records], data.labels[records], epochs=epochs, normalize=normalize, device="cpu")
    traced = 0.0

    def on_epoch(epoch: int, network: torch.nn.Module) -> None:
        nonlocal traced
        begun = time.process_time()
        trace(epoch, network)
        traced += time.process_time() - begun

    rows, begun = split.target_train, time.process_time()
    fit(model, data.images[rows], data.labels[rows], recipe=recipe, seed=target.seed, device="cpu",
        normalize=normalize, on_epoch=on_epoch)  # fmt: skip
    seconds = {"training": time.process_time() - begun - traced, "trace": traced}
    halves = [(data.images[part], data.labels[part]) for part in (split.shadow_train, split.shadow_test)]
    shadow = ShadowOptions(recipe=recipe, train=halves[0], test=halves[1], count=options.references,
                           cache=str(options.output / "cache"))  # fmt: skip
    request = SignalRequest(
        model=model, images=data.images[records], labels=data.labels[records],
        is_member=np.arange(len(records)) < len(rows), normalize=normalize, normalization="own",
        device=torch.device("cpu"), batch_size=256, seed=target.seed, effort=Effort(views=1), shadow=shadow,
        loss_trace=trace.losses,
    )  # fmt: skip
    return request, seconds


def first(signals: TargetSignals, count: int) -> TargetSignals:
    """The signals with the first reference models only, which are those that fewer would have been."""
    shadows = signals.shadows
    assert shadows is not None and shadows.population_logits is not None and shadows.population_keep is not None
    few = replace(shadows, logits=shadows.logits[:, :count], keep=shadows.keep[:, :count],
                  population_logits=shadows.population_logits[:, :count],
                  population_keep=shadows.population_keep[:, :count])  # fmt: skip
    return replace(signals, shadows=few)


def measure(target: Target, options: argparse.Namespace) -> None:
    """Trains and attacks one target, and keeps scores and seconds."""
    path = target.path(options.output)
    if path.exists():
        return
    torch.set_num_threads(1)
    for module in ("sklearn.pipeline", "sklearn.linear_model", "sklearn.preprocessing"):
        import_module(module)  # which is no part of an attack's price
    request, seconds = request_of(target, options)
    arrays: dict[str, Any] = {"is_member": request.is_member, "trace": request.loss_trace}
    plain = extract_signals(request.model, request.images, request.labels, request.is_member,
                            normalize=request.normalize, gradients=True, views=1, device="cpu")  # fmt: skip
    arrays |= {"logits": plain.logits, "labels": plain.labels}
    cheap = gather_signals(request, requires={"logits", "gradients", "loss_trace", "outsider"})
    for name in FREE:
        seconds[name] = attack(name, name, cheap, target.seed, arrays)
    assert request.shadow is not None
    for pool, reference in {"own": None, **POOLS}.items():
        cache = request.shadow.cache if reference else False  # its price is measured
        pooled = replace(request, shadow=replace(request.shadow, reference=reference, cache=cache))
        begun = time.process_time()
        signals = gather_signals(pooled, requires={"shadows"})
        seconds[pool] = time.process_time() - begun
        for name in REFERENCE_ATTACKS:
            for count in (count for count in COUNTS if count <= options.references):
                label = " ".join([name, str(count), *([pool] if reference else [])])
                seconds[label] = attack(label, name, first(signals, count), target.seed, arrays)
        assert signals.shadows is not None
        arrays |= {f"{pool} references": signals.shadows.logits[:, :, 0], f"{pool} keep": signals.shadows.keep}
    with path.with_suffix(".part").open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, seconds=json.dumps(seconds), **arrays)
    path.with_suffix(".part").replace(path)
    print(f"{path.name}: {json.dumps({key: round(value, 2) for key, value in seconds.items()})}", flush=True)


def attack(label: str, name: str, signals: TargetSignals, seed: int, arrays: dict[str, Any]) -> float:
    """Attacks, puts the scores of all records among the arrays, and returns CPU seconds."""
    begun = time.process_time()
    found = get_attack(name)(signals, seed=seed)
    spent = time.process_time() - begun
    scores = np.full(len(signals), np.nan)
    scores[found.records] = found.scores
    arrays[f"{label}/scores"] = scores
    return spent


def share(seed: int, name: str, options: argparse.Namespace) -> float:
    """Trains one of the things that all targets of a seed share; the CPU seconds, which are kept."""
    path = options.output / f"shared-{name}-{seed}.json"
    if not path.exists():
        torch.set_num_threads(1)
        request, _ = request_of(Target(0, seed), argparse.Namespace(**{**vars(options), "epochs": 1}))
        assert request.shadow is not None
        shadow = replace(request.shadow, reference=POOLS.get(name), recipe=recipe_of(options))
        begun = time.process_time()
        gather_signals(replace(request, shadow=shadow), requires={"shadows" if name in POOLS else "outsider"})
        atomic_write(path, json.dumps(time.process_time() - begun))
    return float(json.loads(path.read_text()))


@dataclass(frozen=True)
class Found:
    """What an attack found on one target."""

    auc: float
    tpr: float
    precision: float
    share: float


def read(target: Target, options: argparse.Namespace, pools: Mapping[str, float]) -> dict[str, Found]:
    """The results of all attacks on a target."""
    with np.load(target.path(options.output), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    seconds, member = json.loads(str(arrays["seconds"])), arrays["is_member"]
    truth = found_members(arrays[f"{TRUTH}/scores"], member)
    assert truth is not None
    exposed = max(1, round(MOST_EXPOSED * int(member.sum())))
    extra = {"lt_iqr": seconds["trace"], "loss_trajectory": seconds["trace"], "quantile": pools["outsider"] / TRIALS}
    results = {}
    for label in (name.removesuffix("/scores") for name in arrays if name.endswith("/scores")):
        scores = arrays[f"{label}/scores"]
        highest = np.argsort(-scores[member], kind="stable")[:exposed]
        words = label.split()
        references = 0.0
        if len(words) > 1:
            count = int(words[1]) / options.references
            references = count * (pools[words[2]] / TRIALS if len(words) > 2 else seconds["own"])
        spent = seconds[label] + extra.get(label, 0.0) + references
        own = found_members(scores, member)
        assert own is not None
        auc, precision = roc_curve(scores, member).auc, float(truth[highest].mean())
        results[label] = Found(auc, float(own.mean()), precision, spent / seconds["training"])
    return results


def table(options: argparse.Namespace, pools: Mapping[str, float]) -> Iterator[str]:
    """The lines of the table; the mean over seeds, intervals over architectures."""
    found = [[read(Target(number, seed), options, pools) for seed in range(options.seeds)]
             for number in range(options.architectures)]  # fmt: skip
    draws = np.random.default_rng(0).integers(0, options.architectures, (ROUNDS, options.architectures))
    everything = np.arange(options.architectures)

    def values(label: str, field: str) -> np.ndarray:
        return np.array([np.mean([getattr(one[label], field) for one in seeds]) for seeds in found])

    yield "| attack | rank correlation with LiRA | most exposed 1% | TPR at 1% FPR | AUC | extra CPU |"
    yield "|---|---|---|---|---|---|"
    for label in found[0][0]:
        own, truth = values(label, "auc"), values(TRUTH, "auc")
        correlations = [spearmanr(own[rows], truth[rows]).statistic for rows in [everything, *draws]]
        cells = [interval(correlations[0], correlations[1:])]
        for field in ("precision", "tpr", "auc"):
            measured = values(label, field)
            cells.append(interval(measured.mean(), measured[draws].mean(axis=1)))
        yield f"| `{label}` | {' | '.join(cells)} | {np.median(values(label, 'share')):.1%} |"
    yield f"LiRA's AUC: {values(TRUTH, 'auc').min():.3f} to {values(TRUTH, 'auc').max():.3f} over architectures"
    twice = np.array([[one[TRUTH].auc for one in seeds] for seeds in found])
    if options.seeds > 1:
        yield f"LiRA with itself, seed 0 and seed 1: {spearmanr(twice[:, 0], twice[:, 1]).statistic:.2f}"


def interval(value: float, draws: Sequence[float] | np.ndarray) -> str:
    """A number and its 95% interval."""
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Measures what is missing, and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    for name, default in {"architectures": 12, "seeds": 2, "records": 300, "epochs": 15, "size": 8, "channels": 4,
                          "references": 16, "jobs": 2}.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--every-epoch", action="store_true", help="trace all epochs, not a tenth")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    shared = list(product([*POOLS, "outsider"], range(options.seeds)))
    targets = [Target(number, seed) for seed in range(options.seeds) for number in range(options.architectures)]
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as executor:
        names, seeds = zip(*shared, strict=True)
        spent = list(executor.map(share, seeds, names, [options] * len(shared)))
        list(executor.map(measure, targets, [options] * len(targets)))
    pools = {name: float(np.mean([cost for (one, _), cost in zip(shared, spent, strict=True) if one == name]))
             for name in names}  # fmt: skip
    print(*table(options, pools), sep="\n")


if __name__ == "__main__":
    main()
