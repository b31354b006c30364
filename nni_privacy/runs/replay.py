"""Record and replay of a search: its steps are recorded in a journal, and replayed when a run is resumed."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from nni_privacy.runs.journal import Delivered, Journal, Proposed, Result

__all__ = ["Proposal", "Replay"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Proposal:
    """Answer to a strategy's proposal of an architecture.

    Attributes:
        number: from 0, over all starts of the run.
        finished: whether its result is there already; else it is to be run.
    """

    number: int
    finished: bool = False


class Replay:
    """Records proposals and deliveries of results in their order, and replays them to a resumed strategy.

    While there are recorded steps left (:attr:`replaying`), the strategy is led through it: it is told of results
    just when it was told of them before, so one whose choices come from its seed proposes what it proposed before. If
    it does not, the rest of the record is void; a finished trial of the same sample still answers a proposal. One whose
    proposal the journal has lost answers that of its architecture, or of a study's factors.

    For one thread, the strategy's; :meth:`ended` and :meth:`finished` may be called from another one.

    Args:
        journal: where the steps are recorded.
        finished: NNI's ids of the trials whose results are on disk.

    Raises:
        OSError: if the journal cannot be read, or written to.
    """

    def __init__(self, journal: Journal, finished: Collection[str] = ()) -> None:
        history = journal.read()
        self._journal = journal
        self._recorded = history.steps
        self._keys = history.keys
        self._results = {number: result for trial, (number, result) in history.results.items() if trial in finished}
        self._next = history.next_number
        self._position = self._polls = 0
        self._idle = False
        self._open: set[int] = set()  # proposed since this start, and the strategy has not been told of their results
        self._cut()
        told = {step.number for step in self._recorded if isinstance(step, Delivered)}
        self._untold = deque(number for number in self._results if number not in told)
        self._unclaimed: dict[str, list[int]] = {}
        self._orphans: dict[str, list[int]] = {}
        for number, result in sorted(self._results.items()):
            if number in self._keys:
                self._unclaimed.setdefault(self._keys[number], []).append(number)
            elif result.record is not None:
                self._orphans.setdefault(result.record.identity, []).append(number)

    def _cut(self) -> None:
        """Ends the recorded steps where they cannot have been so."""
        proposed: set[int] = set()
        delivered: set[int] = set()
        for position, step in enumerate(self._recorded):
            if isinstance(step, Proposed):
                proposed.add(step.number)
                continue
            # A delivery of a result that is not on disk (any more) never happened: its trial is run again. One without
            # its proposal, or a second one, is what is left of a damaged journal.
            if step.number not in self._results or step.number not in proposed or step.number in delivered:
                self._journal.kept(position)
                del self._recorded[position:]
                break
            delivered.add(step.number)

    @property
    def replaying(self) -> bool:
        """Whether recorded steps are left."""
        return self._position < len(self._recorded)

    def told_idle(self, idle: bool) -> None:
        """The strategy is told whether a worker is idle."""
        self._idle = idle
        self._polls += idle

    def told_budget(self) -> None:
        """The strategy is told that budget is left; it counts where it was told of an idle worker just before.

        While the strategy waits for a worker, it asks for the budget as often as it happens to.
        """
        self._polls += self._idle
        self._idle = False

    def propose(self, key: str, identity: str = "") -> Proposal:
        """The strategy proposes the sample ``key``.

        Args:
            key: see :func:`~nni_privacy.runs.journal.sample_key`.
            identity: what the record of its trial will be told by, see
                :attr:`~nni_privacy.runs.records.TrialRecord.identity`.

        Raises:
            OSError: if that cannot be recorded.
        """
        step = self._recorded[self._position] if self.replaying else None
        claimable = [self._orphans.get(identity, [])]
        if isinstance(step, Proposed) and step.key == key:
            self._position += 1
            number = step.number
            claimed = self._unclaimed.get(key, [])
            if number in claimed:
                claimed.remove(number)
        else:
            if step is not None:
                self.abandon()
            number = self._next
            self._journal.proposed(number, key)
            self._next, self._keys[number] = number + 1, key
            claimable.insert(0, self._unclaimed.get(key, []))
        if number not in self._results:
            self._claim(number, claimable)
        self._polls, self._idle = 0, False
        self._open.add(number)
        return Proposal(number, number in self._results)

    def _claim(self, number: int, claimable: Iterable[list[int]]) -> None:
        """Answers a proposal by a finished trial of the same, which nobody proposed yet since this start."""
        for numbers in claimable:
            if numbers:
                self.ended(number, self._results.pop(numbers.pop(0)))
                self.finished(number)
                return

    def ended(self, number: int, result: Result) -> None:
        """Records how the trial of ``number`` ended, before its result is written elsewhere.

        Raises:
            OSError: if that cannot be recorded.
        """
        self._journal.ended(number, result)
        self._results[number] = result

    def finished(self, number: int) -> None:
        """The result of ``number`` is on disk: the strategy may be told of it."""
        self._untold.append(number)

    def due(self) -> int | None:
        """The proposal of whose result the strategy is to be told now, if any."""
        if self.replaying:
            step = self._recorded[self._position]
            return step.number if isinstance(step, Delivered) and step.polls <= self._polls else None
        while self._untold and self._untold[0] not in self._open:
            self._untold.popleft()  # of a proposal that the strategy does not make any more
        return self._untold[0] if self._untold else None

    def tell(self, number: int) -> Result:
        """The strategy is about to be told of the result of ``number``, which is :meth:`due`.

        Raises:
            OSError: if that cannot be recorded; it is not to be told then.
        """
        if self.replaying:
            self._position += 1
        else:
            self._journal.delivered(number, self._polls)
            self._untold.popleft()
        self._open.discard(number)
        return self._results[number]

    def abandon(self) -> None:
        """Makes the rest of the recorded steps void, as the strategy goes another way.

        Raises:
            OSError: if that cannot be recorded.
        """
        _logger.warning("after %d steps the strategy goes another way than before the interruption", self._position)
        self._journal.kept(self._position)
        void = [step.number for step in self._recorded[self._position :] if isinstance(step, Delivered)]
        del self._recorded[self._position :]
        self._untold.extendleft(reversed(void))
