"""A space of one's own, named by its class in a configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from nni.nas.space import SimplifiedModelSpace

from nni_privacy.commands.build import build_evaluator, build_search_strategy, build_space
from nni_privacy.commands.main import main
from nni_privacy.config import SearchConfig, load_config, parse_config
from nni_privacy.data import load_dataset
from nni_privacy.errors import ConfigError, PatternError
from nni_privacy.nni_runtime.experiment import fit_parts
from nni_privacy.schema import validated
from nni_privacy.studies.config import StudyConfig

PROJECT = Path(__file__).resolve().parents[1] / "support" / "projects" / "own_space"
CONTENT = yaml.safe_load((PROJECT / "search.yaml").read_text())


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is imported from the project, and where it was found, is forgotten again."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "mynet"]:
        del sys.modules[name]


def configured(**changes: Any) -> SearchConfig:
    sys.path.append(str(PROJECT))
    return parse_config({**CONTENT, **changes})


def of(name: str, **options: Any) -> dict[str, Any]:
    return {"name": f"mynet.spaces:{name}", "options": options}


def test_the_class_is_found_beside_the_file_and_built_for_the_data() -> None:
    settings = load_config(PROJECT / "search.yaml")
    assert os.environ["PYTHONPATH"].split(os.pathsep)[-1] == str(PROJECT)  # trials find it, too
    data = load_dataset("digits", limit=400)
    space = build_space(settings, data)
    assert set(space.simplify()) == {"activation", "layer0", "layer1", "pool", "width"}
    assert (space.stem.in_channels, space.stem.out_channels) == (1, 4)
    assert space.classifier.out_features == data.num_classes == 10


def test_arguments_that_are_given_are_not_overruled_by_the_data() -> None:
    settings = configured(search_space=of("Stack", num_classes=7, activations=["tanh"]))
    with pytest.raises(ConfigError, match=r"returns \(2, 7\), expected \(2, 10\)"):
        build_space(settings, load_dataset("digits", limit=400))
    space = build_space(settings)
    assert space.classifier.out_features == 7 and list(space.activation.names) == ["tanh"]


def test_a_space_of_nnis_hub_is_one() -> None:
    name, options = "nni.nas.hub.pytorch:NasBench201", {"stem_out_channels": 4, "num_modules_per_stack": 1}
    settings = parse_config({**CONTENT, "search_space": {"name": name, "options": options}})
    space = build_space(settings)
    assert len(space.simplify()) == 6
    images = torch.zeros(2, 3, 32, 32)
    network = SimplifiedModelSpace.from_model(space).robust_default().executable_model().eval()
    assert network(images).shape == (2, 10)


def test_what_is_recorded_is_read_again() -> None:
    settings = configured(search_space=of("Stack", layers=3))
    recorded = settings.resolved()
    assert recorded["search_space"] == {"name": "mynet.spaces:Stack", "options": {"layers": 3}}
    assert parse_config(yaml.safe_load(yaml.safe_dump(recorded))).resolved() == recorded
    assert configured(search_space="mynet.spaces:Stack").resolved()["search_space"]["options"] == {}


@pytest.mark.parametrize(
    "strategy",
    [
        {"name": "random"},
        {"name": "tpe"},
        {"name": "regularized_evolution", "population_size": 2, "sample_size": 1},
        {"name": "pareto", "population_size": 4},
    ],
    ids=lambda strategy: strategy["name"],
)
def test_strategies_choose_in_it(strategy: dict[str, Any]) -> None:
    from nni.nas.execution import SequentialExecutionEngine

    settings = configured(strategy=strategy, trials=3, constraints={"parameters": "<= 1e5"})
    data = load_dataset("digits", limit=400)
    space, evaluator = build_space(settings, data), build_evaluator(settings)
    searching = build_search_strategy(settings, image_shape=data.image_shape)
    fit_parts(space, evaluator, searching)
    engine = SequentialExecutionEngine(max_model_count=3)
    searching(SimplifiedModelSpace.from_model(space, evaluator), engine)
    models = list(engine.list_models())
    assert len(models) == 3 and all(0 < model.metric <= 1 for model in models)
    assert all(set(model.sample) == {"activation", "layer0", "layer1", "pool", "width"} for model in models)


def test_a_network_may_answer_whatever_a_training_finds_logits_in() -> None:
    from nni.nas.execution import SequentialExecutionEngine

    settings = configured(search_space=of("Detailed"), strategy={"name": "random"})
    space, evaluator = build_space(settings, load_dataset("digits", limit=400)), build_evaluator(settings)
    engine = SequentialExecutionEngine(max_model_count=1)
    build_search_strategy(settings)(SimplifiedModelSpace.from_model(space, evaluator), engine)
    assert [0 < model.metric <= 1 for model in engine.list_models()] == [True]


def test_init_writes_a_configuration_of_it(tmp_path: Path) -> None:
    sys.path.append(str(PROJECT))
    file = tmp_path / "search.yaml"
    assert main(["init", "--space", "mynet.spaces:Stack", "channels=4", "--output", str(file)]) == 0
    settings = load_config(file)
    assert settings.search_space.content == of("Stack", channels=4) and settings.pattern is None
    assert "demotion-reduction" in file.read_text()  # as a comment


def test_a_pattern_needs_a_space_that_says_what_it_means() -> None:
    settings = configured(pattern={"name": "demotion-reduction"})
    space = build_space(settings, load_dataset("digits", limit=400))
    with pytest.raises(PatternError, match="Stack"):
        fit_parts(space, build_evaluator(settings), build_search_strategy(settings))


@pytest.mark.parametrize(
    ("section", "told"),
    [
        (of("Stak"), "search_space.name: mynet.spaces:Stak: mynet.spaces has no 'Stak'; did you mean 'Stack'?"),
        (of("nni"), "search_space.name: mynet.spaces:nni: no model space; allowed is a subclass of nni.nas"),
        ({"name": "mynet.space:Stack"}, "search_space.name: mynet.space:Stack: module 'mynet.space' cannot be"),
        ({"name": "mynet/spaces.py:Stack"}, "search_space.name: 'mynet/spaces.py:Stack'; a class of your own is named"),
        ({"name": "json:JSONDecoder"}, "no model space; allowed"),
        ({"name": "json:Stack"}, "json has no 'Stack'; there is no model space of NNI in it"),
        (of("Stack", chanels=4), "search_space.options.chanels: unknown key; did you mean 'channels'?"),
        (of("Nothing", width=4), "search_space.options.width: unknown key; mynet.spaces:Nothing takes none"),
        ({"name": "mynet.spaces:Stack", "channels": 4}, "search_space.channels: unknown key; the arguments of mynet"),
        ({"name": "mynet.spaces:Stack", "options": [4]}, "search_space.options: [4]; allowed is a mapping"),
        ({"name": "stack"}, "search_space.name: unknown search space 'stack'"),
    ],
)
def test_a_mistake_names_the_field(section: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        configured(search_space=section)
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        (of("Nothing"), "there is nothing to choose in it"),
        (of("Wrong"), "mynet.spaces:Wrong: its network: the model returned torch.float32 of shape (2, 1, 1, 1) for 2"),
        (of("Detailed", answer="scores"), "returned a dict with 'pooled', 'scores', expected one tensor of logits"),
        (of("Broken"), "spaces.py:"),
        (of("Stack", activations=["gelu"]), "KeyError: 'gelu'"),
    ],
)
def test_a_space_that_does_not_work_is_told_of_before_anything_starts(section: dict[str, Any], told: str) -> None:
    settings = configured(search_space=section)
    with pytest.raises(ConfigError) as error:
        build_space(settings, load_dataset("digits", limit=400))
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"confirm": {"top": 1, "seeds": 2}}, "confirm"),
        ({"filter": {"quantile": 0.1}}, "filter"),
        ({"evaluator": {"kind": "predicted"}}, "evaluator.kind"),
    ],
)
def test_what_works_on_genotypes_only_says_so(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=f"^{field}: not with search_space.name mynet.spaces:Stack"):
        configured(**changes)


def test_a_study_says_that_it_measures_genotypes() -> None:
    sys.path.append(str(PROJECT))
    content = {"name": "x", "datasets": ["digits"], "architectures": [{"sampled": 1}], "search_space": of("Stack")}
    with pytest.raises(ConfigError, match=r"search_space.name: mynet.spaces:Stack; a study measures genotypes"):
        validated(StudyConfig, content)


def test_a_module_beside_it_must_hide_nothing_that_trials_need(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mynet").symlink_to(PROJECT / "mynet")
    (tmp_path / "search.yaml").write_text((PROJECT / "search.yaml").read_text())
    (tmp_path / "sklearn.py").write_text("")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    assert main(["search", str(tmp_path / "search.yaml"), "--dry-run"]) == 2
    assert "its module 'sklearn' hides the one that trials need" in capsys.readouterr().err
