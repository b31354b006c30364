"""Salvage of an interrupted run's finished trials, whatever has become of its files, before the run goes on.

``trials.jsonl`` and ``journal.jsonl`` each hold what it takes to write a finished trial into the other one again. What
is whole in either is kept and counted once, under a number that no other trial has; what is not is set aside in a file
beside it. Nothing is thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from nni_privacy.errors import ConfigError
from nni_privacy.runs.journal import History, Journal, Result
from nni_privacy.runs.lines import Line, Lines, listed, mend, read_lines
from nni_privacy.runs.records import SCORES, TRIALS, TrialRecord, parse_record

__all__ = ["check_known", "salvage_trials"]

UNNUMBERED = -1
"""The sequence of a record that does not say its own."""


_ENDS = ("succeeded", "failed")
"""What a run writes as the status of a finished trial."""


def check_known(run: Path, journal: Journal) -> None:
    """Raises ConfigError if trials have finished, but neither file of the run says which; changes nothing."""
    if not any((run / SCORES).glob("*.npz")):
        return
    known = partial(_finished, history=History())
    if not (read_lines(run / TRIALS, known).whole or journal.knows_results()):
        raise ConfigError(
            f"output: {run} has scores of finished trials, but neither {TRIALS} nor {journal.path.name} says which: "
            "put back a copy of one of them, or name a new folder"
        )


def salvage_trials(run: Path, journal: Journal) -> list[TrialRecord]:
    """Makes both files of a run whole, and tells the one what only the other one knows.

    Args:
        run: the run directory.
        journal: the run's.

    Returns:
        The finished trials, in the order in which they ended.

    Raises:
        ConfigError: if trials have finished, but neither file says which.
        OSError: if a file cannot be read or written.
    """
    check_known(run, journal)
    path = run / TRIALS
    history = journal.read()
    lines = read_lines(path, partial(_finished, history=history))
    last = {line.value.trial: line for line in lines.whole}
    restored = _restored(run, lines, history, {line.value.trial: line.value.sequence for line in last.values()})
    found = [*(line.value for line in last.values()), *restored]
    records = _numbered(found, history)
    changed = [new.trial for old, new in zip(found, records, strict=True) if new != old]
    kept = [one.to_json() if one.trial in changed or one.trial not in last else last[one.trial].text for one in records]
    repeated = {line.number: line.text.encode() for line in lines.whole if _superseded(line, last, changed)}
    told = {f"written again from {journal.path.name}": [one.trial for one in restored], "numbered anew": changed}
    said = [f"{what}: trial {listed(trials)}" for what, trials in told.items() if trials]
    mend(path, lines, kept, repeated, said=said)
    for record in records:
        if record.sequence not in history.numbers.get(record.trial, ()):
            journal.ended(record.sequence, Result(record.trial, *_reported(record), record))
    return records


def _finished(row: Any, number: int, *, history: History) -> TrialRecord | None:
    """The record of a line, unless the journal, whose lines have checksums, says that it was another one.

    Its sequence, if it does not say one, is :data:`UNNUMBERED`.
    """
    record = parse_record(row, number)
    if record is None or row.get("status") not in _ENDS:
        return None
    sequence = row.get("sequence")
    record = replace(record, sequence=sequence if type(sequence) is int and sequence >= 0 else UNNUMBERED)
    known = history.results.get(record.trial)
    if known is not None:
        return record if known[1].record in (None, record) else None
    ended = (result.record for at, result in history.results.values() if at == record.sequence and result.record)
    return None if any(replace(other, trial=record.trial) == record for other in ended) else record


def _superseded(line: Line[TrialRecord], last: dict[str, Line[TrialRecord]], changed: Sequence[str]) -> bool:
    return last[line.value.trial] is not line or line.value.trial in changed


def _restored(run: Path, lines: Lines[TrialRecord], history: History, present: Mapping[str, int]) -> list[TrialRecord]:
    """Finished trials that only the journal knows.

    A damaged file may have lost any of them; one that is whole may have been cut after any line. A trial is finished if
    the strategy was told of it or its scores are there: else it was being written when the run was killed. A line that
    somebody has deleted before others is not written again: its trial is run again.
    """
    latest = {number: trial for trial, numbers in history.numbers.items() for number in numbers}
    answered = set(present.values())
    damaged = bool(lines.spoiled) or not (run / TRIALS).is_file()
    restored: list[TrialRecord] = []
    for trial, (_, result) in reversed(history.results.items()):
        if trial in present:
            if damaged:
                continue
            break
        first = history.numbers[trial][0]
        if result.record is None or latest[first] != trial or first in answered:
            continue  # it was run again after a kill
        scored = (run / SCORES / f"{trial}.npz").is_file()
        if damaged or scored or history.told.intersection(history.numbers[trial]):
            restored.insert(0, result.record)
    return restored


def _numbered(records: Sequence[TrialRecord], history: History) -> list[TrialRecord]:
    """The records with a sequence that no two share: the journal's, or else their own, or else a new one."""
    wanted = {}
    for one in records:
        known = history.numbers.get(one.trial, [one.sequence])
        wanted[one.trial] = one.sequence if one.sequence in known else known[0]
    fresh = count(max(history.next_number, 1 + max(wanted.values(), default=-1)))
    taken: dict[int, str] = {}
    for record in sorted(records, key=lambda one: one.trial not in history.numbers):
        if wanted[record.trial] in taken or wanted[record.trial] == UNNUMBERED:
            wanted[record.trial] = next(fresh)
        taken[wanted[record.trial]] = record.trial
    return [replace(one, sequence=wanted[one.trial]) if one.sequence != wanted[one.trial] else one for one in records]


def _reported(record: TrialRecord) -> tuple[bool, Any]:
    """Whether a strategy can be told of a record as of a success, and what the trial reported."""
    default = record.metrics.get("default", record.metrics.get("accuracy"))
    if not record.succeeded or default is None:
        return False, None
    return True, {**dict.fromkeys(record.unresolved), **record.metrics, "default": default}
