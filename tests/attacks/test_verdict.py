"""The verdict over all attacks: corrected for their number, whichever is named first."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from nni_privacy.attacks import AttackReport, AttackScores, judge, report_attack
from nni_privacy.errors import AuditError


def attack(name: str, *, leak: float, seed: int, records: int = 200) -> AttackReport:
    is_member = np.arange(2 * records) < records
    scores = np.random.default_rng(seed).normal(size=2 * records) + leak * is_member
    return report_attack(name, AttackScores(scores, is_member, np.arange(2 * records)))


def test_the_verdict_is_that_of_all_attacks_not_of_the_first() -> None:
    null, leaking = attack("first", leak=0.0, seed=1), attack("rmia", leak=0.5, seed=2)
    assert null.metrics["mia_auc_low"] < 0.5 < leaking.metrics["mia_auc_low"]
    for order in ([null, leaking], [leaking, null]):
        verdict = judge(order)
        assert verdict.leak and verdict.leading == "rmia" and verdict.auc == leaking.roc.auc
        assert (verdict.low, verdict.high) == (leaking.metrics["mia_auc_low"], leaking.metrics["mia_auc_high"])
        assert "rmia leads" in str(verdict)
    alone = judge([null])
    assert not alone.leak and alone.outcome == "no evidence of a leak"


def test_p_values_are_those_of_mann_and_whitney_corrected_by_holm() -> None:
    attacks = [attack(f"a{seed}", leak=0.1 * seed, seed=seed) for seed in range(4)]
    plain = [mannwhitneyu(one.scores[one.is_member], one.scores[~one.is_member]).pvalue for one in attacks]
    order = sorted(range(4), key=plain.__getitem__)
    wanted, reached = {}, 0.0
    for place, index in enumerate(order):
        reached = max(reached, min(1.0, plain[index] * (4 - place)))
        wanted[f"a{index}"] = reached
    assert judge(attacks).p_values == pytest.approx(wanted)


def test_twenty_attacks_that_guess_are_seldom_evidence() -> None:
    leaks = plain = 0
    for run in range(40):
        attacks = [attack(str(number), leak=0.0, seed=1000 * run + number, records=60) for number in range(20)]
        leaks += judge(attacks).leak
        plain += any((one.metrics["mia_auc_low"] or 0) > 0.5 for one in attacks)
    assert leaks <= 5 and plain >= 8  # 1 in 40 expected; without the correction 4 in 10 or more


def test_the_lead_goes_to_an_attack_that_tells_more_than_guessing() -> None:
    lucky, solid = attack("lucky", leak=0.6, seed=4, records=5), attack("solid", leak=0.4, seed=5, records=400)
    lucky = dataclasses.replace(lucky, roc=report_attack("x", AttackScores(*perfect())).roc)
    assert lucky.roc.auc > solid.roc.auc
    assert judge([lucky, solid]).leading == "solid"


def perfect() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.arange(10.0)[::-1].copy(), np.arange(10) < 5, np.arange(10)


def test_an_auc_below_guessing_is_told_apart_and_equal_scores_are_no_evidence() -> None:
    below = judge([attack("reversed", leak=-0.8, seed=1)])
    assert not below.leak and below.outcome.endswith("below guessing")
    is_member = np.arange(40) < 20
    equal = judge([report_attack("gap", AttackScores(np.zeros(40), is_member, np.arange(40)))])
    assert equal.p_values == {"gap": 1.0} and equal.outcome == "no evidence of a leak"


def test_a_threshold_is_kept_by_every_attack_or_exceeded() -> None:
    attacks = [attack("weak", leak=0.0, seed=1), attack("strong", leak=1.0, seed=2)]
    auc, high = attacks[1].roc.auc, attacks[1].metrics["mia_auc_high"]
    for max_auc, passed, shown in ((auc - 0.01, False, False), (auc, True, False), (high, True, True)):
        found = judge(attacks, max_auc=max_auc).threshold
        assert found is not None and (found.max_auc, found.passed, found.shown) == (max_auc, passed, shown)
    assert judge(attacks).threshold is None
    for wrong in (0.4, 1.01, float("nan")):
        with pytest.raises(AuditError, match=f"max_auc is {wrong}: allowed are"):
            judge(attacks, max_auc=wrong)
    with pytest.raises(AuditError, match="expected one or more"):
        judge([])
