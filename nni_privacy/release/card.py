"""The model card of an exported network: where it is from, how well it does, what it leaks, and how it was chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nni_privacy.analysis.constraints import COSTS, Constraints
from nni_privacy.auditing.model_record import ModelRecord
from nni_privacy.cells.spaces import space_title
from nni_privacy.release.source import render_text
from nni_privacy.runs.confirmed import Confirmed, read_confirmed
from nni_privacy.runs.models import MODEL_FILE
from nni_privacy.runs.records import RunInfo, TrialRecord, name_of
from nni_privacy.training.dp_selection import privacy_text

__all__ = ["AttackRow", "CardInfo", "Confirmation", "card_info", "render_card"]

_UNRESOLVED = "not resolvable"


@dataclass(frozen=True)
class AttackRow:
    """What one attack found, as text: fractions, intervals of 95%."""

    name: str
    auc: str
    balanced_accuracy: str
    tpr_at_1pct: str
    tpr_at_01pct: str


@dataclass(frozen=True)
class Confirmation:
    """What the architecture is when it is trained anew.

    Attributes:
        seeds: how many trainings.
        metrics: name to mean and interval over them, as text.
        feasible: whether the means keep the constraints.
        certain: whether the ends of the intervals do, too.
    """

    seeds: int
    metrics: Mapping[str, str]
    feasible: bool
    certain: bool


@dataclass(frozen=True, kw_only=True)
class CardInfo:
    """The content of a model card.

    Attributes:
        title: of the card.
        record: of the model.
        metrics: of the trial.
        attacks: a row each, the primary one first.
        searched: what was searched and how, by name; empty of a study.
        candidates: trials of the run that trained a network.
        constraints: of the search, as it was asked for.
        confirmed: what retraining says; None if nobody has retrained it.
        facts: of the trial and its files, by name.
        notices: why the numbers may be no result.
        privacy: what its training and the choice spend; None without differential privacy.
        files: name of a file beside the card to what it is.
    """

    title: str
    record: ModelRecord
    metrics: Mapping[str, float]
    attacks: Sequence[AttackRow]
    searched: Mapping[str, str]
    candidates: int
    constraints: Sequence[str]
    confirmed: Confirmation | None
    facts: Mapping[str, str]
    notices: Sequence[str]
    privacy: str | None
    files: Mapping[str, str] = field(default_factory=dict)


def card_info(
    run: RunInfo, trial: TrialRecord, record: ModelRecord, *, digest: str, parameters: int, files: Mapping[str, str]
) -> CardInfo:
    """What a card says of a trial's model.

    Args:
        run: that the trial is of.
        trial: whose model it is.
        record: of the model.
        digest: SHA-256 of the weights' file.
        parameters: number of trained weights.
        files: name of each further file to what it is.
    """
    constraints = Constraints.of(run.config.get("constraints"))
    return CardInfo(
        title=f"{run.name}, trial {trial.trial}",
        record=record,
        metrics=trial.metrics,
        attacks=[_attack_row(name, trial, prefix) for name, prefix in _prefixes(record.attacks)],
        searched={} if run.study else _searched(run),
        candidates=len(run.succeeded),
        constraints=[str(one) for one in constraints.conditions],
        confirmed=_confirmation(read_confirmed(run.directory), trial.trial),
        facts={
            "Run": run.name,
            "Trial": f"{trial.trial} (number {trial.sequence})",
            **{f"Factor {name}": str(value) for name, value in trial.factors.items() if value is not None},
            "Parameters": f"{parameters:,}",
            **({"Trained and audited in": f"{trial.seconds:.1f} s"} if trial.seconds is not None else {}),
            f"SHA-256 of {MODEL_FILE}": digest,
        },
        notices=trial.notices,
        privacy=privacy_text(run.trials, drawn=run.config.get("trials_drawn")),
        files=files,
    )


def render_card(info: CardInfo) -> str:
    """The card as Markdown."""
    shown = {
        name: _cell(f"{value:.4f}")
        for name, value in info.metrics.items()
        if name in ("accuracy", "train_accuracy", "overfitting", "balanced_accuracy")
    }
    return render_text("card.md.jinja", info=info, shown=shown, record=info.record, cell=_cell, plain=_plain,
                       architecture=_architecture(info.record))  # fmt: skip


def _confirmation(confirmed: Confirmed | None, trial: str) -> Confirmation | None:
    one = None if confirmed is None else confirmed.of(trial)
    if one is None:
        return None
    return Confirmation(
        seeds=max((mean.count for mean in one.metrics.values()), default=0),
        metrics={
            name: _interval(mean.mean, mean.low, mean.high) for name, mean in one.metrics.items() if name not in COSTS
        },
        feasible=one.feasible,
        certain=one.certain,
    )


def _prefixes(attacks: Sequence[str]) -> list[tuple[str, str]]:
    """Each attack and what its metrics' names begin with."""
    return [(name, f"{name}_" if number else "") for number, name in enumerate(attacks)]


def _attack_row(name: str, trial: TrialRecord, prefix: str) -> AttackRow:
    def value(metric: str) -> float | None:
        return trial.metrics.get(f"{prefix}{metric}")

    def rate(metric: str) -> str:
        found = value(metric)
        return _UNRESOLVED if found is None else f"{found:.4f}"

    return AttackRow(
        name=name,
        auc=_interval(value("mia_auc"), value("mia_auc_low"), value("mia_auc_high")),
        balanced_accuracy=rate("mia_balanced_accuracy"),
        tpr_at_1pct=rate("mia_tpr_at_1pct_fpr"),
        tpr_at_01pct=rate("mia_tpr_at_01pct_fpr"),
    )


def _interval(value: Any, low: Any, high: Any) -> str:
    if not isinstance(value, int | float):
        return _UNRESOLVED
    ends = isinstance(low, int | float) and isinstance(high, int | float)
    return f"{value:.4f}" + (f" [{low:.4f}, {high:.4f}]" if ends else "")


def _searched(run: RunInfo) -> dict[str, str]:
    names = {"Search space": "search_space", "Strategy": "strategy", "Pattern": "pattern", "Filter": "filter"}
    return {title: _named(run.config[key]) for title, key in names.items() if run.config.get(key)}


def _named(value: Any) -> str:
    name, options = name_of(value), dict(value) if isinstance(value, Mapping) else {}
    shown = _plain({key: option for key, option in options.items() if key != "name" and option is not None})
    return f"{name} ({shown})" if name and shown else name or shown


def _architecture(record: ModelRecord) -> str:
    architecture = record.architecture
    if architecture.kind == "genotype":
        sizes = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in architecture.sizes.items())
        return f"{space_title(architecture.space)}, {sizes}: `{architecture.genotype}`"
    if architecture.kind == "network":
        return f"{architecture.name}, a human-designed network ({_plain(architecture.options)})"
    return f"`{json.dumps(architecture.model_dump(exclude={'kind'}), sort_keys=True)}`"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(item)}" for key, item in value.items())
    return "[" + ", ".join(map(_plain, value)) + "]" if isinstance(value, list | tuple) else str(value)


def _cell(value: Any) -> str:
    """A text that can stand in a cell of a table."""
    return " ".join(str(value).split()).replace("|", "\\|")
