"""Attacks from the training itself: how a record's loss has fallen from epoch to epoch. No other model is trained.

Only whoever trains a model sees this: it is for auditors of their own trainings, not for outsiders. A record that is
easy has a low loss from the first epochs on, whoever is a member; one that is hard and was memorised has fallen far. So
a record's early losses say how hard it is, which elsewhere takes reference models.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks.cross_fitting import ProtocolName, learn_and_attack
from nni_privacy.attacks.registry import AttackScores, register_attack
from nni_privacy.attacks.signals import TargetSignals
from nni_privacy.errors import AuditError

__all__ = ["MIN_EPOCHS", "attack_by_trace_range", "attack_by_trajectory", "trace_confidences", "trace_range"]

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

MIN_EPOCHS = 2
"""Of a single epoch there is nothing to compare."""
_QUARTILES = (0.25, 0.75)
_SMALLEST_LOSS = np.finfo(np.float32).tiny


@register_attack("lt_iqr", requires={"logits", "loss_trace"})
def attack_by_trace_range(signals: TargetSignals, *, seed: int = 0) -> AttackScores:
    """Interquartile range of the record's loss over the epochs of the training (LT-IQR, arXiv 2411.05743); no shadows.

    Attacks every record and learns from none. The paper ranks members by it: the highest are those that an attack with
    many reference models finds.

    Raises:
        AuditError: if the trace has fewer than two epochs.
    """
    return AttackScores(trace_range(_trace(signals)), signals.is_member, np.arange(len(signals)))


@register_attack("loss_trajectory", requires={"logits", "loss_trace"})
def attack_by_trajectory(
    signals: TargetSignals, *, seed: int = 0, protocol: ProtocolName = "cross_fit"
) -> AttackScores:
    """Logistic regression on the record's confidence after each epoch, learned from a known third; no shadows.

    In the manner of Liu et al. (CCS 2022, arXiv 2208.14933), whose attacker has to distil the trajectory first. Which
    records it learns from and attacks is that of ``black_box_partial``; see docs/attacks.md, "Cross-fitting".

    Raises:
        AuditError: if the trace has fewer than two epochs, or there are fewer than three members or non-members.
        ConfigError: if there is no such protocol.
    """
    confidences = trace_confidences(_trace(signals)).T

    def learner(known: Indices, attacked: Indices, *, epochs: int) -> Floats:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(confidences[known], signals.is_member[known])
        return np.asarray(model.decision_function(confidences[attacked]), dtype=np.float64)

    return learn_and_attack(protocol, signals, learner, seed=seed)


def trace_range(trace: npt.ArrayLike) -> Floats:
    """Interquartile range of each record's loss, ``(n,)``, quartiles interpolated linearly.

    Args:
        trace: ``(E, n)``, a row an epoch.
    """
    low, high = np.quantile(np.asarray(trace, dtype=np.float64), _QUARTILES, axis=0)
    return np.asarray(high - low)


def trace_confidences(trace: npt.ArrayLike) -> Floats:
    """Logit-scaled confidences ``(E, n)`` of losses: log(p / (1 - p)) where the loss is -log(p)."""
    losses = np.maximum(np.asarray(trace, dtype=np.float64), _SMALLEST_LOSS)
    return np.asarray(-losses - np.log(-np.expm1(-losses)))


def _trace(signals: TargetSignals) -> npt.NDArray[np.float32]:
    trace = signals.loss_trace
    assert trace is not None  # noqa: S101 - required
    if len(trace) < MIN_EPOCHS:
        raise AuditError(f"loss_trace has {len(trace)} epoch, expected {MIN_EPOCHS} or more: train for more epochs")
    return trace
