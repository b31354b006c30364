"""Any evaluator of NNI in PrivacyExperiment: its options are written down, and whatever it reports ends one trial."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import any_evaluator
import numpy as np
import pytest
import tiny_space
import torch
import yaml
from nni.nas.evaluator import Evaluator, FunctionalEvaluator
from nni.nas.strategy import Random, RegularizedEvolution
from support_search import free_port

from nni_privacy import PrivacyExperiment
from nni_privacy.nni_runtime.metrics import final_fault
from nni_privacy.report import write_report
from nni_privacy.runs.directory import RunDirectory


def classification() -> Evaluator:
    from nni.nas.evaluator.pytorch import Classification

    return Classification(max_epochs=1, num_classes=10, enable_progress_bar=False)


EVALUATORS = {
    "function": lambda: FunctionalEvaluator(any_evaluator.report_number, path=Path("x"), rate=np.float32(0.5)),
    "lightning": classification,
    "options": lambda: any_evaluator.WithOptions(Path("data"), np.float64(0.5), np.arange(3)),
}


@pytest.mark.parametrize("name", EVALUATORS)
def test_its_options_are_written_down_as_plain_data(name: str, tmp_path: Path) -> None:
    evaluator = EVALUATORS[name]()
    made = PrivacyExperiment(tiny_space.TinySpace(), evaluator, Random(), output=tmp_path / "run", allow_pickle=True)
    made.run_directory.create(made._summary(), made._environment())
    recorded = RunDirectory(tmp_path / "run", resumable=True).config()["evaluator"]
    wanted: dict[str, Any] = {
        "function": {"function": "any_evaluator.report_number", "path": "x", "rate": 0.5},
        "lightning": {"max_epochs": 1, "num_classes": 10, "enable_progress_bar": False},
        "options": {"folder": "data", "rate": 0.5, "table": [0, 1, 2]},
    }
    assert recorded == wanted[name]
    assert "0x" not in (tmp_path / "run" / "config.yaml").read_text()  # the same for the same evaluator


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("0.5", "'0.5'"),
        (None, "None"),
        ({"accuracy": 0.5}, "{'accuracy': 0.5}"),
        ({"default": "x"}, "{'default': 'x'}"),
        (math.nan, "nan"),
        ({"default": -math.inf}, "{'default': -inf}"),
        (torch.ones(2), "tensor([1., 1.])"),
        ([0.5], "[0.5]"),
        (10**400, "too large"),
    ],
)
def test_a_final_result_that_strategies_cannot_take_is_told(value: Any, said: str) -> None:
    fault = final_fault(value)
    assert fault is not None and said in fault and "\n" not in fault
    assert "allowed is a finite number, or a mapping whose 'default' is one" in fault


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), {"default": 0.5, "mia_auc": math.nan}])
def test_one_that_they_can_take_is_not(value: Any) -> None:
    assert final_fault(value) is None


@pytest.mark.slow
def test_whatever_is_reported_ends_one_trial_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(any_evaluator.__file__).parent))  # for the trials
    count = len(any_evaluator.REPORTS)
    made = PrivacyExperiment(
        tiny_space.TinySpace(),
        FunctionalEvaluator(any_evaluator.report_in_turn),
        RegularizedEvolution(population_size=2, sample_size=2, dedup=False),
        output=tmp_path / "run",
        trials=count,
    )
    made.run(free_port())
    made.stop()
    records = RunDirectory(tmp_path / "run", resumable=True).records()
    assert [record.sequence for record in records] == list(range(count))
    assert records[0].metrics == {"default": 0.25}
    assert records[-1].metrics == {"default": 0.75, "mia_auc": 0.5}
    for record, said in zip(
        records[1:-1], ["tensor(0.5000)", "'very good'", "{'accuracy': 0.5}", "nan", "'confusion'"], strict=True
    ):
        assert record.status == "failed" and said in str(record.error), record
    page = write_report(tmp_path / "run").read_text()
    assert "0.750" in page and "Result" in page
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["trials"] == count
