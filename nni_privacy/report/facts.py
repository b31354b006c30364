"""What a run did and found, in a few facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from nni_privacy.report.feasibility import FeasibilityInfo, feasibility_info
from nni_privacy.report.html import duration
from nni_privacy.runs.notices import TrialNotice, notices_of
from nni_privacy.runs.records import STOPPED, FixedEdges, RunInfo, TrialRecord, name_of
from nni_privacy.strategies.scores import PREDICTED, SCORES
from nni_privacy.training.dp_selection import privacy_text

__all__ = ["Facts", "SummaryInfo", "appendix", "data_facts", "epochs_of", "facts_of", "summary_info"]

MOST_CLASSES = 20
"""Classes that are counted one by one."""
SIDES = ("members", "non-members")

Facts = Mapping[str, str | FixedEdges]
"""Rows of a definition list: a text, or edges by cell; those that are empty are not shown."""


@dataclass(frozen=True)
class SummaryInfo:
    """Counts and extremes of a run.

    Attributes:
        succeeded: number of trials that succeeded.
        failed: number that failed.
        stopped: number that were stopped early.
        planned: number that the configuration asks for, if it does.
        best_accuracy: the trial of highest accuracy (then lowest AUC).
        lowest_auc: the trial of lowest AUC (then highest accuracy).
        fixed: number of edges that the pattern fixed.
        constrained: number of succeeded trials whose genotype has all of them.
        strays: the succeeded trials whose genotype has not.
        seconds: of all trials together.
        notices: why its results may be none.
        feasibility: what its constraints leave; None if it has none.
    """

    succeeded: int
    failed: int
    stopped: int
    planned: int | None
    best_accuracy: TrialRecord | None
    lowest_auc: TrialRecord | None
    fixed: int
    constrained: int
    strays: tuple[TrialRecord, ...]
    seconds: float
    notices: tuple[TrialNotice, ...] = ()
    feasibility: FeasibilityInfo | None = None


def summary_info(run: RunInfo) -> SummaryInfo:
    """Counts and extremes of a run."""
    accurate = [trial for trial in run.succeeded if trial.accuracy is not None]
    audited = [trial for trial in run.succeeded if trial.mia_auc is not None]
    strays = tuple(trial for trial in run.succeeded if trial.missing(run.fixed_edges))
    planned = run.config.get("trials")
    return SummaryInfo(
        succeeded=len(run.succeeded),
        failed=sum(trial.status == "failed" for trial in run.trials),
        stopped=sum(trial.status == STOPPED for trial in run.trials),
        planned=planned if type(planned) is int else None,
        best_accuracy=min(accurate, key=lambda trial: (-(trial.accuracy or 0), trial.mia_auc or 0), default=None),
        lowest_auc=min(audited, key=lambda trial: (trial.mia_auc or 0, -(trial.accuracy or 0)), default=None),
        fixed=sum(len(edges) for edges in run.fixed_edges.values()),
        constrained=len(run.succeeded) - len(strays),
        strays=strays,
        seconds=sum(trial.seconds or 0.0 for trial in run.trials),
        notices=notices_of(run.trials),
        feasibility=feasibility_info(run),
    )


def facts_of(run: RunInfo, summary: SummaryInfo) -> Facts:
    """What a reader should know of a search, in the order of the page."""
    attacks = list(run.attacks)
    if attacks:
        attacks[0] += " (primary: mia_auc, mia_balanced_accuracy and mia_tpr_… are its)"
    seed = run.environment.get("seed", run.config.get("seed"))
    device = run.environment.get("device")
    versions = run.environment.get("versions")
    skipped = ("seed", "device", "fixed_edges")
    scalars = {name: value for name, value in run.environment.items() if not isinstance(value, dict | list)}
    others = {name: value for name, value in scalars.items() if name not in skipped}
    return {
        "Data set": _with_options(run.config.get("dataset")),
        **data_facts(run),
        "Search space": _with_options(run.config.get("search_space")),
        "Strategy": _with_options(run.config.get("strategy")),
        "Pattern": _pattern(run),
        "Filter": _filter(run.config.get("filter")),
        "Constraints": _constraints(summary.feasibility),
        "Fixed edges": {name: edges for name, edges in run.fixed_edges.items() if edges},
        "Attacks": ", ".join(attacks),
        "Epochs": epochs_of(run),
        "Early stopping": _stopping(run, summary),
        "Seed": "" if seed is None else str(seed),
        "Device": "" if device is None else _plain(device),
        "Versions": _plain(versions if isinstance(versions, Mapping) else others),
        "Time in trials": duration(summary.seconds) if summary.seconds else "",
    }


def _stopping(run: RunInfo, summary: SummaryInfo) -> str:
    """The rule, and what it spared."""
    rule, epochs = run.config.get("stop"), epochs_of(run)
    if not rule or not epochs.isdigit():
        return ""
    trained, whole = sum(trial.epochs for trial in run.trials), int(epochs) * len(run.trials)
    return f"{_plain(rule)}; {summary.stopped} of {len(run.trials)} trials stopped, {trained} of {whole} epochs trained"


def epochs_of(run: RunInfo) -> str:
    """Epochs that a network is trained for, as configured."""
    evaluator = run.config.get("evaluator")
    recipe = evaluator.get("recipe") if isinstance(evaluator, Mapping) else None
    epochs = recipe.get("epochs") if isinstance(recipe, Mapping) else None
    return "" if epochs is None else _plain(epochs)


def data_facts(run: RunInfo) -> dict[str, str]:
    """Sizes of the split and counts of the classes, of each data set that the trials tell them of."""
    told: dict[str, Mapping[str, Any]] = {}
    for trial in run.trials:
        if trial.data:
            told.setdefault(str(trial.factors.get("dataset", "")), trial.data)
    facts = {}
    for name, data in told.items():
        suffix = f", {name}" if len(told) > 1 else ""
        split, classes = (data.get(key) for key in ("split", "classes"))
        if isinstance(split, Mapping):
            facts[f"Records{suffix}"] = ", ".join(f"{size} {part.replace('_', '-')}" for part, size in split.items())
        if isinstance(classes, Mapping):
            facts[f"Classes{suffix}"] = _classes(classes)
    privacy = privacy_text(run.trials, drawn=run.config.get("trials_drawn"))
    return facts if privacy is None else {**facts, "Differential privacy": privacy}


def _classes(classes: Mapping[str, Any]) -> str:
    """How many there are, and members and non-members of each, or of so many the fewest and the most."""
    sides = {label: side for label, side in classes.items() if isinstance(side, list) and len(side) == len(SIDES)}
    if len(sides) <= MOST_CLASSES:
        each = ", ".join(f"{label} ({members} + {others})" for label, (members, others) in sides.items())
        return f"{len(sides)}, with members + non-members: {each}"
    totals = [members + others for members, others in sides.values()]
    return f"{len(sides)}, of {min(totals)} to {max(totals)} members and non-members"


def appendix(run: RunInfo) -> dict[str, str]:
    """The configuration and the environment in full, as YAML by the name of their file."""
    return {
        name: yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=100) if value else "(missing)"
        for name, value in (("config.yaml", run.config), ("environment.json", run.environment))
    }


def _pattern(run: RunInfo) -> str:
    pattern, fixed = run.config.get("pattern"), run.environment.get("fixed_edges")
    recorded = isinstance(fixed, Mapping) and any(fixed.values())
    known = any(run.fixed_edges.values())
    if not pattern and not recorded:
        return "none: every edge was searched"
    told = (
        ""
        if known
        else "its fixed edges are of a space of a plugin"
        if recorded
        else "its fixed edges were not recorded"
    )
    # Of a run from Python only the edges are known.
    return f"{_with_options(pattern)}{f' ({told})' if told else ''}" if pattern else told


def _filter(value: Any) -> str:
    if not isinstance(value, Mapping):
        return ""
    shown = _plain({key: option for key, option in value.items() if option is not None})
    known = SCORES.get(str(value.get("by", PREDICTED)))  # a run of before there were others names none
    label = "score" if known is None else known.label
    return f"passed on only the {value.get('keep', 'lowest')} by {label} ({shown}); skipped: search/skipped.jsonl"


def _constraints(found: FeasibilityInfo | None) -> str:
    if found is None:
        return ""
    skipped = "" if found.skipped is None else f"; not trained, as they break one for sure: {found.skipped}"
    return f"{found.constraints}: {len(found.feasible)} of {found.trials} trials are feasible{skipped}"


def _with_options(value: Any) -> str:
    """``name (key: value, ...)`` of a part of the configuration."""
    options = {key: option for key, option in value.items() if key != "name"} if isinstance(value, Mapping) else {}
    shown = _plain({key: option for key, option in options.items() if option is not None})
    return name_of(value) + (f" ({shown})" if shown else "")


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(_plain(item) for item in value) + "]"
    return str(value)
