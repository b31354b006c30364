"""Membership inference: signals, attacks as pure functions of arrays, and honest metrics. Numpy only until it trains.

Importing this package registers the attacks that ship with nni-privacy; torch is imported when an attack trains a
model.
"""

from __future__ import annotations

from nni_privacy.attacks import black_box_partial, black_box_shadow, loss_threshold, white_box  # noqa: F401 - registers
from nni_privacy.attacks.metrics import RocCurve, attack_metrics, clopper_pearson, roc_auc, roc_curve
from nni_privacy.attacks.registry import Attack, AttackScores, attack_names, get_attack, register_attack
from nni_privacy.attacks.report import AttackReport, RateAtFpr, report_attack
from nni_privacy.attacks.signals import ShadowSignals, TargetSignals

__all__ = [
    "Attack",
    "AttackReport",
    "AttackScores",
    "RateAtFpr",
    "RocCurve",
    "ShadowSignals",
    "TargetSignals",
    "attack_metrics",
    "attack_names",
    "clopper_pearson",
    "get_attack",
    "register_attack",
    "report_attack",
    "roc_auc",
    "roc_curve",
]
