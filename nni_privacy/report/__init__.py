"""The report of a run: numbers first, as plain info objects, then figures and one self-contained HTML page.

Matplotlib is imported when something is drawn; the numbers (:func:`read_run`, :mod:`nni_privacy.analysis.pareto`,
:mod:`nni_privacy.report.run_page`, :mod:`nni_privacy.report.layout`) need numpy and PyYAML only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nni_privacy.lazy import lazy_names

if TYPE_CHECKING:
    from nni_privacy.report.write import write_report
    from nni_privacy.runs.records import read_run

__all__ = ["read_run", "write_report"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {"report.write": ["write_report"], "runs.records": ["read_run"]},
)
