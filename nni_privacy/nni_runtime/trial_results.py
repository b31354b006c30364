"""Results of trials: compared with what was proposed, and as lines of ``trials.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nni.nas.space import ExecutableModelSpace

from nni_privacy.evaluator import factors_text
from nni_privacy.runs.records import STOPPED, Curves, TrialRecord, finite_metrics, finite_number, snapshot_rows
from nni_privacy.search_spaces.space import architecture_of, size_of

__all__ = ["identity_of", "mismatch", "proposed_architecture", "record_of"]

_NOT_METRICS = ("seconds", "architecture", "factors")
"""Keys of a trial's result that are no metrics."""
_TEXTS = ("data", "notices", "snapshots")
"""Keys that are none where they are texts, as :class:`~nni_privacy.PrivacyEvaluator` reports them."""


def record_of(
    trial: str,
    number: int,
    model: ExecutableModelSpace,
    value: Any,
    fault: str | None,
    *,
    curves: Curves | None = None,
    stopped: str | None = None,
) -> TrialRecord:
    """The record of a finished trial.

    Args:
        trial: NNI's id.
        number: of the proposal.
        model: what was proposed.
        value: what it reported at its end.
        fault: why it failed; None if it did not.
        curves: what it reported after each epoch.
        stopped: why it was stopped early; None if it was not.
    """
    proposed, factors, curves = proposed_architecture(model), _factors(model) or {}, curves or {}
    if fault is not None:
        return TrialRecord(trial, number, "failed", proposed, error=fault, factors=factors, curves=curves)
    if stopped is not None:
        return TrialRecord(trial, number, STOPPED, proposed, factors=factors, curves=curves, stopped=stopped)
    final = _as_mapping(value)
    texts = {key: item for key in _TEXTS if isinstance(item := final.get(key), str)}
    # What strategies maximise says nothing more where it is the accuracy, as with our own evaluator.
    left_out = {*_NOT_METRICS, *texts} | ({"default"} if final.get("default") == final.get("accuracy") else set())
    metrics, unresolved = finite_metrics({key: item for key, item in final.items() if key not in left_out})
    return TrialRecord(
        trial,
        number,
        "succeeded",
        str(final.get("architecture", proposed)),
        metrics,
        finite_number(final.get("seconds")),
        factors=factors,
        unresolved=unresolved,
        data=found if isinstance(found := _from_json(texts.get("data")), dict) else {},
        notices=tuple(texts["notices"].split("; ")) if texts.get("notices") else (),
        curves=curves,
        snapshots=snapshot_rows(_from_json(texts.get("snapshots"))),
    )


def mismatch(model: ExecutableModelSpace, value: Any) -> str | None:
    """Describes how a trial's reported ``value`` differs from the proposed ``model``; None if it does not."""
    final, proposed, factors = _as_mapping(value), proposed_architecture(model), _factors(model)
    # Another evaluator than ours may not tell the size; what a study measured must be told.
    told = final.get("factors", None if _is_study(model) else factors_text(factors or {}))
    if factors is not None and told != factors_text(factors):
        return f"it measured {final.get('factors')}, but {factors} was proposed"
    searched = getattr(getattr(model, "evaluator", None), "searches", False)  # only the trial can tell then
    if not searched and proposed != final.get("architecture", proposed):
        return f"it trained {final['architecture']}, but {proposed} was proposed"
    return None


def identity_of(model: ExecutableModelSpace) -> str:
    """What the record of a proposed model will be told by; see :attr:`TrialRecord.identity`."""
    return TrialRecord("", 0, "", proposed_architecture(model), factors=_factors(model) or {}).identity


def proposed_architecture(model: ExecutableModelSpace) -> str:
    """The architecture of a proposed model, written as :func:`nni_privacy.evaluator.architecture_text` writes it."""
    told = getattr(getattr(model, "evaluator", None), "architecture_text", None)
    if told is not None:
        return str(told)
    return architecture_of(model)


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {"default": value}


def _from_json(text: str | None) -> Any:
    """The value of a JSON text; None if it is none."""
    try:
        return json.loads(text or "")
    except ValueError:
        return None


def _factors(model: ExecutableModelSpace) -> dict[str, Any] | None:
    """Factors of a trial of a study, or the size of a search that searches it; else None."""
    return dict(model.evaluator.factors) if _is_study(model) else size_of(model) or None


def _is_study(model: Any) -> bool:
    return getattr(getattr(model, "evaluator", None), "factors", None) is not None
