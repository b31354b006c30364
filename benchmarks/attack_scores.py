"""What LiRA and RMIA should compare: settings of both on shadow models of three networks on CIFAR-10.

    python benchmarks/attack_scores.py CIFAR10.npz [--records 2400] [--models 10] [--epochs 15] [--jobs 2]
        [--cache FOLDER] [--pools cnn,darts+aug] [--output FOLDER]

CIFAR10.npz holds x_train, y_train, x_test, y_test (uint8, N x 32 x 32 x 3), which are made 16 x 16. Of a small
CNN, a DARTS network (DARTS_V2, 8 channels, 3 cells) and a NAS-Bench-201 network (8 channels, 1 cell a stage), a pool of
MODELS is trained each without augmentation for EPOCHS and with augmentation for twice as many, every model on a random
half of RECORDS images. They are remembered in the cache, as shadow models are: a second run trains nothing.

Each model of a pool is the target of all others but one: the one that was trained on the very other half would tell
who is a member. What is left are pairs of halves, as in an audit. Printed are, for each pool, the mean AUC and TPR at
1% FPR over the targets, and how far the default stays behind the best, with the standard error of the mean difference:
behind the best in hindsight, whose mean is the luckiest of many, and behind what was best on the other nine targets.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import norm

from nni_privacy import Recipe
from nni_privacy.attacks import lira_scores, logit_confidence, rmia_counts, rmia_ratios, roc_curve
from nni_privacy.attacks.lira import logit_margin
from nni_privacy.attacks.rmia import OFFLINE_AS, TEMPERATURE, TEMPERATURES, choose_setting, rmia_confidence
from nni_privacy.auditing.options import Effort
from nni_privacy.auditing.shadows import ModelSpec, reference_shadows
from nni_privacy.data import load_dataset

PIXELS = 16
DARTS = (  # DARTS_V2, the second-order cell of Liu et al., ICLR 2019
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), "
    "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)
NASBENCH201 = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
SIZES = {"channels": 8, "in_channels": 3, "num_classes": 10}
CNN = {"in_channels": 3, "num_classes": 10, "image_size": [PIXELS, PIXELS]}
NETWORKS = {
    "cnn": ModelSpec("nni_privacy.auditing.shadows.small_cnn:SmallCNN", CNN),
    "nasbench201": ModelSpec(
        "nni_privacy.search_spaces.nasbench201_network:NasBench201Network.of",
        {"genotype": NASBENCH201, "cells": 1, **SIZES},
    ),
    "darts": ModelSpec("nni_privacy.search_spaces.network:CellNetwork.of", {"genotype": DARTS, "cells": 3, **SIZES}),
}
POOLS = [f"{name}{augmented}" for augmented in ("", "+aug") for name in NETWORKS]
LEARNING_RATES = {"cnn": 0.05}
"""Without batch normalisation it learns nothing by heart at the usual 0.01."""
MODES, VIEWS = ("online", "offline"), (1, 2)
LEAKPRO_A, EPSILON = 0.33, 1e-6

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Setting:
    """One way to attack.

    Attributes:
        attack: ``lira`` or ``rmia``.
        name: of the setting, unique.
        measure: of one model's answers ``(n, V, K)`` and labels.
        score: of a target's and its references' measures, ``(n, ...)`` and ``(n, S, ...)``, ``keep`` and mode.
        modes: where it differs from others.
    """

    attack: str
    name: str
    measure: Callable[..., Floats]
    score: Callable[[Floats, Floats, Flags, str], Floats]
    modes: tuple[str, ...] = MODES


def settings() -> Iterator[Setting]:
    """All that are compared; formulae of LeakPro and of LiRA's authors are written out again."""
    for name, statistic in (("logit", logit_confidence), ("margin", logit_margin)):
        for variance in ("pooled", "per_example"):
            yield Setting("lira", f"{name}, {variance}", statistic, partial(_lira, variance=variance))
    yield Setting("lira", "LeakPro's", logit_confidence, partial(_global_lira, center=np.nanmean))
    yield Setting("lira", "the authors'", logit_confidence, partial(_global_lira, center=np.nanmedian))
    yield Setting("rmia", "softmax, T auto", _all_temperatures, _chosen_rmia)
    for temperature in (TEMPERATURE, 1.0, 2.0, 4.0, 8.0):
        measure = partial(rmia_confidence, temperature=temperature)
        said = " and ".join(f"{one:g}" for one in (temperature if isinstance(temperature, tuple) else (temperature,)))
        yield Setting("rmia", f"softmax, T {said}", measure, partial(_rmia, offline_a=0.3))
        for a in OFFLINE_AS:
            if a != 0.3:
                name = f"softmax, T {said}, a {a:g}"
                yield Setting("rmia", name, measure, partial(_rmia, offline_a=a), ("offline",))
    for temperature in (1.0, 2.0, 4.0):
        measure = partial(rmia_confidence, confidence="sm_taylor", temperature=temperature)
        yield Setting("rmia", f"sm_taylor, T {temperature:g}", measure, partial(_rmia, offline_a=0.3))
    yield Setting("rmia", "LeakPro's", partial(rmia_confidence, temperature=2.0), _leakpro_rmia)


def _lira(own: Floats, others: Floats, keep: Flags, mode: str, *, variance: str) -> Floats:
    return lira_scores(own, others, keep, mode=mode, variance=variance)


def _global_lira(own: Floats, others: Floats, keep: Flags, mode: str, *, center: Callable[..., Floats]) -> Floats:
    """One variance for all, about the mean of all records' statistics, not about each record's own."""
    density = {}
    for inside in (True, False):
        chosen = np.where((keep == inside)[:, :, None], others, np.nan)
        density[inside] = norm(center(chosen, axis=1), np.nanstd(chosen, axis=(0, 1)))
    if mode == "offline":
        return np.asarray(density[False].logcdf(own).mean(axis=1))
    return np.asarray((density[True].logpdf(own) - density[False].logpdf(own)).mean(axis=1))


def _rmia(own: Floats, others: Floats, keep: Flags, mode: str, *, offline_a: float) -> Floats:
    """The ratio: for one target its order is that of the score."""
    return rmia_ratios(own, others, keep, mode=mode, offline_a=offline_a)


def _all_temperatures(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Floats:
    return np.stack([rmia_confidence(logits, labels, temperature=one) for one in TEMPERATURES], axis=1)


def _chosen_rmia(own: Floats, others: Floats, keep: Flags, mode: str) -> Floats:
    """The attack's own choice of temperature and a, on the references."""
    offline = mode == "offline"
    each = [others[:, :, number] for number in range(len(TEMPERATURES))]
    chosen = choose_setting(each, keep, mode=mode, offline_as=OFFLINE_AS if offline else (0.3,))
    assert chosen is not None
    return rmia_ratios(own[:, chosen[0]], each[chosen[0]], keep, mode=mode, offline_a=chosen[1])


def _leakpro_rmia(own: Floats, others: Floats, keep: Flags, mode: str) -> Floats:
    """The count, ties and all, against half of the audited records; z's references are all, x's those without x."""
    everyone = others.mean(axis=1)
    out = np.where(keep, np.nan, others)
    prior_z, prior_x = everyone, everyone
    if mode == "offline":
        prior_z, prior_x = (((1 + LEAKPRO_A) * p + 1 - LEAKPRO_A) / 2 for p in (everyone, np.nanmean(out, axis=1)))
    chosen = np.random.default_rng(0).permutation(len(own))[: len(own) // 2]
    population = own[chosen] / (prior_z[chosen] + EPSILON)
    return rmia_counts(own / (prior_x + EPSILON), population, gamma=2.0).astype(np.float64)


def train_pool(pool: str, options: argparse.Namespace) -> dict[str, Any]:
    """Answers ``(n, S, V, K)`` of a pool's models, their keep matrix, labels, and mean accuracies."""
    name, _, augmented = pool.partition("+")
    data = load_dataset("npz", path=options.data, limit=options.records, limit_seed=0, image_size=PIXELS)
    epochs = options.epochs * (2 if augmented else 1)
    recipe = Recipe(
        epochs=epochs,
        batch_size=32,
        learning_rate=LEARNING_RATES.get(name, 0.01),
        augmentation=bool(augmented),
    )
    signals = reference_shadows(
        NETWORKS[name],
        data.images,
        data.labels,
        count=options.models,
        recipe=recipe,
        seed=0,
        views=max(VIEWS),
        workers=options.jobs,
        cache=options.cache,
        device="cpu",
    )
    labels = data.labels.numpy()
    right = signals.logits[:, :, 0].argmax(axis=-1) == labels[:, None]
    accuracies = [float(right[side].mean()) for side in (signals.keep, ~signals.keep)]
    return {"logits": signals.logits, "keep": signals.keep, "labels": labels, "accuracies": accuracies}


def attack_pool(trained: dict[str, Any]) -> dict[str, list[list[float]]]:
    """AUC and TPR at 1% FPR of every setting on every target, by ``attack/mode/views/name``."""
    logits, keep, labels = trained["logits"], trained["keep"], trained["labels"]
    models = range(logits.shape[1])
    found: dict[str, list[list[float]]] = {}
    for setting in settings():
        for views in VIEWS:
            measured = np.stack([setting.measure(logits[:, s, :views], labels) for s in models], axis=1)
            for mode in setting.modes:
                key = f"{setting.attack}/{mode}/{views}/{setting.name}"
                found[key] = []
                for target in models:
                    others = [s for s in models if s // 2 != target // 2]
                    scores = setting.score(measured[:, target], measured[:, others], keep[:, others], mode)
                    known = np.isfinite(scores)
                    curve = roc_curve(scores[known], keep[known, target])
                    found[key].append([curve.auc, curve.tpr_at(0.01) or 0.0])
    return found


def default_keys() -> dict[str, str]:
    """The setting that is the default, by attack: as ``Effort`` says."""
    effort = Effort()
    return {
        "lira": f"{effort.lira_statistic}, pooled",
        "rmia": f"{effort.rmia_confidence}, T {effort.rmia_temperature}",
    }


def table(results: dict[str, Any], attack: str, mode: str) -> Iterator[str]:
    """A Markdown table: a row a setting and number of views, a column a pool; the default is bold."""
    pools, rows = list(results), {}
    for pool in pools:
        views = Effort().reference_views(Recipe(augmentation=pool.endswith("+aug")))
        for key, values in results[pool]["found"].items():
            if key.startswith(f"{attack}/{mode}/"):
                auc, rate = np.mean(values, axis=0)
                deviation = np.std(values, axis=0, ddof=1)
                cell = f"{auc:.3f} ({deviation[0]:.3f}); {rate:.3f} ({deviation[1]:.3f})"
                bold = key == f"{attack}/{mode}/{views}/{default_keys()[attack]}"
                rows.setdefault(key, []).append(f"**{cell}**" if bold else cell)
    yield f"\n{attack}, {mode}: AUC; TPR at 1% FPR (standard deviation over targets)\n"
    yield f"| setting | views | {' | '.join(pools)} |"
    yield "|---" * (len(pools) + 2) + "|"
    for key, cells in sorted(rows.items(), key=lambda row: row[0].split("/")[3]):
        _, _, views, name = key.split("/")
        yield f"| {name} | {views} | {' | '.join(cells)} |"


def behind(results: dict[str, Any], attack: str, mode: str) -> Iterator[str]:
    """How far the default is behind the best of each pool, by AUC and by TPR."""
    for pool, result in results.items():
        views = Effort().reference_views(Recipe(augmentation=pool.endswith("+aug")))
        found = {key: np.array(v) for key, v in result["found"].items() if key.startswith(f"{attack}/{mode}/")}
        ours = found[f"{attack}/{mode}/{views}/{default_keys()[attack]}"]
        names, each = list(found), np.stack(list(found.values()))
        parts = []
        for column, name in enumerate(("AUC", "TPR")):
            best = int(each[:, :, column].mean(axis=1).argmax())
            gap, share, error = _gap(each[best, :, column], ours[:, column])
            honest, honest_share, _ = _gap(_best_on_others(each[:, :, column]), ours[:, column])
            parts.append(f"{name} {gap:.4f} ({share:.1%}; s.e. {error:.4f}) behind {names[best].split('/', 2)[2]}, ")
            parts[-1] += f"{honest:.4f} ({honest_share:.1%}) behind the best on others"
        yield f"{attack:<5} {mode:<8} {pool:<16} {'; '.join(parts)}"


def _gap(best: Floats, ours: Floats) -> tuple[float, float, float]:
    """Mean of the difference over targets, its share of the best, and its standard error."""
    gap = best - ours
    return gap.mean(), gap.mean() / best.mean(), gap.std(ddof=1) / len(gap) ** 0.5


def _best_on_others(values: Floats) -> Floats:
    """What the setting that is best on all other targets reaches on each: ``(settings, targets)`` to ``(targets,)``."""
    totals = values.sum(axis=1, keepdims=True) - values
    return values[totals.argmax(axis=0), np.arange(values.shape[1])]


def main() -> None:
    """Trains the pools, attacks them and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the .npz file")
    parser.add_argument("--records", type=int, default=2400)
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=15, help="without augmentation; with it twice as many")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cache", help="folder of trained models (default: the user's)")
    parser.add_argument("--pools", default=",".join(POOLS))
    parser.add_argument("--output", type=Path, help="also write all results there, as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started, results = time.perf_counter(), {}
    for pool in options.pools.split(","):
        trained = train_pool(pool, options)
        results[pool] = {"accuracies": trained["accuracies"], "found": attack_pool(trained)}
        inside, outside = trained["accuracies"]
        seconds = time.perf_counter() - started
        print(f"{pool}: accuracy {inside:.3f} on members, {outside:.3f} on others; {seconds:.0f} s so far", flush=True)
    for attack in ("lira", "rmia"):
        for mode in MODES:
            print("\n".join(table(results, attack, mode)))
    print()
    for attack in ("lira", "rmia"):
        for mode in MODES:
            print("\n".join(behind(results, attack, mode)))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "attack_scores.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
