"""Logs of a running experiment: the manager's last words in a file, and no tracebacks where the disk is full."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from nni_privacy.files import full_disk

__all__ = ["forgive_unwritable_logs", "log_folder", "manager_errors_kept", "why_it_ended"]

_ERRORS = "nnictl_stderr.log"
"""NNI's own name of it, where the manager runs detached; a manager that does not start is reported with it."""


def log_folder(experiment: Any) -> Path:
    """The folder in which NNI keeps the logs of an experiment."""
    return Path(experiment.config.experiment_working_directory) / experiment.id / "log"


@contextmanager
def manager_errors_kept(folder: Path) -> Iterator[None]:
    """A manager that is started meanwhile writes its errors into ``folder``, not between the lines of a search."""
    launcher: Any = import_module("nni.experiment.launcher")
    original = launcher.Popen
    with (folder / _ERRORS).open("ab") as file:

        def popen(*arguments: Any, **options: Any) -> subprocess.Popen[Any]:
            errors = options.get("stderr") or file
            started: subprocess.Popen[Any] = original(*arguments, **{**options, "stderr": errors})
            return started

        launcher.Popen = popen
        try:
            yield
        finally:
            launcher.Popen = original


def why_it_ended(folder: Path) -> str:
    """Explains why a manager has ended: that its disk is full, or where its last words are."""
    full, errors = full_disk(folder), folder / _ERRORS
    if full is not None:
        return f": {full}"
    return f" (see {errors})" if errors.is_file() and errors.stat().st_size else ""


def forgive_unwritable_logs() -> None:
    """Lets NNI's logs end where they cannot be written, instead of a traceback on the screen for every line."""
    for handler in logging.getLogger("nni").handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = lambda record: None  # type: ignore[method-assign]
