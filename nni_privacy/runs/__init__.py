"""Run directories: the plain files of a run, written while it goes on, read when it is resumed or reported. No NNI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_attributes

if TYPE_CHECKING:
    from nni_privacy.runs.directory import RunDirectory, TrialRecord
    from nni_privacy.runs.records import RunInfo, TrialInfo, read_run

__all__ = ["RunDirectory", "RunInfo", "TrialInfo", "TrialRecord", "read_run"]

_LAZY = {
    "RunDirectory": "nni_privacy.runs.directory",
    "RunInfo": "nni_privacy.runs.records",
    "TrialInfo": "nni_privacy.runs.records",
    "TrialRecord": "nni_privacy.runs.directory",
    "read_run": "nni_privacy.runs.records",
}

__getattr__ = lazy_attributes(__name__, _LAZY)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
