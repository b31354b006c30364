"""``progress.json`` of a run directory: how far a run is, and the trials under way with what they tell of their epochs.

It is for whoever looks on, from any process: nothing of the run depends on it. It is replaced whole, at most once a
second and by a thread of its own, so that neither a slow disk nor a full one delays or ends the run; it holds no more
than the trials that run at a time, however long the run is.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nni_privacy.files import atomic_write
from nni_privacy.runs.epochs import TrialEpoch, longer
from nni_privacy.runs.records import Curves, finite_number

__all__ = ["PROGRESS", "Progress", "ProgressWriter", "RunningTrial", "read_progress"]

PROGRESS = "progress.json"
INTERVAL = 1.0
"""Seconds between two writes."""

MOST_EPOCHS = 2000
"""Of a trial's curves; of a longer one the last are kept."""

_LARGEST = 1 << 24
"""Bytes; no run writes more."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunningTrial:
    """A trial under way.

    Attributes:
        sequence: the number of its proposal.
        began: when it was handed out, in seconds of Unix time.
        epoch: the last epoch that it has told of; 0: none.
        epochs: how many there will be; None where nobody knows.
        curves: what it told after each epoch.
    """

    sequence: int
    began: float
    epoch: int = 0
    epochs: int | None = None
    curves: Curves = field(default_factory=dict)

    def after(self, told: TrialEpoch) -> RunningTrial:
        """The trial with one more epoch; one that begins anew, as it was killed, has its first epoch only."""
        curves = {} if told.epoch <= self.epoch else self.curves
        grown = {name: values[-MOST_EPOCHS:] for name, values in longer(curves, told.numbers).items()}
        return RunningTrial(self.sequence, self.began, told.epoch, told.epochs, grown)


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        started: when this start of the run began, in seconds of Unix time.
        ended: when it ended; None while it goes on.
        done: whether it went to its end.
        planned: how many trials there are to be, of all starts; None: as many as there is time for.
        before: how many were finished before this start.
        concurrency: trials at a time.
        experiment: NNI's id of this start.
        trials: those under way.
    """

    started: float
    ended: float | None = None
    done: bool = False
    planned: int | None = None
    before: int = 0
    concurrency: int | None = None
    experiment: str | None = None
    trials: tuple[RunningTrial, ...] = ()


class ProgressWriter:
    """Keeps ``progress.json`` of a run that goes on; its methods return at once and raise nothing.

    Args:
        folder: the run directory.
        progress: of a run that starts.
        interval: seconds between two writes.
    """

    def __init__(self, folder: Path, progress: Progress, *, interval: float = INTERVAL) -> None:
        self._path, self._progress, self._interval = folder / PROGRESS, progress, interval
        self._trials: dict[int, RunningTrial] = {}
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._timer: threading.Timer | None = None
        self._written = 0.0
        self._failed = False
        self._change()

    def began(self, sequence: int) -> None:
        """A trial was handed out, or is run again."""
        with self._lock:
            self._trials[sequence] = RunningTrial(sequence, time.time())
        self._change()

    def told(self, epoch: TrialEpoch) -> None:
        """A trial has told of an epoch."""
        with self._lock:
            known = self._trials.get(epoch.sequence) or RunningTrial(epoch.sequence, time.time())
            self._trials[epoch.sequence] = known.after(epoch)
        self._change()

    def ended(self, sequence: int) -> None:
        """A trial has ended."""
        with self._lock:
            self._trials.pop(sequence, None)
        self._change()

    def close(self, *, done: bool) -> None:
        """The run has ended, or is to go on another time; that is written before this returns. Only once."""
        with self._lock:
            if self._progress.ended is not None:
                return
            self._trials.clear()
            fields = {**_fields(self._progress), "ended": time.time(), "done": done}
            self._progress = Progress(**fields)
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._write()

    def _change(self) -> None:
        """Has the file written soon, unless it is going to be anyway."""
        with self._lock:
            if self._timer is not None or self._progress.ended is not None:
                return
            wait = max(self._written + self._interval - time.monotonic(), 0.0)
            self._timer = threading.Timer(wait, self._write)
            self._timer.daemon = True
            self._timer.start()

    def _write(self) -> None:
        with self._writing:
            with self._lock:
                self._timer, self._written = None, time.monotonic()
                content = {**_fields(self._progress), "trials": [asdict(one) for one in self._under_way()]}
            try:
                atomic_write(self._path, json.dumps(content, allow_nan=False))
                self._failed = False
            except (OSError, ValueError) as error:
                level = logging.DEBUG if self._failed else logging.WARNING
                _logger.log(level, "who looks on is not told of running trials: %s", error)
                self._failed = True

    def _under_way(self) -> Iterator[RunningTrial]:
        """Those that have told something, and of the others, which may still wait, as many as can run besides."""
        told = [one for one in self._trials.values() if one.epoch]
        silent = sorted((one for one in self._trials.values() if not one.epoch), key=lambda one: one.sequence)
        room = None if self._progress.concurrency is None else max(self._progress.concurrency - len(told), 0)
        yield from sorted([*told, *silent[:room]], key=lambda one: one.sequence)


def _fields(progress: Progress) -> dict[str, Any]:
    return {key: value for key, value in vars(progress).items() if key != "trials"}


def read_progress(folder: Path) -> Progress | None:
    """What a run directory says of its progress; None if it says nothing, or nothing that can be read."""
    path = folder / PROGRESS
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, Mapping) or (started := finite_number(content.get("started"))) is None:
        return None
    trials = content.get("trials")
    found = [_trial(one) for one in (trials if isinstance(trials, list) else ())]
    experiment = content.get("experiment")
    return Progress(
        started=started,
        ended=finite_number(content.get("ended")),
        done=content.get("done") is True,
        planned=_count(content.get("planned")),
        before=_count(content.get("before")) or 0,
        concurrency=_count(content.get("concurrency")),
        experiment=experiment if isinstance(experiment, str) else None,
        trials=tuple(one for one in found if one is not None),
    )


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _trial(content: Any) -> RunningTrial | None:
    if not isinstance(content, Mapping) or (sequence := _count(content.get("sequence"))) is None:
        return None
    told = content.get("curves")
    curves = {
        str(name): tuple(map(finite_number, values))
        for name, values in (told.items() if isinstance(told, Mapping) else ())
        if isinstance(values, list)
    }
    began, epoch = finite_number(content.get("began")), _count(content.get("epoch"))
    return RunningTrial(sequence, began or 0.0, epoch or 0, _count(content.get("epochs")), curves)
