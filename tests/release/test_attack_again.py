"""A trial's model, exported: the attacks on it find what they found in the trial, to the last digit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nni.nas.space import SimplifiedModelSpace

from nni_privacy import PrivacyEvaluator, audit, load_model
from nni_privacy import evaluator as evaluator_module
from nni_privacy.commands.main import main
from nni_privacy.nni_runtime.trial_results import record_of
from nni_privacy.runs.directory import RunDirectory
from nni_privacy.search_spaces import DARTS, NasBench201
from nni_privacy.studies.evaluator import MeasurementEvaluator

DATA = {"name": "digits", "limit": 480}
DP = {"epochs": 1, "dp": {"epsilon": 8.0}}
ATTACKS = ("black_box_partial", "white_box_partial", "loss_threshold")


def cell(space: Any, evaluator: PrivacyEvaluator) -> Any:
    return SimplifiedModelSpace.from_model(space, evaluator).random(random_state=np.random.RandomState(0))


def trial_in(folder: Path, model: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], torch.Tensor]:
    """Runs a trial, saves it as the only one of a run, and gives its metrics and its logits on its own members."""
    (folder / "trial").mkdir(parents=True)
    monkeypatch.setenv("NNI_OUTPUT_DIR", str(folder / "trial"))
    original, seen = evaluator_module.model_file, []

    def watched(network: Any, record: Any) -> bytes:
        data, split = model.evaluator.load_data()
        with torch.inference_mode():
            network.eval()
            seen.append(network(record.normalize(data.images[split.target_train])))
        return original(network, record)

    monkeypatch.setattr(evaluator_module, "model_file", watched)
    with model.evaluator.mock_runtime(model):
        metrics = dict(model.execute())
    run = RunDirectory(folder / "run")
    run.create({"name": "one", "keep": "all"}, {})
    run.models.save("t", (folder / "trial" / "model.safetensors").read_bytes())
    run.append(record_of("t", 0, model, metrics, None))
    return metrics, seen[0]


def attacked_again(folder: Path, *options: str) -> dict[str, Any]:
    assert main(["export", str(folder / "run"), "--output", str(folder / "out")]) == 0
    assert main(["audit", "--model", str(folder / "out"), "--output", str(folder / "audit"), *options]) == 0
    found: dict[str, Any] = json.loads((folder / "audit" / "metrics.json").read_text())
    return found


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr("nni.report_intermediate_result", lambda metric: None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "recipe", "attacks"),
    [
        (lambda: DARTS(channels=4, cells=3, in_channels=1), {"epochs": 2}, ATTACKS),
        (lambda: NasBench201(channels=4, cells=1, in_channels=1), {"epochs": 2}, ATTACKS),
        pytest.param(lambda: DARTS(channels=8, cells=3, in_channels=1), DP, ATTACKS, marks=pytest.mark.slow),
        pytest.param(
            lambda: DARTS(channels=4, cells=3, in_channels=1), {"epochs": 1},
            ("rmia", "lira", "black_box_shadow", "white_box_shadow", "label_only"), marks=pytest.mark.slow,
        ),
    ],
    ids=["darts", "nasbench201", "dp", "shadows"],
)  # fmt: skip
def test_the_attacks_on_the_exported_model_find_what_the_trial_found(
    space: Any, recipe: Any, attacks: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NNI_PRIVACY_CACHE", str(tmp_path / "cache"))
    effort = {"boundary_records": 20, "boundary_queries": 50}
    evaluator = PrivacyEvaluator(DATA, recipe=recipe, attacks=attacks, seed=4, effort=effort, shadow={"count": 4})
    metrics, logits = trial_in(tmp_path, cell(space(), evaluator), monkeypatch)
    found = attacked_again(tmp_path)
    names = [name for name in metrics if "mia_" in name]
    assert len(names) >= 6 * len(attacks) and {name: found[name] for name in names} == {
        name: metrics[name] for name in names
    }
    data, split = evaluator.load_data()
    with torch.inference_mode():
        assert (load_model(tmp_path / "out")(data.images[split.target_train]) - logits).abs().max() <= 1e-6


@pytest.mark.slow
def test_a_human_designed_network_of_a_study_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factors = {"architecture": "resnet", "dataset": "digits", "defence": "none", "seed": 0}
    evaluator = MeasurementEvaluator(
        DATA, factors=factors, source={"kind": "network", "name": "resnet"}, recipe={"epochs": 1}, attacks=ATTACKS
    )
    model = cell(NasBench201(channels=2, cells=1, in_channels=1), evaluator)
    metrics, _ = trial_in(tmp_path, model, monkeypatch)
    found = attacked_again(tmp_path)
    assert [found[name] for name in metrics if "mia_" in name] == [metrics[name] for name in metrics if "mia_" in name]
    assert "timm" not in (tmp_path / "out" / "model.py").read_text()


def test_another_seed_or_attack_is_taken_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = PrivacyEvaluator(DATA, recipe={"epochs": 1}, attacks=("loss_threshold",))
    model = cell(NasBench201(channels=2, cells=1, in_channels=1), evaluator)
    metrics, _ = trial_in(tmp_path, model, monkeypatch)
    found = attacked_again(tmp_path, "--attacks", "black_box_partial,loss_threshold", "--seed", "5")
    assert found["primary"] == "black_box_partial"
    assert found["loss_threshold_mia_auc"] == metrics["mia_auc"]  # it draws nothing at random
    data, split = evaluator.load_data()
    sides = [(data.images[rows], data.labels[rows]) for rows in (split.target_train, split.target_test)]
    report = audit(load_model(tmp_path / "out"), *sides, attacks=["loss_threshold"])
    assert report.metrics()["mia_auc"] == metrics["mia_auc"]


def test_without_weights_a_trial_writes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNI_OUTPUT_DIR", str(tmp_path))
    evaluator = PrivacyEvaluator(DATA, recipe={"epochs": 1}, attacks=("loss_threshold",), weights=False)
    model = cell(NasBench201(channels=2, cells=1, in_channels=1), evaluator)
    with model.evaluator.mock_runtime(model):
        model.execute()
    assert [path.name for path in tmp_path.iterdir()] == ["scores.npz"]
    assert PrivacyEvaluator._load(**evaluator._dump()) == evaluator


def test_shared_references_stay_what_they_were_and_attacks_on_the_training_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NNI_PRIVACY_CACHE", str(tmp_path / "cache"))
    options = {"attacks": ("rmia", "lt_iqr"), "shadow": {"count": 2, "reference": "small_cnn"}}
    evaluator = PrivacyEvaluator(DATA, recipe={"epochs": 2}, seed=4, **options)
    assert PrivacyEvaluator._load(**evaluator._dump()) == evaluator
    metrics, _ = trial_in(tmp_path, cell(NasBench201(channels=2, cells=1, in_channels=1), evaluator), monkeypatch)
    found = attacked_again(tmp_path)
    assert {name: found[name] for name in metrics if name.startswith("mia_")} == {
        name: value for name, value in metrics.items() if name.startswith("mia_")
    }
    assert "without lt_iqr: losses from the training are not kept" in capsys.readouterr().err
    assert found["facts"]["Reference models"] == "small_cnn" and not any("lt_iqr" in name for name in found)
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 2
