from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from analysis.planted import DEMOTION, PLACEBO, SIZE_MATCHED, planted_rows

from nni_privacy.analysis.claims import ATTACKS, CLAIMS, Conjunction
from nni_privacy.analysis.contrasts import effect_metrics, paired_effects
from nni_privacy.analysis.rows import MeasuredRow
from nni_privacy.analysis.slopes import ablation_slopes, guideline_slopes
from nni_privacy.analysis.verdicts import Verdicts, verdict_rows

NAME = "demotion-reduction-4"
COMMAND = "nni-privacy measure config.yaml"


def judged(rows: Sequence[MeasuredRow]) -> Verdicts:
    slopes = (*ablation_slopes(rows), *guideline_slopes(rows))
    return verdict_rows(paired_effects(rows, effect_metrics(rows)), slopes, command=COMMAND)


def verdicts_on(rows: Sequence[MeasuredRow]) -> dict[str, str]:
    return {row.claim.id: row.verdict for row in judged(rows).rows}


@pytest.mark.parametrize(
    ("change", "noise", "verdict"),
    [(-0.03, 0.004, "holds"), (0.03, 0.004, "does not hold"), (0.0, 0.02, "undecided at this size")],
)
def test_planted_changes_of_the_auc_get_the_right_verdict(change: float, noise: float, verdict: str) -> None:
    rows = planted_rows([(DEMOTION, {"mia_auc": change})], noise=noise)
    assert verdicts_on(rows)[f"{NAME}-auc"] == verdict


@pytest.mark.parametrize(
    ("change", "noise", "verdict"),
    [(0.0, 0.002, "holds"), (-0.03, 0.002, "does not hold"), (-0.01, 0.02, "undecided at this size")],
)
def test_planted_costs_in_accuracy_get_the_right_verdict(change: float, noise: float, verdict: str) -> None:
    rows = planted_rows([(DEMOTION, {"accuracy": change})], noise=noise)
    assert verdicts_on(rows)[f"{NAME}-accuracy"] == verdict


@pytest.mark.parametrize(
    ("placebo", "size_matched", "verdict"),
    [
        (0.0, 0.0, "holds"),
        (-0.06, 0.0, "does not hold"),
        (0.0, -0.06, "does not hold"),
        (0.0, -0.03, "undecided at this size"),
    ],
)
def test_a_pattern_protects_only_if_it_beats_both_controls(placebo: float, size_matched: float, verdict: str) -> None:
    effects = [
        (DEMOTION, {"mia_auc": -0.03}),
        (PLACEBO, {"mia_auc": placebo}),
        (SIZE_MATCHED, {"mia_auc": size_matched}),
    ]
    rows = {row.claim.id: row for row in judged(planted_rows(effects)).rows}
    found = rows[f"{NAME}-protects"]
    assert found.verdict == verdict
    names = [f"{NAME}-auc", f"{NAME}-beats-placebo", f"{NAME}-beats-size-matched"]
    assert found.parts == tuple((name, rows[name].verdict) for name in names)
    assert found.p == max(rows[name].p for name in names)
    assert found.p_holm == max(rows[name].p_holm for name in names)


def test_without_one_of_the_controls_nothing_is_said_of_protection() -> None:
    rows = planted_rows([(DEMOTION, {"mia_auc": -0.03}), (PLACEBO, {})])
    assert f"{NAME}-beats-placebo" in verdicts_on(rows)
    assert f"{NAME}-protects" not in verdicts_on(rows)


def test_claims_that_the_data_do_not_speak_to_are_left_out() -> None:
    rows = planted_rows([(DEMOTION, {"mia_auc": -0.03})])
    effectiveness = {f"{NAME}-{what}" for what in ("auc", "accuracy", "overfitting")}
    assert {name for name in verdicts_on(rows) if not name.startswith("guideline")} == effectiveness
    assert verdicts_on([row for row in rows if row.original and row.architecture < "sampled-02"]) == {}


def test_too_few_pairs_give_no_verdict_but_are_named() -> None:
    found = judged(planted_rows([(DEMOTION, {"mia_auc": -0.03})], architectures=2, seeds=1))
    assert found.rows == ()
    assert {claim.id for claim in found.too_few} == {f"{NAME}-{what}" for what in ("auc", "accuracy", "overfitting")}


def test_the_papers_number_stands_only_beside_its_own_data_set() -> None:
    rows = planted_rows([(DEMOTION, {"mia_auc": -0.03})])
    other = [replace(row, dataset="digits") for row in rows]
    found = {row.dataset: row for row in judged([*rows, *other]).rows if row.claim.id == f"{NAME}-auc"}
    assert found["cifar10"].paper == pytest.approx(-0.0280)
    assert found["digits"].paper is None
    assert found["digits"].command == COMMAND


def test_intervals_are_of_each_claim_and_p_values_adjusted_for_all_of_them() -> None:
    single = [row for row in judged(planted_rows([(DEMOTION, {"mia_auc": -0.03})])).rows if not row.parts]
    ordered = sorted(single, key=lambda row: row.p)
    assert ordered[0].p_holm == pytest.approx(min(1.0, len(single) * ordered[0].p))
    assert all(row.p_holm >= row.p for row in single)


def test_each_attack_and_each_defence_has_a_verdict_of_its_own() -> None:
    metrics = {f"{attack}_mia_auc": -0.02 for attack in ATTACKS}
    rows = planted_rows([(DEMOTION, {"mia_auc": -0.03})])
    rows = [
        replace(row, metrics={**row.metrics, **{m: row.metrics["mia_auc"] + c for m, c in metrics.items()}})
        for row in rows
    ]
    private = [replace(row, defence="dp-sgd", metrics={"mia_auc": row.metrics["mia_auc"] - 0.1}) for row in rows]
    found = {(row.claim.id, row.defence): row.verdict for row in judged([*rows, *private]).rows}
    for attack in ATTACKS:
        assert found[f"{NAME}-{attack.replace('_', '-')}", "none"] == "holds"
    assert found[f"{NAME}-with-defence", "dp-sgd"] == "holds"
    assert found["defence-auc", "dp-sgd"] == "holds"
    assert (f"{NAME}-auc", "dp-sgd") not in found


def test_the_registry_is_consistent() -> None:
    ids = [claim.id for claim in CLAIMS]
    assert len(set(ids)) == len(ids)
    for place, claim in enumerate(CLAIMS):
        conjunction = isinstance(claim.about, Conjunction)
        assert (claim.rule is None) == conjunction
        if isinstance(claim.about, Conjunction):
            assert set(claim.about.parts) <= set(ids[:place])
