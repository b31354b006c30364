"""White-Box/Partial and White-Box/Shadow, settings of Huang et al. (CCS 2022); see docs/attacks.md.

The attacker holds the model: besides the posteriors it sees a record's loss, its label and the gradient of its loss
with respect to the classifier's weight. Gradients are made from the classifier's input, a batch at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks.cross_fitting import ProtocolName, learn_and_attack
from nni_privacy.attacks.registry import AttackScores, register_attack
from nni_privacy.attacks.signals import TargetSignals, check_both_sides
from nni_privacy.errors import AuditError

if TYPE_CHECKING:
    from torch import Tensor

    from nni_privacy.attacks.attack_models import Inputs

__all__ = ["WhiteBoxScaling", "attack_white_box_partial", "attack_white_box_shadow", "white_box_features"]

Indices = npt.NDArray[np.int64]

_TINY = 1e-12  # of a model that fits all records perfectly, losses and gradients are all 0
_SCALING_BATCH = 1024


@register_attack("white_box_partial", requires={"logits", "gradients"})
def attack_white_box_partial(
    signals: TargetSignals, *, seed: int = 0, protocol: ProtocolName = "cross_fit"
) -> AttackScores:
    """Attack model on posteriors, loss, label and gradient, trained on a known third of the target's own records.

    Folds, known and attacked records and the meaning of a score are those of ``black_box_partial`` with the same seed.

    Raises:
        AuditError: if there are fewer than three members or non-members.
        ConfigError: if there is no such protocol.
    """

    def learner(known: Indices, attacked: Indices, *, epochs: int) -> npt.NDArray[np.float64]:
        return _learn_and_score(signals, known, signals, attacked, seed=seed, epochs=epochs)

    return learn_and_attack(protocol, signals, learner, seed=seed)


@register_attack("white_box_shadow", requires={"logits", "gradients", "white_box_shadow"})
def attack_white_box_shadow(signals: TargetSignals, *, seed: int = 0) -> AttackScores:
    """Attack model on posteriors, loss, label and gradient, trained on a shadow of the target's architecture.

    Attacks every record; the score is the logit of the member probability.

    Raises:
        AuditError: if the shadow has no gradients, or of another shape than the target's, or only members or only
            non-members.
    """
    shadow = signals.white_box_shadow
    assert shadow is not None  # noqa: S101 - required
    if "gradients" not in shadow.available:
        raise AuditError("white_box_shadow has neither features nor gradients")
    if shadow.gradient_shape != signals.gradient_shape:
        raise AuditError(
            f"the shadow's gradients have shape {shadow.gradient_shape}, the target's {signals.gradient_shape}: "
            "the shadow must have the target's architecture"
        )
    check_both_sides("white_box_shadow", shadow.is_member)
    everything = np.arange(len(signals))
    scores = _learn_and_score(shadow, np.arange(len(shadow)), signals, everything, seed=seed)
    return AttackScores(scores, signals.is_member, everything)


@dataclass(frozen=True)
class WhiteBoxScaling:
    """Brings losses and gradients to the size that layers train at; gradients of a fitted record are around 1e-6.

    Attributes:
        loss_mean: of the records that the attack model learns from, and of no others.
        loss_deviation: their standard deviation, above 0.
        gradient_size: root mean square of all numbers of their gradients, above 0. They are only divided: the rows of
            ``(softmax - onehot) outer h`` add up to 0, so the mean is 0 already.
    """

    loss_mean: float
    loss_deviation: float
    gradient_size: float

    @classmethod
    def fit(cls, signals: TargetSignals, records: Indices) -> WhiteBoxScaling:
        """The scaling of the records to learn from."""
        losses = signals.losses[records]
        squares = 0.0
        for start in range(0, len(records), _SCALING_BATCH):
            chosen = records[start : start + _SCALING_BATCH]
            if signals.features is None:
                squares += float((signals.weight_gradients(chosen).astype(np.float64) ** 2).sum(axis=(1, 2)).sum())
                continue
            # The squared norm of an outer product is the product of the squared norms.
            parts = (signals.residuals[chosen].astype(np.float64), signals.features[chosen].astype(np.float64))
            norms = [(part**2).sum(axis=1) for part in parts]
            squares += float((norms[0] * norms[1]).sum())
        rows, columns = signals.gradient_shape
        size = (squares / (len(records) * rows * columns)) ** 0.5
        return cls(float(losses.mean()), max(float(losses.std()), _TINY), max(size, _TINY))


def white_box_features(
    signals: TargetSignals, records: Indices, scaling: WhiteBoxScaling
) -> list[npt.NDArray[np.float32] | Inputs]:
    """What a white-box attacker learns from, of b records.

    Returns:
        Descending posteriors ``(b, K)``, scaled losses ``(b, 1)``, one-hot labels ``(b, K)`` and scaled gradients ``(b,
        1, rows, columns)``; the last are made when rows are asked for.
    """
    descending = np.sort(signals.posteriors[records], axis=1)[:, ::-1].astype(np.float32)
    losses = (signals.losses[records, None] - scaling.loss_mean) / scaling.loss_deviation
    labels = np.eye(signals.num_classes, dtype=np.float32)[signals.labels[records]]
    return [descending, losses.astype(np.float32), labels, _GradientImages(signals, records, scaling.gradient_size)]


class _GradientImages:
    """Gradients of chosen records as images of one channel, made for the batch that is asked for."""

    def __init__(self, signals: TargetSignals, records: Indices, size: float) -> None:
        import torch

        self._signals, self._records, self._size = signals, records, size
        self._factors: tuple[Tensor, Tensor] | None = None
        if signals.features is not None:
            residuals = signals.residuals[records].astype(np.float64) / size
            features = torch.from_numpy(signals.features[records])
            self._factors = (torch.from_numpy(residuals.astype(np.float32)), features)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: Tensor) -> Tensor:
        if self._factors is not None:
            residuals, features = (factor[index] for factor in self._factors)
            return (residuals[:, :, None] * features[:, None, :])[:, None]
        import torch

        images = self._signals.weight_gradients(self._records[index.numpy()]) / np.float32(self._size)
        return torch.from_numpy(images)[:, None]


def _learn_and_score(
    source: TargetSignals,
    known: Indices,
    target: TargetSignals,
    attacked: Indices,
    *,
    seed: int,
    epochs: int | None = None,
) -> npt.NDArray[np.float64]:
    """Trains the attack model on ``known`` records of ``source``, and scores ``attacked`` ones of ``target``."""
    from nni_privacy.attacks.attack_models import EPOCHS, WhiteBoxAttackModel, member_logits, train_attack_model

    scaling = WhiteBoxScaling.fit(source, known)
    model = train_attack_model(
        lambda: WhiteBoxAttackModel(source.num_classes, source.gradient_shape),
        white_box_features(source, known, scaling),
        source.is_member[known],
        seed=seed,
        epochs=EPOCHS if epochs is None else epochs,
    )
    return member_logits(model, white_box_features(target, attacked, scaling))
