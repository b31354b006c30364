"""Measurement studies: architectures x variants x data sets x defences x seeds, each trained and attacked once.

:mod:`~nni_privacy.studies.config` reads the YAML file, :mod:`~nni_privacy.studies.plan` makes the list of its
measurements, :mod:`~nni_privacy.studies.evaluator` carries one out in a trial, and :mod:`~nni_privacy.commands.measure`
runs them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_names

if TYPE_CHECKING:
    from nni_privacy.studies.config import StudyConfig, load_study
    from nni_privacy.studies.plan import Measurement, plan_study

__all__ = ["Measurement", "StudyConfig", "load_study", "plan_study"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {"studies.config": ["StudyConfig", "load_study"], "studies.plan": ["Measurement", "plan_study"]},
)
