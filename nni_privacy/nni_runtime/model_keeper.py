"""Keeper of a run's models: takes the weights that trials wrote, and removes those that are kept no longer."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from nni_privacy.analysis.constraints import Constraints
from nni_privacy.analysis.model_choice import KEEPS, Keep, kept_trials
from nni_privacy.errors import ConfigError, DataError, nearest
from nni_privacy.files import full_disk
from nni_privacy.runs.directory import RunDirectory
from nni_privacy.runs.models import MODEL_FILE
from nni_privacy.runs.records import TrialRecord

__all__ = ["ModelKeeper", "check_keep"]

_logger = logging.getLogger(__name__)


def check_keep(keep: Keep, config: Mapping[str, Any]) -> Keep:
    """``keep``; ConfigError if there is no such choice, or constraints of the configuration cannot be read."""
    if keep not in KEEPS:
        raise ConfigError(f"keep: {keep!r:.80}; {nearest(str(keep), KEEPS)}")
    Constraints.of(config.get("constraints"))
    return keep


class ModelKeeper:
    """Keeps the models that ``keep`` says, of one start of a run.

    Args:
        run: its directory.
        keep: see :func:`~nni_privacy.analysis.model_choice.kept_trials`.
        config: of the run; its constraints count.
        finished: trials that are finished already; models of others, which an interruption left, are removed.
    """

    def __init__(
        self, run: RunDirectory, *, keep: Keep, config: Mapping[str, Any], finished: Iterable[TrialRecord] = ()
    ) -> None:
        self._run, self._keep, self._conditions = run, keep, Constraints.of(config.get("constraints")).conditions
        self._trials = list(finished)
        run.models.keep(self._kept())

    def take(self, record: TrialRecord, read: Callable[[], bytes | None]) -> None:
        """Saves the model of a trial that is about to be recorded, if it is one to be kept; asks for it only then.

        Args:
            record: of the trial.
            read: the file that it wrote; None if it wrote none.

        Raises:
            OSError: if it cannot be written.
        """
        if record.trial in self._kept(record):
            content = read()
            if content is not None:
                self._save(record.trial, content)
        self._remove_original(record.trial)

    def recorded(self, record: TrialRecord) -> None:
        """The trial is on disk: the models that it has driven off the front are removed."""
        self._trials.append(record)
        self._run.models.keep(self._kept())

    def _kept(self, *more: TrialRecord) -> set[str]:
        return kept_trials([*self._trials, *more], self._keep, self._conditions)

    def _save(self, trial: str, content: bytes) -> None:
        try:
            self._run.models.save(trial, content)
        except DataError as error:
            if full_disk(self._run.path) is not None:  # on its way here it was cut off
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._run.models.path(trial))) from None
            _logger.warning("the weights of trial %s are not kept: %s", trial, error)

    def _remove_original(self, trial: str) -> None:
        """Removes the trial's own copy where it is on this machine; NNI would keep it for ever."""
        for parents in ("*/environments/*/trials", "*/trials"):
            for path in (self._run.path / "nni").glob(f"{parents}/{trial}/{MODEL_FILE}"):
                with suppress(OSError):
                    path.unlink()
