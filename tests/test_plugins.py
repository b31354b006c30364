"""Plugins: they come before all else of a configuration, and what is wrong in one is told with its file and line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from support_config import BASE

from nni_privacy.attacks import attack_names, get_attack
from nni_privacy.attacks import registry as attacks
from nni_privacy.attacks.dry_call import call_dry, made_up_signals
from nni_privacy.attacks.registry import REQUIREMENTS, Attack
from nni_privacy.cells import operations, spaces
from nni_privacy.commands.main import main
from nni_privacy.config import load_config, parse_config
from nni_privacy.data import load_dataset
from nni_privacy.data import registry as data_sets
from nni_privacy.errors import ConfigError, DataError, PrivacyError
from nni_privacy.plugins import import_plugins
from nni_privacy.strategies import build_strategy
from nni_privacy.strategies import registry as strategies
from nni_privacy.studies.config import load_study
from nni_privacy.surrogate import base as surrogates
from nni_privacy.surrogate import build_surrogate

REGISTRIES = (
    *(attacks._ATTACKS, data_sets._LOADERS, strategies._STRATEGIES, surrogates._BUILDERS),
    *(spaces._SPACES, operations.OPERATION_KINDS),
)
ATTACK = """
import numpy as np
from nni_privacy.attacks import AttackScores, register_attack

@register_attack("theirs", requires={requires!r})
def theirs(signals, *, seed):
    records = np.arange(len(signals))
    {body}
"""
STRIPES = """
import torch
from nni_privacy.data import Dataset, register_dataset

@register_dataset("theirs")
def load(*, records: int = 60):
    {body}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, from which plugins are imported; what they register is forgotten again."""
    data_sets.dataset_names()
    surrogates.surrogate_names()
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    with ExitStack() as stack:
        for registry in REGISTRIES:
            stack.enter_context(patch.dict(registry))
        yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def config(folder: Path, **changes: Any) -> Path:
    return write(folder, "search.yaml", yaml.safe_dump({**BASE, **changes}))


# --- where they are named ---


def test_both_places_are_united_and_recorded(folder: Path) -> None:
    for name in ("first", "second", "third"):
        write(folder, f"{name}.py", "")
    evaluator = {**BASE["evaluator"], "plugins": ["second", "third"]}
    settings = load_config(config(folder, plugins=["first", "second"], evaluator=evaluator))
    assert settings.plugins == settings.evaluator.plugins == ("first", "second", "third")
    resolved = settings.resolved()
    assert resolved["plugins"] == resolved["evaluator"]["plugins"] == ["first", "second", "third"]
    assert parse_config(resolved).resolved() == resolved


def test_a_search_on_predictions_has_plugins_too(folder: Path) -> None:
    write(folder, "first.py", "")
    for place in ({"plugins": ["first"]}, {}):
        evaluator = {"kind": "predicted", **({} if place else {"plugins": ["first"]})}
        resolved = load_config(config(folder, **place, evaluator=evaluator)).resolved()
        assert resolved["plugins"] == ["first"] and resolved["evaluator"] == {"kind": "predicted", "surrogate": None}


def test_a_study_knows_them_before_its_data_sets(folder: Path) -> None:
    write(folder, "mine.py", STRIPES.format(body="raise KeyError"))
    content = {"name": "s", "datasets": ["theirs"], "architectures": [{"networks": ["dla"]}], "plugins": ["mine"]}
    study = load_study(write(folder, "study.yaml", yaml.safe_dump(content)))
    assert study.datasets[0].called == "theirs" and study.resolved()["evaluator"]["plugins"] == ["mine"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plugins": ["no_such"]}, "plugins: plugin 'no_such' cannot be imported: ModuleNotFoundError: No module"),
        ({"plugins": "no_such"}, "plugins: 'no_such'; input should be a valid list"),
        ({"plugins": [3]}, "plugins.0: 3"),
        ({"plugin": ["mine"]}, "plugin: unknown key; did you mean 'plugins'"),
        ({"evaluator": {"plugins": ["no_such"]}}, "evaluator.plugins: plugin 'no_such' cannot be imported"),
    ],
)
def test_what_is_wrong_with_the_list_is_told(folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(config(folder, **changes, dataset="unknown_without_it"))
    assert message in str(caught.value)


# --- errors inside ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = undefined\n", "mine.py:2: NameError: name 'undefined' is not defined"),
        ("x = 1\ndef f(:\n", "mine.py:2: SyntaxError: invalid syntax"),
        ("\n\nimport no_such_thing\n", "mine.py:3: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("import sys\nsys.exit('bye')\n", "mine.py:2: SystemExit: bye"),
        ("import helper\n", "helper.py:1: ZeroDivisionError: division by zero"),
        ("import json\njson.loads('{')\n", "mine.py:2: JSONDecodeError: Expecting"),
        (
            "from nni_privacy.attacks import register_attack\n\n@register_attack('Bad Name')\ndef f(): ...\n",
            "mine.py:3: attack name 'Bad Name': allowed",
        ),
    ],
    ids=["name", "syntax", "import", "exit", "helper", "library", "ours"],
)
def test_an_error_while_it_is_imported_names_file_and_line(folder: Path, text: str, message: str) -> None:
    write(folder, "helper.py", "1 / 0\n")
    write(folder, "mine.py", text)
    with pytest.raises(ConfigError, match=r"plugin 'mine' cannot be imported: ") as caught:
        import_plugins(["mine"])
    assert message in str(caught.value) and "\n" not in str(caught.value)


BAD_ATTACKS = [
    ("return AttackScores(signals.posterior[:, 0], signals.is_member, records)", "mine.py:8: AttributeError: "),
    ("return AttackScores(signals.posteriors, signals.is_member, records)", "mine.py:8: scores, is_member and"),
    ("return None", "mine.py:5: returned a NoneType, expected a AttackScores"),
    ("return AttackScores(records / 0, signals.is_member, records)", "mine.py:5: 20 of 20 scores are NaN or inf"),
    ("return AttackScores(records, ~signals.is_member, records)", "mine.py:5: is_member is not that of the records"),
    ("return AttackScores(records, signals.is_member, records + 1)", "mine.py:5: records must be some of 0..19"),
    ("return AttackScores([1.0], signals.is_member[:1], [0])", "members and non-members must be among the records"),
    ("return AttackScores(signals.shadows.keep, signals.is_member, records)", "mine.py:8: AttributeError: 'NoneType'"),
]


@pytest.mark.parametrize(("body", "message"), BAD_ATTACKS, ids=range(len(BAD_ATTACKS)))
def test_an_attack_is_called_on_made_up_records_before_a_search(
    folder: Path, capsys: pytest.CaptureFixture[str], body: str, message: str
) -> None:
    write(folder, "mine.py", ATTACK.format(requires=("logits",), body=body))
    path = config(folder, plugins=["mine"], evaluator={"attacks": ["loss_threshold", "theirs"]})
    assert main(["search", str(path), "--output", "out", "--port", "9312"]) == 2
    error = capsys.readouterr().err
    assert "attack 'theirs', called on 20 made-up records: " in error and message in error
    assert error.count("\n") == 1 and not (folder / "out").exists()


def test_an_attack_that_refuses_so_few_records_by_itself_passes(folder: Path) -> None:
    refuses = "from nni_privacy.errors import AuditError; raise AuditError('100 records are needed')"
    write(folder, "mine.py", ATTACK.format(requires=("logits",), body=refuses))
    import_plugins(["mine"])
    call_dry(["theirs"])


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_every_attack_that_ships_passes_its_dry_call(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nni_privacy.attacks.dry_call.is_plugins", lambda owner: True)
    for name in attack_names():
        call_dry([name], classes=classes)


def test_made_up_signals_have_what_is_required_and_no_more() -> None:
    assert made_up_signals(REQUIREMENTS).available == set(REQUIREMENTS)
    assert made_up_signals(["distances"]).available == {"logits", "distances"}
    assert len(made_up_signals([])) == 20 and made_up_signals([]).is_member.sum() == 10


def test_an_attack_of_ours_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Attack, "__call__", lambda *_, **__: pytest.fail("called"))
    call_dry(["loss_threshold"])
    assert get_attack("loss_threshold").run.__module__.startswith("nni_privacy.")


BAD_LOADERS = [
    ("return torch.zeros(records)[70]", "dataset 'theirs': .*mine.py:7: IndexError: "),
    ("return Dataset('x', torch.zeros(3, 3), torch.zeros(3), num_classes=2)", "dataset 'theirs': .*mine.py:7: x: im"),
    ("return [1, 2]", "dataset 'theirs': .*mine.py:5: returned a list, expected a Dataset"),
]


@pytest.mark.parametrize(("body", "message"), BAD_LOADERS, ids=range(len(BAD_LOADERS)))
def test_an_error_in_a_loader_names_file_and_line(folder: Path, body: str, message: str) -> None:
    write(folder, "mine.py", STRIPES.format(body=body))
    import_plugins(["mine"])
    with pytest.raises(PrivacyError, match=message):
        load_dataset("theirs")


def test_an_error_in_one_of_ours_is_no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nni_privacy.data.files.find_spec", None, raising=False)
    with pytest.raises(DataError, match=r"^no-such\.npz"):
        load_dataset("npz", path="no-such.npz")


def test_an_error_in_a_strategy_and_in_a_surrogate_names_file_and_line(folder: Path) -> None:
    write(
        folder,
        "mine.py",
        "from nni_privacy.strategies.registry import StrategyOptions, register_strategy\n"
        "from nni_privacy.surrogate.base import register_surrogate\n"
        "@register_strategy('broken', StrategyOptions)\n"
        "def make(options, seed):\n    return options.nothing\n"
        "@register_strategy('none', StrategyOptions)\n"
        "def none(options, seed):\n    return None\n"
        "@register_surrogate('broken')\n"
        "def build():\n    return {}['x']\n",
    )
    import_plugins(["mine"])
    with pytest.raises(ConfigError, match=r"strategy 'broken': .*mine\.py:5: AttributeError: "):
        build_strategy("broken", seed=0)
    with pytest.raises(ConfigError, match=r"strategy 'none': .*mine\.py:6: returned a NoneType, expected a Strategy"):
        build_strategy("none", seed=0)
    with pytest.raises(ConfigError, match=r"surrogate 'broken': .*mine\.py:11: KeyError: 'x'"):
        build_surrogate("broken")


OPTIONS = """
from nni_privacy.strategies.registry import StrategyOptions, register_strategy

class Options(StrategyOptions):
    size: int = 3

    {method}

@register_strategy("mine", Options)
def make(options, seed):
    raise AssertionError
"""


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("def metrics_read(self): return self.nothing", {}, "mine.py:7: AttributeError"),
        ("def model_post_init(self, context): self.nothing", {}, "mine.py:7: AttributeError"),
        ("pass", {"sise": 3}, "search.yaml: strategy.sise: unknown key; did you mean 'size'"),
        ("pass", {"size": "3"}, "search.yaml: strategy.size: '3'; input should be a valid integer"),
    ],
)
def test_options_of_a_strategy_are_checked_and_may_be_at_fault(
    folder: Path, capsys: pytest.CaptureFixture[str], method: str, options: dict[str, Any], message: str
) -> None:
    write(folder, "mine.py", OPTIONS.format(method=method))
    path = config(folder, plugins=["mine"], strategy={"name": "mine", **options})
    assert main(["search", str(path), "--output", "out", "--port", "9312"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (folder / "out").exists()


def test_an_error_in_the_network_of_a_space_names_file_and_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = Path(__file__).with_name("support") / "triangle.py"
    text = source.read_text(encoding="utf-8")
    broken = text.replace("return self.sides[1](x) + self.sides[2](middle)", "return self.sidse[1](x)")
    assert broken != text
    line = next(number for number, row in enumerate(broken.splitlines(), 1) if "self.sidse" in row)
    write(folder, "three.py", broken.replace('"triangle:', '"three:'))
    space = {"name": "triangle", "channels": 2, "cells": 1}
    path = config(folder, plugins=["three"], search_space=space, pattern=None)
    assert main(["search", str(path), "--output", "out", "--port", "9312"]) == 2
    error = capsys.readouterr().err
    assert "search space 'triangle'" in error and f"three.py:{line}: AttributeError" in error
    assert not (folder / "out").exists()
