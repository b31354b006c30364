"""How well an epoch's metrics rank the final ones, and what a rule of early stopping spares and loses, on real curves.

Run: python benchmarks/early_stopping.py [RUN] [--stop '{after: 10}'] [--orders 200] [--trials 20]

RUN is the run directory of a search or a study without early stopping, whose trials have curves; without it the 40
random cells of tests/support/learning_curves.csv (digits, 8 channels, 5 cells, 15 epochs, one seed). A replay takes the
trials one after the other in a random order, and gives each as many epochs as the rule lets it have. With --trials
each replay is of so many trials, drawn at random, so that the best is another one each time. It takes a minute.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from scipy.stats import spearmanr

from nni_privacy.runs.records import TrialRecord, read_run
from nni_privacy.runs.stopping import Stopping, StopRule, stop_rule

CURVES = Path(__file__).parents[1] / "tests" / "support" / "learning_curves.csv"
METRICS = ("accuracy", "loss", "loss_threshold_mia_auc")
RULES = (
    {"rule": "median"},
    {"rule": "median", "after": 3},
    {"rule": "median", "after": 8},
    {"rungs": [3, 9]},
    {"rungs": [3, 9], "keep": 0.33},
    {"after": 5, "metric": "loss_threshold_mia_auc"},
    {"after": 9, "metric": "loss_threshold_mia_auc"},
    {"after": 5, "metric": ["accuracy", "loss_threshold_mia_auc"]},
)


@dataclass(frozen=True)
class Replays:
    """What came of a rule.

    Attributes:
        epochs: share of all epochs that were trained, a replay each.
        accurate: whether the trial of the highest accuracy was stopped.
        private: whether the one of the lowest AUC was.
        loss: highest accuracy of all less that of those that were not stopped.
    """

    epochs: np.ndarray
    accurate: np.ndarray
    private: np.ndarray
    loss: np.ndarray


def read_curves(path: Path) -> list[TrialRecord]:
    """The trials of a run directory, or of a table with a row an epoch, as records with curves."""
    if path.is_dir():
        return [trial for trial in read_run(path).measured if trial.curves]
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    records = []
    for name in dict.fromkeys(row["trial"] for row in rows):
        own = [row for row in rows if row["trial"] == name]
        curves = {metric: tuple(float(row[metric]) for row in own) for metric in METRICS}
        final = {metric: float(own[0][f"final_{metric}"]) for metric in ("accuracy", "mia_auc")}
        records.append(TrialRecord(name, int(name), "succeeded", "", final, curves=curves))
    return records


def replay(records: Sequence[TrialRecord], rule: StopRule, *, orders: int, trials: int | None, seed: int) -> Replays:
    """Replays in random orders of the trials, or of so many of them."""
    rng, results = np.random.default_rng(seed), []
    epochs = max(record.epochs for record in records)
    for _ in range(orders):
        chosen = [records[place] for place in rng.permutation(len(records))[:trials]]
        stopping, trained, kept = Stopping(rule, epochs), 0, []
        for record in chosen:
            for epoch in range(1, epochs + 1):
                so_far = {metric: values[:epoch] for metric, values in record.curves.items()}
                if stopping.reported(record.trial, so_far) is not None:
                    break
            else:
                kept.append(record)
            stopping.ended(record.trial)
            trained += epoch
        best = max(record.metrics["accuracy"] for record in chosen)
        lowest = min(record.metrics["mia_auc"] for record in chosen)
        found = max((record.metrics["accuracy"] for record in kept), default=0.0)
        least = min((record.metrics["mia_auc"] for record in kept), default=1.0)
        results.append((trained / (epochs * len(chosen)), found < best, least > lowest, best - found))
    return Replays(*map(np.array, zip(*results, strict=True)))


def correlations(records: Sequence[TrialRecord], *, seed: int) -> list[str]:
    """A line an epoch: Spearman's correlation of its metrics with the final ones, with 95% bootstrap intervals."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(records), size=(1000, len(records)))
    lines = []
    for epoch in range(max(record.epochs for record in records)):
        parts = []
        for metric, final in (("accuracy", "accuracy"), ("loss_threshold_mia_auc", "mia_auc")):
            now = np.array([record.curves[metric][epoch] for record in records])
            end = np.array([record.metrics[final] for record in records])
            low, high = np.nanquantile([spearmanr(now[one], end[one])[0] for one in draws], [0.025, 0.975])
            parts.append(f"{metric} {spearmanr(now, end)[0]:+.2f} [{low:+.2f}, {high:+.2f}]")
        lines.append(f"epoch {epoch + 1:>3}  " + "  ".join(parts))
    return lines


def main() -> None:
    """Prints the correlations and a line a rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, default=CURVES)
    parser.add_argument("--stop", type=yaml.safe_load)
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    records = read_curves(options.run)
    print(f"{len(records)} trials; correlation with the final metric, over trials")
    print("\n".join(correlations(records, seed=options.seed)))
    for stop in RULES if options.stop is None else [options.stop]:
        found = replay(records, stop_rule(stop), orders=options.orders, trials=options.trials, seed=options.seed)
        print(
            f"{stop}: {found.epochs.mean():.0%} of the epochs (95% of replays below "
            f"{np.quantile(found.epochs, 0.95):.0%}); best accuracy lost in {found.accurate.mean():.1%} "
            f"(by {found.loss.mean():.4f} on average), lowest AUC in {found.private.mean():.1%}"
        )


if __name__ == "__main__":
    main()
