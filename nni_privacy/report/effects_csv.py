"""Effects and verdicts of a study as CSV files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nni_privacy.effects.bootstrap import Estimate
from nni_privacy.effects.contrasts import Effect
from nni_privacy.effects.verdicts import VerdictRow
from nni_privacy.report.effects_infos import EffectsInfo, effects_info
from nni_privacy.report.run import RunInfo
from nni_privacy.report.study_csv import to_csv

__all__ = ["effects_tables"]


def effects_tables(run: RunInfo) -> dict[str, str]:
    """``effects.csv`` (every paired comparison) and ``verdicts.csv``, name to text; none if nothing can be compared.

    Numbers are fractions, written in full; what is not known is empty.
    """
    info = effects_info(run)
    if info is None:
        return {}
    rows = [_effect(info, effect, None) for effect in info.effects]
    rows += [_effect(info, effect, size) for size, effects in info.by_size.items() for effect in effects]
    tables = {"effects.csv": to_csv(rows, ("data set", "defence"))}
    verdicts = to_csv([_verdict(info, row) for row in info.verdicts.rows], ("claim", "text"))
    return {**tables, "verdicts.csv": verdicts}


def _effect(info: EffectsInfo, effect: Effect, size: str | None) -> Mapping[str, Any]:
    treatment = effect.treatment
    return {
        "data set": effect.dataset,
        "defence": effect.defence,
        "epsilon": info.epsilons.get((effect.dataset, effect.defence)),
        "space": effect.space,
        "size": size or "all",
        "variant": effect.variant,
        "against": effect.against,
        **{name: getattr(treatment, name) for name in ("pattern", "cells", "budget", "control")},
        "metric": effect.metric,
        "difference": effect.mean,
        **_estimate(effect.estimate),
        "pairs": len(effect.pairing.pairs),
        "architectures": len(effect.by_architecture),
        "unpaired": len(effect.pairing.unpaired),
        "reason": effect.reason,
    }


def _verdict(info: EffectsInfo, row: VerdictRow) -> Mapping[str, Any]:
    estimate = row.estimate
    return {
        "claim": row.claim.id,
        "text": row.claim.text,
        "source": row.claim.source,
        "data set": row.dataset,
        "defence": row.defence,
        "epsilon": info.epsilons.get((row.dataset, row.defence)),
        "variant": row.detail,
        "paper": row.paper,
        "ours": None if estimate is None else estimate.value,
        **_estimate(estimate),
        "pairs": None if estimate is None else estimate.pairs,
        "architectures": None if estimate is None else estimate.architectures,
        "holds if": None if row.claim.rule is None else str(row.claim.rule),
        "verdict": row.verdict,
        "parts": "; ".join(f"{name}: {verdict}" for name, verdict in row.parts),
        "p": row.p,
        "p_holm": row.p_holm,
        "command": row.command,
    }


def _estimate(estimate: Estimate | None) -> Mapping[str, Any]:
    return {name: getattr(estimate, name, None) for name in ("low", "high", "error", "method")}
