"""The folder of an audit as the live page shows it: a row an attack."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from nni_privacy.analysis.exposed import AUDIT_FILES
from nni_privacy.analysis.pareto import REFERENCE
from nni_privacy.errors import DataError
from nni_privacy.live.inside import check_inside, is_inside
from nni_privacy.live.metrics import metric_infos
from nni_privacy.live.rows import Row
from nni_privacy.live.run_state import REPORT, Stamp, stamp_of
from nni_privacy.runs.records import finite_metrics

__all__ = ["AuditView", "holds_audit"]

METRICS, SCORES = AUDIT_FILES
_LARGEST = 1 << 26
"""Bytes of a file of metrics; an audit of a thousand classes writes far less."""

_COMBINED = "combined"


def holds_audit(folder: Path) -> bool:
    """Whether a folder is one that an audit wrote."""
    return all((folder / name).is_file() for name in AUDIT_FILES)


class AuditView:
    """An audit, read again where it has changed. Safe among threads.

    Args:
        folder: that was written by :func:`nni_privacy.report.audit_page.write_audit`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._stamp: Stamp = None
        self._content: Mapping[str, Any] = {}
        self._rows: tuple[Row, ...] = ()
        self._cursor = ""

    @property
    def content(self) -> Mapping[str, Any]:
        """The audit's numbers, as its file has them.

        Raises:
            DataError: if the file cannot be read.
        """
        with self._lock:
            self._look()
            return self._content

    def rows(self) -> list[Row]:
        """A row an attack, the primary one first."""
        with self._lock:
            self._look()
            return list(self._rows)

    def row(self, attack: str) -> Row | None:
        """The row of an attack; None if there is none of that name."""
        return next((row for row in self.rows() if row.trial == attack), None)

    def entry(self) -> dict[str, Any]:
        """The line of the index."""
        rows = self.rows()
        modified = self._stamp[2] / 1e9 if self._stamp else 0.0
        return {
            "name": self._name(),
            "kind": "audit",
            "state": "finished",
            "trials": len(rows),
            "planned": None,
            "best_accuracy": _accuracy(self._content),
            "lowest_auc": None,  # a model, not many: the page has what leaks most
            "changed": datetime.fromtimestamp(modified, timezone.utc).isoformat(timespec="seconds"),
        }

    def snapshot(self, after: str | None = None) -> dict[str, Any]:
        """All of the audit; its rows only where it has changed since ``after``."""
        with self._lock:
            self._look()
            reset = after != self._cursor
            names = dict.fromkeys(name for row in self._rows for name in row.metrics)
            return {
                **_empty(),
                "name": self._name(),
                "kind": "audit",
                "state": "finished",
                "cursor": self._cursor,
                "reset": reset,
                "report": is_inside(self.folder, self.folder / REPORT),
                "metrics": [vars(one) for one in metric_infos(names)],
                "attacks": [row.trial for row in self._rows],
                "notices": _texts(self._content.get("notices")),
                "verdict": _text_of(self._content.get("verdict")),
                "epsilon": _text_of(self._content.get("privacy")),
                "rows": [vars(row) for row in self._rows] if reset else [],
            }

    def _name(self) -> str:
        title = self._content.get("title")
        return str(title) if title and title != "audit" else self.folder.resolve().name

    def _look(self) -> None:
        if not holds_audit(self.folder):
            raise DataError(f"{self.folder}: the audit is gone; this is no folder of one any longer")
        stamp = stamp_of(self.folder / METRICS)
        if stamp is not None and stamp == self._stamp:
            return
        check_inside(self.folder, self.folder / METRICS, _LARGEST)
        content = _read(self.folder / METRICS)
        attacks = content.get("attacks")
        told = attacks.items() if isinstance(attacks, Mapping) else ()
        found = [(str(name), one) for name, one in told if isinstance(one, Mapping)]
        found.sort(key=lambda pair: pair[1].get("primary") is not True)
        if isinstance(combined := content.get(_COMBINED), Mapping):
            found.append(
                (_COMBINED, {"description": "All attacks together: the strongest practical attacker.", **combined})
            )
        self._rows = tuple(_row(name, number, one) for number, (name, one) in enumerate(found))
        self._content, self._stamp, self._cursor = content, stamp, secrets.token_hex(6)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected the numbers of an audit, found a {type(content).__name__}")
    return content


def _row(name: str, number: int, told: Mapping[str, Any]) -> Row:
    metrics, _ = finite_metrics({key: value for key, value in told.items() if "mia_" in key})
    reasons = told.get("rates")
    rates = reasons.values() if isinstance(reasons, Mapping) else ()
    notices = [str(rate["reason"]) for rate in rates if isinstance(rate, Mapping) and rate.get("reason")]
    description = told.get("description")
    factors = {"description": description} if isinstance(description, str) and description else {}
    return Row(name, number, "succeeded", metrics, factors=factors, notices=tuple(notices))


def _text_of(told: Any) -> str | None:
    """The sentence of a part of the audit; None if it has none."""
    text = told.get("text") if isinstance(told, Mapping) else None
    return text if isinstance(text, str) else None


def _texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _accuracy(content: Mapping[str, Any]) -> float | None:
    told = content.get("accuracy")
    return finite_metrics(told)[0].get("nonmembers") if isinstance(told, Mapping) else None


def _empty() -> dict[str, Any]:
    """What the snapshot of a run has and an audit has not."""
    nothing = ("planned", "started", "elapsed", "seconds_left", "concurrency", "pattern", "strategy", "dataset")
    lists = ("constraints", "phases", "front", "hypervolume", "running")
    return {
        **dict.fromkeys((*nothing, "best_feasible", "nearest")),
        **{name: [] for name in lists},
        "fixed": {},
        "x": "mia_tpr_at_1pct_fpr",
        "y": "mia_auc",
        "reference": list(REFERENCE),
    }
