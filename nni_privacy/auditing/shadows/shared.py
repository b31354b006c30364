"""Models of the attacker's own that all trials of an experiment share: trained by the first, remembered for the others.

Nothing of a trial's architecture is in what they are trained on or asked, so the cache finds them again; two trials
that need one at once train it once (:mod:`nni_privacy.auditing.shadows.cache`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn
from typing_extensions import Unpack

from nni_privacy.attacks import ShadowSignals
from nni_privacy.auditing.options import SMALL_CNN, is_genotype
from nni_privacy.auditing.shadows.models import ModelSpec, fingerprint, spec_for
from nni_privacy.auditing.shadows.paper import small_cnn
from nni_privacy.auditing.shadows.plan import ShadowTask
from nni_privacy.auditing.shadows.references import Population, Records, stack_records
from nni_privacy.auditing.shadows.train import TrainingOptions, train_shadows
from nni_privacy.cells.genotypes import parse_genotype
from nni_privacy.cells.spaces import space_of
from nni_privacy.data.inputs import IMAGE_DIMS, Inputs
from nni_privacy.errors import ConfigError
from nni_privacy.networks import build_network
from nni_privacy.rng import stream_seed
from nni_privacy.training.fit import resolve_device

__all__ = ["outsider_signals", "shared_reference"]

_OUTSIDER_STREAM = 1_000_003
"""The number of the outsider's seed: beyond those of reference models."""


def shared_reference(reference: str, images: Records, *, like: nn.Module, num_classes: int) -> ModelSpec:
    """How the reference models are built that stand in for more models of a target's architecture.

    Carlini et al. (arXiv 2112.03570, figure 10) find that references of a similar architecture cost LiRA little.

    Args:
        reference: ``small_cnn``, the name of a human-designed network, or a genotype, which gets the sizes of ``like``:
            width and depth.
        images: what they are trained on, ``(n, C, H, W)``.
        like: the target.
        num_classes: number of classes K.

    Raises:
        ConfigError: if a genotype is given and the target is not a network of its space, or the images do not fit the
            network.
    """
    inputs = Inputs.of(images)
    if reference == SMALL_CNN and inputs.numbers is not None:
        return small_cnn(inputs, num_classes)
    if inputs.images is None or inputs.images.ndim != IMAGE_DIMS:
        raise ConfigError(f"shadow.reference: {reference!r:.60} takes images (n, C, H, W); these are {inputs}")
    channels, height, width = (int(size) for size in inputs.images.shape[1:])
    if is_genotype(reference):
        genotype = parse_genotype(reference)
        factory = f"{space_of(genotype).network}.of"
        return ModelSpec(factory, {**_sizes(like, factory, reference), "genotype": str(genotype)})
    if height != width:
        raise ConfigError(f"shadow.reference: {reference!r} takes square images; these are {height} x {width}")
    sizes = {"in_channels": channels, "num_classes": num_classes, "image_size": height}
    return ModelSpec(build_network, {"name": reference, **sizes})


def _sizes(like: nn.Module, factory: str, reference: str) -> Mapping[str, Any]:
    """The arguments of the target's own factory, which is that of the genotype's space."""
    source = spec_for(like)
    if not isinstance(source, ModelSpec) or source.factory != factory:
        raise ConfigError(f"shadow.reference: {reference!r:.60} is of another search space than the trial's network")
    return source.arguments


def outsider_signals(
    attacked: tuple[Records, Records],
    train: tuple[Records, Records],
    population: Population,
    *,
    num_classes: int,
    **training: Unpack[TrainingOptions],
) -> ShadowSignals:
    """The answers of a small CNN that was trained on neither the attacked records nor the population.

    What quantile regression knows of a record; whatever the target is, the network is the same.

    Args:
        attacked: images ``(n, C, H, W)`` and labels ``(n,)``.
        train: the same of the records that it is trained on.
        population: records of the attacker's own that the regression learns from, and the target's answers on them.
        num_classes: number of classes K.
        **training: see :class:`~nni_privacy.auditing.shadows.train.TrainingOptions`.

    Raises:
        PrivacyError: as :func:`~nni_privacy.auditing.shadows.train.train_shadows`.
    """
    workers, cache = training.get("workers"), training.get("cache")
    data = stack_records([train, attacked, (population.images, population.labels)])
    rows, trained, count = np.arange(len(data), dtype=np.int64), len(train[1]), len(attacked[1])
    source = small_cnn(train[0], num_classes)
    task = ShadowTask(
        number=0,
        model=source,
        model_digest=fingerprint(source),
        recipe=training["recipe"],
        data=data.digest,
        training=rows[:trained],
        queries=rows[trained:],
        normalize=training.get("normalize", "own"),
        seed=stream_seed(training["seed"], _OUTSIDER_STREAM),
        device=str(resolve_device(training.get("device", "auto"))),
    )
    (answers,) = train_shadows([task], data, workers=workers, cache=cache)
    logits: npt.NDArray[np.float32] = answers["logits"][:, None]  # one shadow, one view
    return ShadowSignals(
        logits=logits[:count],
        keep=np.zeros((count, 1), dtype=np.bool_),
        population_logits=logits[count:],
        population_labels=data.labels[trained + count :].numpy(),
        target_population_logits=np.asarray(population.target_logits, dtype=np.float32)[:, None],
    )
