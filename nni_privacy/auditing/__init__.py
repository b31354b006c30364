"""Audits of a trained model: its signals and those of shadow models, computed once and then attacked.

The function that audits is offered as :func:`nni_privacy.audit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_attributes

if TYPE_CHECKING:
    from nni_privacy.auditing.audit import AuditReport, audit_signals
    from nni_privacy.auditing.collect import gather_signals
    from nni_privacy.auditing.forward import extract_signals
    from nni_privacy.auditing.options import Effort

__all__ = ["AuditReport", "Effort", "audit_signals", "extract_signals", "gather_signals"]

_LAZY = {
    "AuditReport": "nni_privacy.auditing.audit",
    "Effort": "nni_privacy.auditing.options",
    "audit_signals": "nni_privacy.auditing.audit",
    "extract_signals": "nni_privacy.auditing.forward",
    "gather_signals": "nni_privacy.auditing.collect",
}

__getattr__ = lazy_attributes(__name__, _LAZY)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
