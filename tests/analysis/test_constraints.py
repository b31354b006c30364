"""Constraints as configurations and run directories write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_config import BASE

from nni_privacy.analysis.conditions import OPERATORS, Condition
from nni_privacy.analysis.constraints import Constraints
from nni_privacy.config import parse_config
from nni_privacy.errors import ConfigError

names = st.sampled_from(["mia_auc", "accuracy", "parameters", "multiply_adds"])
conditions = st.builds(Condition, names, st.sampled_from([*OPERATORS]), st.floats(-1e9, 1e9))


@given(st.lists(conditions, max_size=6))
def test_what_is_written_is_read(given: list[Condition]) -> None:
    whole = Constraints(tuple(given))
    again = Constraints.of(whole.to_dict())
    assert sorted(map(repr, again.conditions)) == sorted(map(repr, given))
    assert {*again.known.conditions, *again.measured.conditions} == set(given)


def test_a_run_reads_what_its_configuration_records() -> None:
    bounds = {"mia_auc": "<= 0.6", "parameters": [">= 1e3", "<= 1e6"]}
    recorded = parse_config({**BASE, "constraints": bounds}).resolved()["constraints"]
    assert Constraints.of(recorded) == Constraints.of(bounds)
    assert str(Constraints.of(recorded)) == "mia_auc <= 0.6, parameters >= 1000, parameters <= 1000000"
    assert not Constraints.of(None) and not Constraints.of({})


@pytest.mark.parametrize("bounds", [["mia_auc <= 0.6"], "mia_auc <= 0.6", {"mia_auc": "low"}, {"mia_auc": [0.6]}])
def test_what_are_no_bounds_is_refused(bounds: Any) -> None:
    with pytest.raises(ConfigError, match=r"mia_auc"):
        Constraints.of(bounds)


def test_violations_add_up() -> None:
    limits = Constraints.of({"mia_auc": "<= 0.5", "parameters": "<= 1000"})
    assert limits.violation({"mia_auc": 0.6, "parameters": 1500}) == pytest.approx(0.2 + 0.5)
    assert limits.violation({"mia_auc": 0.5, "parameters": 1000}) == 0
    assert limits.broken({"mia_auc": 0.6, "parameters": 10}) == ["mia_auc 0.6 (<= 0.5)"]


@pytest.mark.parametrize("bounds", [{"accuracy": ">= 90"}, {"mia_auc": "<= -1"}, {"mia_auc": []}])
def test_bounds_that_say_nothing_are_refused(bounds: Any) -> None:
    with pytest.raises(ConfigError, match=rf"{next(iter(bounds))}.*(is a fraction, 0 to 1|expected a bound)"):
        parse_config({**BASE, "constraints": bounds})
    assert parse_config({**BASE, "constraints": {"accuracy": ">= 90%"}}).constraints.conditions[0].bound == 0.9
