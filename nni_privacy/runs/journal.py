"""Journal of a search: its strategy's proposals and the results that it was told of, in their order.

A strategy's decisions depend on its seed and on this order only, so that it can be taken through them once more after
an interruption: see :class:`nni_privacy.runs.replay.Replay`. Which trials are finished says ``trials.jsonl``; a
result counts from when it stands there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

from nni_privacy.files import LineFile
from nni_privacy.runs.lines import Lines, mend, read_lines
from nni_privacy.runs.records import TrialRecord, parse_record

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
        record: its line of ``trials.jsonl``, which can be written again from here.
    """

    trial: str
    trained: bool
    value: Any = None
    record: TrialRecord | None = None


@dataclass(frozen=True)
class Ended:
    """The trial of a proposal ended."""

    number: int
    result: Result


@dataclass(frozen=True)
class Kept:
    """The strategy went another way after the first steps: the later ones are void."""

    steps: int


Entry = Proposed | Delivered | Ended | Kept
"""What a line of a journal says."""


@dataclass
class History:
    """Content of a journal.

    Attributes:
        steps: proposals and deliveries, in order.
        keys: number of each proposal ever made, also of those that a later start did not make again, to its sample.
        results: NNI's id of a trial to the number of its proposal and how it ended.
        numbers: NNI's id of a trial to all numbers that it ended under; ``trials.jsonl`` has the first.
        told: numbers of the proposals of whose results the strategy was ever told.
    """

    steps: list[Proposed | Delivered] = field(default_factory=list)
    keys: dict[int, str] = field(default_factory=dict)
    results: dict[str, tuple[int, Result]] = field(default_factory=dict)
    numbers: dict[str, list[int]] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)

    @property
    def next_number(self) -> int:
        """The number of the next proposal, above all that the journal names."""
        return 1 + max((*self.keys, *self.told, *chain.from_iterable(self.numbers.values())), default=-1)

    def take(self, entry: Entry) -> bool:
        """Adds an entry, unless it repeats one, which no search does: then it is false."""
        match entry:
            case Proposed(number, key):
                fresh = number not in self.keys
                if fresh:
                    self.keys[number] = key
                    self.steps.append(entry)
            case Delivered(number):
                fresh = number not in self.told or entry not in self.steps
                if fresh:
                    self.told.add(number)
                    self.steps.append(entry)
            case Ended(number, result):
                fresh = self.results.get(result.trial) != (number, result)
                self.results[result.trial] = number, result
                self.numbers.setdefault(result.trial, []).append(number)
            case Kept(count):
                fresh = True
                del self.steps[count:]
        return fresh


class Journal:
    """Reads and writes a run's journal; every line is on disk when a method returns.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, LineFile(path)

    def read(self) -> History:
        """Reads what has been written so far; what is not whole, or twice, is set aside in a file beside it.

        Raises:
            OSError: if the file cannot be read, or written where it has to be.
        """
        lines: Lines[Entry] = read_lines(self.path, _entry)
        history, kept, repeated = History(), [], {}
        for line in lines.whole:
            if history.take(line.value):
                kept.append(line.text)
            else:
                repeated[line.number] = line.text.encode()
        mend(self.path, lines, kept, repeated)
        return history

    def knows_results(self) -> bool:
        """Whether it says of any trial how it ended; changes nothing."""
        return any(isinstance(line.value, Ended) for line in read_lines(self.path, _entry).whole)

    def proposed(self, number: int, key: str) -> None:
        """The strategy proposed ``number``."""
        self._append({"proposed": number, "sample": json.loads(key)})

    def ended(self, number: int, result: Result) -> None:
        """The trial of ``number`` ended; it is finished only when ``trials.jsonl`` says so, too."""
        line = {"ended": number, "trial": result.trial, "trained": result.trained, "value": result.value}
        if result.record is not None:
            line["record"] = json.loads(result.record.to_json())
        self._append(line)

    def delivered(self, number: int, polls: int) -> None:
        """The strategy is about to be told of ``number``."""
        self._append({"delivered": number, "polls": polls})

    def kept(self, steps: int) -> None:
        """The strategy went another way after the first ``steps`` steps: the later ones are void."""
        self._append({"kept": steps})

    def _append(self, line: dict[str, Any]) -> None:
        # Read back as it will be, so that its checksum is that of what stands there.
        plain = json.loads(json.dumps(line, default=str))
        self._file.append(json.dumps({**plain, "crc": _crc(plain)}))


def _crc(line: Mapping[str, Any]) -> int:
    """A checksum of a line: a digit that is another one is as good a number."""
    return crc32(json.dumps({key: value for key, value in line.items() if key != "crc"}).encode())


def _entry(line: Any, number: int) -> Entry | None:
    """What a line of a journal says; None if it is none of a journal, or not what was written."""
    if isinstance(line, dict) and line.get("crc", _crc(line)) != _crc(line):
        return None
    match line:
        case {"proposed": int(proposal), "sample": sample} if proposal >= 0:
            return Proposed(proposal, sample_key(sample))
        case {"delivered": int(proposal), "polls": int(polls)} if proposal >= 0:
            return Delivered(proposal, polls)
        case {"ended": int(proposal), "trial": str(trial), "trained": bool(trained), "value": value} if proposal >= 0:
            return Ended(proposal, Result(trial, trained, value, parse_record(line.get("record"), number)))
        case {"kept": int(steps)} if steps >= 0:
            return Kept(steps)
    return None
