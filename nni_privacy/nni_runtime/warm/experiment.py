"""Warm trials of an experiment on this machine: started with its manager, ended with it."""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path
from typing import Any

from nni_privacy.errors import PrivacyError
from nni_privacy.nni_runtime.message_repairs import sent_evaluator
from nni_privacy.nni_runtime.messages import Trust, trusting
from nni_privacy.nni_runtime.repairing import Original, repair
from nni_privacy.nni_runtime.warm.supervisor import WarmTrials, can_fork

__all__ = ["end_warm_trials", "start_warm_trials", "stopped_trials"]

_logger = logging.getLogger(__name__)
_WARM = "_nni_privacy_warm_trials"
_NO_LIMIT = 1 << 40


def start_warm_trials(experiment: Any, trust: Trust, cold: str) -> str:
    """Starts the server that the experiment's trials are forked from.

    Args:
        experiment: NNI's ``NasExperiment`` on this machine, before its manager is started.
        trust: what the parameters of its trials may hold.
        cold: the words that start a trial without a server.

    Returns:
        The words that start one with it; ``cold`` where that cannot be, after a warning.
    """
    if not can_fork():
        _logger.warning("warm_trials: this system cannot fork; trials are started one by one, which takes longer")
        return cold
    config = experiment.config
    root = Path(config.experiment_working_directory or Path.home() / "nni-experiments").expanduser().absolute()
    with trusting(trust):
        evaluator = import_module("nni").dump(sent_evaluator(experiment), pickle_size_limit=_NO_LIMIT)
    types, known = (",".join(sorted(names)) for names in (trust.types or (), trust.known))
    preparation = {"types": types, "pickles": trust.pickles, "known": known, "evaluator": evaluator}
    try:
        warm = WarmTrials(
            root / experiment.id / "warm",
            directory=Path(config.trial_code_directory or ".").expanduser().absolute(),
            preparation=preparation,
        )
    except (OSError, PrivacyError) as error:
        _logger.warning("warm_trials: trials are started one by one, which takes longer: %s", error)
        return cold
    setattr(experiment, _WARM, warm)
    return warm.command(cold)


@repair(
    "what trials are forked from lives on when its experiment is stopped",
    "nni.nas.experiment.experiment:NasExperiment.stop",
    "self._stop_nni_manager()",
)
def stopped_trials(original: Original, self: Any) -> None:
    """Stops an experiment and then what its trials were forked from."""
    try:
        original(self)
    finally:
        end_warm_trials(self)


def end_warm_trials(experiment: Any) -> None:
    """Ends what the experiment's trials are forked from, if there is any."""
    warm = getattr(experiment, _WARM, None)
    if warm is not None:
        warm.close()
        setattr(experiment, _WARM, None)
