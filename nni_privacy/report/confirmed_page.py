"""The report's section on what confirms a search: its best architectures, trained anew with fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from nni_privacy.report.html import render_part
from nni_privacy.report.style import ACCURACY, AUC, OTHER, new_figure, to_svg
from nni_privacy.runs.confirmed import CONFIRM, Confirmed, ConfirmedArchitecture, ShrunkenTrial, read_confirmed
from nni_privacy.runs.records import TRIALS, RunInfo, TrialRecord, read_run
from nni_privacy.training.dp_selection import privacy_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CurseInfo", "confirmed_html", "curse_info", "draw_confirmed"]

PANELS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"accuracy": ("test accuracy", ACCURACY), "mia_auc": ("AUC of the primary attack", AUC)}
)
"""Metrics that are drawn, to their label and colour."""
MOST_NAMED = 12
"""Pairs that differ are named up to so many; all are in ``confirmed.json``."""


@dataclass(frozen=True)
class CurseInfo:
    """How much too low the lowest searched AUC was.

    Attributes:
        lowest: the trial of the lowest searched AUC.
        confirmed: the mean of its architecture over fresh seeds; None if it was not trained anew.
        count: number of different architectures of the search.
        expected: how far below their mean the lowest of so many equal architectures is expected.
    """

    lowest: ShrunkenTrial
    confirmed: float | None
    count: int
    expected: float


def confirmed_html(run: RunInfo) -> Markup:
    """The whole section; empty for a run of which nothing was confirmed. To be called inside ``drawing_style``.

    Raises:
        DataError: if ``confirmed.json`` is not what its name says.
    """
    confirmed = read_confirmed(run.directory)
    if confirmed is None:
        return Markup()
    label = f"Accuracy and AUC of {len(confirmed.architectures)} architectures, confirmed with fresh seeds"
    names = [name for one in confirmed.architectures for name in one.metrics]
    ends = ("_mia_auc", "mia_tpr_at_1pct_fpr", "epsilon", "epsilon_low")
    return render_part(
        "confirmed.html.jinja",
        confirmed=confirmed,
        best=confirmed.of(confirmed.best),
        nearest=confirmed.of(confirmed.nearest),
        curse=curse_info(confirmed),
        estimates={name: {one.trial: one for one in found.trials} for name, found in confirmed.shrunken.items()},
        further=[name for name in dict.fromkeys(names) if name.endswith(ends)],
        compared=[_compared(confirmed, metric) for metric in PANELS],
        figure=to_svg(draw_confirmed(confirmed), prefix="confirmed", label=label),
        privacy=privacy_text((*run.trials, *_again(run))),
    )


def _again(run: RunInfo) -> tuple[TrialRecord, ...]:
    """The trainings that confirm the search."""
    folder = run.directory / CONFIRM
    return read_run(folder).trials if (folder / TRIALS).exists() else ()


def _compared(confirmed: Confirmed, metric: str) -> dict[str, Any]:
    pairs = [one for one in confirmed.differences if one.metric == metric]
    differ = sorted((one for one in pairs if one.differ), key=lambda one: one.adjusted)
    return {"label": PANELS[metric][0], "pairs": pairs, "differ": differ, "named": differ[:MOST_NAMED]}


def curse_info(confirmed: Confirmed) -> CurseInfo | None:
    """What became of the lowest searched AUC; None where there are too few numbers to say."""
    shrunken = confirmed.shrunken.get("mia_auc")
    if shrunken is None:
        return None
    lowest = min(shrunken.trials, key=lambda one: one.searched)
    again = confirmed.of(lowest.trial)
    mean = None if again is None else again.metrics["mia_auc"].mean
    return CurseInfo(lowest, mean, shrunken.count, shrunken.expected_extreme)


def draw_confirmed(confirmed: Confirmed) -> Figure:
    """A row an architecture: the confirmed mean with its interval, each seed, what was searched, and its estimate."""
    rows = confirmed.architectures
    figure, panels = new_figure(7.6, 1.3 + 0.42 * len(rows), columns=len(PANELS), sharey=True)
    places = range(len(rows))
    for axes, (metric, (label, colour)) in zip(panels, PANELS.items(), strict=True):
        _draw_panel(axes, confirmed, metric, colour)
        axes.set(xlabel=label, ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(places, [f"#{one.sequence}" for one in rows])
    panels[0].legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncol=4, borderaxespad=0.1, handletextpad=0.4)
    return figure


def _draw_panel(axes: Any, confirmed: Confirmed, metric: str, colour: str) -> None:
    rows: Sequence[ConfirmedArchitecture] = confirmed.architectures
    means = [one.metrics[metric] for one in rows]
    dots = [(value, place) for place, mean in enumerate(means) for value in mean.by_seed if value is not None]
    axes.plot(*zip(*dots, strict=True), "o", ms=3, color=colour, alpha=0.35, mew=0, label="one seed")
    for place, mean in enumerate(means):
        if mean.low is not None:
            axes.hlines(place, mean.low, mean.high, color=colour, lw=1.6)
    axes.plot([mean.mean for mean in means], range(len(rows)), "D", ms=6, color=colour, mec="white", label="confirmed")
    searched = [one.searched[metric] for one in rows]
    axes.plot(searched, range(len(rows)), "x", ms=6, mew=1.5, color=OTHER, label="searched")
    shrunken = confirmed.shrunken.get(metric)
    known = {one.trial: one.estimate for one in shrunken.trials} if shrunken else {}
    estimates = [(known[one.trial], place) for place, one in enumerate(rows) if one.trial in known]
    if estimates:
        axes.plot(*zip(*estimates, strict=True), "|", ms=10, mew=1.6, color=OTHER, label="shrunken")
