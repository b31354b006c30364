"""Builders of a search's parts from its configuration: model space, evaluator and strategy."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from nni_privacy.cells.spaces import SPACES
from nni_privacy.config import SearchConfig
from nni_privacy.errors import AuditError, ConfigError, DataError
from nni_privacy.plugins import is_plugins, plugin_faults
from nni_privacy.runs.records import CONSTRAINTS

if TYPE_CHECKING:
    from nni.nas.strategy import Strategy

    from nni_privacy.data import Dataset, FourWaySplit
    from nni_privacy.evaluator import PrivacyEvaluator
    from nni_privacy.runs.epochs import EpochRecord
    from nni_privacy.search_spaces.config import SearchSpaceConfig
    from nni_privacy.search_spaces.space import CellSpace
    from nni_privacy.studies.config import StudyConfig

__all__ = ["build_evaluator", "build_search_strategy", "build_space", "check_split"]

SKIPPED_FILE = "skipped.jsonl"


def check_split(split: FourWaySplit, *, name: str) -> None:
    """Raises DataError unless there are enough records of either side for an audit, before anything is trained."""
    from nni_privacy.auditing.audit import MIN_RECORDS

    members, others = len(split.target_train), len(split.target_test)
    if min(members, others) < MIN_RECORDS:
        raise DataError(
            f"dataset {name!r}: a quarter of it are {members} members and {others} non-members; "
            f"an audit needs {MIN_RECORDS} or more of each"
        )


def build_evaluator(settings: SearchConfig) -> PrivacyEvaluator:
    """The evaluator of a configuration."""
    from nni_privacy.evaluator import PrivacyEvaluator

    data = settings.dataset
    if data is None:
        raise ConfigError("dataset: missing")
    options = settings.evaluator.measuring() | {"seed": settings.seed, "weights": settings.keep != "none"}
    options["constraints"] = settings.constraints
    return PrivacyEvaluator({"name": data.name, **data.options}, **options)


def build_space(settings: SearchConfig | StudyConfig, data: Dataset | None = None) -> CellSpace[Any]:
    """The model space of a configuration, for images and classes as in ``data``; a plugin's is asked about two images.

    Raises:
        ConfigError: if a plugin's cannot be built or cannot answer, with file and line.
    """
    section = settings.search_space
    if section.own:
        return _build_own(section, data)
    shape = {} if data is None else {"in_channels": data.image_shape[0], "num_classes": data.num_classes}
    place = SPACES[section.name].model_space
    with plugin_faults(f"search space {section.name!r}", place):
        space: CellSpace[Any] = resolve_name(place)(**section.options, **shape)
        if data is not None and is_plugins(place):
            _ask(space, data)
    return space


def _ask(space: CellSpace[Any], data: Dataset) -> None:
    import torch

    from nni_privacy.data.normalize import to_float

    with torch.no_grad():
        answers = space.eval()(to_float(data.images[:2]))
    space.train()
    _check_answers(answers, data, "its")


def _check_answers(answers: Any, data: Dataset, whose: str) -> None:
    """Sees that they are logits, in whatever a training takes them from."""
    from nni_privacy.training.classifier import answer_of, to_logits

    wanted = (len(data.images[:2]), data.num_classes)
    try:
        shape = tuple(to_logits(answer_of(answers, wanted[0]), "logits").shape)
    except AuditError as error:
        raise ConfigError(f"{whose} network: {error}") from error
    if shape != wanted:
        raise ConfigError(f"{whose} network returns {shape}, expected {wanted}: (images, classes)")


def _build_own(section: SearchSpaceConfig, data: Dataset | None) -> Any:
    """A space of the user's own, asked about two images, from a folder that hides nothing of what trials need."""
    from nni_privacy.data.normalize import to_float
    from nni_privacy.nni_runtime.hidden_modules import check_folder
    from nni_privacy.search_spaces.own_space import answers_of, build_own_space

    shape = {} if data is None else {"in_channels": data.image_shape[0], "num_classes": data.num_classes}
    space = build_own_space(section.name, section.options, **shape)
    top = section.name.partition(":")[0].partition(".")[0]
    for folder in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        if Path(folder, top).is_dir() or Path(folder, f"{top}.py").is_file():
            check_folder(Path(folder))
    if data is not None:
        with plugin_faults(f"search space {section.name!r}", section.name):
            answers = answers_of(space, to_float(data.images[:2]))
        _check_answers(answers, data, f"search_space.name: {section.name}: its")
    return space


def build_search_strategy(
    settings: SearchConfig,
    *,
    folder: Path | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    image_shape: tuple[int, int, int] | None = None,
) -> Strategy:
    """The strategy of a configuration, inside a filter, constraints and a FixedPattern where there are any.

    Args:
        settings: the configuration.
        folder: where a one-shot search leaves its checkpoint and its log, and a filter what it skipped.
        on_epoch: called after each epoch of a one-shot search.
        image_shape: of the data, for constraints and filters; by default the evaluator is asked.
    """
    from nni_privacy.patterns.library import warn_unsupported
    from nni_privacy.strategies import ConstrainedSearch, FixedPattern, build_strategy
    from nni_privacy.strategies.one_shot import OneShotStrategy
    from nni_privacy.strategies.predicted_filter import PredictedFilter

    strategy = build_strategy(settings.strategy.name, settings.strategy.options, seed=settings.seed)
    if isinstance(strategy, OneShotStrategy):
        strategy.device, strategy.threads = settings.evaluator.device, settings.evaluator.threads
        strategy.folder, strategy.on_epoch = folder, on_epoch
    if settings.filter is not None:
        log = None if folder is None else folder / SKIPPED_FILE
        given = settings.filter.to_dict()
        strategy = PredictedFilter(strategy, **given, seed=settings.seed, log=log, image_shape=image_shape)
    if settings.constraints:
        log = None if folder is None else folder / CONSTRAINTS
        strategy = ConstrainedSearch(strategy, settings.constraints, image_shape=image_shape, log=log)
    if settings.pattern is None:
        return strategy
    pattern = settings.pattern.load()
    warn_unsupported(pattern)
    return FixedPattern(strategy, pattern, budget=settings.pattern.budget)
