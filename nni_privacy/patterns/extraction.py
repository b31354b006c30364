"""From measured architectures to patterns with evidence: sections 4.2 and 4.3 of the paper, cross-fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.cells.darts import CELL_TYPES
from nni_privacy.errors import DataError
from nni_privacy.patterns.cross_fitting import (
    EdgesInCell,
    Effect,
    Fit,
    FoldFit,
    Progress,
    effects_by_fold,
    fit_folds,
    held_out_importance,
    held_out_predictions,
)
from nni_privacy.patterns.edge_regression import ols_contrasts
from nni_privacy.patterns.evidence import find_edges, judge_edges, only_relevant, patterns_by_table, supported_edges
from nni_privacy.patterns.findings import Assessment, Extraction, ExtractionOptions, FoundPattern, Predictiveness
from nni_privacy.patterns.importance import MIN_SUPPORT, SIGN, Floats, Rows, edge_ids, grow_pattern
from nni_privacy.patterns.pattern import OBJECTIVES, CellPattern, Objective

__all__ = ["extract_patterns"]


SMALLEST_DATA = 50
PREDICTIVE_LEVEL = 0.001
"""One-sided level at which the surrogates must predict architectures that they have not seen."""
JUDGED_AT = 4
"""The paper's default number m of edges: foreign patterns are judged by their first four."""


def extract_patterns(
    codes: GenotypeCodes,
    auc: Floats,
    fit: Fit,
    *,
    options: ExtractionOptions | None = None,
    assess: Sequence[CellPattern] = (),
    progress: Progress = lambda _: None,
) -> Extraction:
    """Extracts the four patterns of measured architectures, and the evidence for each of their edges.

    Args:
        codes: n different architectures with M intermediate nodes.
        auc: (n,) measured AUCs, fractions.
        fit: makes a surrogate of architectures and their AUCs.
        options: by default the paper's thresholds.
        assess: patterns from elsewhere to judge on the same data.
        progress: is told what is going on.

    Raises:
        DataError: if there are fewer than 50 architectures, or a group is empty or so small that no edge can have
            enough support.
    """
    options = options or ExtractionOptions()
    groups = _groups(auc, options)
    folds = fit_folds(codes, auc, fit, repeats=options.cuts, seed=options.seed, progress=progress)
    predictiveness = _predictiveness(held_out_predictions(folds, codes), auc)
    drafts = _drafts(codes, auc, folds, groups, predictiveness, options, progress)
    progress("predicted effects")
    sample = np.sort(np.random.default_rng([options.seed, 2]).permutation(len(codes))[: options.effect_sample])
    foreign = [(pattern.cell, pattern.edges) for pattern in assess]
    foreign_effects = _effects(folds, codes, sample, [foreign for _ in folds]) if foreign else []
    return Extraction(
        codes=codes,
        auc=auc,
        options=options,
        groups=groups,
        predictiveness=predictiveness,
        found=_with_effects(drafts, folds, codes, sample),
        assessed=tuple(_assess(one, drafts, effects) for one, effects in zip(assess, foreign_effects, strict=True)),
    )


def _groups(auc: Floats, options: ExtractionOptions) -> dict[Objective, Rows]:
    if len(auc) < SMALLEST_DATA:
        raise DataError(f"{len(auc)} architectures; patterns need at least {SMALLEST_DATA}")
    masks: dict[Objective, tuple[npt.NDArray[np.bool_], str]] = {
        "demotion": (auc < options.low, f"below {options.low}"),
        "promotion": (auc > options.high, f"above {options.high}"),
    }
    for objective, (mask, where) in masks.items():
        if mask.sum() < MIN_SUPPORT:
            count = "no architecture has" if not mask.any() else f"only {mask.sum()} architectures have"
            raise DataError(
                f"{objective}: {count} an AUC {where}; needed are {MIN_SUPPORT} or more "
                f"(the AUCs lie between {auc.min():.3f} and {auc.max():.3f}: choose another threshold, "
                "high (--high) or low (--low))"
            )
    return {objective: np.flatnonzero(mask) for objective, (mask, _) in masks.items()}


def _predictiveness(predicted: Floats, auc: Floats) -> Predictiveness:
    """Rank correlation, and what chance may give.

    Predictions and measurements of cross-fitting are not independent even where there is nothing to find: y_i y_j
    counts in the prediction of i as in that of j. Under the null hypothesis the variance of their correlation is
    therefore up to twice the usual 1 / (n - 1).
    """
    from scipy.stats import spearmanr

    needed = NormalDist().inv_cdf(1 - PREDICTIVE_LEVEL) * np.sqrt(2 / (len(auc) - 1))
    value = float(spearmanr(predicted, auc).statistic) if np.ptp(predicted) > 0 and np.ptp(auc) > 0 else 0.0
    return Predictiveness(value, float(needed))


def _drafts(
    codes: GenotypeCodes,
    auc: Floats,
    folds: Sequence[FoldFit],
    groups: dict[Objective, Rows],
    predictiveness: Predictiveness,
    options: ExtractionOptions,
    progress: Progress,
) -> list[FoundPattern]:
    """The patterns, from Operation Importance and Algorithm 1; their effects are still to be predicted."""
    rows = np.concatenate([groups[objective] for objective in OBJECTIVES])
    tables = held_out_importance(folds, codes, rows, progress)
    progress("resamples")
    contrasts, generator = ols_contrasts(codes, auc), np.random.default_rng([options.seed, 1])
    drafts: list[FoundPattern] = []
    start = 0
    for objective in OBJECTIVES:
        part = np.arange(start, start + len(groups[objective]))
        start += len(part)
        own = [table[part] for table in tables]
        for cell in CELL_TYPES:
            ids, kind = edge_ids(codes[groups[objective]], cell), CELL_TYPES.index(cell)
            findings = find_edges(
                own, ids, kind, contrasts[cell], objective=objective, resamples=options.resamples, generator=generator
            )
            candidates = {edge: one.importance for edge, one in findings.items() if one.support >= MIN_SUPPORT}
            literal = grow_pattern(candidates, objective)
            findings = judge_edges(findings, objective, predictive=predictiveness.holds, dof=len(own) - 1)
            by_fold = tuple(patterns_by_table(own, ids, kind, objective))
            drafts.append(FoundPattern(cell, objective, findings, literal, edges=(), by_fold=by_fold))
    relevant = only_relevant([draft.findings for draft in drafts])
    return [
        replace(draft, findings=findings, edges=supported_edges(findings, draft.objective))
        for draft, findings in zip(drafts, relevant, strict=True)
    ]


def _with_effects(
    drafts: Sequence[FoundPattern], folds: Sequence[FoldFit], codes: GenotypeCodes, sample: Rows
) -> tuple[FoundPattern, ...]:
    """Predicts the effects of every draft: three patterns a draft and surrogate."""
    wanted = [
        [(one.cell, edges) for one in drafts for edges in (one.literal, one.edges, one.by_fold[fold.partner])]
        for fold in folds
    ]
    effects = _effects(folds, codes, sample, wanted)
    return tuple(
        replace(draft, literal_effects=literal, effects=supported, replicated=replicated)
        for draft, literal, supported, replicated in zip(drafts, *(effects[n::3] for n in range(3)), strict=True)
    )


def _effects(
    folds: Sequence[FoldFit], codes: GenotypeCodes, sample: Rows, wanted: Sequence[Sequence[EdgesInCell]]
) -> list[tuple[Effect, ...]]:
    """For each of a surrogate's ``wanted`` patterns the effect at each m, as far as all surrogates' patterns reach."""
    changes = [effects_by_fold(fold, codes, sample, own) for fold, own in zip(folds, wanted, strict=True)]
    effects = []
    for columns in zip(*changes, strict=True):
        length = min(map(len, columns))
        effects.append(tuple(map(Effect.of, np.array([column[:length] for column in columns]).T)))
    return effects


def _assess(pattern: CellPattern, drafts: Sequence[FoundPattern], effects: tuple[Effect, ...]) -> Assessment:
    """Judges a pattern by its first edges: most of them supported, and their effect of the right sign."""
    (draft,) = (draft for draft in drafts if (draft.cell, draft.objective) == (pattern.cell, pattern.objective))
    findings = {edge: draft.findings[edge] for edge in pattern.edges if edge in draft.findings}
    judged = pattern.edges[:JUDGED_AT]
    agreeing = sum(edge in findings and findings[edge].supported for edge in judged)
    reason = ""
    if not effects[len(judged) - 1].serves(SIGN[pattern.objective]):
        reason = f"the predicted effect of its first {len(judged)} edges may be chance or has the wrong sign"
    elif 2 * agreeing <= len(judged):
        reason = f"{agreeing} of its first {len(judged)} edges are supported"
    return Assessment(pattern, findings, effects, len(judged), reason)
