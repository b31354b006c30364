"""Journal of a search: its strategy's proposals and the results that it was told of, in their order.

A strategy's decisions depend on its seed and on this order only, so that it can be taken through them once more after
an interruption: see :class:`nni_privacy.runs.replay.Replay`. Which trials are finished says ``trials.jsonl``; a
result counts from when it stands there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nni_privacy.files import LineFile

__all__ = ["JOURNAL", "Delivered", "History", "Journal", "Proposed", "Result", "sample_key"]

JOURNAL = "journal.jsonl"


def sample_key(sample: Any) -> str:
    """A sample as text; equal for equal samples.

    >>> sample_key({"b": (1, 2), "a": "skip"})
    '{"a": "skip", "b": [1, 2]}'
    """
    return json.dumps(sample, sort_keys=True, default=str)


@dataclass(frozen=True)
class Proposed:
    """The strategy proposed an architecture.

    Attributes:
        number: of the proposal, from 0, over all starts of the run.
        key: its sample, see :func:`sample_key`.
    """

    number: int
    key: str


@dataclass(frozen=True)
class Delivered:
    """The strategy was told how the trial of a proposal ended.

    Attributes:
        number: of the proposal.
        polls: how often it had been told since it proposed last that a worker is idle, or then that budget is left.
    """

    number: int
    polls: int


@dataclass(frozen=True)
class Result:
    """End of a trial.

    Attributes:
        trial: NNI's id.
        trained: whether it succeeded.
        value: what it reported at its end, as it came; None if it failed.
    """

    trial: str
    trained: bool
    value: Any = None


@dataclass
class History:
    """Content of a journal.

    Attributes:
        steps: proposals and deliveries, in order.
        keys: number of each proposal ever made, also of those that a later start did not make again, to its sample.
        results: NNI's id of a trial to the number of its proposal and how it ended.
    """

    steps: list[Proposed | Delivered] = field(default_factory=list)
    keys: dict[int, str] = field(default_factory=dict)
    results: dict[str, tuple[int, Result]] = field(default_factory=dict)

    def take(self, line: Mapping[str, Any]) -> None:
        """Adds one line of a journal."""
        if "proposed" in line:
            number, key = int(line["proposed"]), sample_key(line["sample"])
            self.steps.append(Proposed(number, key))
            self.keys[number] = key
        elif "delivered" in line:
            self.steps.append(Delivered(int(line["delivered"]), int(line["polls"])))
        elif "ended" in line:
            trial = str(line["trial"])
            self.results[trial] = int(line["ended"]), Result(trial, bool(line["trained"]), line["value"])
        elif "kept" in line:
            del self.steps[int(line["kept"]) :]


class Journal:
    """Reads and writes a run's journal; every line is on disk when a method returns.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, LineFile(path)

    def read(self) -> History:
        """Reads what has been written so far. A line that a crash tore is cut off.

        Raises:
            ValueError: if the file is no journal.
        """
        self._file.repair()
        history = History()
        for number, text in enumerate(self._file.lines(), start=1):
            try:
                history.take(json.loads(text))
            except (ValueError, KeyError, TypeError):
                raise ValueError(f"{self.path}: line {number} is not one of a journal") from None
        return history

    def proposed(self, number: int, key: str) -> None:
        """The strategy proposed ``number``."""
        self._file.append(f'{{"proposed": {number}, "sample": {key}}}')

    def ended(self, number: int, result: Result) -> None:
        """The trial of ``number`` ended; it is finished only when ``trials.jsonl`` says so, too."""
        line = {"ended": number, "trial": result.trial, "trained": result.trained, "value": result.value}
        self._file.append(json.dumps(line, default=str))

    def delivered(self, number: int, polls: int) -> None:
        """The strategy is about to be told of ``number``."""
        self._file.append(json.dumps({"delivered": number, "polls": polls}))

    def kept(self, steps: int) -> None:
        """The strategy went another way after the first ``steps`` steps: the later ones are void."""
        self._file.append(json.dumps({"kept": steps}))
