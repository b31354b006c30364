"""``python -m nni_privacy.nni_runtime``, repairs that wait for their modules, and old configurations of NNI."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support_manager import free_port
from support_nnictl import PROJECT

from nni_privacy.commands.main import main
from nni_privacy.files import cache_folder
from nni_privacy.nni_runtime.__main__ import main as run
from nni_privacy.nni_runtime.repairs import REPAIRS, apply_repairs


def python(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True)


# --- programs ---


def test_a_module_and_a_script_run_as_python_runs_them(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "beside.py").write_text("here = 'below'")
    program = (
        "import sys, nni_node, beside\n"
        "from nni.experiment import rest\n"
        "print(sys.argv[1:], __name__, beside.here, 'overlays' in nni_node.__path__[0])\n"
        "print(hasattr(rest.request, '__nni_privacy_original__'), 'torch' in sys.modules)\n"
        "raise SystemExit(7)\n"
    )
    (tmp_path / "below" / "program.py").write_text(program)
    expected = ["['--port', '1', '-m'] __main__ below True", "True False"]
    script = python("-m", "nni_privacy.nni_runtime", "below/program.py", "--port", "1", "-m", folder=tmp_path)
    module = python("-m", "nni_privacy.nni_runtime", "-m", "program", "--port", "1", "-m", folder=tmp_path / "below")
    for done in (script, module):
        assert (done.stdout.splitlines(), done.returncode) == (expected, 7), done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "expected -m MODULE or a script"),
        (["-m", "no.such.module"], "no module named no.such.module"),
        (["no_such_file.py"], "no file no_such_file.py"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_line(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(words)
    assert ended.value.code == 2 and told in capsys.readouterr().err.splitlines()[-1]


# --- repairs that wait ---


def test_installing_imports_nothing_and_repairs_what_is_imported_later(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from nni_privacy import nni_runtime\n"
        "nni_runtime.install()\n"
        "print(sorted({'nni', 'torch'} & set(sys.modules)))\n"
        "from nni.common.serializer import load\n"
        "import nni\n"
        "print(hasattr(load, '__nni_privacy_original__'), nni.load is load, 'torch' in sys.modules)\n"
        "for name in [name for name in sys.modules if name.partition('.')[0] == 'nni']: del sys.modules[name]\n"
        "import nni\n"
        "print(nni.load is not load, hasattr(nni.load, '__nni_privacy_original__'))\n"
    )
    done = python("-c", program, folder=tmp_path)
    assert done.stdout.splitlines() == ["[]", "True True False", "True True"], done.stderr


def test_a_module_that_reads_differently_cannot_be_imported(tmp_path: Path) -> None:
    program = (
        "from dataclasses import replace\n"
        "from nni_privacy.nni_runtime.repairs import REPAIRS\n"
        "replace(REPAIRS['request_token'], expects=('what another release holds',)).apply()\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        import nni.experiment.rest\n"
        "    except RuntimeError as error:\n"
        "        print(error)\n"
    )
    done = python("-c", program, folder=tmp_path)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all("'request_token' does not fit" in line for line in lines), done.stderr


# --- configurations ---

INLINE: dict[str, Any] = {
    "searchSpace": {"x": {"_type": "choice", "_value": [1, 2]}},
    "trialCommand": "python t.py",
    "trialConcurrency": 1,
    "tuner": {"name": "Random"},
    "trainingService": {"platform": "local"},
}
OLD = yaml.safe_load((PROJECT / "config_v1.yml").read_text())


@pytest.fixture(autouse=True)
def _command_line_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What NNI's command line changes in a process is taken back."""
    import colorama

    monkeypatch.setattr(colorama, "init", lambda **options: None)  # it wraps standard output
    monkeypatch.setattr(sys, "argv", sys.argv)
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)
    if "nni.experiment.config.utils" in sys.modules:
        sys.modules["nni.experiment.config.utils"].unset_base_path()  # of a configuration that was refused


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What NNI's command line would start of a configuration."""
    from nni.experiment import Experiment

    started: list[Any] = []
    monkeypatch.setattr(Experiment, "start", lambda self, *arguments: started.append(self.config.canonical_copy()))
    for name in ("search_space.json", "trial.py", "halves.py"):
        (tmp_path / name).write_text((PROJECT / name).read_text())

    def load(content: dict[str, Any]) -> Any:
        file = tmp_path / "config.yml"
        file.write_text(yaml.safe_dump(content))
        assert main(["nnictl", "create", "--config", str(file)]) == 0
        return started.pop()

    return load


def test_a_gpu_of_an_old_configuration_is_one_that_nobody_uses(loaded: Any) -> None:
    config = loaded({**OLD, "trial": {**OLD["trial"], "gpuNum": 1}})
    assert (config.trial_gpu_number, config.training_service.use_active_gpu) == (1, False)
    assert config.training_service.max_trial_number_per_gpu == 2
    active = {**OLD, "trial": {**OLD["trial"], "gpuNum": 1}, "localConfig": {"useActiveGpu": True}}
    assert loaded(active).training_service.use_active_gpu is True
    assert loaded(OLD).training_service.max_trial_number_per_gpu == 1


def test_old_configurations_with_gpus_are_refused_as_published() -> None:
    from nni.experiment.config import ExperimentConfig, convert

    apply_repairs()
    original = convert.to_v2.__nni_privacy_original__
    for gpus in (0, 1):
        content = {**OLD, "searchSpacePath": str(PROJECT / "search_space.json")}
        old = {**content, "trial": {"command": "true", "codeDir": str(PROJECT), "gpuNum": gpus}}
        ExperimentConfig(**convert.to_v2(old)).canonical_copy()
        with pytest.raises(ValueError, match=r"use_active_gpu|max_trial_number_per_gpu"):
            ExperimentConfig(**original(old)).canonical_copy()


def test_a_service_that_would_kill_the_manager_is_not_shared(
    loaded: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nni.experiment.launcher import NniManagerArgs

    monkeypatch.setattr(logging.getLogger("nni"), "handlers", [caplog.handler])
    config = loaded({**INLINE, "trainingService": {"platform": "local", "reuseMode": True}})
    started = config.canonical_copy()
    named = {"debug": False, "foreground": False, "url_prefix": None, "tuner_command_channel": None}
    NniManagerArgs("create", "an-id", started, 8080, **named)
    assert started.json()["trainingService"]["reuseMode"] is False and "reuseMode" in caplog.text
    assert config.json()["trainingService"]["reuseMode"] is True  # as its user wrote it
    assert config.search_space == INLINE["searchSpace"]


@pytest.mark.parametrize(
    ("field", "name", "meant"), [("tuner", "Randon", "Random"), ("assessor", "medianstopp", "Medianstop")]
)
def test_an_algorithm_that_nni_does_not_have_is_told_before_a_manager_starts(
    field: str, name: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yml").write_text(yaml.safe_dump({**INLINE, field: {"name": name}}))
    assert main(["nnictl", "create", "--config", str(tmp_path / "config.yml")]) == 2
    assert f"{field}.name: {name!r}; did you mean {meant!r}? (known: " in capsys.readouterr().err.splitlines()[-1]


def test_how_to_stop_names_the_command_that_the_manager_answers(
    loaded: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("nni"), "handlers", [caplog.handler])
    loaded(INLINE)
    assert 'run "nni-privacy nnictl stop ' in caplog.text and '"nnictl' not in caplog.text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({**INLINE, "trialComand": "x"}, "trialcomand"),
        ({**INLINE, "tuner": None}, "tuner must be set"),
        ({**INLINE, "trialConcurrency": "two"}, "trial_concurrency"),
        (None, "NoneType"),
    ],
)
def test_a_configuration_that_nni_refuses_is_told_in_one_line(
    content: Any, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yml"
    file.write_text("" if content is None else yaml.safe_dump(content))
    assert main(["nnictl", "create", "--config", str(file)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("nni-privacy: nnictl create: ") and told in last


def test_nni_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nnictl", "--version"]) == 0
    assert capsys.readouterr().out.strip().startswith("3.")


def test_the_command_lines_repairs_are_known() -> None:
    assert {"nnictl_get", "nnictl_put", "nnictl_post", "nnictl_delete", "nnictl_address"} <= set(REPAIRS)


SCRIPT = """
import sys
import nni
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.experiment import NasExperiment
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.strategy import Random
from torch import nn

class Space(ModelSpace):
    def __init__(self):
        super().__init__()
        self.layer = LayerChoice([nn.Identity(), nn.Linear(2, 2)], label="layer")

def score(model):
    return len(list(model.parameters()))

def evaluate(model):
    nni.report_final_result(score(model))

experiment = NasExperiment(Space(), FunctionalEvaluator(evaluate), Random())
experiment.config.max_trial_number = 2
experiment.run(int(sys.argv[1]))
print("scores", sorted(found.metric for found in experiment.strategy.list_models(limit=2)))
print("trials", experiment.get_job_statistics())
"""


@pytest.mark.slow
def test_an_experiment_whose_space_stands_in_the_script_runs_as_it_does_without_repairs(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = dict(os.environ, HOME=str(tmp_path), NNI_PRIVACY_CACHE=str(cache_folder()))
    command = [sys.executable, "-m", "nni_privacy.nni_runtime", "script.py", str(free_port())]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "scores [0.0, 2.0]\n" in done.stdout
    assert "trials [{'trialJobStatus': 'SUCCEEDED', 'trialJobNumber': 2}]\n" in done.stdout
