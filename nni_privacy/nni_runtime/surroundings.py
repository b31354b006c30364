"""What an environment brings that a run must not take over: variables of an outer trial, warnings as errors."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

__all__ = ["OF_A_TRIAL", "put_outer_trial_aside", "show_warnings"]

OF_A_TRIAL = (
    *("NNI_PLATFORM", "NNI_EXP_ID", "NNI_TRIAL_JOB_ID", "NNI_SYS_DIR", "NNI_OUTPUT_DIR", "NNI_TRIAL_COMMAND_CHANNEL"),
    *("NNI_TRIAL_SEQ_ID", "MULTI_PHASE", "REUSE_MODE", "SDK_PROCESS", "NNI_TUNER_COMMAND_CHANNEL"),
)
"""Variables by which NNI takes a process for a trial, or for a tuner, and then writes what it prints to a file."""


def put_outer_trial_aside() -> None:
    """Removes what an outer trial left in the environment, and says so in one line.

    Where NNI has been imported already, it has taken standard output, too: that is given back.
    """
    found = [name for name in OF_A_TRIAL if os.environ.pop(name, None) is not None]
    if not found:
        return
    log: Any = sys.modules.get("nni.runtime.log")
    if log is not None and isinstance(sys.stdout, log._LogFileWrapper):
        sys.stdout = sys.__stdout__
    print(f"note: {', '.join(found)}, left of an outer NNI trial, put aside for this run", file=sys.stderr, flush=True)


def show_warnings() -> None:
    """Lets warnings that are to be errors be shown instead, here and in processes that are started from now on.

    NNI, Lightning and torch warn when they are imported, so that nothing could run.
    """
    if any(action == "error" for action, *_ in warnings.filters):
        warnings.simplefilter("default")
    if "error" in os.environ.get("PYTHONWARNINGS", ""):
        os.environ["PYTHONWARNINGS"] = "default"
