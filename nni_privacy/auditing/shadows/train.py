"""Trains what the cache does not have, here or in worker processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypedDict

import numpy.typing as npt
import torch
from typing_extensions import NotRequired

from nni_privacy.auditing.options import Workers
from nni_privacy.auditing.shadows.cache import CacheLocation, ShadowCache, opened_cache
from nni_privacy.auditing.shadows.models import CallableModel
from nni_privacy.auditing.shadows.plan import Normalization, ShadowData, ShadowTask
from nni_privacy.auditing.shadows.pool import train_in_processes
from nni_privacy.auditing.shadows.shadow import (
    ShadowError,
    cached_or_trained,
    error_of_shadow,
    remembered,
    train_shadow,
)
from nni_privacy.errors import ConfigError
from nni_privacy.schema import checked
from nni_privacy.training.classifier import Outputs
from nni_privacy.training.recipe import Recipe

__all__ = ["Progress", "TrainingOptions", "train_shadows"]

Arrays = dict[str, npt.NDArray[Any]]

Progress = Callable[[int, int], None]
"""Called with the number of finished shadows and of all; first with what the cache had."""

_logger = logging.getLogger(__name__)


class TrainingOptions(TypedDict):
    """How shadow models are trained.

    Attributes:
        recipe: the target's.
        seed: the target's too; others are derived from it.
        normalize: by default statistics of the shadow's own training records: the attacker does not know the target's.
        outputs: what the model returns, ``logits`` or ``probabilities``.
        workers: processes; 0: this one; ``None``: one a core.
        cache: see :data:`~nni_privacy.auditing.shadows.cache.CacheLocation`.
        device: of training.
    """

    recipe: Recipe
    seed: int
    normalize: NotRequired[Normalization]
    outputs: NotRequired[Outputs]
    workers: NotRequired[int | None]
    cache: NotRequired[CacheLocation]
    device: NotRequired[str | torch.device]


def train_shadows(
    tasks: Sequence[ShadowTask],
    data: ShadowData,
    *,
    workers: int | None = None,
    cache: CacheLocation = None,
    progress: Progress | None = None,
) -> list[Arrays]:
    """The answers of shadows, trained where the cache has none; on the CPU bit for bit the same for any ``workers``.

    Args:
        tasks: the shadows; their ``data`` is ``data.digest``.
        data: the records of all of them.
        workers: processes, of one thread each; 0: train in this process; ``None``: one a core, or in this process if
            one shadow is missing or the model cannot be built elsewhere.
        cache: see :data:`~nni_privacy.auditing.shadows.cache.CacheLocation`.
        progress: told how many are finished.

    Returns:
        One dictionary a task, see :func:`~nni_privacy.auditing.shadows.shadow.train_shadow`.

    Raises:
        ConfigError: if ``workers`` is out of range or does not fit the model, or the cache cannot be written to.
        PrivacyError: with the number of the first shadow that fails: ``TrainingDiverged``, ``DataError``,
            ``AuditError`` or :class:`~nni_privacy.auditing.shadows.shadow.ShadowError` for anything else.
    """
    checked(Workers | None, workers, "workers")
    if workers and any(isinstance(task.model, CallableModel) for task in tasks):
        raise ConfigError(
            f"workers: {workers}, but the model's factory cannot be imported by another process: "
            "use workers=0, or put the factory into a module"
        )
    if any(task.model_digest is None for task in tasks):
        count = _Counter(0, len(tasks), progress)
        answers = []
        for task in tasks:
            answers.append(_guarded(task, partial(train_shadow, task, data)))
            count(task)
        return answers
    unique = {task.key: task for task in tasks}
    with opened_cache(cache) as store:
        found = {key: arrays for key, task in unique.items() if (arrays := remembered(task, store)) is not None}
        missing = [task for key, task in unique.items() if key not in found]
        _logger.info("%d shadows to train, %d from %s", len(missing), len(found), store.folder)
        count = _Counter(len(found), len(unique), progress)
        processes = _processes(workers, missing)
        if processes:
            train_in_processes(missing, data, store, workers=processes, on_done=count)
        elif missing:
            _train_here(missing, data, store, on_done=count)
        for task in missing:
            arrays = remembered(task, store)
            if arrays is None:
                raise ShadowError(f"shadow {task.number} was trained, but {store.path(task.key)} cannot be read back")
            found[task.key] = arrays
    return [found[task.key] for task in tasks]


class _Counter:
    """Counts finished shadows."""

    def __init__(self, done: int, total: int, progress: Progress | None) -> None:
        self.done, self.total, self.progress = done, total, progress or (lambda done, total: None)
        self.progress(done, total)

    def __call__(self, task: ShadowTask) -> None:
        self.done += 1
        _logger.info("shadow %d is trained", task.number)
        self.progress(self.done, self.total)


def _processes(workers: int | None, missing: Sequence[ShadowTask]) -> int:
    """How many worker processes to start; 0: train here."""
    if workers is not None:
        return min(workers, len(missing))
    if len(missing) < 2 or any(isinstance(task.model, CallableModel) for task in missing):
        return 0
    if any(task.device.startswith("cuda") for task in missing):
        return 1  # more would compete for the device's memory
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, len(missing))


def _train_here(
    tasks: Sequence[ShadowTask], data: ShadowData, cache: ShadowCache, *, on_done: Callable[[ShadowTask], None]
) -> None:
    """In this process; those that another run is training come last."""
    left = list(tasks)
    for wait in (False, True):
        busy = []
        for task in left:
            if _guarded(task, partial(cached_or_trained, task, data, cache, wait=wait)) is None:
                busy.append(task)
                _logger.info("shadow %d is being trained by another run", task.number)
            else:
                on_done(task)
        left = busy


def _guarded(task: ShadowTask, train: Callable[[], Any]) -> Any:
    """What ``train`` returns; its errors get the shadow's number."""
    try:
        return train()
    except Exception as error:  # a user's model may raise anything
        raise error_of_shadow(task.number, type(error).__name__, str(error)) from error
