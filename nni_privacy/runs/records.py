"""Reads a run directory: plain files into typed rows.

What is missing is None, not an error: a run may still be going on, its trials may have failed, and other tools may have
written only a part of the metrics. Only a folder that is no run directory, or one whose files cannot be read at all, is
refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from nni_privacy.cells.darts import Edge
from nni_privacy.cells.genotypes import CELL_NAMES, AnyGenotype, parse_genotype
from nni_privacy.errors import DataError, GenotypeError

__all__ = ["Factor", "FixedEdges", "RunInfo", "TrialInfo", "read_run"]

Factor = str | int | float | None

FixedEdges = Mapping[str, tuple[Edge, ...]]
"""Name of a searched cell to the edges that the pattern fixed in it."""


@dataclass(frozen=True)
class TrialInfo:
    """One finished trial.

    Attributes:
        sequence: NNI's number of the trial, or its line in the file where that is missing.
        trial: NNI's identifier.
        status: ``"succeeded"``, ``"failed"``, or what else was written.
        architecture: the text that was reported.
        genotype: that text as a genotype; None if it is not one.
        metrics: the finite numbers among the reported metrics, under the names of docs/report.md.
        seconds: duration of the trial.
        error: why it failed.
        factors: of a trial of a measurement study, what it was set to (architecture, kind, data set, seed, ...); else
            empty.
    """

    sequence: int
    trial: str
    status: str
    architecture: str
    genotype: AnyGenotype | None
    metrics: Mapping[str, float]
    seconds: float | None
    error: str | None
    factors: Mapping[str, Factor] = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """Whether the trial ended well."""
        return self.status == "succeeded"

    @property
    def accuracy(self) -> float | None:
        """Test accuracy, in [0, 1]."""
        return self.metrics.get("accuracy")

    @property
    def mia_auc(self) -> float | None:
        """AUC of the primary attack, in [0, 1]; 0.5 is guessing."""
        return self.metrics.get("mia_auc")

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval of :attr:`mia_auc`."""
        low, high = self.metrics.get("mia_auc_low"), self.metrics.get("mia_auc_high")
        return None if low is None or high is None else (low, high)

    def missing(self, fixed: FixedEdges) -> list[tuple[str, Edge]]:
        """The edges of ``fixed`` that this trial's genotype does not have; all of them if it has no genotype."""
        present = self.genotype.edges_by_cell() if self.genotype is not None else {}
        return [(name, edge) for name, edges in fixed.items() for edge in edges if edge not in present.get(name, ())]


@dataclass(frozen=True)
class RunInfo:
    """A run directory, read.

    Attributes:
        directory: the folder.
        config: the resolved configuration; empty if the file is missing.
        environment: versions, seed, device; empty if the file is missing.
        fixed_edges: per searched cell the edges that the pattern fixed.
        trials: by sequence; one row a trial.
        unreadable_lines: line numbers of ``trials.jsonl`` that were skipped, as a process was killed while it wrote.
    """

    directory: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    fixed_edges: FixedEdges
    trials: tuple[TrialInfo, ...]
    unreadable_lines: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The experiment's name, or the folder's."""
        return str(self.config.get("name") or self.directory.resolve().name)

    @property
    def succeeded(self) -> tuple[TrialInfo, ...]:
        """The trials that ended well."""
        return tuple(trial for trial in self.trials if trial.succeeded)

    @property
    def measured(self) -> tuple[TrialInfo, ...]:
        """The succeeded trials with both an accuracy and an AUC."""
        return tuple(trial for trial in self.succeeded if trial.accuracy is not None and trial.mia_auc is not None)

    @property
    def predicted(self) -> bool:
        """Whether the trials' AUCs are a surrogate's predictions, and nothing was trained."""
        evaluator = self.config.get("evaluator")
        if isinstance(evaluator, Mapping) and evaluator.get("kind") == "predicted":
            return True
        names = {name for trial in self.trials for name in trial.metrics}
        return "predicted_mia_auc" in names and "mia_auc" not in names

    @property
    def study(self) -> bool:
        """Whether this is a measurement study: its trials were set by factors, nothing was searched."""
        configured = "architectures" in self.config and "strategy" not in self.config
        return configured or any(trial.factors for trial in self.trials)

    @property
    def attacks(self) -> tuple[str, ...]:
        """Names of the attacks as configured, the primary one first."""
        evaluator = self.config.get("evaluator")
        attacks = evaluator.get("attacks") if isinstance(evaluator, Mapping) else None
        if isinstance(attacks, str):
            attacks = [attacks]
        return tuple(name_of(attack) for attack in attacks) if isinstance(attacks, list) else ()


def name_of(value: Any) -> str:
    """The name in a part of the configuration that is either a name or a mapping with one; "" if there is none."""
    if isinstance(value, Mapping):
        value = value.get("name")
    return "" if value is None else str(value)


def read_run(path: str | Path) -> RunInfo:
    """Reads a run directory.

    Args:
        path: the folder with ``trials.jsonl``, ``config.yaml`` and ``environment.json``. Before the first trial has
            finished, the first may be missing.

    Raises:
        DataError: if the folder is no run directory, or one of its files is not what its name says.
    """
    directory = Path(path)
    if not directory.is_dir():
        raise DataError(f"{directory}: no such directory; expected a run directory, as nni-privacy search writes it")
    has = {name: (directory / name).is_file() for name in ("trials.jsonl", "config.yaml", "environment.json")}
    if not has["trials.jsonl"] and not (has["config.yaml"] and has["environment.json"]):
        raise DataError(
            f"{directory}: not a run directory; it has no trials.jsonl, nor config.yaml and environment.json"
        )
    environment = _read_mapping(directory / "environment.json")
    trials, unreadable = _read_trials(directory / "trials.jsonl")
    return RunInfo(
        directory=directory,
        config=_read_mapping(directory / "config.yaml"),
        environment=environment,
        fixed_edges=_fixed_edges(environment.get("fixed_edges"), directory / "environment.json"),
        trials=trials,
        unreadable_lines=unreadable,
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from None


def _read_mapping(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    text = _read_text(path)
    try:
        value = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path}: not valid {'JSON' if path.suffix == '.json' else 'YAML'} ({reason})") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected keys and values, found a {type(value).__name__}")
    return value


def _fixed_edges(value: Any, path: Path) -> FixedEdges:
    if value is None:
        value = {}
    if not isinstance(value, Mapping) or not set(value) <= set(CELL_NAMES):
        raise DataError(
            f"{path}: fixed_edges: expected lists of edges under {' or '.join(CELL_NAMES)}, found {value!r}"
        )
    fixed: dict[str, tuple[Edge, ...]] = {}
    for name in value:
        try:
            fixed[name] = tuple(Edge(*edge) for edge in value[name] or ())
        except (TypeError, GenotypeError) as error:
            raise DataError(f"{path}: fixed_edges: {name}: not a list of [source, target, op] ({error})") from None
    return fixed


def _read_trials(path: Path) -> tuple[tuple[TrialInfo, ...], tuple[int, ...]]:
    """Trials by sequence, the last line of a trial winning, and the numbers of the lines that are no trial."""
    trials: dict[str, TrialInfo] = {}
    unreadable: list[int] = []
    for number, line in enumerate(_read_text(path).split("\n") if path.is_file() else (), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            unreadable.append(number)
            continue
        trial = _trial(row, number)
        trials[trial.trial] = trial
    return tuple(sorted(trials.values(), key=lambda trial: (trial.sequence, trial.trial))), tuple(unreadable)


def _trial(row: Mapping[str, Any], number: int) -> TrialInfo:
    sequence, metrics, error = row.get("sequence"), row.get("metrics"), row.get("error")
    architecture = str(row.get("architecture") or "")
    numbers = {str(key): _number(value) for key, value in metrics.items()} if isinstance(metrics, dict) else {}
    return TrialInfo(
        sequence=sequence if type(sequence) is int else number - 1,
        trial=str(row.get("trial") or f"line {number}"),
        status=str(row.get("status") or "unknown"),
        architecture=architecture,
        genotype=_genotype(architecture),
        metrics={key: value for key, value in numbers.items() if value is not None},
        seconds=_number(row.get("seconds")),
        error=None if error is None else str(error),
        factors=_factors(row.get("factors")),
    )


def _factors(value: Any) -> dict[str, Factor]:
    """The factors that are plain values; the others are left out."""
    if not isinstance(value, dict):
        return {}
    return {str(key): item for key, item in value.items() if item is None or isinstance(item, str | int | float)}


def _genotype(text: str) -> AnyGenotype | None:
    try:
        return parse_genotype(text)
    except GenotypeError:
        return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
