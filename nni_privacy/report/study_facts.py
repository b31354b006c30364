"""What a study measured, in a few facts: its large numbers, notices and definition list, as HTML or text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nni_privacy.report.frame import card_html
from nni_privacy.report.run import RunInfo
from nni_privacy.report.study_infos import HUMAN, NAS, StudyInfo
from nni_privacy.report.study_matched import MatchedInfo
from nni_privacy.report.study_tables import Table1Row
from nni_privacy.report.text import NOTHING, duration, escape_text, facts_html, fraction

__all__ = ["study_cards_html", "study_facts", "study_notices"]

NAMED = 12
"""Architectures that a notice names before it counts the rest."""


def study_cards_html(study: StudyInfo, rows: Sequence[Table1Row], matched: Sequence[MatchedInfo]) -> str:
    """The large numbers: how much was measured, and of the first data set and attack what was found."""
    cards = [
        (
            "measurements succeeded",
            str(len(study.succeeded)),
            f"{len(study.failed)} failed, {len(study.missing)} missing",
        ),
        *_kind_cards(rows),
    ]
    first = matched[0] if matched else None
    if first and first.adjusted:
        found = first.adjusted
        more = f"95% interval [{found.low:+.3f}, {found.high:+.3f}], p = {found.p_value:.2g}; {_where(first)}"
        cards.append(("AUC of NAS less human-designed, at equal accuracy", f"{found.difference:+.3f}", more))
    elif first and first.unadjusted is not None:
        cards.append(("AUC of NAS less human-designed, at equal accuracy", NOTHING, escape_text(first.reason)))
    return "".join(card_html(escape_text(what), value, more) for what, value, more in cards)


def study_notices(run: RunInfo, study: StudyInfo) -> list[str]:
    """What a reader must know first, as text."""
    lines = []
    if not run.trials:
        lines.append("No measurement has finished yet: this page shows the set-up only.")
    elif not study.measurements:
        lines.append(
            "No trial says what it measured (it has no factors): the table of all measurements is all there is."
        )
    elif not study.succeeded:
        lines.append("No measurement has succeeded: there is nothing to compare. The table gives each one's error.")
    if study.failed:
        names = _some([(one.architecture.label, one.dataset) for one in study.failed])
        lines.append(f"Failed, and marked so in the figures: {len(study.failed)} measurements: {names}.")
    if study.missing:
        names = _some([(architecture, dataset) for architecture, dataset, _ in study.missing])
        lines.append(f"Not measured, as the study goes on or was stopped: {len(study.missing)} measurements: {names}.")
    if study.further:
        lines.append(
            f"The tables and figures of architectures show variant {', '.join(study.variants)} and defence "
            f"{', '.join(study.defences)}; {len(study.further)} measurements of other variants or defences are apart, "
            "below."
        )
    if run.unreadable_lines:
        numbers = ", ".join(map(str, run.unreadable_lines))
        lines.append(f"Skipped in trials.jsonl, as not a whole JSON object: line {numbers}.")
    return lines


def study_facts(run: RunInfo, study: StudyInfo) -> str:
    """The definition list under the large numbers, as HTML."""
    kinds = {
        f"Architectures, {kind}": _names([one.label for one in study.architectures if one.kind == kind])
        for kind in study.kinds
    }
    attacks = [escape_text(name) for name in study.attacks or run.attacks]
    if attacks:
        attacks[0] += " (primary)"
    evaluator = run.config.get("evaluator")
    recipe = evaluator.get("recipe") if isinstance(evaluator, Mapping) else None
    seconds = sum(trial.seconds or 0.0 for trial in run.trials)
    return facts_html(
        {
            **kinds,
            "Data sets": _names(study.datasets),
            "Attacks": ", ".join(attacks),
            "Seeds": _names(study.seeds),
            "Recipe": _plain(recipe),
            "Variant, defence": escape_text(", ".join([*study.variants, *study.defences])),
            "Device": _plain(run.environment.get("device")),
            "Versions": _plain(run.environment.get("versions")),
            "Time in trials": duration(seconds) if seconds else "",
        }
    )


def _kind_cards(rows: Sequence[Table1Row]) -> list[tuple[str, str, str]]:
    """Mean AUC of each kind on the first data set under the first attack."""
    first = [row for row in rows if (row.dataset, row.attack) == (rows[0].dataset, rows[0].attack)]
    return [
        (
            f"mean AUC of {'NAS' if row.kind == NAS else row.kind} architectures",
            fraction(row.spread.mean),
            f"{_where(row)}; highest {fraction(row.highest)} ({escape_text(row.whose)})",
        )
        for row in first
        if row.kind in (HUMAN, NAS)
    ]


def _where(one: Table1Row | MatchedInfo) -> str:
    return escape_text(f"{one.dataset}, {one.attack}")


def _some(pairs: Sequence[tuple[str, str]]) -> str:
    """Architectures, each with the data sets it is named with; the rest is counted."""
    datasets: dict[str, dict[str, None]] = {}
    for architecture, dataset in pairs:
        datasets.setdefault(architecture, {})[dataset] = None
    names = [f"{architecture} ({', '.join(found)})" for architecture, found in datasets.items()]
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more architectures" if rest > 0 else "")


def _names(names: Sequence[str]) -> str:
    return f"{escape_text(', '.join(names))} ({len(names)})" if len(names) > 1 else escape_text(", ".join(names))


def _plain(value: Any) -> str:
    """Options on one line; those without a value are left out."""
    if isinstance(value, Mapping):
        value = ", ".join(f"{key}: {item}" for key, item in value.items() if item is not None)
    return "" if value is None else escape_text(value)
