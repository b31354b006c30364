"""Audits of a trained model: its signals and those of shadow models, computed once and then attacked.

The function that audits is offered as :func:`nni_privacy.audit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_names

if TYPE_CHECKING:
    from nni_privacy.auditing.audit import AuditReport, audit_signals
    from nni_privacy.auditing.collect import gather_signals
    from nni_privacy.auditing.epsilon import PrivacyClaim
    from nni_privacy.auditing.forward import extract_signals
    from nni_privacy.auditing.options import Effort

__all__ = ["AuditReport", "Effort", "PrivacyClaim", "audit_signals", "extract_signals", "gather_signals"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "auditing.audit": ["AuditReport", "audit_signals"],
        "auditing.collect": ["gather_signals"],
        "auditing.epsilon": ["PrivacyClaim"],
        "auditing.forward": ["extract_signals"],
        "auditing.options": ["Effort"],
    },
)
