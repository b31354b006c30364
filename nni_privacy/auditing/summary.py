"""An audit in short, as a notebook shows it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

if TYPE_CHECKING:
    from nni_privacy.auditing.audit import AuditReport

__all__ = ["summary_html"]


def summary_html(report: AuditReport) -> str:
    """A table of the attacks, the primary one first, between notices and verdict; texts are escaped."""
    return _template().render(
        members=int(report.signals.is_member.sum()),
        nonmembers=int((~report.signals.is_member).sum()),
        classes=report.signals.num_classes if report.signals.tells_class else None,
        accuracies=report.accuracies,
        attacks={name: one.metrics for name, one in report.results.items()},
        notices=report.notices,
        verdict=report.verdict,
        skipped=report.not_made,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("nni_privacy.auditing"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["number"] = _number
    return environment.get_template("summary.html.jinja")


def _number(value: float | None) -> str:
    return "not resolvable" if value is None else f"{value:.4f}"
