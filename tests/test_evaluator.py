"""The evaluator: what it reports, that it repeats itself, and that its attack is honest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nni
import numpy as np
import pytest
import torch
from nni.nas.space import SimplifiedModelSpace
from sklearn.metrics import roc_auc_score

from nni_privacy import PrivacyEvaluator, Recipe
from nni_privacy.attacks import attack_metrics
from nni_privacy.cells.darts import Genotype
from nni_privacy.data import load_dataset
from nni_privacy.errors import ConfigError, PrivacyError
from nni_privacy.nni_runtime.trial_results import record_of
from nni_privacy.runs.records import TrialRecord
from nni_privacy.search_spaces import DARTS
from nni_privacy.training.fit import TrainingDiverged

QUICK = {"epochs": 2}
METRICS = {
    "mia_auc",
    "mia_auc_low",
    "mia_auc_high",
    "mia_balanced_accuracy",
    "mia_tpr_at_1pct_fpr",
    "mia_tpr_at_01pct_fpr",
}


def frozen_model(dataset: Any = "digits", **options: Any) -> SimplifiedModelSpace:
    """An architecture of the space, always the same, with an evaluator made of ``options``."""
    evaluator = PrivacyEvaluator(dataset, **options)
    space = SimplifiedModelSpace.from_model(DARTS(channels=4, cells=3, in_channels=1), evaluator)
    return space.random(random_state=np.random.RandomState(0))


def execute(model: SimplifiedModelSpace) -> dict[str, Any]:
    with model.evaluator.mock_runtime(model):
        return dict(model.execute())


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One short trial with two attacks: its model, metrics, scores and intermediate results."""
    folder = tmp_path_factory.mktemp("trial")
    intermediates: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NNI_OUTPUT_DIR", str(folder))
        patch.setattr(nni, "report_intermediate_result", intermediates.append)
        model = frozen_model(recipe=QUICK, attacks=("black_box_partial", "loss_threshold"))
        metrics = execute(model)
    return {"model": model, "metrics": metrics, "folder": folder, "intermediates": intermediates}


def test_the_metrics_have_the_names_of_the_design_page(run: dict[str, Any]) -> None:
    metrics = run["metrics"]
    wanted = {"default", "accuracy", "train_accuracy", "overfitting", "seconds", "architecture"} | METRICS
    wanted |= {"balanced_accuracy", "data", "notices", "parameters", "multiply_adds"}
    assert set(metrics) == wanted | {f"loss_threshold_{name}" for name in METRICS}
    assert metrics["default"] == metrics["accuracy"]
    assert metrics["overfitting"] == metrics["train_accuracy"] - metrics["accuracy"]
    assert 0 < metrics["mia_auc_low"] <= metrics["mia_auc"] <= metrics["mia_auc_high"] < 1
    json.dumps(metrics, allow_nan=False)


def test_it_reports_the_counts_of_its_data(run: dict[str, Any]) -> None:
    data, split = run["model"].evaluator.load_data()
    told = json.loads(run["metrics"]["data"])
    assert told["split"] == dict.fromkeys(("target_train", "target_test", "shadow_train", "shadow_test"), 449)
    for label, sides in told["classes"].items():
        parts = [data.labels[part].numpy() for part in (split.target_train, split.target_test)]
        assert sides == [int(np.count_nonzero(part == int(label))) for part in parts]
    assert sum(map(sum, told["classes"].values())) == 2 * 449


def test_it_tells_why_its_results_may_be_none_and_the_record_of_the_trial_keeps_that(tmp_path: Path) -> None:
    """Every image is there four times, of 96 of 100 records of one class: copies are on both sides of the split."""
    images = np.repeat(np.random.default_rng(0).integers(0, 255, (25, 8, 8), np.uint8), 4, axis=0)
    np.savez(tmp_path / "poor.npz", x=images, y=np.repeat([1, 0], [4, 96]))
    options = {"recipe": {"epochs": 1}, "attacks": ("loss_threshold",)}
    model = frozen_model({"name": "npz", "path": str(tmp_path / "poor.npz")}, **options)
    metrics = execute(model)
    kinds = [text.partition(":")[0] for text in metrics["notices"].split("; ")]
    assert kinds == ["accuracy at chance", "few records", "one class", "members among non-members"]
    record = record_of("a", 0, model, metrics, None)
    assert list(record.notices) == metrics["notices"].split("; ") and record.data == json.loads(metrics["data"])
    assert record.metrics["balanced_accuracy"] == metrics["balanced_accuracy"]
    assert not {"notices", "data"} & {*record.metrics, *record.unresolved}
    assert TrialRecord.from_row(json.loads(record.to_json()), line=1) == record
    odd = record_of("a", 0, model, {"default": 0.5, "notices": 3, "data": 0.5}, None)  # somebody else's metrics
    assert odd.metrics == {"default": 0.5, "notices": 3.0, "data": 0.5} and not odd.notices and not odd.data


def test_it_reports_the_architecture_that_it_trained(run: dict[str, Any]) -> None:
    assert Genotype.parse(run["metrics"]["architecture"]) == Genotype.from_sample(run["model"].sample)


def test_every_epoch_is_reported(run: dict[str, Any]) -> None:
    assert len(run["intermediates"]) == QUICK["epochs"]
    for entry in run["intermediates"]:
        assert set(entry) == {"default", "accuracy", "loss", "loss_threshold_mia_auc"}
        assert 0 < entry["loss"] < 20
        assert all(0 <= value <= 1 for name, value in entry.items() if name != "loss")


def test_the_scores_give_the_reported_auc(run: dict[str, Any]) -> None:
    with np.load(run["folder"] / "scores.npz", allow_pickle=False) as scores:
        for attack, prefix in (("black_box_partial", ""), ("loss_threshold", "loss_threshold_")):
            auc = roc_auc_score(scores[f"{attack}/is_member"], scores[f"{attack}/scores"])
            assert run["metrics"][f"{prefix}mia_auc"] == pytest.approx(auc, abs=1e-12)


def test_it_attacks_by_the_papers_protocol_where_that_is_asked_for(
    run: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NNI_OUTPUT_DIR", str(tmp_path))
    execute(frozen_model(recipe=QUICK, effort={"protocol": "paper"}))
    counts = []
    for folder in (run["folder"], tmp_path):
        with np.load(folder / "scores.npz", allow_pickle=False) as scores:
            counts.append(len(scores["black_box_partial/records"]))
    assert counts == [2 * 449, 2 * (449 // 3)]


def test_the_scores_say_which_records_of_the_data_set_they_are_of(run: dict[str, Any]) -> None:
    data = load_dataset("digits")
    split = data.split(seed=0)
    with np.load(run["folder"] / "scores.npz", allow_pickle=False) as scores:
        for attack in ("black_box_partial", "loss_threshold"):
            index = scores["record_index"][scores[f"{attack}/records"]]
            assert (np.isin(index, split.target_train) == scores[f"{attack}/is_member"]).all()
            assert (np.isin(index, split.target_test) == ~scores[f"{attack}/is_member"]).all()
        assert (scores["record_label"] == data.labels.numpy()[scores["record_index"]]).all()


def test_the_same_seed_gives_the_same_metrics(run: dict[str, Any]) -> None:
    torch.randn(7)  # whatever was drawn before
    again = execute(frozen_model(recipe=QUICK, attacks=("black_box_partial", "loss_threshold")))
    other = execute(frozen_model(recipe=QUICK, attacks=("black_box_partial", "loss_threshold"), seed=0x5EED))
    without_time = [{k: v for k, v in m.items() if k != "seconds"} for m in (run["metrics"], again, other)]
    assert without_time[0] == without_time[1]
    assert without_time[0] != without_time[2]


def test_it_survives_the_way_to_a_trial(run: dict[str, Any]) -> None:
    evaluator = PrivacyEvaluator({"name": "digits", "limit": 200}, recipe=Recipe(epochs=7), seed=3, device="cpu")
    loaded = nni.load(nni.dump(evaluator))
    assert loaded == evaluator and hash(loaded) == hash(evaluator)
    assert loaded.recipe == evaluator.recipe and loaded.dataset == {"name": "digits", "limit": 200}
    model = nni.load(nni.dump(run["model"]))
    assert model.sample == run["model"].sample and model.evaluator == run["model"].evaluator


def test_a_diverging_architecture_fails_with_a_clear_error() -> None:
    with pytest.raises(TrainingDiverged, match="epoch 1"):
        execute(frozen_model(recipe={"epochs": 1, "learning_rate": 1e30}))


def test_it_works_in_a_plain_experiment_with_the_sequential_engine(tmp_path: Path) -> None:
    from nni.nas.experiment import NasExperiment, NasExperimentConfig

    from nni_privacy.strategies import FixedPattern, build_strategy

    nni.silence_stdout()
    config = NasExperimentConfig("sequential", "simplified", "local")
    config.max_trial_number = 2
    config.experiment_working_directory = str(tmp_path)
    strategy = FixedPattern(build_strategy("random", seed=0), "demotion-reduction", budget=4)
    evaluator = PrivacyEvaluator("digits", recipe={"epochs": 1}, attacks=["loss_threshold"])
    experiment = NasExperiment(DARTS(channels=4, cells=3, in_channels=1), evaluator, strategy, config)
    experiment.run()
    experiment.stop()
    models = list(experiment.strategy.list_models())
    assert len(models) == 2
    for model in models:
        assert 0 <= model.metric <= 1
        assert not strategy.fixed.missing_from(Genotype.from_sample(model.sample))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": {"epoch": 1}}, "did you mean 'epochs'"),
        ({"attacks": ()}, "attacks"),
        ({"attacks": ("loss_treshold",)}, "did you mean 'loss_threshold'"),
        ({"attacks": ("loss_threshold",) * 2}, "named twice"),
        ({"seed": -1}, "seed"),
        ({"threads": 0}, "threads"),
        ({"device": "gpu"}, "device"),
        ({"dataset": "digit"}, "did you mean 'digits'"),
        ({"dataset": {"limit": 3}}, "name"),
        ({"attacks": ("lira",), "shadow": {"count": 3}}, "shadow.count: 3; attack 'lira' needs at least 4"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PrivacyEvaluator(**{"dataset": "digits", **options})


def attacked(members: np.ndarray, nonmembers: np.ndarray, *, epochs: int, trained: np.ndarray) -> dict[str, Any]:
    """Metrics of the paper's black-box attack on a DARTS network trained on ``trained``."""
    from nni_privacy.auditing.audit import audit
    from nni_privacy.data import Normalizer, load_dataset
    from nni_privacy.training.fit import fit, seed_everything

    data = load_dataset("digits")
    normalize = Normalizer.fit(data.images[trained])
    seed_everything(0)
    model = DARTS(channels=4, cells=3, in_channels=1)
    images, labels = data.images[trained], data.labels[trained]
    fit(model, images, labels, recipe=Recipe(epochs=epochs), seed=0, device="cpu", normalize=normalize)
    pairs = [(data.images[part], data.labels[part]) for part in (members, nonmembers)]
    return audit(model, *pairs, device="cpu", normalize=normalize).metrics()


@pytest.fixture(scope="module")
def split() -> Any:
    from nni_privacy.data import load_dataset, split_four_ways

    return split_four_ways(len(load_dataset("digits")), seed=0)


def test_with_shuffled_membership_the_attack_finds_nothing(split: Any) -> None:
    held_out = np.random.default_rng(0).permutation(np.concatenate([split.shadow_train, split.shadow_test]))
    half = len(held_out) // 2
    found = attacked(held_out[:half], held_out[half:], epochs=20, trained=split.target_train)
    assert found["mia_auc_low"] <= 0.5 <= found["mia_auc_high"]


def test_an_overfitted_network_is_found_out(split: Any) -> None:
    few = split.target_train[:150]
    found = attacked(few, split.target_test[:150], epochs=60, trained=few)
    assert found["mia_auc"] > 0.6


def test_the_auc_agrees_with_scikit_learn_with_ties() -> None:
    generator = np.random.default_rng(1)
    is_member = generator.random(5000) < 0.5
    scores = np.round(generator.normal(size=5000) + 0.3 * is_member, 1)
    assert attack_metrics(scores, is_member)["mia_auc"] == pytest.approx(roc_auc_score(is_member, scores), abs=1e-12)


def test_a_data_set_smaller_than_the_audit_needs_is_refused() -> None:
    with pytest.raises(PrivacyError, match="20 or more"):
        execute(frozen_model(dataset={"name": "digits", "limit": 60}, recipe={"epochs": 1}))


def test_latency_and_violation_are_reported_where_they_are_asked_for() -> None:
    bounds = {"accuracy": ">= 0", "parameters": "<= 1"}
    options = {"recipe": {"epochs": 1}, "attacks": ("loss_threshold",), "latency": True, "constraints": bounds}
    model = frozen_model({"name": "digits", "limit": 160}, **options)
    metrics = execute(model)
    assert metrics["latency_ms"] > 0 and metrics["batch_latency_ms"] > 0
    assert metrics["violation"] == metrics["parameters"] - 1
    assert PrivacyEvaluator._load(**model.evaluator._dump()) == model.evaluator


def test_losses_are_traced_during_the_training_where_an_attack_asks_for_them(
    run: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NNI_OUTPUT_DIR", str(tmp_path))
    intermediates: list[dict[str, Any]] = []
    monkeypatch.setattr(nni, "report_intermediate_result", intermediates.append)
    model = frozen_model(recipe=QUICK, attacks=("black_box_partial", "loss_threshold", "lt_iqr", "loss_trajectory"))
    metrics = execute(model)
    for name, value in run["metrics"].items():  # nothing else is otherwise
        assert name == "seconds" or metrics[name] == value, name
    for one, other in zip(intermediates, run["intermediates"], strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    data, split = model.evaluator.load_data()
    with np.load(tmp_path / "scores.npz", allow_pickle=False) as scores, np.load(run["folder"] / "scores.npz") as plain:
        trace = scores["loss_trace"]
        assert trace.shape == (QUICK["epochs"], 2 * 449) and "loss_trace" not in plain
        np.testing.assert_allclose(trace[-1], -scores["loss_threshold/scores"], rtol=1e-6)
        member = scores["lt_iqr/is_member"]
    # The monitor saw the first records of either side after the first epoch; its mean loss is that of the trace.
    assert intermediates[0]["loss"] == pytest.approx(trace[0][member][:128].mean(), rel=1e-5)
    assert len(data.labels[split.target_train]) == member.sum()
