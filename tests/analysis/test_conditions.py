"""Conditions on metrics: what is read as one, what is refused, and how far off metrics are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_privacy.analysis.conditions import OPERATORS, Condition
from nni_privacy.errors import ConfigError

numbers = st.floats(-1e9, 1e9).map(lambda x: float(f"{x:.12g}"))
conditions = st.builds(
    Condition, st.from_regex(r"[a-z_]\w{0,20}", fullmatch=True), st.sampled_from([*OPERATORS]), numbers
)


@given(conditions)
def test_what_is_written_is_read(condition: Condition) -> None:
    assert Condition.parse(str(condition)) == condition


@pytest.mark.parametrize(
    ("text", "bound"), [("<= 0.6", 0.6), (">1e6", 1e6), ("< 5%", 0.05), (" >=  -.5 ", -0.5), ("<= 1_000_000", 1e6)]
)
def test_bounds(text: str, bound: float) -> None:
    assert Condition.of("mia_auc", text).bound == bound


@pytest.mark.parametrize(
    "text", ["", "0.6", "= 0.6", "<= ", "<= nan", "<= 1e999", "<= 0.6 or 1", "=< 3", 0.6, None, ["<= 1"]]
)
def test_what_is_no_bound_is_refused(text: object) -> None:
    with pytest.raises(ConfigError, match="mia_auc"):
        Condition.of("mia_auc", text)


@pytest.mark.parametrize("text", ["", "> 0.6", "mia auc > 0.6", "0.6 < mia_auc", "mia_auc", "__import__('os') > 0", 3])
def test_what_is_no_condition_is_refused(text: object) -> None:
    with pytest.raises(ConfigError):
        Condition.parse(text)


@given(conditions, numbers)
def test_a_violation_is_positive_exactly_where_it_does_not_hold(condition: Condition, value: float) -> None:
    metrics = {condition.metric: value}
    assert (condition.violation(metrics) > 0) == (condition.holds(metrics) is False)


@pytest.mark.parametrize(
    "metrics", [{}, {"mia_auc": None}, {"mia_auc": math.nan}, {"mia_auc": "0.5"}, {"mia_auc": True}]
)
def test_without_a_number_nothing_holds(metrics: dict[str, object]) -> None:
    condition = Condition.parse("mia_auc <= 0.6")
    assert condition.holds(metrics) is None
    assert condition.violation(metrics) == math.inf


def test_violations_are_shares_of_the_bound() -> None:
    assert Condition.parse("parameters <= 1000").violation({"parameters": 1500}) == 0.5
    assert Condition.parse("accuracy >= .8").violation({"accuracy": 0.6}) == pytest.approx(0.25)
    assert Condition.parse("gap <= 0").violation({"gap": 0.2}) == pytest.approx(0.2)
