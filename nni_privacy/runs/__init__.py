"""Run directories: the plain files of a run, written while it goes on, read when it is resumed or reported. No NNI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_attributes

if TYPE_CHECKING:
    from nni_privacy.runs.directory import RunDirectory
    from nni_privacy.runs.records import RunInfo, TrialRecord, read_run, read_trials

__all__ = ["RunDirectory", "RunInfo", "TrialRecord", "read_run", "read_trials"]

_LAZY = {
    "RunDirectory": "nni_privacy.runs.directory",
    "RunInfo": "nni_privacy.runs.records",
    "TrialRecord": "nni_privacy.runs.records",
    "read_run": "nni_privacy.runs.records",
    "read_trials": "nni_privacy.runs.records",
}

__getattr__ = lazy_attributes(__name__, _LAZY)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
