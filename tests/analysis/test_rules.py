from __future__ import annotations

import pytest

from nni_privacy.analysis.bootstrap import Estimate, t_estimate
from nni_privacy.analysis.rules import LOWERS, RAISES, Rule, holm, judge_all

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided at this size"


def interval(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, (high - low) / 4, 10, 10, "given")


@pytest.mark.parametrize(
    ("rule", "low", "high", "verdict"),
    [
        (LOWERS, -0.04, -0.01, HOLDS),
        (LOWERS, 0.01, 0.04, FAILS),
        (LOWERS, -0.04, 0.01, UNDECIDED),
        (LOWERS, -0.04, 0.0, UNDECIDED),
        (RAISES, 0.01, 0.04, HOLDS),
        (RAISES, -0.04, -0.01, FAILS),
        (RAISES, -0.01, 0.01, UNDECIDED),
        (Rule(low=-0.01), -0.009, 0.02, HOLDS),
        (Rule(low=-0.01), -0.03, -0.011, FAILS),
        (Rule(low=-0.01), -0.02, 0.02, UNDECIDED),
        (Rule(-0.01, 0.01), -0.009, 0.009, HOLDS),
        (Rule(-0.01, 0.01), 0.011, 0.02, FAILS),
        (Rule(-0.01, 0.01), -0.02, -0.011, FAILS),
        (Rule(-0.01, 0.01), -0.02, 0.009, UNDECIDED),
        (Rule(-0.01, 0.01), -0.02, 0.02, UNDECIDED),
    ],
)
def test_verdicts_follow_from_where_the_interval_lies(rule: Rule, low: float, high: float, verdict: str) -> None:
    assert rule.judge(interval(low, high)) == verdict


@pytest.mark.parametrize("rule", [LOWERS, RAISES, Rule(low=-0.01), Rule(-0.01, 0.01)])
@pytest.mark.parametrize("value", [-0.05, -0.021, -0.0105, -0.004, 0.0, 0.004, 0.0105, 0.03])
def test_a_p_below_five_percent_says_what_the_interval_says(rule: Rule, value: float) -> None:
    estimate = t_estimate(value, 0.004, 9, 20, 10, "given")
    assert (rule.p_value(estimate) < 0.05) == (rule.judge(estimate) != UNDECIDED)


def test_rules_in_words() -> None:
    words = [str(rule) for rule in (LOWERS, RAISES, Rule(low=-0.01), Rule(-0.005, 0.005))]
    assert words == ["below 0", "above 0", "above -0.01", "within ±0.005"]


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([HOLDS, HOLDS], HOLDS),
        ([HOLDS, UNDECIDED], UNDECIDED),
        ([HOLDS, FAILS], FAILS),
        ([UNDECIDED, FAILS], FAILS),
    ],
)
def test_a_conjunction_holds_only_if_all_its_parts_do(parts: list, whole: str) -> None:
    assert judge_all(parts) == whole


def test_holm_by_hand() -> None:
    # Sorted .005, .01, .03, .04: times 4, 3, 2, 1 = .02, .03, .06, .04; never falling: .02, .03, .06, .06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
