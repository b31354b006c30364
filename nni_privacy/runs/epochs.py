"""Epochs: of a one-shot search for the terminal, as lines of JSON and as TensorBoard's events; of a trial that runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from nni_privacy.runs.lines import mend, read_lines
from nni_privacy.runs.records import Curves, finite_number

__all__ = ["EPOCHS_FILE", "EpochRecord", "SearchLog", "TrialEpoch", "longer", "read_epochs"]

EPOCHS_FILE = "epochs.jsonl"


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a search.

    Attributes:
        epoch: its number, from 1.
        epochs: how many there will be.
        architecture: the one that would be exported now.
        skip_connections: how many it has.
        entropy: mean entropy of the decisions' distributions, in nats; None where the algorithm has none.
        metrics: the algorithm's own numbers, e.g. ``train_loss`` and ``validation_loss``.
        seconds: wall time of the epoch.
    """

    epoch: int
    epochs: int
    architecture: str
    skip_connections: int
    entropy: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def __str__(self) -> str:
        numbers = {**self.metrics, **({} if self.entropy is None else {"entropy": self.entropy})}
        parts = [f"{name.replace('_', ' ')} {value:.3f}" for name, value in numbers.items()]
        skips = f"{self.skip_connections} skip connection{'s' * (self.skip_connections != 1)}"
        return f"search epoch {self.epoch}/{self.epochs}  " + "  ".join([*parts, skips, f"{self.seconds:.1f} s"])


@dataclass(frozen=True)
class TrialEpoch:
    """One epoch of a trial that still runs.

    Attributes:
        sequence: number of the trial, from 0.
        epoch: its number, from 1.
        epochs: how many there will be; None where nobody knows.
        reported: what the trial said of it: a number, or numbers by name.
    """

    sequence: int
    epoch: int
    epochs: int | None
    reported: Any

    @property
    def numbers(self) -> dict[str, float | None]:
        """The reported metrics to six digits, as they are recorded; None for what is no finite number."""
        reported = self.reported if isinstance(self.reported, Mapping) else {"default": self.reported}
        told = {name: finite_number(value) for name, value in reported.items()}
        if told.get("default") == told.get("accuracy"):  # with our own evaluator it says nothing more
            told.pop("default", None)
        return {name: None if value is None else float(f"{value:.6g}") for name, value in told.items()}

    def __str__(self) -> str:
        said = self.reported if isinstance(self.reported, Mapping) else {"default": self.reported}
        name = next((name for name in ("loss", "default") if isinstance(said.get(name), int | float)), None)
        number = "" if name is None else f", {name} {said[name]:.3f}"
        total = "" if self.epochs is None else f"/{self.epochs}"
        return f"trial {self.sequence}: epoch {self.epoch}{total}{number}"


def longer(curves: Curves, numbers: Mapping[str, float | None]) -> Curves:
    """The curves with one more epoch, in which a metric that is missing has no number."""
    length = max(map(len, curves.values()), default=0)
    names = dict.fromkeys((*curves, *numbers))
    return {name: (*curves.get(name, (None,) * length), numbers.get(name)) for name in names}


class SearchLog:
    """Writes epochs into a folder: ``epochs.jsonl`` and one of TensorBoard's event files. A context manager.

    Args:
        folder: made when the first epoch is written; None: nothing is written.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._writer: Any = None

    def __enter__(self) -> SearchLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, record: EpochRecord) -> None:
        """Adds an epoch. One that is there already, from before an interruption, is replaced, with all after it.

        A line that is not whole is set aside.
        """
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = read_lines(self.folder / EPOCHS_FILE, _epoch)
        kept = [line.text for line in lines.whole if line.value < record.epoch]
        mend(self.folder / EPOCHS_FILE, lines, [*kept, json.dumps(asdict(record))], {})
        scalars = {**record.metrics, "skip_connections": record.skip_connections, "seconds": record.seconds}
        if record.entropy is not None:
            scalars["entropy"] = record.entropy
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # One file a run: TensorBoard reads files by name, and those of one second need not be in order.
            self._writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=record.epoch)
        for name, value in scalars.items():
            self._writer.add_scalar(f"search/{name}", value, record.epoch)
        self._writer.add_text("search/architecture", record.architecture, record.epoch)
        self._writer.flush()


def read_epochs(folder: Path) -> list[EpochRecord]:
    """The epochs that a search wrote into ``folder``; none if it wrote none."""
    path = folder / EPOCHS_FILE
    if not path.is_file():
        return []
    return [EpochRecord(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _epoch(row: Any, _: int) -> int | None:
    """The number of an epoch; None if a line is not one."""
    known = {entry.name for entry in fields(EpochRecord)}
    number = row.get("epoch") if isinstance(row, dict) and set(row) <= known else None
    return number if type(number) is int else None
