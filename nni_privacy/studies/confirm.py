"""The study that confirms a search: the architectures of some of its trials, each trained with the same fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count, islice
from typing import Any

from nni_privacy.analysis.selection import sizes_of
from nni_privacy.config import ConfirmConfig, RunConfig, SearchConfig
from nni_privacy.errors import ConfigError
from nni_privacy.rng import derived_seed
from nni_privacy.runs.confirmed import CONFIRM
from nni_privacy.runs.records import RunInfo, TrialRecord
from nni_privacy.schema import validated
from nni_privacy.studies.config import StudyConfig
from nni_privacy.studies.entries import TrialEntry

__all__ = ["confirm_study", "confirmed_trials", "fresh_seeds", "grown"]

SEEDS = 2**32


def fresh_seeds(seed: int, number: int) -> list[int]:
    """So many seeds of a search's own one, all different and none of them that; more of them begin with the same.

    >>> fresh_seeds(0, 3) == fresh_seeds(0, 5)[:3]
    True
    """
    drawn = (derived_seed(seed, CONFIRM, stream) % SEEDS for stream in count())
    found = dict.fromkeys(islice((one for one in drawn if one != seed), number))
    return list(found) if len(found) == number else fresh_seeds(seed, number + 1)[:number]


def confirm_study(
    settings: SearchConfig, options: ConfirmConfig, run: RunInfo, chosen: Sequence[TrialRecord]
) -> StudyConfig:
    """The study's configuration.

    Args:
        settings: of the search.
        options: how much is to be confirmed, and by which attacks.
        run: the search, read.
        chosen: the trials whose architectures are trained anew, at least one.

    Raises:
        ConfigError: if an architecture is none of a space's, or an attack is not possible.
    """
    if settings.dataset is None:
        raise ConfigError("dataset: missing")
    data = settings.dataset
    content: dict[str, Any] = {
        **{name: getattr(settings, name) for name in RunConfig.model_fields},
        "name": f"{settings.name}-{CONFIRM}",
        "seeds": fresh_seeds(settings.seed, options.seeds),
        "datasets": [{"name": data.name, **data.options}],
        "search_space": sizes_of(chosen[0], run.config),
        "architectures": [
            {"trial": trial.sequence, "genotype": trial.architecture, "search_space": sizes_of(trial, run.config)}
            for trial in chosen
        ],
        "evaluator": options.evaluator(settings.evaluator),
    }
    return validated(StudyConfig, content)


def grown(recorded: Mapping[str, Any], wanted: StudyConfig) -> StudyConfig:
    """The study ``wanted`` with all that a recorded one has already; what was trained is not trained again.

    Args:
        recorded: the resolved configuration of a study of the same search.
        wanted: the study that is to be run now.
    """
    before = validated(StudyConfig, {**recorded, "training_service": None})
    known = confirmed_trials(before)
    added = [one for one in wanted.architectures if isinstance(one, TrialEntry) and one.trial not in known]
    seeds = max(before.seeds, wanted.seeds, key=len)
    both = {"architectures": [*before.architectures, *added], "seeds": seeds}
    return wanted.model_copy(update={**both, "search_space": before.search_space})  # each entry has its own


def confirmed_trials(study: StudyConfig) -> list[int]:
    """Numbers of the search's trials whose architectures a study trains anew."""
    return [entry.trial for entry in study.architectures if isinstance(entry, TrialEntry)]
