"""Reference (shadow) models for LiRA and RMIA: trained on random halves of the attacked records, asked about all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from nni_privacy.attacks import ShadowSignals
from nni_privacy.auditing.options import Views
from nni_privacy.auditing.shadows.cache import CacheLocation
from nni_privacy.auditing.shadows.models import ModelSource, fingerprint, spec_for
from nni_privacy.auditing.shadows.plan import Normalization, ShadowData, ShadowTask
from nni_privacy.auditing.shadows.sampling import keep_matrix
from nni_privacy.auditing.shadows.train import Progress, train_shadows
from nni_privacy.data.inputs import Inputs
from nni_privacy.errors import DataError
from nni_privacy.rng import stream_seed
from nni_privacy.schema import checked
from nni_privacy.training.classifier import Outputs
from nni_privacy.training.fit import resolve_device
from nni_privacy.training.recipe import Recipe

__all__ = ["Population", "reference_shadows", "stack_records"]

Arrays = dict[str, npt.NDArray[Any]]
Records = Any
"""Inputs of records, see :meth:`~nni_privacy.data.Inputs.of`; or their labels, a tensor or an array."""
AnyModel = ModelSource | nn.Module | str | Callable[..., nn.Module]


@dataclass(frozen=True, eq=False)
class Population:
    """Records z that neither the target nor a shadow is trained on (RMIA, arXiv 2312.03262).

    Attributes:
        images: ``(m, C, H, W)``, or records of another kind; of the attacked ones' type.
        labels: ``(m,)`` integers.
        target_logits: ``(m, V, K)``, or ``(m, K)`` for a single query: the target's answers on them.
    """

    images: Records
    labels: Records
    target_logits: npt.NDArray[np.floating]


def reference_shadows(
    model: AnyModel,
    images: Records,
    labels: Records,
    *,
    count: int,
    recipe: Recipe,
    seed: int,
    population: Population | None = None,
    views: int = 1,
    normalize: Normalization = "own",
    outputs: Outputs = "logits",
    workers: int | None = None,
    cache: CacheLocation = None,
    device: str | torch.device = "auto",
    progress: Progress | None = None,
) -> ShadowSignals:
    """Trains ``count`` shadows of the target's architecture, each on half of the attacked records, and asks them.

    Who is trained on what is drawn by :func:`~nni_privacy.auditing.shadows.sampling.keep_matrix` before anything is
    trained: from 4 shadows on to 8 only four are trained.

    Args:
        model: the target's network or a factory, see :func:`~nni_privacy.auditing.shadows.models.spec_for`.
        images: ``(n, C, H, W)``, ``uint8`` or ``float32``, or records of any kind, see
            :class:`~nni_privacy.data.Inputs`: the target's members, then its non-members, in the order of the target's
            signals. With equally many of both a shadow is trained on as many records as the target.
        labels: ``(n,)`` integers.
        count: number of shadows S, 1 or more.
        recipe: the target's.
        seed: of the keep matrix and of the shadows, 0 or more.
        population: the z of RMIA.
        views: queries a record V, 1 to 18, as in ``extract_signals``.
        normalize: ``own``: statistics of each shadow's training records, which is how ``PrivacyEvaluator`` treats the
            target; a ``Normalizer`` for a target that was trained with fixed statistics; ``None`` for one that was
            trained without.
        outputs: what the model returns, ``logits`` or ``probabilities``.
        workers: processes; 0: this one; ``None``: one a core.
        cache: the user's by default; a folder; ``False``: nothing is kept.
        device: of training.
        progress: called with the number of finished shadows and of all.

    Returns:
        The answers on the n records, and on the population where there is one.

    Raises:
        ConfigError: if an option is out of range or the model cannot be built.
        DataError: if shapes do not fit.
        PrivacyError: if a shadow fails, see :func:`~nni_privacy.auditing.shadows.train.train_shadows`.
    """
    data = stack_records([(images, labels)] + ([(population.images, population.labels)] if population else []))
    keep = keep_matrix(len(labels), count, seed=seed)
    source = spec_for(model)
    first = ShadowTask(
        number=0,
        model=source,
        model_digest=fingerprint(source),
        recipe=recipe,
        data=data.digest,
        training=np.flatnonzero(keep[:, 0]),
        queries=np.arange(len(data), dtype=np.int64),
        views=checked(Views, views, "views"),
        normalize=normalize,
        outputs=outputs,
        seed=stream_seed(seed, 0),
        device=str(resolve_device(device)),
    )
    tasks = [
        replace(first, training=np.flatnonzero(column), number=number, seed=stream_seed(seed, number))
        for number, column in enumerate(keep.T)
    ]
    answers = train_shadows(tasks, data, workers=workers, cache=cache, progress=progress)
    logits = _joined(answers)
    if population is None:
        return ShadowSignals(logits=logits, keep=keep)
    target_logits = np.asarray(population.target_logits, dtype=np.float32)
    return ShadowSignals(
        logits=logits[: len(keep)],
        keep=keep,
        population_logits=logits[len(keep) :],
        population_labels=data.labels[len(keep) :].numpy(),
        population_keep=np.zeros((len(data) - len(keep), count), dtype=np.bool_),
        target_population_logits=target_logits[:, None] if target_logits.ndim == 2 else target_logits,
    )


def stack_records(parts: Sequence[tuple[Records, Records]]) -> ShadowData:
    """The records of all parts, one after the other."""
    labels = [torch.as_tensor(part[1]).to(torch.int64) for part in parts]
    try:
        inputs = Inputs.cat([Inputs.of(part[0]) for part in parts])
    except DataError as error:
        raise DataError(f"shadow models: {error}") from error
    return ShadowData(inputs, torch.cat(labels))


def _joined(answers: list[Arrays]) -> npt.NDArray[np.float32]:
    """``(q, S, V, K)`` of S times ``(q, V, K)``; the list is emptied, so that everything is in memory once."""
    queries, views, classes = answers[0]["logits"].shape
    logits = np.empty((queries, len(answers), views, classes), dtype=np.float32)
    for number in reversed(range(len(answers))):
        logits[:, number] = answers.pop()["logits"]
    return logits
