"""Interactive charts of a report: what each shows, as plain data beside the static figure that it takes the place of.

The data stand in the page as JSON that no browser runs; ``charts/charts.js`` says what each builder takes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from nni_privacy.report.html import render_part
from nni_privacy.report.roc import RocInfo
from nni_privacy.runs.records import TrialRecord

if TYPE_CHECKING:
    from nni_privacy.analysis.constraints import Constraints
    from nni_privacy.analysis.study import BarsInfo, OverfittingInfo
    from nni_privacy.report.run_page import HypervolumeInfo, TradeoffInfo

__all__ = ["Chart", "bars_chart", "curves_chart", "hypervolume_chart", "json_island", "overfitting_chart"]
__all__ += ["predicted_chart", "progress_chart", "roc_chart", "thinned", "tradeoff_chart", "with_chart"]

DIGITS = 6
"""Significant digits of a number in a page; four are shown."""
CURVE_POINTS = 400
"""Of a ROC curve in a page; both ends are exact."""
TITLES = {"accuracy": "test accuracy (higher is better)", "mia_auc": "AUC of the primary attack (lower is better)"}
PANELS = (
    {"metric": "accuracy", "title": "test accuracy", "better": "high"},
    {"metric": "mia_auc", "title": "AUC of the attack", "better": "low", "low": "mia_auc_low", "high": "mia_auc_high"},
)
SHOWN = ("accuracy", "mia_auc", "mia_auc_low", "mia_auc_high")


@dataclass(frozen=True)
class Chart:
    """One interactive chart.

    Attributes:
        builder: name of the function of ``charts.js`` that makes it.
        data: what that is given.
        label: text alternative.
        height: in pixels.
        order: whether a reader may order its rows by value.
    """

    builder: str
    data: Mapping[str, Any]
    label: str
    height: int = 420
    order: bool = False


def with_chart(figure: Markup, chart: Chart) -> Markup:
    """The static figure, and the chart that takes its place on screens where scripts run."""
    return render_part("chart.html.jinja", figure=figure, chart=chart, data=json_island(chart.data))


def json_island(value: Any) -> Markup:
    """JSON as it can stand in a ``<script>`` of data: nothing in it ends the element or begins a comment.

    Numbers that are not finite become null.
    """
    text = json.dumps(_plain(value), allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - no character of it means anything in HTML


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def tradeoff_chart(info: TradeoffInfo, constraints: Constraints | None, *, label: str) -> Chart:
    """Accuracy against AUC, with what the constraints exclude."""
    points = [
        {
            "trial": trial.trial,
            "sequence": trial.sequence,
            "x": trial.accuracy,
            "y": trial.mia_auc,
            "low": (trial.interval or (None, None))[0],
            "high": (trial.interval or (None, None))[1],
        }
        for trial in info.trials
    ]
    data = {
        "points": points,
        "xName": "accuracy",
        "yName": "mia_auc",
        "xTitle": TITLES["accuracy"],
        "yTitle": TITLES["mia_auc"],
        "front": [trial.trial for trial in info.front],
        "better": {"x": "high", "y": "low"},
        "constraints": [] if constraints is None else _bounds(constraints),
    }
    return Chart("tradeoffOption", data, label)


def _bounds(constraints: Constraints) -> list[dict[str, Any]]:
    return [
        {"metric": one.metric, "relation": one.sign, "bound": one.bound, "text": str(one)}
        for one in constraints.conditions
    ]


def progress_chart(trials: Sequence[TrialRecord], *, label: str) -> Chart:
    """Accuracy and AUC of each trial in the order of the search."""
    rows = [
        {
            "trial": trial.trial,
            "sequence": trial.sequence,
            "status": trial.status,
            "metrics": {name: trial.metrics[name] for name in SHOWN if trial.succeeded and name in trial.metrics},
        }
        for trial in trials
    ]
    return Chart("progressOption", {"rows": rows, "panels": PANELS}, label, height=480)


def predicted_chart(trials: Sequence[TrialRecord], *, label: str) -> Chart:
    """Predicted AUC of each trial, all of which have one, in the order of the search."""
    name = "predicted_mia_auc"
    rows = [
        {
            "trial": trial.trial,
            "sequence": trial.sequence,
            "status": trial.status,
            "metrics": {name: trial.metrics[name]},
        }
        for trial in trials
    ]
    panel = {"metric": name, "title": "PREDICTED AUC", "better": "low"}
    return Chart("progressOption", {"rows": rows, "panels": [panel]}, label, height=320)


def hypervolume_chart(info: HypervolumeInfo, *, label: str) -> Chart:
    """The hypervolume after each trial."""
    points = list(zip(info.sequence, info.hypervolume, strict=True))
    return Chart("hypervolumeOption", {"points": points}, label, height=260)


def roc_chart(info: RocInfo, *, label: str) -> Chart:
    """ROC curves on logarithmic axes, with the first one's band."""
    floor = 1 / max(info.non_members, 2)
    curves = []
    for attack, curve in zip(info.attacks, info.curves, strict=True):
        kept = thinned(curve.fpr, curve.tpr)
        curves.append({"attack": attack, "fpr": curve.fpr[kept], "tpr": curve.tpr[kept], "auc": curve.auc})
    band = {"name": f"95% band, {info.attacks[0]}", "grid": info.grid, "low": info.band_low, "high": info.band_high}
    bottom = min(floor, 1 / max(info.members, 2)) / 1.5
    return Chart("rocOption", {"curves": curves, "band": band, "floor": floor, "bottom": bottom}, label, height=460)


def thinned(fpr: NDArray[np.float64], tpr: NDArray[np.float64], most: int = CURVE_POINTS) -> NDArray[np.intp]:
    """Places of at most so many points of a curve, both ends among them, dense where a logarithmic axis is wide."""
    if len(fpr) <= most:
        return np.arange(len(fpr))
    # Places by rank are dense at the right end of a logarithmic axis, places by logarithm at the left one.
    even = np.linspace(0, len(fpr) - 1, most // 2)
    dense = np.geomspace(1, len(fpr), most // 2) - 1
    return np.unique(np.round(np.concatenate([even, dense])).astype(np.intp))


def curves_chart(lines: Mapping[str, Sequence[float]], epochs: Sequence[int], *, title: str, label: str) -> Chart:
    """Values after the epochs of these numbers, a line a name."""
    traces = [{"name": name, "values": list(values), "epochs": list(epochs)} for name, values in lines.items()]
    return Chart("curvesOption", {"traces": traces, "title": title}, label, height=260)


def bars_chart(info: BarsInfo, *, title: str, guessing: float | None, label: str) -> Chart:
    """A row an architecture, with its interval; kinds can be shown apart."""
    rows = [
        {
            "name": bar.architecture.label,
            "value": bar.spread.mean,
            "low": bar.spread.low,
            "high": bar.spread.high,
            "group": bar.architecture.kind,
            "lines": [f"{bar.failed} measurements failed"] if bar.failed else [],
        }
        for bar in info.bars
        if bar.spread
    ]
    data = {"rows": rows, "title": title, "guessing": guessing}
    return Chart("barsOption", data, label, height=110 + 24 * len(rows), order=True)


def overfitting_chart(info: OverfittingInfo, *, label: str) -> Chart:
    """Overfitting against the AUC of one attack, a group a kind of architecture."""
    points = [{"trial": one.architecture, "x": one.overfitting, "y": one.auc, "group": one.kind} for one in info.points]
    data = {
        "points": points,
        "xName": "overfitting",
        "yName": "mia_auc",
        "xTitle": "overfitting: train accuracy less test accuracy",
        "yTitle": f"AUC of {info.attack}",
        "front": [],
        "better": {},
    }
    return Chart("tradeoffOption", data, label)
