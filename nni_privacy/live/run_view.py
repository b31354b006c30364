"""A run directory as it is now: what is new is read and computed, the rest is remembered."""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from nni_privacy.analysis.constraints import Constraints
from nni_privacy.analysis.pareto import REFERENCE, hypervolume_growth, pareto_front
from nni_privacy.errors import ConfigError, DataError
from nni_privacy.live.inside import LARGEST, check_inside, is_inside
from nni_privacy.live.metrics import metric_infos
from nni_privacy.live.rows import PHASES, Row, RowContext, judged, pattern_of, row_of, running_rows, supernet_rows
from nni_privacy.live.run_state import REPORT, RunState, Stamp, State, stamp_of
from nni_privacy.report.feasibility import feasibility_info
from nni_privacy.runs.following import TrialFollower
from nni_privacy.runs.models import MODELS
from nni_privacy.runs.notices import notices_of
from nni_privacy.runs.records import CONFIG, CONSTRAINTS, ENVIRONMENT, TRIALS, RunInfo, TrialRecord, name_of, run_of

__all__ = ["RunView", "holds_run"]

_SEARCH = "search"
"""Folder of a run directory with what a strategy has written."""

_READ = {TRIALS: LARGEST, CONFIG: 1 << 20, ENVIRONMENT: 1 << 24}
"""Files that a run is read from, and how many bytes each may have."""

_WORD, _NUMBER = re.compile(r"[\w-]+", re.ASCII), re.compile(r"\d{1,15}", re.ASCII)

_JUDGING_SECONDS = 0.1
"""What reading genotypes may cost one answer."""


class RunView:
    """A run directory, read again where it has changed whenever somebody asks. Safe among threads.

    Args:
        folder: of a search or a study.
        nni: whether NNI's own pages of this run are beside the live page.
    """

    def __init__(self, folder: Path, *, nni: bool = False) -> None:
        self.folder, self._nni = folder, nni
        self._follower = TrialFollower(folder / TRIALS)
        self._lock = threading.RLock()
        self._state = RunState(folder)
        self._stamps: tuple[Stamp, ...] | None = None
        self._run: RunInfo | None = None
        self._changed: set[str] = set()
        self._unjudged: dict[str, None] = {}
        self._renewed = True
        self._kept: tuple[Stamp, frozenset[str]] = None, frozenset()
        self._generation, self._version = secrets.token_hex(4), 0
        self._rows: dict[str, tuple[int, Row]] = {}
        self._facts: dict[str, Any] = {}
        self._context = RowContext(Constraints(), {}, None)
        self._ended_early = False

    @property
    def run(self) -> RunInfo:
        """The run as it is now.

        Raises:
            DataError: if one of its files cannot be read.
        """
        with self._lock:
            return self._look()

    def trial(self, name: str) -> tuple[TrialRecord, Row] | None:
        """A finished trial and its row; None if there is none of that id."""
        with self._lock:
            self._look()
            record, row = self._follower.trials.get(name), self._rows.get(name)
            return None if record is None or row is None else (record, row[1])

    def rows(self) -> list[Row]:
        """All rows, by sequence."""
        with self._lock:
            self._look()
            return _ordered(self._rows.values())

    def entry(self) -> dict[str, Any]:
        """The line of the index."""
        with self._lock:
            run = self._look()
            auc = str(self._facts["y"])
            accuracies = [trial.accuracy for trial in run.succeeded if trial.accuracy is not None]
            return {
                "name": run.name,
                "kind": self._facts["kind"],
                "state": self._now(run),
                "trials": len(run.trials),
                "planned": self._state.planned(run),
                "best_accuracy": max(accuracies, default=None),
                "lowest_auc": min((one.metrics[auc] for one in run.succeeded if auc in one.metrics), default=None),
                "changed": self._state.changed(),
            }

    def snapshot(self, after: str | None = None) -> dict[str, Any]:
        """All of the run, with those rows that are new or differ since the cursor ``after``."""
        with self._lock:
            run = self._look()
            generation, _, number = (after or "").partition("-")
            since = int(number) if generation == self._generation and _NUMBER.fullmatch(number) else None
            rows = self._rows.values() if since is None else [one for one in self._rows.values() if one[0] > since]
            now, state = time.time(), self._now(run)
            supernet = supernet_rows(self.folder / _SEARCH)
            running = (*supernet, *running_rows(self._state.progress, run.trials, now)) if state == "running" else ()
            return {
                **self._facts,
                **vars(self._state.clock(run, state, now)),
                "state": state,
                "cursor": f"{self._generation}-{self._version}",
                "reset": since is None,
                "planned": self._state.planned(run),
                "report": is_inside(self.folder, self.folder / REPORT),
                "rows": [vars(row) for row in _ordered(rows)],
                "running": [vars(row) for row in running],
            }

    def _now(self, run: RunInfo) -> State:
        return self._state.now(run, ended_early=self._ended_early)

    # --- reading ---

    def _look(self) -> RunInfo:
        """Reads what has changed; where the configuration or an old line did, all rows count as new.

        What could not be taken in, as another file is broken, is taken in once that is mended.
        """
        if not holds_run(self.folder):
            gone = "the run is gone; " if self._run is not None else ""
            raise DataError(f"{self.folder}: {gone}not a run directory; it has no trials.jsonl, nor a configuration")
        for name, most in _READ.items():
            check_inside(self.folder, self.folder / name, most)
        news = self._follower.look()
        self._renewed = self._renewed or news.reset or bool(news.gone)
        self._changed |= news.changed
        stamps = tuple(stamp_of(self.folder / name) for name in (CONFIG, ENVIRONMENT, f"{_SEARCH}/{CONSTRAINTS}"))
        self._note_weights()
        if self._run is not None and stamps == self._stamps and not (self._changed or self._renewed):
            self._judge()
            return self._run
        ordered = tuple(sorted(self._follower.trials.values(), key=lambda trial: (trial.sequence, trial.trial)))
        old = self._run if stamps == self._stamps else None
        run = run_of(self.folder, ordered) if old is None else replace(old, trials=ordered)
        context = RowContext.of(run, _constraints(run))
        if self._renewed or context != self._context:
            self._generation, self._version, self._rows = secrets.token_hex(4), 0, {}
            self._changed = set(self._follower.trials)
            self._unjudged.clear()
        self._run, self._context, self._version = run, context, self._version + 1
        for name in self._changed:
            self._rows[name] = self._version, self._row(self._follower.trials[name])
        self._unjudged.update(dict.fromkeys(self._changed) if context.fixed else ())
        self._facts = self._computed(run)
        self._stamps, self._changed, self._renewed = stamps, set(), False
        self._judge()
        return run

    def _judge(self) -> None:
        """Says of rows whether they have the fixed edges: genotypes of thousands are not read all at once."""
        until = time.thread_time() + _JUDGING_SECONDS
        self._version += bool(self._unjudged)
        while self._unjudged and time.thread_time() < until:
            name, _ = self._unjudged.popitem()
            _, row = self._rows[name]
            self._rows[name] = self._version, judged(row, self._follower.trials[name], self._context)

    def _note_weights(self) -> None:
        """Looks which trials' weights are kept; others may be dropped while a run goes on."""
        stamp, (known, before) = stamp_of(self.folder / MODELS), self._kept
        if stamp != known:
            kept: frozenset[str] = frozenset()
            with suppress(OSError), os.scandir(self.folder / MODELS) as entries:  # none, no folder, or a closed one
                kept = frozenset(one.name for one in entries)
            self._kept = stamp, kept
            self._changed |= (kept ^ before) & self._follower.trials.keys()

    def _row(self, trial: TrialRecord) -> Row:
        here = self._nni and self._is_of_this_start(trial.trial)
        address = f"../detail?trial={quote(trial.trial)}" if here else None
        return row_of(trial, self._context, has_weights=trial.trial in self._kept[1], nni=address)

    def _is_of_this_start(self, trial: str) -> bool:
        """Whether NNI's own pages know a trial: they show those of this start only."""
        experiment = getattr(self._state.progress, "experiment", None) or ""
        if not (_WORD.fullmatch(experiment) and _WORD.fullmatch(trial)):
            return False
        return any((self.folder / "nni" / experiment / "environments").glob(f"*/trials/{trial}"))

    def _computed(self, run: RunInfo) -> dict[str, Any]:
        """What depends on the trials and the configuration only."""
        kind = "study" if run.study else "predicted" if run.predicted else "search"
        measured = run.measured
        accuracy = np.array([trial.accuracy for trial in measured], dtype=float)
        auc = np.array([trial.mia_auc for trial in measured], dtype=float)
        growth = hypervolume_growth(accuracy, auc).tolist()
        feasibility = feasibility_info(run)
        self._ended_early = feasibility is not None and feasibility.ended is not None
        axes = ("predicted_mia_auc_sd", "predicted_mia_auc") if kind == "predicted" else ("accuracy", "mia_auc")
        return {
            "name": run.name,
            "kind": kind,
            "x": axes[0],
            "y": axes[1],
            "metrics": [vars(one) for one in metric_infos(name for trial in run.trials for name in trial.metrics)],
            "constraints": _told_constraints(self._context.constraints),
            "pattern": pattern_of(run),
            "fixed": {
                name: [[edge.source, edge.target, edge.op] for edge in edges] for name, edges in run.fixed_edges.items()
            },
            "phases": list(PHASES) if self._context.population is not None else [],
            "strategy": name_of(run.config.get("strategy")) or None,
            "dataset": _datasets(run) or None,
            "attacks": list(run.attacks),
            "notices": [str(one) for one in notices_of(run.trials)] + _gaps(self._follower.spoiled),
            "front": [measured[index].trial for index in pareto_front(accuracy, auc)],
            "best_feasible": feasibility.best.trial if feasibility and feasibility.best else None,
            "nearest": feasibility.nearest.trial if feasibility and feasibility.nearest else None,
            "hypervolume": _steps([trial.sequence for trial in measured], growth),
            "reference": list(REFERENCE),
        }


def holds_run(folder: Path) -> bool:
    """Whether a folder is a run directory, as :func:`~nni_privacy.runs.records.read_run` sees it."""
    return (folder / TRIALS).is_file() or ((folder / CONFIG).is_file() and (folder / ENVIRONMENT).is_file())


def _ordered(rows: Iterable[tuple[int, Row]]) -> list[Row]:
    return sorted((row for _, row in rows), key=lambda row: (row.sequence, row.trial))


def _constraints(run: RunInfo) -> Constraints:
    try:
        return Constraints.of(run.config.get("constraints"))
    except ConfigError:
        return Constraints()


def _told_constraints(constraints: Constraints) -> list[dict[str, Any]]:
    return [
        {"metric": one.metric, "relation": one.sign, "bound": one.bound, "text": str(one)}
        for one in constraints.conditions
    ]


def _datasets(run: RunInfo) -> str:
    """The data set, or those of a study."""
    several = run.config.get("datasets")
    given = several if isinstance(several, list) else [run.config.get("dataset")]
    return ", ".join(filter(None, map(name_of, given)))


def _steps(sequence: list[int], growth: list[float]) -> list[list[float]]:
    """The points where a growing value steps up, the first and the last: all that a line of steps consists of."""
    ends = {0, len(growth) - 1}
    return [
        [number, value]
        for place, (number, value) in enumerate(zip(sequence, growth, strict=True))
        if place in ends or value > growth[place - 1]
    ]


def _gaps(spoiled: int) -> list[str]:
    return [f"damaged: {spoiled} lines of {TRIALS} are not whole and were skipped"] if spoiled else []
