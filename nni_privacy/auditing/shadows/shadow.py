"""One shadow: built, trained and asked, through the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nni_privacy.auditing.forward import extract_signals
from nni_privacy.auditing.shadows.cache import ShadowCache
from nni_privacy.auditing.shadows.plan import ShadowData, ShadowTask
from nni_privacy.data import Normalizer
from nni_privacy.errors import AuditError, ConfigError, DataError, GenotypeError, PrivacyError
from nni_privacy.rng import isolated
from nni_privacy.training.classifier import own_type
from nni_privacy.training.fit import TrainingDiverged, fit, seed_everything
from nni_privacy.training.gradients import gradients_on

__all__ = ["ShadowError", "cached_or_trained", "error_of_shadow", "remembered", "train_shadow"]

Arrays = dict[str, npt.NDArray[Any]]

HALF = (torch.float16, torch.bfloat16)
"""Types that are too coarse for plain SGD: such models are trained with 32 bits and asked with their own 16."""


class ShadowError(PrivacyError, RuntimeError):
    """A shadow model could not be trained; the message has its number and why."""


_KINDS: dict[str, type[PrivacyError]] = {
    kind.__name__: kind for kind in (AuditError, ConfigError, DataError, GenotypeError, TrainingDiverged)
}


def error_of_shadow(number: int, kind: str, message: str) -> PrivacyError:
    """The error of a shadow in one line with its number, of the same class if it is one of ours."""
    if kind in _KINDS:
        return _KINDS[kind](f"shadow {number}: {message}")
    if kind == "MemoryError" or "out of memory" in message:
        return ShadowError(f"shadow {number} ran out of memory; use fewer workers ({kind}: {message})")
    return ShadowError(f"shadow {number} could not be trained: {kind}: {message}")


@gradients_on()
def train_shadow(task: ShadowTask, data: ShadowData) -> Arrays:
    """Builds, trains and asks one shadow, in this process and with one thread; nothing global is changed.

    Returns:
        ``logits`` ``(q, V, K)`` ``float32`` and, with ``task.gradients``, ``features`` ``(q, F)`` or ``gradients``
        ``(q, P)``, for the q queries in their order.

    Raises:
        ConfigError: if the model cannot be built.
        TrainingDiverged: if the loss becomes NaN or infinite.
        DataError: if the data does not fit the model.
        AuditError: if the model does not return logits, or NaN.
    """
    training, queries = torch.from_numpy(task.training), torch.from_numpy(task.queries)
    inputs, labels = data.inputs[training], data.labels[training]
    normalize = Normalizer.fit(inputs.value) if task.normalize == "own" else task.normalize
    how: dict[str, Any] = {"device": task.device, "normalize": normalize, "outputs": task.outputs}
    with isolated():
        seed_everything(task.seed)
        model = task.model.build()
        dtype = own_type(model)
        if dtype in HALF:
            model.float()
        others = task.validation(len(data))
        looked_at = None if others is None else (data.inputs[others], data.labels[others])
        fit(model, inputs, labels, recipe=task.recipe, seed=task.seed, validation=looked_at, **how)
        if dtype in HALF:
            model.to(dtype)
        signals = extract_signals(
            model,
            data.inputs[queries],
            data.labels[queries],
            np.isin(task.queries, task.training),
            gradients=task.gradients,
            views=task.views if task.views > 1 else None,
            **how,
        )
    logits = signals.logits[:, None] if signals.view_logits is None else signals.view_logits
    answers: Arrays = {"logits": np.ascontiguousarray(logits, dtype=np.float32)}
    for name in ("features", "gradients"):
        if getattr(signals, name) is not None:
            answers[name] = getattr(signals, name)
    return answers


def remembered(task: ShadowTask, cache: ShadowCache) -> Arrays | None:
    """The task's answers from the cache; ``None`` if it has none that fit."""
    arrays = cache.read(task.key)
    return arrays if arrays is not None and task.accepts(arrays) else None


def cached_or_trained(task: ShadowTask, data: ShadowData, cache: ShadowCache, *, wait: bool) -> Arrays | None:
    """The task's answers, from the cache or trained and put there; ``None`` if another process is at it.

    With ``wait`` it waits for that process until it has finished or died. Raises as :func:`train_shadow`.
    """
    with cache.lock(task.key, wait=wait) as held:
        if not held:
            return None
        arrays = remembered(task, cache)
        if arrays is None:
            arrays = train_shadow(task, data)
            cache.write(task.key, arrays, description=task.description)
        return arrays
