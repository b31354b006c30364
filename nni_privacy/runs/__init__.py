"""Run directories: the plain files of a run, written while it goes on, read when it is resumed or reported. No NNI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_names

if TYPE_CHECKING:
    from nni_privacy.runs.directory import RunDirectory
    from nni_privacy.runs.records import RunInfo, TrialRecord, read_run, read_trials

__all__ = ["RunDirectory", "RunInfo", "TrialRecord", "read_run", "read_trials"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {"runs.directory": ["RunDirectory"], "runs.records": ["RunInfo", "TrialRecord", "read_run", "read_trials"]},
)
