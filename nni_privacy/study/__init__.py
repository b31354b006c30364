"""Measurement studies: architectures x variants x data sets x defences x seeds, each trained and attacked once.

:mod:`~nni_privacy.study.config` reads the YAML file, :mod:`~nni_privacy.study.plan` makes the list of its measurements,
:mod:`~nni_privacy.study.evaluator` carries one out in a trial, and :mod:`~nni_privacy.study.command` runs them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_attributes

if TYPE_CHECKING:
    from nni_privacy.study.command import run_measure
    from nni_privacy.study.config import StudyConfig, load_study
    from nni_privacy.study.plan import Measurement, plan_study

__all__ = ["Measurement", "StudyConfig", "load_study", "plan_study", "run_measure"]

_LAZY = {
    "Measurement": "nni_privacy.study.plan",
    "StudyConfig": "nni_privacy.study.config",
    "load_study": "nni_privacy.study.config",
    "plan_study": "nni_privacy.study.plan",
    "run_measure": "nni_privacy.study.command",
}

__getattr__ = lazy_attributes(__name__, _LAZY)
