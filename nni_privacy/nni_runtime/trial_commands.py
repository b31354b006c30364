"""Commands of trials: each reads its parameters with care, and is forked from a warm process where that is wanted."""

from __future__ import annotations

import logging
import shlex
import sys
from typing import Any

from nni_privacy.nni_runtime.access import current_access
from nni_privacy.nni_runtime.message_repairs import experiment_trust
from nni_privacy.nni_runtime.messages import Trust
from nni_privacy.nni_runtime.repairing import Original, repair
from nni_privacy.nni_runtime.warm.experiment import end_warm_trials, start_warm_trials, stopped_trials

__all__ = ["COMMAND_REPAIRS", "trial_python"]

_logger = logging.getLogger(__name__)

_ENTRY = "nni_privacy.nni_runtime.trial_entry"


def trial_python(python: str, trust: Trust, *, outlives: bool = False) -> str:
    """The words that replace ``python`` in the command of a trial that is to read its parameters under ``trust``.

    Args:
        python: the interpreter.
        trust: what the trial's parameters may hold.
        outlives: whether the trial goes on when the process that started it ends.
    """
    words = [python, "-m", _ENTRY, "--types", ",".join(sorted(trust.types or ()))]
    words += ["--allow-pickle"] if trust.pickles else []
    words += ["--pickles", ",".join(sorted(trust.known))] if trust.known else []
    words += ["--outlive"] if outlives else []
    return " ".join(word if word == python else shlex.quote(word) for word in words)


@repair(
    "a trial unpickles and calls whatever it is given as its parameters",
    "nni.nas.experiment.experiment:NasExperiment._start_nni_manager",
    "super()._start_nni_manager(port, debug, run_mode, tuner_command_channel, tags",
)
def careful_trials(original: Original, self: Any, *arguments: Any, **options: Any) -> Any:
    services = self.config.training_service
    platforms = {service.platform for service in (services if isinstance(services, list) else [services])}
    params = self.config._trial_command_params
    trust = experiment_trust(self) if self._action != "view" and platforms <= {"local", "remote"} else None
    if self.model_space is None and self._action != "view":
        _logger.warning("this experiment has no space: its trials run whatever they are given")
    if trust is not None:
        given = dict(params or {})
        python = given.get("python", sys.executable)
        if _ENTRY not in python:
            python = trial_python(python, trust, outlives="remote" in platforms)
            if platforms == {"local"} and getattr(self, "warm_trials", current_access().warm_trials):
                python = start_warm_trials(self, trust, python)
        self.config._trial_command_params = {**given, "python": python}
    try:
        return original(self, *arguments, **options)
    except BaseException:
        end_warm_trials(self)  # there is nobody who would stop this experiment
        raise
    finally:
        self.config._trial_command_params = params  # another experiment with this configuration has other types


COMMAND_REPAIRS = (careful_trials, stopped_trials)
