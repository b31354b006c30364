"""The examples of docs/extending.md work as they stand: each is taken from the page and put to its use."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import nni
import numpy as np
import pytest
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.execution.event import FinalMetricEvent, ModelEventType
from nni.nas.space import SimplifiedModelSpace
from nni.nas.strategy import Random
from report.samples import run_directory  # noqa: F401 - a fixture
from support_search import Search

from nni_privacy import PrivacyEvaluator
from nni_privacy.attacks import attack_names
from nni_privacy.attacks import registry as attacks
from nni_privacy.cells import parse_genotype
from nni_privacy.commands.build import build_evaluator, build_search_strategy, build_space
from nni_privacy.config import load_config, parse_config
from nni_privacy.data import registry as data_sets
from nni_privacy.nni_runtime.overlay import find_node_package
from nni_privacy.nni_runtime.patches.apply import patched_texts
from nni_privacy.report import html
from nni_privacy.runs.records import read_run
from nni_privacy.schema import validated
from nni_privacy.strategies import GDAS, FixedPattern
from nni_privacy.strategies import registry as strategies
from nni_privacy.strategies.testing import StrategyConformance
from nni_privacy.studies.config import StudyConfig
from nni_privacy.surrogate import base as surrogates

PAGE = Path(__file__).resolve().parents[1] / "docs" / "extending.md"
BLOCK = re.compile(r"^```\w+\n(?:# |\{# )(\w+\.\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = dict(BLOCK.findall(PAGE.read_text(encoding="utf-8")))
REGISTRIES = ((attacks, "_ATTACKS"), (data_sets, "_LOADERS"), (strategies, "_STRATEGIES"), (surrogates, "_BUILDERS"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The examples as files of a folder from which modules are imported; what they register is forgotten again."""
    folder = tmp_path_factory.mktemp("examples")
    for name, text in EXAMPLES.items():
        (folder / name).write_text(text, encoding="utf-8")
    data_sets.dataset_names()  # registers those that ship, before the registry is copied
    surrogates.surrogate_names()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        for module, name in REGISTRIES:
            patch.setattr(module, name, dict(getattr(module, name)))
        yield folder
        for name in EXAMPLES:
            sys.modules.pop(Path(name).stem, None)


@pytest.fixture
def example(folder: Path, request: pytest.FixtureRequest) -> ModuleType:
    return import_module(request.param)


def run_trials(space: Any, evaluator: Any, strategy: Any, *, trials: int) -> tuple[list[Any], list[Any]]:
    """Runs a search in this process; what was trained and what each trial reported."""
    engine = SequentialExecutionEngine(max_model_count=trials)
    reported: list[Any] = []

    def note(event: FinalMetricEvent) -> None:
        reported.append(dict(event.metric))

    engine.register_model_event_callback(ModelEventType.FinalMetric, note)
    strategy(SimplifiedModelSpace.from_model(space, evaluator), engine)
    return list(engine.list_models()), reported


def test_every_extension_point_has_an_example() -> None:
    assert sorted(EXAMPLES) == [
        *("own.yaml", "own_attack.py", "own_data.py", "own_repair.py"),
        *("own_section.jinja", "own_section.py", "own_space.py", "own_strategy.py", "own_surrogate.py", "own_train.py"),
    ]


def test_a_search_with_an_attack_a_data_set_and_a_strategy_of_ones_own(folder: Path) -> None:
    assert "own_entropy" not in attack_names() and "own_stripes" not in data_sets.dataset_names()
    settings = load_config(folder / "own.yaml")
    evaluator, strategy = build_evaluator(settings), build_search_strategy(settings)
    data, _ = evaluator.load_data()
    assert repr(data) == "Dataset('own_stripes', images=(400, 1, 9, 9) float32, num_classes=3)"
    models, metrics = run_trials(build_space(settings, data), evaluator, strategy, trials=settings.trials)
    assert len(models) == len(metrics) == 3
    assert all(0 <= trial["mia_auc"] <= 1 and 0 <= trial["loss_threshold_mia_auc"] <= 1 for trial in metrics)
    architectures = [parse_genotype(trial["architecture"]) for trial in metrics]
    assert [strategy.fixed.missing_from(architecture) for architecture in architectures] == [[], [], []]
    assert strategy.strategy.best[0] == (min(trial["mia_auc"] for trial in metrics),)


def test_a_study_knows_what_its_plugins_register(folder: Path) -> None:
    content = {"name": "own", "datasets": [{"name": "own_stripes"}], "architectures": [{"networks": ["resnet"]}]}
    plugins, evaluator = ["own_attack", "own_data"], {"attacks": ["own_entropy"]}
    study = validated(StudyConfig, {**content, "plugins": plugins, "evaluator": evaluator})
    assert study.datasets[0].called == "own_stripes"


@pytest.mark.slow
def test_the_search_of_the_page_runs_as_a_command(folder: Path, tmp_path: Path) -> None:
    import yaml

    for name in ("own_attack.py", "own_data.py", "own_strategy.py"):
        (tmp_path / name).write_text(EXAMPLES[name], encoding="utf-8")
    search = Search(tmp_path, yaml.safe_load(EXAMPLES["own.yaml"]), "--exit-when-done")
    assert search.wait() == 0, search.text
    assert [trial["status"] for trial in search.trials] == ["succeeded"] * 3


@pytest.mark.parametrize("example", ["own_attack"], indirect=True)
def test_the_attack_tells_certain_answers_from_uncertain_ones(example: ModuleType) -> None:
    from nni_privacy.attacks import TargetSignals, get_attack

    certain = np.arange(40) < 20
    logits = np.where(certain, 9.0, 0.5)[:, None] * np.array([1.0, 0.0])
    signals = TargetSignals.from_logits(logits, np.zeros(40, dtype=np.int64), certain)
    scores = get_attack("own_entropy")(signals).scores
    assert scores[certain].min() > scores[~certain].max()


class TestStrategy(StrategyConformance):
    @pytest.fixture(autouse=True)
    def _examples(self, folder: Path) -> None:
        """The strategy can be imported."""

    def make_strategy(self, *, seed: int) -> Any:
        return import_module("own_strategy").HillClimb(seed=seed)


@pytest.mark.parametrize("example", ["own_space"], indirect=True)
@pytest.mark.parametrize("pattern", ["demotion-reduction", "promotion-normal"])
def test_a_search_of_the_space_under_a_pattern(example: ModuleType, pattern: str) -> None:
    import_module("own_data")
    evaluator = PrivacyEvaluator(
        {"name": "own_stripes", "records": 200},
        recipe={"epochs": 1, "batch_size": 16},
        attacks=["loss_threshold"],
        plugins=["own_data"],
    )
    strategy = FixedPattern(Random(seed=0), pattern, budget=2)
    models, metrics = run_trials(example.Chain(channels=4, num_classes=3), evaluator, strategy, trials=2)
    operation = example.FAVOURED[pattern.partition("-")[0]]
    assert [model.sample["layer0"] for model in models] == [model.sample["layer1"] for model in models]
    assert [model.sample["layer0"] for model in models] == [operation, operation]
    assert [json.loads(trial["architecture"])["layer0"] for trial in metrics] == [operation, operation]
    assert not isinstance(models[0].executable_model().layers[0], nni.nas.nn.pytorch.LayerChoice)


@pytest.mark.parametrize("example", ["own_space"], indirect=True)
def test_a_one_shot_search_of_the_space(example: ModuleType) -> None:
    dataset = import_module("own_data").load_stripes(records=48)
    search = GDAS(data=(dataset.images, dataset.labels), epochs=1, batch_size=8, seed=0, device="cpu")
    strategy = FixedPattern(search, "demotion-reduction", budget=1)
    strategy.initialize(SimplifiedModelSpace.from_model(example.Chain(channels=4, num_classes=3), None), None)
    search.search()
    (sample,) = search.best_samples(1)
    assert sample["layer0"] == "avg_pool_3x3" and set(sample) == {"layer0", "layer1", "layer2"}


def test_a_search_with_a_training_of_ones_own(folder: Path) -> None:
    content = load_config(folder / "own.yaml").model_dump(mode="json", exclude_none=True)
    recipe = {"epochs": 2, "batch_size": 16, "train": "own_train:train"}
    content |= {"evaluator": {"recipe": recipe, "attacks": ["loss_threshold"]}, "trials": 1}
    settings = parse_config(content)
    evaluator = build_evaluator(settings)
    data, _ = evaluator.load_data()
    _, (metrics,) = run_trials(build_space(settings, data), evaluator, Random(seed=0), trials=1)
    assert 0 <= metrics["mia_auc"] <= 1 and evaluator.recipe.train == "own_train:train"


@pytest.mark.parametrize("example", ["own_section"], indirect=True)
def test_the_section_shows_the_durations_of_a_run(example: ModuleType, run_directory: Path) -> None:  # noqa: F811
    rows = [json.loads(line) for line in (run_directory / "trials.jsonl").read_text().splitlines()]
    info = example.duration_info(read_run(run_directory))
    succeeded = [row for row in rows if row["status"] == "succeeded"]
    assert info.sequence == tuple(row["sequence"] for row in succeeded) and len(info.sequence) == 11
    assert info.seconds == tuple(row["seconds"] for row in succeeded)
    svg = str(example.durations_svg(info))
    assert svg.startswith("<svg") and 'aria-label="Seconds of 11 trials"' in svg and ">seconds<" in svg


@pytest.mark.parametrize("example", ["own_section"], indirect=True)
def test_the_section_has_its_place_in_a_template(example: ModuleType, run_directory: Path) -> None:  # noqa: F811
    run = read_run(run_directory)
    info = example.duration_info(run)
    content = {"durations": info, "durations_svg": example.durations_svg(info), "run": run}
    part = html._environment().from_string(EXAMPLES["own_section.jinja"]).render(content)
    assert "<h2>How long a trial takes</h2>" in part and f"took {max(info.seconds):.1f} s" in part
    assert 'href="#trial-' in part and "<figure" in part and "<svg" in part


@pytest.mark.parametrize("example", ["own_repair"], indirect=True)
def test_the_repair_mends_the_fault_and_can_be_taken_back(example: ModuleType) -> None:
    evaluator = FunctionalEvaluator(len)
    faulty = repr(evaluator)
    assert faulty.count(")") == faulty.count("(") + 1
    example.balanced_repr.apply()
    try:
        assert example.balanced_repr.active and repr(evaluator) == faulty.replace("))", ")")
    finally:
        example.balanced_repr.remove()
    assert repr(evaluator) == faulty


@pytest.mark.parametrize("example", ["own_repair"], indirect=True)
def test_the_patch_fits_nni_and_changes_one_line(example: ModuleType) -> None:
    package = find_node_package()
    ((name, text),) = patched_texts(package, [example.VERSION_AS_JSON]).items()
    before = (package / name).read_text(encoding="utf-8").splitlines()
    changed = [(old, new) for old, new in zip(before, text.splitlines(), strict=True) if old != new]
    assert [(old.strip(), new.strip()) for old, new in changed] == [("res.send(version);", "res.json(version);")]
