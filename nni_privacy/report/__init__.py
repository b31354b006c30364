"""The report of a run: numbers first, as plain info objects, then figures and one self-contained HTML page.

Matplotlib is imported when something is drawn; the numbers (:func:`read_run`, :mod:`nni_privacy.report.pareto`,
:mod:`nni_privacy.report.infos`, :mod:`nni_privacy.report.layout`) need numpy and PyYAML only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nni_privacy.report.page import write_report
    from nni_privacy.report.run import read_run

__all__ = ["read_run", "write_report"]

_LAZY = {"read_run": "nni_privacy.report.run", "write_report": "nni_privacy.report.page"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
