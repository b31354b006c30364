"""Cross-fitting against the paper's single split: null runs, intervals and cost, on digits.

    python benchmarks/cross_fitting.py [--runs 1000] [--targets 4] [--attacks black_box_partial,white_box_partial]
        [--null cross_fit,paper] [--first 0]

TARGETS networks (DARTS_V2, 8 channels, 5 cells, 30 epochs: a default trial) are trained on a quarter of digits each.

Null runs: a network's answers on the 898 records that it never saw, of which a random half are called members. Printed
are the mean AUC with its standard error, how often the 95% interval contains .5 (with the Clopper-Pearson interval of
that share), and the share of runs in which the verdict is a leak (5% at most are allowed). Runs are numbered from
FIRST, and a run's number is its seed. By construction the expected AUC of a run is exactly .5 (a test goes through all
ways to call twelve records members). A run deviates by .02: the mean of 200 is further than .003 from .5 once in thirty
times, by chance, that of 1,000 never.

Leaks: the real members and non-members. Printed are AUC and width of the interval of both protocols, and CPU seconds of
the attack; the share of a trial is that of the cross-fitted attack in training and attack together.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch

from nni_privacy import Recipe
from nni_privacy.attacks import AttackReport, TargetSignals, clopper_pearson, get_attack, judge, report_attack
from nni_privacy.auditing.forward import extract_signals
from nni_privacy.data import Normalizer, load_dataset, split_four_ways
from nni_privacy.search_spaces.network import CellNetwork
from nni_privacy.training.fit import fit, seed_everything

GENOTYPE = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), "
    "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)
PROTOCOLS = ("paper", "cross_fit")
EPOCHS = 30


@dataclass(frozen=True)
class Target:
    """A trained network.

    Attributes:
        leaking: its answers on members and non-members.
        unseen: on as many records of neither.
        seconds: CPU time of its training.
    """

    leaking: TargetSignals
    unseen: TargetSignals
    seconds: float


def train(seed: int, *, epochs: int = EPOCHS) -> Target:
    """Trains one network as a trial does."""
    data = load_dataset("digits")
    split = split_four_ways(len(data), seed=seed)
    normalize = Normalizer.fit(data.images[split.target_train])
    seed_everything(seed)
    model = CellNetwork.of(genotype=GENOTYPE, channels=8, cells=5, in_channels=1, num_classes=10)
    rows, started = split.target_train, time.process_time()
    recipe = Recipe(epochs=epochs)
    fit(model, data.images[rows], data.labels[rows], recipe=recipe, seed=seed, device="cpu", normalize=normalize)
    seconds = time.process_time() - started
    parts = []
    for first, second in ((split.target_train, split.target_test), (split.shadow_train, split.shadow_test)):
        records = np.concatenate([first, second])
        member = np.arange(len(records)) < len(first)
        images, labels = data.images[records], data.labels[records]
        parts.append(extract_signals(model, images, labels, member, device="cpu", normalize=normalize, gradients=True))
    return Target(*parts, seconds)


def attacked(signals: TargetSignals, attack: str, protocol: str, seed: int) -> AttackReport:
    """The attack's report."""
    return report_attack(attack, get_attack(attack)(signals, seed=seed, protocol=protocol))


def null_run(target: Target, attack: str, protocol: str, seed: int) -> AttackReport:
    """The attack on records that the network never saw, half of them called members."""
    unseen = target.unseen
    member = np.random.default_rng([seed, 1]).permutation(len(unseen)) < len(unseen) // 2
    signals = TargetSignals(unseen.logits, unseen.labels, member, features=unseen.features)
    return attacked(signals, attack, protocol, seed)


def width(report: AttackReport) -> float:
    """Of the interval of the AUC."""
    return (report.metrics["mia_auc_high"] or 1.0) - (report.metrics["mia_auc_low"] or 0.0)


def null_line(targets: list[Target], attack: str, protocol: str, seeds: range) -> str:
    """What came of a run of each seed in which nothing leaks."""
    runs = len(seeds)
    found = [null_run(targets[run % len(targets)], attack, protocol, run) for run in seeds]
    aucs = np.array([report.roc.auc for report in found])
    inside = sum((one.metrics["mia_auc_low"] or 0) <= 0.5 <= (one.metrics["mia_auc_high"] or 1) for one in found)
    low, high = clopper_pearson(inside, runs)
    leaks = sum(judge([report]).leak for report in found) / runs
    error = aucs.std(ddof=1) / np.sqrt(runs)
    return (
        f"null  {attack:<18} {protocol:<10} mean AUC {aucs.mean():.4f} (standard error {error:.4f}, deviation "
        f"{aucs.std(ddof=1):.4f}); .5 inside {inside / runs:.3f} [{low:.3f}, {high:.3f}]; "
        f"width {np.mean([width(report) for report in found]):.4f}; said to leak {leaks:.3f}"
    )


def leak_line(targets: list[Target], attack: str) -> str:
    """Both protocols on the real members."""
    aucs, widths, seconds = ({name: [] for name in PROTOCOLS} for _ in range(3))  # type: ignore[var-annotated]
    for seed, target in enumerate(targets):
        for protocol in PROTOCOLS:
            started = time.process_time()
            report = attacked(target.leaking, attack, protocol, seed)
            seconds[protocol].append(time.process_time() - started)
            aucs[protocol].append(report.roc.auc)
            widths[protocol].append(width(report))
    narrower = np.array(widths["paper"]) / np.array(widths["cross_fit"])
    slower = np.array(seconds["cross_fit"]) / np.array(seconds["paper"])
    own = np.array(seconds["cross_fit"])
    share = own / (own + [target.seconds for target in targets])
    shown = "; ".join(
        f"{name}: AUC {np.mean(aucs[name]):.4f} (deviation {np.std(aucs[name]):.4f}), width {np.mean(widths[name]):.4f}"
        for name in PROTOCOLS
    )
    return (
        f"leak  {attack:<18} {shown}; narrower {narrower.mean():.2f}x ({narrower.min():.2f} to {narrower.max():.2f}); "
        f"cost {slower.mean():.2f}x ({slower.min():.2f} to {slower.max():.2f}), {own.mean():.2f} s of a trial: "
        f"{share.mean():.1%} ({share.min():.1%} to {share.max():.1%})"
    )


def main() -> None:
    """Trains, attacks and prints a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first null run")
    parser.add_argument("--targets", type=int, default=4)
    parser.add_argument("--attacks", default="black_box_partial,white_box_partial")
    parser.add_argument("--null", default=",".join(PROTOCOLS), help="protocols of the null runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(options.first, options.first + options.runs)
    targets = [train(seed) for seed in range(options.targets)]
    print(f"training: {np.mean([target.seconds for target in targets]):.1f} CPU seconds", flush=True)
    for attack in options.attacks.split(","):
        attacked(targets[0].leaking, attack, "paper", 0)  # imports, and buffers that torch makes once
        print(leak_line(targets, attack), flush=True)
        for protocol in options.null.split(","):
            print(null_line(targets, attack, protocol, seeds), flush=True)


if __name__ == "__main__":
    main()
