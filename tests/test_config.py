"""The configuration: everything that can be wrong gets one line that names field, value and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support_config import BASE, changed

from nni_privacy.config import load_config, parse_config
from nni_privacy.errors import ConfigError
from nni_privacy.studies.config import load_study

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("[!sb]*.yaml")), ids=lambda path: path.stem)
def test_every_search_that_ships_is_valid(path: Path) -> None:  # studies: tests/studies/test_experiments.py
    assert load_config(path).trials > 0


def test_the_smallest_configuration_fills_in_the_rest() -> None:
    config = parse_config(BASE)
    assert config.pattern is not None
    assert [str(edge) for edge in config.pattern.load().edges_of("reduction")] == [
        f"({source}, {target}, avg_pool_3x3)" for source, target in ((1, 2), (0, 2), (1, 3), (0, 3))
    ]
    assert config.strategy.options["mutation_prob"] == 0.05
    assert config.evaluator.recipe.learning_rate == 0.01


def test_what_is_written_as_resolved_reads_the_same() -> None:
    resolved = parse_config(BASE).resolved()
    assert parse_config(yaml.safe_load(yaml.safe_dump(resolved))).resolved() == resolved


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("evaluator.plugins", ["no_such_module"], "evaluator.plugins: plugin 'no_such_module' cannot be imported"),
        ("evaluator.plugins", [3], "evaluator.plugins.0: 3"),
        ("trial", 3, "trial: unknown key; did you mean 'trials'"),
        ("search_space.chanels", 3, "search_space.chanels: unknown key; did you mean 'channels'"),
        ("pattern.budgt", 3, "pattern.budgt: unknown key; did you mean 'budget'"),
        ("strategy.population", 3, "strategy.population: unknown key; did you mean 'population_size'"),
        ("evaluator.recipe.epoch", 3, "evaluator.recipe.epoch: unknown key; did you mean 'epochs'"),
        ("dataset.lmit", 3, "dataset: dataset 'digits' has no option 'lmit': did you mean 'limit'"),
        ("trials", "ten", "trials: 'ten'"),
        ("trials", True, "trials: True"),
        ("trials", 0, "trials: 0"),
        ("concurrency", 1.5, "concurrency: 1.5"),
        ("seed", -1, "seed: -1"),
        ("name", "../up", "name: '../up'"),
        ("strategy", "rnadom", "strategy.name: unknown strategy 'rnadom'; did you mean 'random'"),
        ("strategy", 3, "strategy: 3"),
        (
            "strategy.name",
            "evolution",
            "strategy.name: unknown strategy 'evolution'; did you mean 'regularized_evolution'",
        ),
        ("strategy.sample_size", 7, "strategy.sample_size: 7 is larger than population_size"),
        ("strategy.sample_size", "3", "strategy.sample_size: '3'"),
        ("search_space.name", "dart", "search_space.name: unknown search space 'dart'; did you mean 'darts'"),
        ("search_space.cells", 2, "search_space.cells: 2"),
        ("pattern.budget", 8, "pattern.budget: 8 for pattern 'demotion-reduction', which has 7 edges"),
        ("pattern.name", "demotoin", "pattern: unknown pattern 'demotoin'; did you mean 'demotion'"),
        ("pattern.cells", "both", "pattern.cells: 'both'"),
        ("evaluator.attacks", ["black_box"], "evaluator.attacks: unknown attack 'black_box': did you mean 'black_box"),
        ("evaluator.attacks", [], "evaluator.attacks: []"),
        ("evaluator.attacks", ["loss_threshold"] * 2, "named twice"),
        ("evaluator.recipe.epochs", 0, "evaluator.recipe.epochs: 0"),
        ("evaluator.device", "gpu", "evaluator.device: 'gpu'"),
        ("dataset.name", "mnist", "dataset: unknown dataset 'mnist'"),
    ],
)
def test_a_fault_is_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(changed(path, value))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_sizes_of_a_space_depend_on_the_space() -> None:
    def options(**section: Any) -> dict[str, Any]:
        return parse_config(BASE | {"search_space": section}).search_space.options

    assert options(name="darts") == {"channels": 16, "cells": 5, "nodes": 4}
    assert options(name="nasbench201") == {"channels": 16, "cells": 5}
    assert options(name="nasbench201", cells=1) == {"channels": 16, "cells": 1}
    resolved = parse_config(BASE | {"search_space": {"name": "nasbench201"}}).resolved()
    assert resolved["search_space"] == {"name": "nasbench201", "channels": 16, "cells": 5}
    for section, message in (
        ({"nodes": 4}, "search_space.nodes: unknown key; known: cells, channels"),
        ({"cels": 4}, "search_space.cels: unknown key; did you mean 'cells'"),
        ({"cells": 0}, "search_space.cells: 0"),
        ({"channels": "8"}, "search_space.channels: '8'"),
    ):
        with pytest.raises(ConfigError) as caught:
            options(name="nasbench201", **section)
        assert message in str(caught.value)
    with pytest.raises(ConfigError, match=r"search_space\.name: missing"):
        options(cells=3)


@pytest.mark.parametrize("missing", ["name", "dataset", "search_space", "strategy", "trials"])
def test_what_is_missing_is_named(missing: str) -> None:
    with pytest.raises(ConfigError, match=f"{missing}: missing"):
        parse_config({key: value for key, value in BASE.items() if key != missing})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trials: [", "not valid YAML"),
        ("- 1\n- 2", "is a mapping; found list"),
        ("", "is a mapping; found NoneType"),
        ("name: a\nname: b", "given twice"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("? [a]\n: b", "given twice|not valid YAML"),
        ("\x00", "not valid YAML"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_and_overrides(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.yaml")
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump(BASE))
    assert load_config(path, trials=3).trials == 3
    assert load_config(path, trials=None).trials == 12
    with pytest.raises(ConfigError, match="trials: 0"):
        load_config(path, trials=0)


# --- what people write instead ---


@pytest.mark.parametrize(
    ("written", "meant", "message"),
    [
        ("stratgy", "strategy", "stratgy: unknown key; did you mean 'strategy'?"),
        ("Strategy", "strategy", "Strategy: unknown key; did you mean 'strategy'?"),
        ("TRIALS", "trials", "TRIALS: unknown key; did you mean 'trials'?"),
        ("datset", "dataset", "datset: unknown key; did you mean 'dataset'?"),
        ("search-space", "search_space", "search-space: unknown key; did you mean 'search_space'?"),
        ("nmae", "name", "nmae: unknown key; did you mean 'name'?"),
        ("strategy.nam", "strategy.name", "strategy.nam: unknown key; did you mean 'name'?"),
        ("dataset.nmae", "dataset.name", "dataset.nmae: unknown key; did you mean 'name'?"),
        ("search_space.Name", "search_space.name", "search_space.Name: unknown key; did you mean 'name'?"),
        ("pattern.nane", "pattern.name", "pattern.nane: unknown key; did you mean 'name'?"),
        ("evaluator.recipie", "evaluator.recipe", "evaluator.recipie: unknown key; did you mean 'recipe'?"),
    ],
)
def test_a_misspelled_key_is_told_and_not_that_another_is_missing(written: str, meant: str, message: str) -> None:
    content: Any = yaml.safe_load(yaml.safe_dump(BASE))
    *sections, last = meant.split(".")
    target = content
    for section in sections:
        target = target[section]
    target[written.rpartition(".")[2]] = target.pop(last)
    with pytest.raises(ConfigError) as caught:
        parse_config(content)
    assert str(caught.value).startswith(message)


def test_a_name_alone_is_a_section() -> None:
    names = {"dataset": "digits", "search_space": "nasbench201", "strategy": "random", "pattern": "demotion-reduction"}
    short, long = parse_config(BASE | names), parse_config(BASE | {key: {"name": name} for key, name in names.items()})
    assert short.resolved() == long.resolved()
    one_shot = {key: value for key, value in BASE.items() if key != "trials"} | {"strategy": "gdas"}
    assert parse_config(one_shot).trials == 1 and parse_config({**one_shot, "trials": 3}).strategy.options["top_k"] == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\ntrials: [1,\n", "line 3, column 1: while parsing a flow "),
        ("name: a\n  trials: 3\n", "line 2, column 9: mapping values are not allowed here"),
        ("name: a\n\ttrials: 3\n", "line 2, column 1: while scanning for the next token, found character '\\t'"),
        ("name: a\nname: b\n", "line 2, column 1: key 'name' given twice"),
        ("name: a\nx: \x01\n", "line 2, column 4: character"),
        ("name: a\nx: !!python/name:os.system\n", "line 2, column 4: could not determine a constructor"),
    ],
)
def test_a_fault_of_yaml_names_the_file_the_line_and_the_column(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: not valid YAML: {message}")
    assert "<unicode string>" not in str(caught.value)


def test_a_study_given_as_a_search_is_told_and_the_reverse(tmp_path: Path) -> None:
    study = {"name": "s", "datasets": ["digits"], "architectures": [{"networks": ["dla"]}]}
    path = tmp_path / "my file.yaml"
    path.write_text(yaml.safe_dump(study))
    with pytest.raises(ConfigError, match=r"this is a study \(it has datasets, architectures\), not a search") as told:
        load_config(path)
    assert str(told.value).endswith(f"run it with: nni-privacy measure '{path}'")
    path.write_text(yaml.safe_dump(BASE))
    with pytest.raises(ConfigError, match=r"this is a search \(it has dataset, strategy, .*\), not a study") as told:
        load_study(path)
    assert str(told.value).endswith(f"run it with: nni-privacy search '{path}'")


def test_one_wrong_key_makes_no_study_of_a_search(tmp_path: Path) -> None:
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump(BASE | {"datasets": ["digits"]}))
    with pytest.raises(ConfigError, match="datasets: unknown key; did you mean 'dataset'"):
        load_config(path)


@pytest.mark.parametrize("written", [r'"run \ud83d\ude00"', r'"run \U0001f600"', "run \U0001f600", "'run \U0001f600'"])
def test_an_emoji_in_a_name_is_one_character_however_it_is_written(tmp_path: Path, written: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**BASE, "name": "NAME"}).replace("NAME", written), encoding="utf-8")
    found = load_config(path)
    assert found.name == "run \U0001f600"
    path.write_text(yaml.safe_dump(found.model_dump(mode="json")), encoding="utf-8")
    assert load_config(path).name == found.name


def test_half_a_character_is_told(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**BASE, "name": "NAME"}).replace("NAME", r'"a \ud83d b"'), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"name: .*half a character") as caught:
        load_config(path)
    assert r"'a \ud83d b'" in str(caught.value)
