"""All of one trial, or of one attack of an audit, for the live page: cells, curves, classes, records, log."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import yaml

from nni_privacy.errors import DataError
from nni_privacy.live.audit_view import SCORES as AUDIT_SCORES
from nni_privacy.live.audit_view import AuditView
from nni_privacy.live.inside import LARGEST, is_inside, read_inside, scores_inside
from nni_privacy.live.rows import Row
from nni_privacy.live.run_state import REPORT, stamp_of
from nni_privacy.live.run_view import RunView
from nni_privacy.runs.models import MODELS, RECORD_FILE
from nni_privacy.runs.records import CONFIG, CONFIRMED, SCORES, RunInfo, TrialRecord
from nni_privacy.runs.scores import AttackScores

__all__ = ["details_of", "report_of"]

ROC_POINTS = 400
EXPOSED = 20
LOG_BYTES = 1 << 16
CONFIG_BYTES = 1 << 16
_LARGEST_CONFIRMED = 1 << 26
_MOST_NODES, _DEEPEST = 20_000, 40
"""Of what is shown as YAML."""

_KEPT = 64
"""Trials whose details are remembered."""

_WORD = re.compile(r"[\w-]+", re.ASCII)
_KEY = re.compile(r"([?&]key=)[0-9a-f]{64}")
"""What opens a trial's channel stands in its log."""

_remembered: OrderedDict[Any, dict[str, Any]] = OrderedDict()
_lock = Lock()


def details_of(view: RunView | AuditView, name: str) -> dict[str, Any] | None:
    """All of a trial; None if there is none of that id.

    Raises:
        DataError: if a file of the run cannot be read.
    """
    if isinstance(view, AuditView):
        row = view.row(name)
        return None if row is None else _attack_details(view, row)
    found = view.trial(name)
    return None if found is None else _trial_details(view.run, *found)


def _trial_details(run: RunInfo, trial: TrialRecord, row: Row) -> dict[str, Any]:
    stamp = stamp_of(run.directory / SCORES / f"{trial.trial}.npz") if _WORD.fullmatch(trial.trial) else None
    key = run.directory, trial.trial, stamp, trial.architecture, str(run.fixed_edges)
    return {
        **vars(row),
        "curves": trial.curves,
        **_remember(key, lambda: {**_cells(run, trial), **_leakage(run, trial)}),
        "config": _configuration(run, trial),
        "log": _log(run.directory, trial.trial),
        "confirmed": _confirmed(run.directory, trial.trial),
    }


def _attack_details(view: AuditView, row: Row) -> dict[str, Any]:
    content = view.content
    path = view.folder / AUDIT_SCORES
    scores = [one for one in scores_inside(view.folder, path) if one.attack == row.trial]
    attacks = content.get("attacks")
    own = attacks.get(row.trial) if isinstance(attacks, Mapping) else None
    told = own.get("per_class") if isinstance(own, Mapping) else None
    classes = [_class(one, {}) for one in told if isinstance(one, Mapping)] if isinstance(told, list) else None
    facts = {
        key: content.get(key) for key in ("title", "verdict", "records", "accuracy", "privacy", "facts", "provenance")
    }
    return {
        **vars(row),
        "cells": [],
        "reading": "",
        **_scored(scores),
        **({} if classes is None else {"classes": classes}),
        "curves": {},
        "config": _yaml(facts),
        "log": None,
        "confirmed": None,
    }


def _remember(key: Any, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was made for a key last; whoever asks for another one does not wait while it is made."""
    with _lock:
        found = _remembered.get(key)
    made = make() if found is None else found
    with _lock:
        _remembered[key] = made
        _remembered.move_to_end(key)
        while len(_remembered) > _KEPT:
            _remembered.popitem(last=False)
    return made


# --- cells ---


def _cells(run: RunInfo, trial: TrialRecord) -> dict[str, Any]:
    """The drawings of a genotype's cells, and how they are read."""
    if trial.genotype is None:
        return {"cells": [], "reading": ""}
    from nni_privacy.cells.genotypes import cells_of
    from nni_privacy.report.cell import cell_figure
    from nni_privacy.report.style import drawing_style

    cells = []
    with drawing_style():
        for name, cell in cells_of(trial.genotype).items():
            label = f" of trial {trial.sequence}"
            figure = cell_figure(cell, name, run.fixed_edges, prefix=f"cell{trial.sequence}", label=label)
            told = f"{figure.name}{label}: {figure.edges} edges, {figure.fixed} of them fixed by the pattern"
            cells.append({"name": figure.name, "svg": str(figure.svg), "label": told})
    fixed = any(run.fixed_edges.values())
    marked = "Wide lines with a diamond are edges that the pattern fixed, thin ones were found by the search."
    return {"cells": cells, "reading": marked if fixed else "All edges were found by the search."}


# --- leakage ---


def _leakage(run: RunInfo, trial: TrialRecord) -> dict[str, Any]:
    name = f"{trial.trial}.npz"
    if Path(name).name != name:  # "../x": a trial's name is never a way out of the folder
        return _scored(())
    scores = scores_inside(run.directory, run.directory / SCORES / name, run.attacks)
    return _scored(scores, _class_names(run.directory, trial.trial))


def _scored(scores: Sequence[AttackScores], names: Mapping[int, str] | None = None) -> dict[str, Any]:
    """What the scores of a model's attacks say: curves, the first attack's AUC by class, the most exposed members."""
    from nni_privacy.analysis.exposed import exposures
    from nni_privacy.attacks import per_class_metrics, roc_curve

    rocs = []
    for one in scores:
        curve = roc_curve(one.scores, one.is_member)
        kept = _thinned(curve.fpr, curve.tpr)
        sides = {"members": one.members, "non_members": one.non_members}
        rocs.append({"attack": one.attack, "fpr": curve.fpr[kept].tolist(), "tpr": curve.tpr[kept].tolist(), **sides})
    first = next((one for one in scores if one.labels is not None), None)
    classes = (
        per_class_metrics(first.scores, first.is_member, first.labels) if first and first.labels is not None else ()
    )
    exposed = exposures({"": [("", scores)]}).records[:EXPOSED] if scores else ()
    return {
        "roc": rocs,
        "classes": [_class(vars(one), names or {}) for one in classes],
        "exposed": [
            {
                "index": one.index,
                "class": one.label,
                "percentile": one.percentile,
                "found": one.found,
                "of": one.attacked,
            }
            for one in exposed
        ],
    }


def _thinned(fpr: Any, tpr: Any) -> Any:
    """Places of at most :data:`ROC_POINTS` points that show a curve on linear and on logarithmic axes; both ends stay.

    Only points of the curve are kept, first of all its corners: between two of them it is a straight line.
    """
    size = len(fpr)
    if size > 2:
        turns = (np.diff(fpr[:-1]) * np.diff(tpr)[1:] != np.diff(tpr)[:-1] * np.diff(fpr)[1:]).nonzero()[0] + 1
        corners = np.concatenate([[0], turns, [size - 1]])
    else:
        corners = np.arange(size)
    if len(corners) <= ROC_POINTS:
        return corners
    places = np.concatenate([fpr[corners], tpr[corners]])
    least = max(float(places[places > 0].min()), 1e-9)
    half = ROC_POINTS // 4
    wanted = np.concatenate([np.linspace(0, 1, half), np.geomspace(least, 1, half)])
    found = [np.searchsorted(side[corners], wanted).clip(0, len(corners) - 1) for side in (fpr, tpr)]
    chosen = np.unique(np.concatenate([[0, len(corners) - 1], *found]))
    return corners[
        chosen[:ROC_POINTS] if len(chosen) <= ROC_POINTS else np.append(chosen[: ROC_POINTS - 1], chosen[-1])
    ]


def _class(told: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, Any]:
    label = told.get("label")
    name = names.get(label, str(label)) if isinstance(label, int) else str(label)
    sides = {"members": told.get("members"), "non_members": told.get("nonmembers")}
    return {
        "label": label,
        "name": name,
        **sides,
        "auc": told.get("auc"),
        "low": told.get("auc_low"),
        "high": told.get("auc_high"),
    }


def _class_names(directory: Path, trial: str) -> dict[int, str]:
    """The names of the classes, where the trial's model or another one's of the run is kept."""
    folder = directory / MODELS
    try:
        others = sorted(one.name for one in folder.iterdir())
    except OSError:  # there is none, or it is closed to this user
        return {}
    kept = [one for one in (trial, *others) if _WORD.fullmatch(one)]
    for name in kept[:2]:
        content = read_inside(directory, folder / name / RECORD_FILE, 1 << 22)
        try:
            told = json.loads(content or b"null")
        except (ValueError, RecursionError):
            continue
        classes = told.get("classes") if isinstance(told, dict) else None
        if isinstance(classes, list):
            return dict(enumerate(map(str, classes)))
    return {}


# --- texts ---


def _configuration(run: RunInfo, trial: TrialRecord) -> str:
    """What made the trial: its own factors and architecture, then the text of the run's configuration."""
    own: dict[str, Any] = {"trial": trial.trial, "sequence": trial.sequence, "architecture": trial.architecture}
    own |= {"factors": dict(trial.factors)} if trial.factors else {}
    text = read_inside(run.directory, run.directory / CONFIG, CONFIG_BYTES, start=True)
    told = "{}\n" if text is None else text.decode("utf-8", errors="replace")
    return f"{_yaml(own)}\n# config.yaml of the run\n{told}"


def _yaml(content: Any) -> str:
    """Plain data as YAML; what is none is written as its text, and of very much the beginning."""
    plain = _cut(content, [_MOST_NODES, CONFIG_BYTES], 0)
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100))


def _cut(value: Any, left: list[int], depth: int) -> Any:
    """A copy without aliases of at most as many nodes and characters as are left; dots stand for the rest."""
    left[0] -= 1
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping | list | tuple) and depth > _DEEPEST:
        return "..."
    if isinstance(value, Mapping):
        pairs = value.items()
        return {_cut(str(key), left, depth): _cut(one, left, depth + 1) for key, one in pairs if min(left) > 0}
    if isinstance(value, list | tuple):
        return [_cut(one, left, depth + 1) for one in value if min(left) > 0]
    text = str(value)
    kept = text if len(text) <= left[1] else f"{text[: max(left[1], 0)]}..."
    left[1] -= len(kept)
    return kept


def _log(directory: Path, trial: str) -> str | None:
    """The end of what a trial logged and printed, where it ran on this machine; without the key of its channel."""
    if not _WORD.fullmatch(trial):
        return None
    parts = []
    for folder in sorted((directory / "nni").glob(f"*/environments/*/trials/{trial}")):
        if folder.parents[3].name == "_latest":  # a link to one of the others
            continue
        for name in ("trial.log", "trial.stdout", "trial.stderr"):
            content = read_inside(directory, folder / name, LOG_BYTES, end=True)
            if content:
                parts.append(f"--- {name}\n{content.decode('utf-8', errors='replace').rstrip()}\n")
    return _KEY.sub(r"\1...", "".join(parts))[-LOG_BYTES:] or None


def _confirmed(directory: Path, trial: str) -> dict[str, Any] | None:
    if not is_inside(directory, directory / CONFIRMED, _LARGEST_CONFIRMED):
        return None
    from nni_privacy.runs.confirmed import read_confirmed  # pydantic, which a page without a confirmation never needs

    try:
        confirmed = read_confirmed(directory)
    except DataError:
        return None
    found = None if confirmed is None else confirmed.of(trial)
    return None if found is None else found.model_dump(mode="json")


def report_of(folder: Path) -> bytes | None:
    """The report of a run or an audit; None if there is none."""
    return read_inside(folder, folder / REPORT, LARGEST)
