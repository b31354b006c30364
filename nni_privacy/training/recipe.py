"""How a model is trained: a :class:`Recipe`, the defences among its fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, field_validator, model_serializer, model_validator

from nni_privacy.errors import ConfigError
from nni_privacy.schema import Count, FractionBelowOne, OpenFraction, Options, Positive, Share, options
from nni_privacy.training.schedules import learning_rate

__all__ = ["MIN_BATCH", "DPOptions", "Recipe", "StopEarly"]

MIN_BATCH = 2  # BatchNorm cannot be trained on one record

Whole = Annotated[int, Field(ge=0)]
NotNegative = Annotated[float, Field(ge=0)]


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


@options(section="recipe.stop_early")
class StopEarly(Options):
    """Early stopping: a part of the training records is not trained on, and the best epoch's weights are kept.

    Attributes:
        patience: so many epochs in a row may bring no lower loss on that part, 1 or more.
        share: of the training records, strictly between 0 and 1.

    Raises:
        ConfigError: if a value is out of range.
    """

    patience: Count
    share: OpenFraction = 0.1


@options(section="recipe")
class Recipe(Options):
    """How a model is trained. The defaults are those of Huang et al. (CCS 2022): SGD, 100 epochs.

    Attributes:
        epochs: passes over the training part, 1 or more.
        batch_size: records a step, 2 or more.
        learning_rate: of the first epochs, above 0; of ``one_cycle`` the highest.
        momentum: of SGD, 0 or more and below 1; of Adam and AdamW the first beta (the second is torch's, 0.999).
        weight_decay: L2 penalty, 0 or more; of ``adamw`` decoupled from the gradient.
        milestones: of the schedule ``steps``: increasing fractions of the epochs, strictly between 0 and 1, after which
            the rate is multiplied by ``decay``: with the defaults, epochs 1-50 of 100 run at 1e-2, 51-75 at 1e-3,
            76-100 at 1e-4; with 30 epochs the rate drops after 15 and after 23 (22.5 rounded up).
        decay: factor of the learning rate at a milestone, above 0 and at most 1.
        optimizer: ``sgd``, ``adam`` or ``adamw``, torch's.
        nesterov: SGD's momentum is Nesterov's.
        schedule: ``steps`` (``milestones`` and ``decay``), ``cosine``, ``one_cycle`` or ``constant``, see
            :mod:`nni_privacy.training.schedules`.
        warm_up: so many epochs before the schedule the rate rises, linearly; fewer than ``epochs``.
        gradient_clip: L2 norm to which the gradient of a step is clipped, above 0; None: it is not.
        precision: ``float32``, or what torch's autocast computes the forward pass in, ``bfloat16`` or ``float16``
            (whose gradients are scaled). Weights stay as they are, and models are asked in their own type.
        class_weights: ``balanced``: a record's loss is weighed by the inverse of how frequent its class is in training,
            n / (classes * count); None: all alike.
        augmentation: a defence: every record is flipped (or not) and shifted at random each time the model sees it in
            training; see :func:`nni_privacy.training.defences.augment`.
        label_smoothing: a defence: this part of a label's weight is spread over all classes, 0 or more and below 1.
            The paper's 1e-3 is too weak to do anything; 0.1 is usual.
        dp: a defence: training is differentially private, see :class:`DPOptions` (or a mapping of its fields).
        cutout: side in pixels of a square that is blanked in every image, 0 or more; see
            :mod:`nni_privacy.training.batch_augmentation`, as for the next two.
        mixup: a defence: alpha of the Beta distribution that the shares of two mixed records are drawn from, 0 (off) or
            more.
        cutmix: the same of a rectangle of another image; with ``mixup`` each batch is one of them by a coin.
        drop_path: probability with which a path through a cell is dropped in the last epochs; it grows linearly from 0.
            See :mod:`nni_privacy.training.drop_path` for which networks.
        auxiliary: weight of the loss of a second classifier, which reads the network's ``auxiliary_layer`` and is
            thrown away at the end; 0 or more.
        ema: decay of an exponential moving average of the weights, which then is what is evaluated and kept; 0 (off) or
            more and below 1.
        stop_early: a defence: see :class:`StopEarly` (or a mapping of its fields).
        train: ``module:function`` of your own that trains instead, see :mod:`nni_privacy.training.own_function`.

    Raises:
        ConfigError: with the field, its value and the allowed range; or why two of them do not go together.
    """

    epochs: Count = 100
    batch_size: Annotated[Count, Field(ge=MIN_BATCH)] = 64
    learning_rate: Positive = 1e-2
    momentum: FractionBelowOne = 0.9
    weight_decay: NotNegative = 5e-4
    milestones: Annotated[tuple[OpenFraction, ...], Strict(False)] = (0.5, 0.75)
    decay: Share = 0.1
    augmentation: bool = False
    label_smoothing: FractionBelowOne = 0.0
    dp: DPOptions | None = None
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    nesterov: bool = False
    schedule: Literal["steps", "cosine", "one_cycle", "constant"] = "steps"
    warm_up: Whole = 0
    gradient_clip: Positive | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    class_weights: Literal["balanced"] | None = None
    cutout: Whole = 0
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0
    drop_path: FractionBelowOne = 0.0
    auxiliary: NotNegative = 0.0
    ema: FractionBelowOne = 0.0
    stop_early: StopEarly | None = None
    train: str | None = None

    @field_validator("milestones")
    @classmethod
    def _increasing(cls, milestones: tuple[float, ...]) -> tuple[float, ...]:
        if list(milestones) != sorted(set(milestones)):
            raise ConfigError(f"{list(milestones)}; allowed are increasing fractions")
        return milestones

    @field_validator("train")
    @classmethod
    def _names_a_function(cls, train: str | None) -> str | None:
        """The form alone: nothing is imported because a file names it."""
        if train is not None:
            module, colon, function = train.partition(":")
            if not (colon and function.isidentifier() and all(part.isidentifier() for part in module.split("."))):
                raise ConfigError(f"{train!r:.80}; allowed is module:function")
        return train

    @model_validator(mode="after")
    def _go_together(self) -> Recipe:
        for name, why in self._excluded().items():
            if name in self._changed:
                raise ConfigError(f"{name}: {_shown(getattr(self, name))}; {why}")
        return self

    def _excluded(self) -> Mapping[str, str]:
        """The options that do not go with others that are on, and why not."""
        reasons: dict[str, str] = {}
        for is_on, excluded in _EXCLUSIONS:
            if is_on(self):
                reasons = {**excluded, **reasons}
        return reasons

    @property
    def _changed(self) -> set[str]:
        """The options that are not as they are by default."""
        return {field.name for field in fields(Recipe) if getattr(self, field.name) != field.default}

    @model_serializer(mode="wrap")
    def _without_unused(self, dump: Any) -> dict[str, Any]:
        """What came after the first ten stands there where it is used: a plain recipe is written as it ever was."""
        return {name: value for name, value in dump(self).items() if name in _FIRST or name in self._changed}

    def learning_rate_at(self, epoch: int, *, step: int = 0, steps: int = 1) -> float:
        """The learning rate of an epoch, counted from 1; of ``one_cycle``, of its ``step``, from 0, of ``steps``."""
        return learning_rate(self, epoch, step=step, steps=steps)


_FIRST: tuple[str, ...] = ("epochs", "batch_size", "learning_rate", "momentum", "weight_decay", "milestones", "decay")
_FIRST += ("augmentation", "label_smoothing", "dp")

_PRIVATE: Mapping[str, str] = MappingProxyType(
    {
        "gradient_clip": "dp clips the gradient of every record (dp.max_grad_norm)",
        "precision": "dp computes the gradients of single records in float32",
        "class_weights": "how frequent a class is would be learned without dp's noise",
        "mixup": "dp needs gradients of single records, and this mixes them",
        "cutmix": "dp needs gradients of single records, and this mixes them",
        "auxiliary": "dp takes gradients of the network's own weights only",
        "stop_early": "the choice of the epoch would not be private; train for fewer epochs",
        "train": "a function of your own is not known to be private; audit what it trained",
    }
)
_STEPS_ONLY = dict.fromkeys(("milestones", "decay"), "only schedule: steps has any")

_EXCLUSIONS: tuple[tuple[Callable[[Recipe], bool], Mapping[str, str]], ...] = (
    (lambda recipe: recipe.dp is not None, _PRIVATE),
    (lambda recipe: recipe.schedule != "steps", _STEPS_ONLY),
    (lambda recipe: recipe.schedule == "one_cycle", {"warm_up": "schedule: one_cycle begins with one of its own"}),
    (lambda recipe: recipe.warm_up >= recipe.epochs, {"warm_up": "allowed are fewer than epochs"}),
    (lambda recipe: recipe.optimizer != "sgd", {"nesterov": "only optimizer: sgd has it"}),
    (lambda recipe: recipe.momentum == 0, {"nesterov": "it needs a momentum above 0"}),
    (
        lambda recipe: recipe.train is not None,
        {"stop_early": "train: a function of your own stops as it likes; members are all records that it is given"},
    ),
)
"""Whether something is on, and the options that then cannot be, with the reason."""


def _shown(value: Any) -> Any:
    return value.to_dict() if isinstance(value, Options) else list(value) if isinstance(value, tuple) else value
