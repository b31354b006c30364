"""Membership inference: signals, attacks as pure functions of arrays, and honest metrics. Numpy only until it trains.

Importing this package registers the attacks that ship with nni-privacy; torch is imported when an attack trains a
model.
"""

from __future__ import annotations

from nni_privacy.attacks import (  # noqa: F401 - importing a module registers its attacks
    bavaria,
    black_box,
    label_only,
    lira,
    loss_trace,
    quantile,
    rmia,
    simple,
    white_box,
)
from nni_privacy.attacks.lira import lira_scores
from nni_privacy.attacks.metrics import RocCurve, attack_metrics, clopper_pearson, roc_auc, roc_curve
from nni_privacy.attacks.registry import (
    Attack,
    AttackScores,
    attack_names,
    check_reference_models,
    get_attack,
    register_attack,
)
from nni_privacy.attacks.report import (
    AttackReport,
    ClassMetrics,
    RateAtFpr,
    ScoreHistogram,
    per_class_metrics,
    report_attack,
    score_histogram,
)
from nni_privacy.attacks.rmia import rmia_counts, rmia_ratios, rmia_scores
from nni_privacy.attacks.signals import ShadowSignals, TargetSignals, logit_confidence
from nni_privacy.attacks.verdict import Threshold, Verdict, judge

__all__ = ["Attack", "AttackReport", "AttackScores", "ClassMetrics", "RateAtFpr", "RocCurve", "ScoreHistogram"]
__all__ += ["ShadowSignals", "TargetSignals", "attack_metrics", "attack_names", "check_reference_models"]
__all__ += ["clopper_pearson", "get_attack", "lira_scores", "logit_confidence", "per_class_metrics", "register_attack"]
__all__ += ["report_attack", "rmia_counts", "rmia_ratios", "rmia_scores", "roc_auc", "roc_curve", "score_histogram"]
__all__ += ["Threshold", "Verdict", "judge"]
