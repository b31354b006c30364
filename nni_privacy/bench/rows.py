"""Rows of the table from the run directory of a study that takes snapshots."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nni_privacy.bench.columns import COLUMNS, column_named
from nni_privacy.cells.spaces import space_of
from nni_privacy.errors import DataError
from nni_privacy.runs.records import RunInfo, TrialRecord

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["protocols_of", "rows_of_run"]

_PLACES = ("root", "path", "download", "label")
"""Options of a data set that say where it lies, not what it is."""
_TRAINED = ("recipe", "attacks", "effort", "shadow", "threads")
_WIDTH = re.compile(r"(\d+) channels")
_DIGEST = 10


def protocols_of(run: RunInfo) -> dict[str, tuple[str, dict[str, Any]]]:
    """How each data set of a study was measured: label to the digest and the settings that it is of.

    Rows of two runs may be compared where their digests are equal: records, recipe, attacks and snapshots are the same.
    """
    evaluator, found = run.config.get("evaluator") or {}, {}
    shared = {name: evaluator.get(name) for name in _TRAINED} | {"snapshots": run.config.get("snapshots")}
    shared["shadow"] = {
        name: value for name, value in (shared["shadow"] or {}).items() if name not in ("cache", "workers")
    }
    for section in run.config.get("datasets") or []:
        label = str(section.get("label") or section.get("name"))
        settings = {"dataset": {name: value for name, value in section.items() if name not in _PLACES}, **shared}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:_DIGEST]
        found[label] = (digest, settings)
    return found


def rows_of_run(run: RunInfo) -> pd.DataFrame:
    """The rows of a study's finished trials: one for each look at each training.

    Args:
        run: its run directory; it may still go on.

    Returns:
        The columns of :data:`~nni_privacy.bench.columns.COLUMNS`, then those of attacks.

    Raises:
        DataError: if the run is no study that took snapshots of cells.
    """
    import pandas as pd

    if not run.config.get("snapshots"):
        raise DataError(f"{run.directory}: no study that takes snapshots; its configuration needs 'snapshots:'")
    protocols = {label: digest for label, (digest, _) in protocols_of(run).items()}
    rows = [row for trial in run.succeeded for row in _rows(trial, protocols)]
    if not rows:
        raise DataError(f"{run.directory}: no finished training of a cell yet")
    table = pd.DataFrame(rows)
    for name in table:
        column = column_named(str(name))
        if column is not None and column.kind != "text":
            table[name] = table[name].astype("int64" if column.kind == "whole" else "float64")
    first = [column.name for column in COLUMNS if column.name in table]
    return table[[*first, *sorted(name for name in table if name not in first)]]


def _rows(trial: TrialRecord, protocols: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    factors, genotype, split = trial.factors, trial.genotype, trial.data.get("split") or {}
    width = _WIDTH.match(str(factors.get("size")))
    if genotype is None or width is None or not trial.snapshots:
        return
    training = {
        "dataset": factors["dataset"],
        "protocol": protocols.get(str(factors["dataset"]), ""),
        "space": space_of(genotype).name,
        "cell": factors["architecture"],
        "variant": _variant(factors),
        "width": int(width[1]),
        "seed": factors["seed"],
        "epochs": max(row["epoch"] or 0 for row in trial.snapshots),
        "genotype": trial.architecture,
        "channels": factors.get("channels"),
        "network_cells": factors.get("network_cells"),
        "parameters": trial.metrics.get("parameters"),
        "multiply_adds": trial.metrics.get("multiply_adds"),
        "members": split.get("target_train"),
        "nonmembers": split.get("target_test"),
    }
    for look in trial.snapshots:
        row = {**training, **look}
        yield {**row, "gap": _difference(row.get("train_accuracy"), row.get("accuracy"))}


def _variant(factors: Mapping[str, Any]) -> str:
    """What was done, the defence of the training among it."""
    defence = factors.get("defence")
    return str(factors["variant"]) + (f" with {defence}" if defence not in (None, "none") else "")


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else float(f"{first - second:.6g}")
