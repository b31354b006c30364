"""Any evaluator of NNI with an audit: its training and what it reports stay as they are, and metrics are added."""

from __future__ import annotations

import copy
import difflib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nni
import numpy as np
import pytest
import torch
from nni import report_final_result, report_intermediate_result
from nni.nas.evaluator import Evaluator, FunctionalEvaluator
from nni.nas.experiment import NasExperiment
from nni.nas.experiment.config import NasExperimentConfig
from nni.nas.space import SimplifiedModelSpace
from nni.nas.strategy import GridSearch, RegularizedEvolution
from nni.runtime.trial_command_channel import get_default_trial_command_channel
from support_browser import browser, shown, trial_table  # noqa: F401 - a fixture
from support_search import free_port, wait_for
from torch import nn
from torch.utils.data import DataLoader

from nni_privacy import AuditCallback, AuditedEvaluator, audit
from nni_privacy.errors import AuditError, ConfigError
from nni_privacy.nni_runtime.message_repairs import READING
from nni_privacy.nni_runtime.messages import Trust, objects_in, trusting

PROJECTS = Path(__file__).parent / "support" / "projects"
for _project in ("hello", "lightning"):
    sys.path.append(str(PROJECTS / _project))

import digits_lightning  # noqa: E402
import digits_project  # noqa: E402

MIA = {"mia_auc", "mia_auc_low", "mia_auc_high", "mia_balanced_accuracy"}
ATTACKS = ["loss_threshold", "black_box_partial"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def default_of(space: SimplifiedModelSpace) -> dict[str, Any]:
    sample: dict[str, Any] = {}
    space.default(sample)
    return sample


class Ran:
    """A trial in this process: what NNI got, and the model that was built."""

    def __init__(self, space: Any, evaluator: Evaluator, **sample: Any) -> None:
        whole = SimplifiedModelSpace.from_model(space, evaluator)
        model = whole.freeze({**default_of(whole), **sample})
        self.sent: list[tuple[str, Any]] = []
        build = model.executable_model
        model.executable_model = self._kept(build)
        torch.manual_seed(0)
        with model.evaluator.mock_runtime(model):
            channel = get_default_trial_command_channel()
            channel.send_metric = lambda *, type, value, **_: self.sent.append((type, value))
            try:
                self.returned = model.execute()
            finally:
                self.channel_kept = get_default_trial_command_channel() is channel

    def _kept(self, build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        def built() -> nn.Module:
            self.model = build()
            return self.model

        return built

    @property
    def finals(self) -> list[Any]:
        return [value for kind, value in self.sent if kind == "FINAL"]

    @property
    def intermediates(self) -> list[Any]:
        return [value for kind, value in self.sent if kind == "PERIODICAL"]


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


STRANGERS: dict[str, tuple[Callable[[], Any], Callable[[], Evaluator], Any]] = {
    "function": (
        digits_project.DigitNet,
        lambda: FunctionalEvaluator(digits_project.train_model),
        digits_project.digits,
    ),
    "lightning": (digits_lightning.LittleNet, digits_lightning.classification, digits_lightning.Digits),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", STRANGERS)
def test_a_strangers_training_stays_as_it_is_and_metrics_are_added(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, evaluator, digits = STRANGERS[name]
    before = Ran(space(), evaluator())
    monkeypatch.setenv("NNI_OUTPUT_DIR", str(tmp_path))
    after = Ran(space(), AuditedEvaluator(evaluator(), attacks=ATTACKS))
    assert same_weights(before.model, after.model)
    (plain,), (final,) = before.finals, after.finals
    assert final["default"] == plain and after.returned == final and after.channel_kept
    curve = [value["default"] for value in after.intermediates]
    assert curve == before.intermediates and len(curve) > 3
    assert all(0 <= value["loss_threshold_mia_auc"] <= 1 for value in after.intermediates)
    sides = [digits(train=train).tensors for train in (True, False)]
    told = audit(before.model, *sides, attacks=ATTACKS).metrics()
    assert {key: value for key, value in final.items() if key in told} == told
    assert final["accuracy"] == pytest.approx(plain, abs=1e-6) and final["train_accuracy"] > final["accuracy"]
    assert json.loads(final["data"])["split"] == {"members": 400, "nonmembers": 400}
    assert set(np.load(tmp_path / "scores.npz").files) >= {"loss_threshold/scores", "record_label", "record_index"}


# --- how results are reported ---


def tune(model: nn.Module, *, steps: int = 20) -> None:
    """A training without a loader."""
    inputs, labels = digits_project.digits(train=True).tensors
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()


members, others = digits_project.train_set, digits_project.test_set


def audited(function: Callable[..., Any], **options: Any) -> AuditedEvaluator:
    told = {"members": members, "nonmembers": others, "attacks": "loss_threshold", **options}
    return AuditedEvaluator(FunctionalEvaluator(function), **told)


def ran(function: Callable[..., Any], **options: Any) -> Ran:
    def work(model: nn.Module) -> Any:
        tune(model)
        return function(model)

    return Ran(digits_project.DigitNet(), audited(work, **options))


def by_mapping(model: Any) -> None:
    report_intermediate_result({"default": 0.25, "mine": 1})
    report_final_result({"default": 0.5, "accuracy": 0.125, "mia_auc": "mine", "notices": "mine: so"})


def test_a_mapping_keeps_its_own_values_and_gets_the_audits() -> None:
    found = ran(by_mapping)
    (final,) = found.finals
    assert (final["default"], final["accuracy"]) == (0.5, 0.125) and final["notices"].startswith("mine: so")
    assert isinstance(final["mia_auc"], float) and set(final) >= MIA
    (epoch,) = found.intermediates
    assert epoch == {"default": 0.25, "mine": 1, "loss_threshold_mia_auc": epoch["loss_threshold_mia_auc"]}


def test_of_several_final_results_the_last_counts_and_comes_once() -> None:
    found = ran(lambda model: [nni.report_final_result(value) for value in (0.1, {"default": 0.2}, 0.3)])
    assert [final["default"] for final in found.finals] == [0.3]
    assert [kind for kind, _ in found.sent] == ["FINAL"]


@pytest.mark.parametrize(
    ("returned", "used"), [(0.75, "what evaluate() returned"), (None, "the accuracy"), ("x", "the a")]
)
def test_without_a_final_result_there_is_still_one_and_it_is_said(returned: Any, used: str) -> None:
    (final,) = ran(lambda model: returned).finals
    assert final["default"] == (returned if isinstance(returned, float) else final["accuracy"])
    assert f"no final result: FunctionalEvaluator reported none, so default is {used}" in final["notices"]


def test_a_result_without_default_gets_the_accuracy_and_it_is_said() -> None:
    (final,) = ran(lambda model: nni.report_final_result({"f1": 0.25})).finals
    assert final["f1"] == 0.25 and final["default"] == final["accuracy"] and "no default:" in final["notices"]


def test_what_strategies_cannot_take_stays_what_it_is() -> None:
    (final,) = ran(lambda model: nni.report_final_result(math.nan)).finals
    assert math.isnan(final["default"]) and next(iter(final)) == "default"


def test_an_evaluation_that_fails_fails_as_before_and_reports_no_result() -> None:
    channel = get_default_trial_command_channel()

    def fail(model: Any) -> None:
        nni.report_intermediate_result(0.5)
        nni.report_final_result(0.5)
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        ran(fail)
    assert get_default_trial_command_channel() is channel


# --- which model was trained ---


def test_an_instance_that_was_not_trained_is_not_audited() -> None:
    def train_another(model: nn.Module) -> None:
        another = copy.deepcopy(model)
        tune(another)
        nni.report_intermediate_result(0.5)  # of which nothing is known of the model
        nni.report_final_result(0.5)

    with pytest.raises(AuditError, match=r"left the model's weights as they were.*return the trained module"):
        Ran(digits_project.DigitNet(), audited(train_another))


def test_the_instance_that_comes_back_is_the_one_that_is_audited() -> None:
    def give_back(model: nn.Module) -> nn.Module:
        another = copy.deepcopy(model)
        tune(another)
        nni.report_final_result(0.5)
        return another

    found = Ran(digits_project.DigitNet(), audited(give_back))
    tune(found.model)  # which is as it was built
    truth = audit(found.model, members(), others(), attacks="loss_threshold").metrics()
    assert found.finals[0]["mia_auc"] == truth["mia_auc"]


class OwnWay(Evaluator):
    """Builds the model in a way of its own, as evaluators do that seed first."""

    def _execute(self, model: Any) -> Any:
        torch.manual_seed(5)
        built = model.executable_model()
        tune(built)
        nni.report_final_result(0.5)


def test_an_evaluator_that_builds_the_model_itself_is_followed() -> None:
    found = Ran(digits_project.DigitNet(), AuditedEvaluator(OwnWay(), members=members, nonmembers=others))
    frozen = SimplifiedModelSpace.from_model(digits_project.DigitNet(), None)
    frozen = frozen.freeze(default_of(frozen))
    torch.manual_seed(5)
    twin = frozen.executable_model()
    tune(twin)
    assert same_weights(found.model, twin) and set(found.finals[0]) >= MIA


def test_records_that_the_model_does_not_take_as_they_are_say_how_to_tell_them() -> None:
    inputs, labels = digits_project.digits(train=True).tensors
    rows = [
        {"image": image, "label": label, "number": torch.tensor(0)} for image, label in zip(inputs, labels, strict=True)
    ]

    def work(model: Any) -> None:
        train_loader, val_loader = DataLoader(rows[:200], 50), DataLoader(rows[200:], 50)
        optimizer = torch.optim.Adam(model.parameters())
        for batch in train_loader:
            nn.functional.cross_entropy(model(batch["image"]), batch["label"]).backward()
            optimizer.step()
        with torch.no_grad():
            for batch in val_loader:
                model(batch["image"])

    cure = r"members and nonmembers are all that its loaders yield: .* give members= and nonmembers= as functions"
    with pytest.raises(AuditError, match=cure):
        Ran(digits_project.DigitNet(), AuditedEvaluator(FunctionalEvaluator(work)))


# --- where the records are ---


@pytest.mark.parametrize("names", [("train_loader", "test_loader"), ("trainset", "valset"), ("train_data", "val_data")])
def test_loaders_among_the_arguments_are_found_by_their_names(names: tuple[str, str]) -> None:
    def work(model: nn.Module, **loaders: Any) -> None:
        tune(model)
        nni.report_final_result(0.5)

    loaders = dict(zip(names, (DataLoader(members(), 16, shuffle=True), others()), strict=True))
    evaluator = AuditedEvaluator(FunctionalEvaluator(work, **loaders), attacks="loss_threshold")
    told = Ran(digits_project.DigitNet(), audited(work))
    assert Ran(digits_project.DigitNet(), evaluator).finals[0]["mia_auc"] == told.finals[0]["mia_auc"]


@pytest.mark.parametrize("kind", [partial(AuditedEvaluator, FunctionalEvaluator(tune)), AuditCallback])
def test_what_can_only_be_wrong_is_refused_before_anything_starts(kind: Any) -> None:
    with pytest.raises(AuditError, match=r"^members is a int, expected a pair \(inputs, labels\)"):
        kind(members=3)
    with pytest.raises(ConfigError, match=r"unknown key 'memebers': did you mean 'members'\? \(known: .*nonmembers"):
        kind(memebers=others)


def test_where_there_is_no_loader_the_side_is_named() -> None:
    evaluator = AuditedEvaluator(FunctionalEvaluator(tune), nonmembers=others)
    with pytest.raises(ConfigError, match=r"members: FunctionalEvaluator has no train loader.*give members="):
        Ran(digits_project.DigitNet(), evaluator)


def test_records_that_cannot_be_audited_are_refused_before_anything_is_trained() -> None:
    def never(model: nn.Module) -> None:
        raise AssertionError("it was trained")

    with pytest.raises(AuditError, match="share 400 images"):
        Ran(digits_project.DigitNet(), audited(never, nonmembers=members))


@pytest.mark.parametrize("attack", ["rmia", "quantile"])
def test_shadow_models_are_of_the_trials_architecture(attack: str) -> None:
    shadow = {"recipe": {"epochs": 1}, "count": 2, "cache": False, "train": members, "test": others}
    found = ran(lambda model: 0.5, attacks=attack, shadow=shadow)
    assert 0 <= found.finals[0]["mia_auc"] <= 1


# --- how NNI writes it ---


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", STRANGERS)
def test_it_goes_to_a_trial_without_a_pickle_and_comes_out_the_same(name: str) -> None:
    shadow = {"recipe": {"epochs": 3}, "count": 8, "train": others}
    evaluator = AuditedEvaluator(
        STRANGERS[name][1](), members=members, attacks=["lira", "gap"], shadow=shadow, seed=3, effort={"views": 2}
    )
    text = nni.dump(evaluator)
    names, pickled = objects_in(text)
    assert not pickled and "nni_privacy.audited.AuditedEvaluator" in names
    for repair in READING:
        repair.apply()
    with trusting(Trust(names)):
        back = nni.load(text)
    assert type(back) is AuditedEvaluator and type(back.inner).__name__ == type(evaluator.inner).__name__
    assert back.settings == evaluator.settings and back.members is members and nni.dump(back) == text
    assert back.shadow is not None and (back.shadow.recipe.epochs, back.shadow.count) == (3, 8)
    with pytest.raises(ConfigError, match="inner: a function; allowed is an evaluator of NNI"):
        AuditedEvaluator(tune)  # type: ignore[arg-type]


def test_choices_of_the_evaluator_itself_are_searched() -> None:
    inner = FunctionalEvaluator(digits_project.train_model, learning_rate=nni.choice("rate", [0.01, 0.05]))
    evaluator = AuditedEvaluator(inner, attacks="loss_threshold")
    whole = SimplifiedModelSpace.from_model(digits_project.DigitNet(), evaluator)
    assert set(whole.simplify()) == {"width", "act", "dropout", "rate"} and evaluator.is_mutable()
    plain = Ran(digits_project.DigitNet(), FunctionalEvaluator(digits_project.train_model, learning_rate=0.05))
    found = Ran(digits_project.DigitNet(), evaluator, rate=0.05)
    assert found.finals[0]["default"] == plain.finals[0] and same_weights(found.model, plain.model)
    frozen = whole.freeze({**default_of(whole), "rate": 0.05})
    assert frozen.evaluator.results is evaluator.results
    assert nni.load(nni.dump(frozen)).evaluator.inner.arguments == {"learning_rate": 0.05}


def test_in_nnis_sequential_engine_strategies_read_their_own_default(tmp_path: Path) -> None:
    config = NasExperimentConfig("sequential", "simplified", "local")
    config.max_trial_number = 4
    config.experiment_working_directory = str(tmp_path)
    strategy = RegularizedEvolution(population_size=2, sample_size=2, seed=1)
    evaluator = AuditedEvaluator(FunctionalEvaluator(quick), members=members, nonmembers=others)
    experiment = NasExperiment(digits_project.DigitNet(), evaluator, strategy, config)
    experiment.run()
    found = [(model.sample["width"], model.metric) for model in experiment.strategy.list_models()]
    experiment.stop()
    assert len(found) == 4 and all(metric == width / 100 for width, metric in found)
    assert sorted(result["default"] for result in evaluator.results) == sorted(metric for _, metric in found)
    assert all(0 <= result["mia_auc"] <= 1 for result in evaluator.results)


@pytest.mark.filterwarnings("ignore")
def test_in_the_sequential_engine_lightning_trains_every_model(tmp_path: Path) -> None:
    config = NasExperimentConfig("sequential", "simplified", "local")
    config.max_trial_number = 2
    config.experiment_working_directory = str(tmp_path)
    evaluator = AuditedEvaluator(digits_lightning.classification(), attacks="loss_threshold")
    experiment = NasExperiment(digits_lightning.LittleNet(), evaluator, GridSearch(shuffle=False), config)
    experiment.run()
    found = {model.sample["act"]: model.metric for model in experiment.strategy.list_models()}
    experiment.stop()
    assert len(found) == 2 and all(accuracy > 0.5 for accuracy in found.values())


def quick(model: Any) -> None:
    tune(model, steps=3)
    nni.report_final_result(model.conv.out_channels / 100)


# --- before and after, with NNI's manager ---

RESULTS = """
    trials = [(t.trialJobId, t.status, t.hyperParameters[0].parameters["sample"],
               [m.data for m in t.finalMetricData or []]) for t in experiment.list_trial_jobs()]
    curves = {k: [m.data for m in v if m.type == "PERIODICAL"] for k, v in experiment.get_job_metrics().items()}
    import json; print("RESULTS", json.dumps([trials, curves]), flush=True)
    import pathlib, time  # not input(): NNI's manager shares standard input, and reads of it no longer wait
    while not pathlib.Path("seen").exists(): time.sleep(0.1)
    experiment.stop()
"""


def with_manager(
    project: str, version: str, folder: Path, look: Callable[[int], None] | None = None
) -> dict[str, tuple[Any, list[Any]]]:
    """Final and intermediate results by what was sampled; NNI's manager is the repaired one in both versions.

    Args:
        project: folder of the project.
        version: its script.
        folder: where it runs.
        look: called with the manager's port when all trials are done.
    """
    port, log = free_port(), folder / f"{version}.log"
    (folder / "seen").unlink(missing_ok=True)
    text = (PROJECTS / project / f"{version}.py").read_text()
    text = text.replace("port=8080", f"port={port}").replace("    experiment.stop()\n", RESULTS.lstrip("\n"))
    text = f"from nni_privacy import nni_runtime as _\n_.install(warm_trials=True, token=False)\n{text}"
    (folder / f"{version}.py").write_text(text)
    environment = dict(os.environ, HOME=str(folder), PYTHONPATH=str(PROJECTS / project), OMP_NUM_THREADS="1")
    words = [sys.executable, f"{version}.py"]
    with log.open("w") as output:
        process = subprocess.Popen(
            words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            done = wait_for(lambda: "\nRESULTS " in log.read_text() or process.poll() is not None, "the results")
            if done and look is not None and process.poll() is None:
                look(port)
            (folder / "seen").touch()
            process.wait(60)
        finally:
            process.kill()
    line = next((line for line in log.read_text().splitlines() if line.startswith("RESULTS ")), None)
    assert line is not None, log.read_text()
    trials, curves = json.loads(line.removeprefix("RESULTS "))
    assert [status for _, status, _, _ in trials] == ["SUCCEEDED"] * 2, log.read_text()
    return {
        json.dumps(sample, sort_keys=True): (decoded(*finals), [decoded(value) for value in curves[trial]])
        for trial, _, sample, finals in trials
    }


def decoded(value: Any) -> Any:
    while isinstance(value, str):
        value = json.loads(value)
    return value


def versions_of(project: str, *versions: str) -> int:
    """How many lines of the second version the first one does not have."""
    texts = [(PROJECTS / project / f"{version}.py").read_text().splitlines() for version in versions]
    return len([line for line in difflib.ndiff(*texts) if line[:2] == "+ " and line.strip("+ ")])


@pytest.mark.slow
@pytest.mark.parametrize(("project", "prefix"), [("hello", ""), ("lightning", ""), ("hub", "darts_")])
def test_a_project_of_strangers_before_and_after(project: str, prefix: str, tmp_path: Path) -> None:
    versions = [f"{prefix}{version}" for version in ("before", "after")]
    assert 0 < versions_of(project, *versions) <= 5
    before, after = (with_manager(project, version, tmp_path) for version in versions)
    assert set(before) == set(after) and len(after) == 2
    for sample, (plain, curve) in before.items():
        final, epochs = after[sample]
        assert final["default"] == plain and set(final) >= MIA and final["notices"] == ""
        assert [epoch["default"] for epoch in epochs] == curve and len(curve) >= 4
        assert all(0 <= epoch["loss_threshold_mia_auc"] <= 1 for epoch in epochs)
        assert json.loads(final["architecture"]) == json.loads(sample)


@pytest.mark.slow
@pytest.mark.browser
def test_the_metrics_of_a_strangers_project_are_in_the_web_ui(browser: Any, tmp_path: Path) -> None:  # noqa: F811
    seen: list[Any] = []
    look = lambda port: seen.extend(trial_table(browser, f"http://127.0.0.1:{port}/detail"))  # noqa: E731
    results = with_manager("hello", "after", tmp_path, look)
    columns, cells = seen
    at = columns.index("Default metric")
    assert columns[at + 1] == "mia_auc (metric)"
    assert len(results) == 2 and all(shown(final["mia_auc"]) in cells for final, _ in results.values())


@pytest.mark.slow
def test_the_hubs_nasbench201_before_and_after_a_pattern(tmp_path: Path) -> None:
    versions = ["nasbench201_before", "nasbench201_after"]
    assert 0 < versions_of("hub", *versions) <= 5
    before, after = (with_manager("hub", version, tmp_path) for version in versions)
    assert len(before) == len(after) == 2
    samples = [json.loads(sample) for sample in after]
    assert all(sample["cell/0_1"] == sample["cell/0_2"] == "avg_pool_3x3" for sample in samples)
    assert all(set(final) >= MIA for final, _ in after.values())
