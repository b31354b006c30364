"""Membership privacy in neural architecture search: a plugin for Microsoft's NNI.

A name is imported when it is first used, so ``import nni_privacy`` is quick, and a command takes signals at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.errors import PrivacyError
from nni_privacy.lazy import lazy_names

if TYPE_CHECKING:
    from nni_privacy.audited import AuditedEvaluator
    from nni_privacy.auditing.audit import AuditReport, audit
    from nni_privacy.auditing.callback import AuditCallback
    from nni_privacy.auditing.estimators import audit_sklearn
    from nni_privacy.auditing.predictions import audit_predictions
    from nni_privacy.cells.darts import Cell, Edge, Genotype
    from nni_privacy.cells.genotypes import parse_genotype
    from nni_privacy.cells.nasbench201 import NasBench201Genotype
    from nni_privacy.evaluator import PrivacyEvaluator
    from nni_privacy.nni_runtime.experiment import PrivacyExperiment
    from nni_privacy.patterns import CellPattern, load_pattern
    from nni_privacy.release import load_model
    from nni_privacy.surrogate.evaluator import PredictedEvaluator
    from nni_privacy.training.recipe import Recipe

__version__ = "0.1.0"

__all__ = [
    "AuditCallback",
    "AuditReport",
    "AuditedEvaluator",
    "Cell",
    "CellPattern",
    "Edge",
    "Genotype",
    "NasBench201Genotype",
    "PredictedEvaluator",
    "PrivacyError",
    "PrivacyEvaluator",
    "PrivacyExperiment",
    "Recipe",
    "audit",
    "audit_predictions",
    "audit_sklearn",
    "load_model",
    "load_pattern",
    "parse_genotype",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "audited": ["AuditedEvaluator"],
        "auditing.audit": ["AuditReport", "audit"],
        "auditing.callback": ["AuditCallback"],
        "auditing.estimators": ["audit_sklearn"],
        "auditing.predictions": ["audit_predictions"],
        "cells.darts": ["Cell", "Edge", "Genotype"],
        "cells.genotypes": ["parse_genotype"],
        "cells.nasbench201": ["NasBench201Genotype"],
        "evaluator": ["PrivacyEvaluator"],
        "nni_runtime.experiment": ["PrivacyExperiment"],
        "patterns": ["CellPattern", "load_pattern"],
        "release": ["load_model"],
        "surrogate.evaluator": ["PredictedEvaluator"],
        "training.recipe": ["Recipe"],
    },
)
