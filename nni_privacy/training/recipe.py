"""How a model is trained: a :class:`Recipe`, the defences among its fields."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, Strict, field_validator, model_serializer, model_validator

from nni_privacy.errors import ConfigError
from nni_privacy.schema import Count, FractionBelowOne, OpenFraction, Options, Positive, Share, options

__all__ = ["MIN_BATCH", "DPOptions", "Recipe"]

MIN_BATCH = 2  # BatchNorm cannot be trained on one record
_ROUNDING = 1e-9  # 0.1 * 30 is a little more than 3: a milestone must not slip by an epoch for it


@options(section="recipe.dp")
class DPOptions(Options):
    """DP-SGD (Abadi et al., CCS 2016): every record's gradient is clipped, and noise is added to their sum.

    Exactly one of ``noise_multiplier`` and ``epsilon`` is given.

    Attributes:
        max_grad_norm: L2 norm to which a record's gradient is clipped, above 0 (the paper's 1.5).
        delta: for which epsilon is computed, strictly between 0 and 1; well below 1 / (number of records).
        noise_multiplier: standard deviation of the noise in units of ``max_grad_norm``, above 0. The paper's 0.3 stands
            for an epsilon of about 264, which guarantees nothing.
        epsilon: the wanted epsilon after the last epoch, above 0; the noise follows from it.

    Raises:
        ConfigError: if a value is out of range, or both or neither of noise and epsilon are given.
    """

    max_grad_norm: Positive = 1.5
    delta: OpenFraction = 1e-5
    noise_multiplier: Positive | None = None
    epsilon: Positive | None = None

    @model_validator(mode="after")
    def _noise_is_known(self) -> DPOptions:
        choice = {"noise_multiplier": self.noise_multiplier, "epsilon": self.epsilon}
        given = [f"{name} is {value:g}" for name, value in choice.items() if value is not None]
        if len(given) != 1:
            raise ConfigError(f"{' and '.join(given) or 'neither is given'}; give one of noise_multiplier and epsilon")
        return self

    @model_serializer(mode="wrap")
    def _without_none(self, dump: Any) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if value is not None}


@options(section="recipe")
class Recipe(Options):
    """How a model is trained. The defaults are those of Huang et al. (CCS 2022): SGD, 100 epochs.

    Attributes:
        epochs: passes over the training part, 1 or more.
        batch_size: records a step, 2 or more.
        learning_rate: of the first epochs, above 0.
        momentum: of SGD, 0 or more and below 1.
        weight_decay: L2 penalty, 0 or more.
        milestones: increasing fractions of the epochs, strictly between 0 and 1, after which the rate is multiplied by
            ``decay``: with the defaults, epochs 1-50 of 100 run at 1e-2, 51-75 at 1e-3, 76-100 at 1e-4; with 30 epochs
            the rate drops after 15 and after 23 (22.5 rounded up).
        decay: factor of the learning rate at a milestone, above 0 and at most 1.
        augmentation: a defence: every record is flipped (or not) and shifted at random each time the model sees it in
            training; see :func:`nni_privacy.training.defences.augment`.
        label_smoothing: a defence: this part of a label's weight is spread over all classes, 0 or more and below 1.
            The paper's 1e-3 is too weak to do anything; 0.1 is usual.
        dp: a defence: training is differentially private, see :class:`DPOptions` (or a mapping of its fields).

    Raises:
        ConfigError: with the field, its value and the allowed range.
    """

    epochs: Count = 100
    batch_size: Annotated[Count, Field(ge=MIN_BATCH)] = 64
    learning_rate: Positive = 1e-2
    momentum: FractionBelowOne = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    milestones: Annotated[tuple[OpenFraction, ...], Strict(False)] = (0.5, 0.75)
    decay: Share = 0.1
    augmentation: bool = False
    label_smoothing: FractionBelowOne = 0.0
    dp: DPOptions | None = None

    @field_validator("milestones")
    @classmethod
    def _increasing(cls, milestones: tuple[float, ...]) -> tuple[float, ...]:
        if list(milestones) != sorted(set(milestones)):
            raise ConfigError(f"{list(milestones)}; allowed are increasing fractions")
        return milestones

    def learning_rate_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1."""
        passed = sum(epoch - 1 >= fraction * self.epochs - _ROUNDING for fraction in self.milestones)
        return self.learning_rate * self.decay**passed
