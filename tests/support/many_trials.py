"""A large run directory made from a small real one: its trials again and again, with other cells and other numbers.

``python many_trials.py SOURCE TARGET COUNT`` writes one.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from nni_privacy.cells.spaces import SPACES

NOISE = {"accuracy": 0.03, "mia_auc": 0.03}
"""Standard deviations by the end of a metric's name; ends of an interval move with it."""


def many_rows(rows: list[dict[str, Any]], count: int, *, seed: int = 0) -> Iterator[dict[str, Any]]:
    """``count`` records of trials like ``rows``: ids of five letters, drawn architectures, perturbed metrics."""
    rng = np.random.default_rng(seed)
    genotypes = SPACES["darts"].sample(count, seed, {"nodes": 4})
    for number in range(count):
        row = json.loads(json.dumps(rows[number % len(rows)]))
        shifts = {end: float(rng.normal(0, deviation)) for end, deviation in NOISE.items()}
        metrics = {name: _shifted(name, value, shifts) for name, value in row["metrics"].items()}
        yield {
            **row,
            "trial": _letters(number),
            "sequence": number,
            "architecture": str(genotypes[number]),
            "metrics": metrics,
        }


def _shifted(name: str, value: Any, shifts: dict[str, float]) -> Any:
    base = name.removesuffix("_low").removesuffix("_high")
    shift = next((shift for end, shift in shifts.items() if base.endswith(end)), None)
    return value if value is None or shift is None else float(np.clip(value + shift, 0.0, 1.0))


def _letters(number: int) -> str:
    letters = ""
    for _ in range(5):
        number, place = divmod(number, 26)
        letters = chr(ord("a") + place) + letters
    return letters


def make_many(source: Path, target: Path, count: int) -> Path:
    """Writes the large run directory ``target``; scores of the first trials are those of the source's."""
    lines = (source / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    rows = [row for row in rows if row["status"] == "succeeded"]
    (target / "scores").mkdir(parents=True)
    shutil.copy(source / "environment.json", target)
    config = yaml.safe_load((source / "config.yaml").read_text(encoding="utf-8"))
    (target / "config.yaml").write_text(yaml.safe_dump({**config, "trials": count}), encoding="utf-8")
    with (target / "trials.jsonl").open("w", encoding="utf-8") as file:
        for row in many_rows(rows, count):
            file.write(json.dumps(row) + "\n")
    for number, row in enumerate(rows):
        scores = source / "scores" / f"{row['trial']}.npz"
        if scores.is_file():
            shutil.copy(scores, target / "scores" / f"{_letters(number)}.npz")
    return target


if __name__ == "__main__":
    make_many(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
