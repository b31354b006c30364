"""The numbers of an audit as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from nni_privacy.attacks import RateAtFpr
from nni_privacy.audit import AuditReport
from nni_privacy.report.audit_infos import AttackInfo, AuditInfo

__all__ = ["reason_of", "to_csv", "to_json"]


def reason_of(reason: str) -> str:
    """Why there is no number, always beginning with "not resolvable"."""
    return reason if reason.startswith("not resolvable") else f"not resolvable: {reason}"


def to_json(report: AuditReport, info: AuditInfo, *, title: str, facts: Mapping[str, str]) -> str:
    """A JSON object: flat metrics (``mia_auc``, ``<attack>_mia_auc``, ...) beside ``attacks`` with the details of each.

    A rate that is not resolvable is ``null`` with a ``reason``; so is the infinite threshold at which no record may be
    called a member (with a rate of 0 and no reason). There is no NaN.
    """
    content = {
        "title": title,
        "primary": report.primary.name,
        **report.metrics(),
        "facts": {str(key): str(value) for key, value in facts.items()},
        "records": {"members": info.members, "nonmembers": info.nonmembers, "num_classes": info.num_classes},
        "accuracy": {"members": info.member_accuracy, "nonmembers": info.nonmember_accuracy},
        "attacks": {attack.report.name: _attack(attack) for attack in info.attacks},
    }
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


def to_csv(info: AuditInfo) -> str:
    """A table with one row an attack; a cell is empty where a rate is not resolvable, and the last column says why."""
    buffer = io.StringIO()
    rows = [_row(attack) for attack in info.attacks]
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _row(attack: AttackInfo) -> dict[str, object]:
    report = attack.report
    row: dict[str, object] = {"attack": report.name, "primary": str(attack.primary).lower()}
    for key in ("mia_auc", "mia_auc_low", "mia_auc_high", "mia_balanced_accuracy"):
        row[key] = report.metrics[key]
    for name, rate in report.rates.items():
        key = f"mia_tpr_at_{name}_fpr"
        row |= {key: rate.tpr, f"{key}_low": rate.low, f"{key}_high": rate.high}
    reasons = [reason_of(rate.reason) for rate in report.rates.values() if rate.tpr is None]
    row |= {"members": report.roc.members, "nonmembers": report.roc.nonmembers, "reason": "; ".join(reasons)}
    return row


def _attack(attack: AttackInfo) -> dict[str, Any]:
    report = attack.report
    return {
        "primary": attack.primary,
        "description": attack.description,
        "members": report.roc.members,
        "nonmembers": report.roc.nonmembers,
        "confidence": report.confidence,
        **report.metrics,
        "rates": {f"mia_tpr_at_{name}_fpr": _rate(rate) for name, rate in report.rates.items()},
        **({} if attack.queries is None else {"queries": attack.queries}),
        "per_class": [asdict(entry) for entry in attack.classes],
    }


def _rate(rate: RateAtFpr) -> dict[str, Any]:
    return {**asdict(rate), "reason": reason_of(rate.reason) if rate.tpr is None else ""}


def _finite(value: Any) -> Any:
    """The same content with ``None`` for every number that JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
