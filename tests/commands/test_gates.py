"""Gates: a condition that holds fails a command, says by how much, and stands in a JUnit file that parsers read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_privacy.analysis.conditions import Condition
from nni_privacy.commands.gates import Gate, Judgement, audit_metrics, junit_xml
from nni_privacy.commands.options import ExitCode
from nni_privacy.errors import ConfigError, DataError

KNOWN = audit_metrics(["black_box_partial", "rmia"], ["epsilon"])
MODEL = "my_model:build"


def judged(*fail_if: str, junit: Path | None = None, **metrics: Any) -> ExitCode:
    return Gate.of(fail_if, junit, known=KNOWN).judge({MODEL: metrics}, command="audit")


@pytest.mark.parametrize(
    ("condition", "value", "fails", "words"),
    [
        ("mia_auc_low > 0.6", 0.6312, True, "it is 0.6312, 0.031 above"),
        ("mia_auc_low > 0.6", 0.6, False, ""),
        ("mia_auc_low >= 0.6", 0.6, True, "it is 0.6, on the bound"),
        ("mia_auc_low<0.5", 0.25, True, "it is 0.25, 0.25 below"),
        ("rmia_mia_tpr_at_1pct_fpr > 5%", 0.0501, True, "it is 0.0501, 0.0001 above"),
        ("rmia_mia_tpr_at_1pct_fpr > 5%", None, True, "no number to judge it by"),
        ("epsilon > 8", math.nan, True, "no number to judge it by"),
        ("epsilon > 8", 7, False, ""),
    ],
)
def test_a_condition_that_holds_or_cannot_be_judged_fails(
    condition: str, value: Any, fails: bool, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    metric = condition.replace("<", " ").split()[0]
    assert judged(condition, **{metric: value}) == (4 if fails else 0)
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == fails
    assert words in said.err and (not fails or said.err.startswith(f"nni-privacy: failed: {metric} "))
    assert not fails or f"({MODEL})" in said.err


def test_every_condition_is_judged_on_every_model_and_stands_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "gate.xml"
    gate = Gate.of(["mia_auc > 0.6", "mia_auc_low > 0.55"], path, known=KNOWN)
    assert not path.parent.exists()
    measured = {"a": {"mia_auc": 0.7, "mia_auc_low": 0.5}, "b": {"mia_auc": 0.6}}
    assert gate.judge(measured, command="confirm") is ExitCode.GATE
    root = ET.parse(path).getroot()  # noqa: S314 - our own
    (suite,) = root
    assert suite.get("name") == "nni-privacy confirm"
    for counted in (root, suite):
        assert [counted.get(key) for key in ("tests", "failures", "errors")] == ["4", "1", "1"]
    cases = {(case.get("classname"), case.get("name")): [child.tag for child in case] for case in suite}
    assert cases == {
        ("a", "not mia_auc > 0.6"): ["failure"],
        ("a", "not mia_auc_low > 0.55"): [],
        ("b", "not mia_auc > 0.6"): [],
        ("b", "not mia_auc_low > 0.55"): ["error"],
    }
    assert suite[0][0].get("message") == "mia_auc > 0.6: it is 0.7, 0.1 above (a)"
    assert [one.name for one in path.parent.iterdir()] == ["gate.xml"]


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False) | st.none())
def test_the_file_is_xml_whatever_a_model_is_called(subject: str, value: float | None) -> None:
    one = Judgement(subject, Condition("mia_auc", ">", 0.5), value)
    root = ET.fromstring(junit_xml([one], suite=subject))  # noqa: S314 - our own
    (case,) = root.iter("testcase")
    assert (len(case) == 1) is (value is None or value > 0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mia_acu > 0.6", "--fail-if: unknown metric 'mia_acu': did you mean 'mia_auc'?"),
        ("lira_mia_auc > 0.6", "did you mean 'rmia_mia_auc'?"),
        ("mia_auc", "--fail-if: mia_auc: ''; expected one of <=, <, >=, > and a number"),
        ("mia_auc = 0.6", "--fail-if: mia_auc: '= 0.6'; expected one of"),
        ("mia_auc > 0.6 and epsilon > 8", "--fail-if: mia_auc: '> 0.6 and epsilon > 8'; expected"),
        ("0.6 < mia_auc", "--fail-if: '0.6 < mia_auc'; expected a metric"),
        ("", "--fail-if: ''; expected a metric"),
    ],
)
def test_what_is_no_condition_or_names_no_metric_is_told_in_a_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        Gate.of([text], None, known=KNOWN)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_cannot_be_written_is_told_before_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "gate.xml"):
        with pytest.raises(ConfigError, match=r"--junit: .*not a file that can be written"):
            Gate.of(["mia_auc > 1"], path, known=KNOWN)
    with pytest.raises(ConfigError, match="there is no --fail-if"):
        Gate.of([], tmp_path / "gate.xml", known=KNOWN)
    gate = Gate.of(["mia_auc > 0.9"], tmp_path / "gate.xml", known=KNOWN)
    (tmp_path / "gate.xml").mkdir()
    with pytest.raises(DataError, match=r"--junit: .*gate\.xml: "):
        gate.judge({MODEL: {"mia_auc": 0.6}}, command="audit")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "gate.xml"]


def test_no_condition_is_an_open_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(mia_auc=1.0) is ExitCode.DONE
    assert capsys.readouterr() == ("", "")
