"""Finished trials and the run that they are of: typed records of plain files, which engine, resume and reports share.

What is missing is None, not an error: a run may still be going on, its trials may have failed, and other tools may have
written only a part of the metrics. A corrupt line of ``trials.jsonl`` is skipped, and its number told; readers change
nothing, :mod:`nni_privacy.runs.salvage` mends the file of a run that goes on. Only a folder that is no run directory,
or one whose files cannot be read at all, is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from nni_privacy.cells.darts import Edge
from nni_privacy.cells.genotypes import genotype_or_none
from nni_privacy.cells.spaces import SPACES, AnyGenotype
from nni_privacy.errors import DataError, GenotypeError
from nni_privacy.files import read_yaml
from nni_privacy.runs.lines import read_lines

__all__ = [
    "CONFIG",
    "CONFIRM",
    "CONFIRMED",
    "CONSTRAINTS",
    "ENVIRONMENT",
    "SCORES",
    "STOPPED",
    "TRIALS",
    "Curves",
    "FixedEdges",
]
__all__ += [
    "RunInfo",
    "TrialRecord",
    "finite_metrics",
    "finite_number",
    "parse_record",
    "read_run",
    "read_trials",
    "run_of",
    "snapshot_rows",
]

TRIALS = "trials.jsonl"
CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
SCORES = "scores"
CONFIRM = "confirm"
"""Folder of a run directory that holds the run that confirms it."""

CONFIRMED = "confirmed.json"
"""In a run directory: what the run that confirms it found; see :mod:`nni_privacy.runs.confirmed`."""

CONSTRAINTS = "constraints.json"
"""In ``search/``: what a search with constraints skipped, and why it ended early if it did."""

STOPPED = "stopped"
"""The status of a trial that a rule stopped early."""

Curves = Mapping[str, tuple[float | None, ...]]
"""Name of a metric to its values after each epoch; None where one was no finite number."""

FixedEdges = Mapping[str, tuple[Edge, ...]]
"""Name of a searched cell to the edges that the pattern fixed in it."""


@dataclass(frozen=True)
class TrialRecord:
    """A finished trial: one line of ``trials.jsonl``.

    Attributes:
        trial: NNI's id of the trial.
        sequence: the number of its proposal, from 0: in a run that was never resumed, its number in the web UI.
        status: ``"succeeded"``, ``"failed"``, ``"stopped"`` (early, by a rule), or what else another tool wrote.
        architecture: what was really trained; of a failed trial, what was proposed.
        metrics: its final metrics that are finite numbers, fractions; empty if it failed.
        seconds: wall time of training and audit, without NNI's overhead.
        error: why it failed.
        factors: of a trial of a study, what it was set to (architecture, data set, seed, ...); of one whose size was
            searched, the size; else empty.
        unresolved: names of the metrics that have no finite number, such as a rate that so few records cannot resolve.
        data: sizes of the ``split`` by part, and members and non-members of the ``classes`` by label; empty if unknown.
        notices: why the metrics may be no result; each begins with its kind and a colon.
        curves: what it reported after each epoch; empty if it reported nothing.
        stopped: why it was stopped early; None if it was not.
        snapshots: of a trial of a study that takes some: what it measured after each of some epochs, its last included
            (docs/studies.md); None is what was not measured.
    """

    trial: str
    sequence: int
    status: str
    architecture: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    error: str | None = None
    factors: Mapping[str, Any] = field(default_factory=dict)
    unresolved: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    curves: Curves = field(default_factory=dict)
    stopped: str | None = None
    snapshots: tuple[Mapping[str, float | None], ...] = ()

    def to_json(self) -> str:
        """One line of JSON: an unresolved metric is null, other fields without a value are left out."""
        content = asdict(self)
        content["metrics"] = {**self.metrics, **dict.fromkeys(content.pop("unresolved"))}
        kept = {key: value for key, value in content.items() if key == "metrics" or value not in (None, {}, ())}
        return json.dumps(kept, allow_nan=False)

    @classmethod
    def from_row(cls, row: Mapping[str, Any], *, line: int) -> TrialRecord:
        """Reads what :meth:`to_json` wrote; what is missing or of another type is left out.

        Args:
            row: the object of one line.
            line: its number, from 1; stands for a missing id or sequence.
        """
        sequence, error, notices = row.get("sequence"), row.get("error"), row.get("notices")
        curves, stopped = _mapping(row.get("curves")), row.get("stopped")
        metrics, unresolved = finite_metrics(_mapping(row.get("metrics")))
        snapshots = row.get("snapshots")
        return cls(
            trial=str(row.get("trial") or f"line {line}"),
            sequence=sequence if type(sequence) is int else line - 1,
            status=str(row.get("status") or "unknown"),
            architecture=str(row.get("architecture") or ""),
            metrics=metrics,
            seconds=finite_number(row.get("seconds")),
            error=None if error is None else str(error),
            factors={key: value for key, value in _mapping(row.get("factors")).items() if _plain(value)},
            unresolved=unresolved,
            data=_mapping(row.get("data")),
            notices=tuple(str(one) for one in notices) if isinstance(notices, list) else (),
            curves={key: tuple(map(finite_number, one)) for key, one in curves.items() if isinstance(one, list)},
            stopped=None if stopped is None else str(stopped),
            snapshots=snapshot_rows(snapshots),
        )

    @cached_property
    def genotype(self) -> AnyGenotype | None:
        """The architecture as a genotype; None if it is not one."""
        return genotype_or_none(self.architecture)

    @cached_property
    def identity(self) -> str:
        """What tells its proposal from others without the sample: a study's factors, or architecture and size."""
        whole = {"architecture": self.architecture, **self.factors}  # in a study, factors name it by its label
        return json.dumps(whole, sort_keys=True) if self.factors else self.architecture

    @property
    def succeeded(self) -> bool:
        """Whether the trial ended well."""
        return self.status == "succeeded"

    @property
    def epochs(self) -> int:
        """The number of epochs that it has reported."""
        return max(map(len, self.curves.values()), default=0)

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
        corrupt_lines: line numbers of ``trials.jsonl`` that were skipped; see :func:`read_trials`.
    """

    directory: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    fixed_edges: FixedEdges
    trials: tuple[TrialRecord, ...]
    corrupt_lines: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The experiment's name, or the folder's."""
        return str(self.config.get("name") or self.directory.resolve().name)

    @property
    def succeeded(self) -> tuple[TrialRecord, ...]:
        """The trials that ended well."""
        return tuple(trial for trial in self.trials if trial.succeeded)

    @property
    def measured(self) -> tuple[TrialRecord, ...]:
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
        return configured or any("architecture" in trial.factors for trial in self.trials)

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
    has = {name: (directory / name).is_file() for name in (TRIALS, CONFIG, ENVIRONMENT)}
    if not has[TRIALS] and not (has[CONFIG] and has[ENVIRONMENT]):
        raise DataError(
            f"{directory}: not a run directory; it has no trials.jsonl, nor config.yaml and environment.json"
        )
    return run_of(directory, *read_trials(directory / TRIALS))


def run_of(directory: Path, trials: Iterable[TrialRecord], corrupt: tuple[int, ...] = ()) -> RunInfo:
    """A run directory whose trials have been read, in any order, with its configuration and environment.

    Raises:
        DataError: if one of these files is not what its name says.
    """
    environment = _read_mapping(directory / ENVIRONMENT)
    return RunInfo(
        directory=directory,
        config=_read_mapping(directory / CONFIG),
        environment=environment,
        fixed_edges=_fixed_edges(environment.get("fixed_edges"), directory / ENVIRONMENT),
        trials=tuple(sorted(trials, key=lambda trial: (trial.sequence, trial.trial))),
        corrupt_lines=corrupt,
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from None


def _read_mapping(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(_read_text(path)) if path.suffix == ".json" else read_yaml(path, error=DataError)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({' '.join(str(error).split())[:120]})") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected keys and values, found a {type(value).__name__}")
    return value


def _fixed_edges(value: Any, path: Path) -> FixedEdges:
    """The edges of cells that this process knows; those of a space that only a plugin knows say nothing here."""
    value = {} if value is None else value
    known = [cell for record in SPACES.values() for cell in record.cells]
    if not isinstance(value, Mapping):
        raise DataError(f"{path}: fixed_edges: expected lists of edges by cell, found {value!r:.80}")
    fixed: dict[str, tuple[Edge, ...]] = {}
    for name in [cell for cell in value if cell in known]:
        try:
            fixed[name] = tuple(Edge(*edge) for edge in value[name] or ())
        except (TypeError, GenotypeError) as error:
            raise DataError(f"{path}: fixed_edges: {name}: not a list of [source, target, op] ({error})") from None
    return fixed


def read_trials(path: Path) -> tuple[tuple[TrialRecord, ...], tuple[int, ...]]:
    """Reads ``trials.jsonl``.

    Args:
        path: of the file; without it there are no trials.

    Returns:
        The finished trials in the order in which they ended, the last line of a trial winning; and the numbers of the
        lines, from 1, that are not the whole record of a trial and nothing else, such as one that a killed process
        left. What is whole in them is read.

    Raises:
        DataError: if the file cannot be read.
    """
    try:
        lines = read_lines(path, parse_record)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from None
    trials = {line.value.trial: line.value for line in lines.whole}
    return tuple(trials.values()), tuple(lines.spoiled)


def parse_record(row: Any, line: int) -> TrialRecord | None:
    """The record of an object of line number ``line``; None if it is not the record of a trial."""
    named = isinstance(row, dict) and isinstance(row.get("trial"), str) and row["trial"]
    return TrialRecord.from_row(row, line=line) if named else None


def finite_metrics(reported: Mapping[str, Any]) -> tuple[dict[str, float], tuple[str, ...]]:
    """The metrics that are finite numbers, and the names of the others."""
    numbers = {name: finite_number(value) for name, value in reported.items()}
    unresolved = tuple(name for name, number in numbers.items() if number is None)
    return {name: number for name, number in numbers.items() if number is not None}, unresolved


def snapshot_rows(value: Any) -> tuple[Mapping[str, float | None], ...]:
    """The rows of :attr:`TrialRecord.snapshots`, as JSON has them; what is of another type is left out."""
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    return tuple({str(name): finite_number(number) for name, number in row.items()} for row in rows)


def finite_number(value: Any) -> float | None:
    """A value as a float; None if it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)
