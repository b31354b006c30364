"""The two shadow models of the paper: the small CNN of Black-Box/Shadow and the twin of White-Box/Shadow."""

from __future__ import annotations

import numpy as np
import torch
from typing_extensions import Unpack

from nni_privacy.attacks import TargetSignals
from nni_privacy.auditing.shadows.cache import CacheLocation
from nni_privacy.auditing.shadows.models import ModelSource, ModelSpec, fingerprint, spec_for
from nni_privacy.auditing.shadows.plan import Normalization, ShadowTask
from nni_privacy.auditing.shadows.references import AnyModel, Records, stack_records
from nni_privacy.auditing.shadows.train import TrainingOptions, train_shadows
from nni_privacy.rng import stream_seed
from nni_privacy.training.fit import resolve_device
from nni_privacy.training.recipe import Recipe

__all__ = ["small_cnn", "small_cnn_signals", "twin_signals"]

SMALL_CNN = "nni_privacy.auditing.shadows.small_cnn:SmallCNN"


def small_cnn_signals(
    members: tuple[Records, Records],
    nonmembers: tuple[Records, Records],
    *,
    num_classes: int,
    **training: Unpack[TrainingOptions],
) -> TargetSignals:
    """The shadow of Black-Box/Shadow: one small CNN, trained on shadow-train and asked about both parts.

    Whatever the target is, the answers are the same: through the cache all trials of an experiment share one training,
    also if two of them ask for it at once.

    Args:
        members: images ``(m, C, H, W)`` and labels ``(m,)`` of shadow-train.
        nonmembers: the same of shadow-test.
        num_classes: number of classes K.
        **training: see :class:`~nni_privacy.auditing.shadows.train.TrainingOptions`.

    Raises:
        PrivacyError: as :func:`~nni_privacy.auditing.shadows.train.train_shadows`.
    """
    return _shadow_signals(small_cnn(members[0], num_classes), members, nonmembers, gradients=False, **training)


def small_cnn(images: Records, num_classes: int) -> ModelSpec:
    """How a small CNN for such images ``(n, C, H, W)`` is built."""
    channels, height, width = (int(size) for size in images.shape[1:])
    arguments = {"in_channels": channels, "num_classes": num_classes, "image_size": [height, width]}
    return ModelSpec(SMALL_CNN, arguments)


def twin_signals(
    model: AnyModel,
    members: tuple[Records, Records],
    nonmembers: tuple[Records, Records],
    **training: Unpack[TrainingOptions],
) -> TargetSignals:
    """The shadow of White-Box/Shadow: the target's architecture, trained on shadow-train, with gradients.

    Args:
        model: the target's network or a factory, see :func:`~nni_privacy.auditing.shadows.models.spec_for`.
        members: as for :func:`small_cnn_signals`, and so on.
        nonmembers: images and labels of shadow-test.
        **training: see :class:`~nni_privacy.auditing.shadows.train.TrainingOptions`.

    Returns:
        Signals with ``features``, or with explicit ``gradients`` if the model does not end in a linear layer.

    Raises:
        PrivacyError: as :func:`~nni_privacy.auditing.shadows.train.train_shadows`.
    """
    return _shadow_signals(spec_for(model), members, nonmembers, gradients=True, **training)


def _shadow_signals(
    source: ModelSource,
    members: tuple[Records, Records],
    nonmembers: tuple[Records, Records],
    *,
    gradients: bool,
    recipe: Recipe,
    seed: int,
    normalize: Normalization = "own",
    workers: int | None = None,
    cache: CacheLocation = None,
    device: str | torch.device = "auto",
) -> TargetSignals:
    """One shadow, trained on the members and asked about members and non-members, in that order."""
    data = stack_records([members, nonmembers])
    rows = np.arange(len(data), dtype=np.int64)
    task = ShadowTask(
        number=0,
        model=source,
        model_digest=fingerprint(source),
        recipe=recipe,
        data=data.digest,
        training=rows[: len(members[1])],
        queries=rows,
        gradients=gradients,
        normalize=normalize,
        seed=stream_seed(seed, 0),
        device=str(resolve_device(device)),
    )
    (answers,) = train_shadows([task], data, workers=workers, cache=cache)
    extras = {name: answers[name] for name in ("features", "gradients") if name in answers}
    return TargetSignals.from_logits(answers["logits"][:, 0], data.labels.numpy(), rows < len(members[1]), **extras)
