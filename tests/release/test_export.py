"""Export and load: the folder is whole or not there, says why where it cannot be, and nothing in it is run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
import yaml
from made_run import SIZES, made_run, record_of

from nni_privacy import load_model
from nni_privacy.auditing.model_record import GenotypeArchitecture, ModelRecord, NetworkArchitecture, SampleArchitecture
from nni_privacy.cells.spaces import SPACES
from nni_privacy.commands.main import main
from nni_privacy.errors import ConfigError, DataError
from nni_privacy.release import export, formats
from nni_privacy.release.export import choose_trials
from nni_privacy.runs.records import read_run

TRIALS = {"aaa": (0.9, 0.7), "bbb": (0.8, 0.6), "ccc": (0.7, 0.65)}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return made_run(tmp_path / "run", TRIALS, kept=dict.fromkeys(["aaa", "bbb"], record_of()))


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a command that refuses its input."""
    assert main([str(one) for one in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("nni-privacy: ")


def test_the_best_trial_is_exported_whole(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    assert main(["export", str(run), "--output", str(folder)]) == 0
    assert capsys.readouterr().out == f"trial aaa (accuracy 0.9000, AUC 0.7000): {folder}\n"
    assert sorted(path.name for path in folder.iterdir()) == ["card.md", "model.json", "model.py", "model.safetensors"]
    for name in ("model.safetensors", "model.json"):
        assert (folder / name).read_bytes() == (run / "models" / "aaa" / name).read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_the_front_is_exported_trial_by_trial_and_goes_on_where_it_was_cut(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for _ in range(2):
        assert main(["export", str(run), "--trial", "front", "--output", str(folder)]) == 0
        assert sorted(path.name for path in folder.iterdir()) == ["aaa", "bbb"]
        (folder / "bbb" / "model.json").unlink()
        for path in (folder / "bbb").iterdir():
            path.unlink()


KILL = """
import os, signal, sys
from nni_privacy.commands.main import main
from nni_privacy.release import export
setattr(export, sys.argv.pop(1), lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
main(sys.argv[1:])
"""


@pytest.mark.parametrize("where", ["_check_source", "render_card"])
def test_a_killed_export_leaves_no_folder_and_is_run_again(run: Path, tmp_path: Path, where: str) -> None:
    words = ["export", str(run), "--output", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", KILL, where, *words], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists() and len(list(tmp_path.glob(".out.*.partial"))) == 1
    mine = tmp_path / f".out.{os.getpid()}0000.partial.mine"
    mine.mkdir()
    assert main(words) == 0
    assert (tmp_path / "out" / "card.md").exists() and list(tmp_path.glob(".out.*")) == [mine]


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), ConfigError("cannot")])
def test_an_export_that_fails_leaves_nothing(
    run: Path, tmp_path: Path, fault: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(export, "write_format", fail)
    full = isinstance(fault, OSError)
    assert main(["export", str(run), "--output", str(tmp_path / "out"), "--torchscript"]) == (3 if full else 2)
    assert ("No space left" in capsys.readouterr().err) == full
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_code_with_other_logits_is_never_exported(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = export.model_source
    monkeypatch.setattr(export, "model_source", lambda *a: source(*a).replace("STD = (0.4,)", "STD = (0.41,)"))
    assert "logits differ by" in told(capsys, "export", run, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("config", "words"),
    [({"keep": "front"}, "keep: all would have kept it; kept are those of aaa, bbb"),
     ({"keep": "none"}, "with keep: none"), ({"keep": None}, "before weights were kept"),
     ({"keep": "all"}, "did not come back from where it ran")],
)  # fmt: skip
def test_why_a_trial_has_no_weights_is_said(
    config: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made_run(tmp_path / "run", TRIALS, kept=dict.fromkeys(["aaa", "bbb"], record_of()), config=config)
    line = told(capsys, "export", run, "--trial", "ccc", "--output", tmp_path / "out")
    assert line.startswith("trial ccc has no weights: ") and words in line


def test_a_misspelled_trial_and_an_occupied_folder_are_told(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = told(capsys, "export", run, "--trial", "aab", "--output", tmp_path / "out")
    assert line.startswith("--trial: no trial 'aab'; did you mean 'aaa'?")
    assert "exists and is not empty" in told(capsys, "export", run, "--output", run)
    assert "no such directory" in told(capsys, "export", tmp_path / "none", "--output", tmp_path / "out")


def test_a_format_whose_package_is_missing_is_told_before_anything_is_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    line = told(capsys, "export", run, "--output", tmp_path / "out", "--onnx")
    assert line == "--onnx: needs onnx and onnxscript: pip install 'nni-privacy[export]'"


def confirm(run: Path, trial: str, *, best: bool = True, **means: float) -> None:
    """Writes what five trainings of a trial's architecture say."""
    values = {"low": 0.64, "high": 0.67, "sd": 0.01, "count": 5, "by_seed": [None] * 5}
    metrics = {name: {"mean": mean, **values} for name, mean in means.items()}
    one = {"trial": trial, "sequence": 1, "architecture": "A", "space": {"name": "darts"}, "searched": {}, "trials": []}
    one |= {"failed": [], "metrics": metrics, "feasible": best, "certain": False}
    whole = {"attacks": ["black_box_partial"], "seeds": [7, 8, 9, 10, 11], "constraints": ["mia_auc <= 0.66"]}
    whole |= {"architectures": [one], "differences": [], "shrunken": {}, "nearest": trial}
    (run / "confirmed.json").write_text(json.dumps({**whole, "best": trial if best else None}))


@pytest.mark.parametrize(
    ("confirmed", "constraints", "expected"),
    [(None, None, "aaa"), (None, {"mia_auc": "<= 0.65"}, "bbb"), ("bbb", None, "bbb")],
)
def test_the_best_is_the_confirmed_one_or_the_most_accurate_that_keeps_the_constraints(
    confirmed: str | None, constraints: Any, expected: str, tmp_path: Path
) -> None:
    run = made_run(tmp_path / "run", TRIALS, config={"constraints": constraints})
    if confirmed is not None:
        confirm(run, confirmed)
    assert [trial.trial for trial in choose_trials(read_run(run), "best")] == [expected]


@pytest.mark.parametrize("text", ["not JSON {", '["a list"]', '{"architectures": []}'])
def test_a_damaged_confirmation_is_told(text: str, tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", TRIALS)
    (run / "confirmed.json").write_text(text)
    with pytest.raises(DataError, match=r"confirmed\.json: not what a confirmed run writes"):
        choose_trials(read_run(run), "best")


def test_without_a_feasible_trial_the_best_is_told_to_be_none(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", TRIALS, config={"constraints": {"mia_auc": "<= 0.5"}})
    with pytest.raises(ConfigError, match=r"no trial keeps the constraints \(mia_auc <= 0\.5\): name one"):
        choose_trials(read_run(run), "best")
    confirm(run, "bbb", best=False)
    with pytest.raises(ConfigError, match="the nearest is trial bbb"):
        choose_trials(read_run(run), "best")


@pytest.mark.parametrize(
    ("condition", "code", "told"),
    [
        ("mia_auc > 0.65", 4, "it is 0.655, 0.005 above"),  # the confirmed mean, not the searched .6
        ("mia_auc_high > 0.66", 4, "it is 0.67"),
        ("mia_auc > 0.66", 0, ""),
        ("mia_acu > 0.5", 2, "--fail-if: unknown metric 'mia_acu': did you mean 'mia_auc'"),
    ],
)
def test_a_gate_judges_confirmed_numbers_and_exports_nothing_if_it_is_closed(
    condition: str, code: int, told: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    confirm(run, "bbb", mia_auc=0.655)
    words = ["export", str(run), "--output", str(tmp_path / "out"), "--fail-if", condition]
    assert main(words) == code
    assert told in capsys.readouterr().err and (tmp_path / "out").exists() == (code == 0)


def test_the_card_has_numbers_candidates_and_what_was_confirmed(run: Path, tmp_path: Path) -> None:
    change = yaml.safe_load((run / "config.yaml").read_text()) | {"constraints": {"mia_auc": "<= 0.66"}}
    (run / "config.yaml").write_text(yaml.safe_dump(change))
    confirm(run, "bbb", mia_auc=0.655)
    for trial in ("aaa", "bbb"):
        assert main(["export", str(run), "--trial", trial, "--output", str(tmp_path / trial)]) == 0
    searched, card = ((tmp_path / trial / "card.md").read_text() for trial in ("aaa", "bbb"))
    assert (
        "| black_box_partial (primary) | 0.6000 [0.5500, 0.6500] | not resolvable | 0.0200 | not resolvable |" in card
    )
    assert "| loss_threshold | 0.5500 |" in card and "from 3 trained candidates" in card and "winner's curse" in card
    assert "| mia_auc | 0.6550 [0.6400, 0.6700] |" in card and "with 5 fresh seeds" in card
    assert "the means keep the constraints" in card and "name: digits" in card and "epochs: 2" in card
    assert "Nothing was confirmed" in searched and "without differential privacy" in searched


def test_the_card_of_a_private_model_has_its_epsilon(tmp_path: Path) -> None:
    record = record_of(private=True, recipe={"epochs": 2, "dp": {"epsilon": 8.0, "delta": 1e-5}})
    run = made_run(tmp_path / "run", {"aaa": (0.5, 0.5)}, kept={"aaa": record})
    line = json.loads((run / "trials.jsonl").read_text())
    line["metrics"] |= {"epsilon": 7.99, "epsilon_low": 0.5, "epsilon_low_gaussian": 1.25}
    spent = {"noise_multiplier": 1.0, "sample_rate": 0.1, "steps": 10, "delta": 1e-5}
    line["data"] = {"privacy": spent}
    (run / "trials.jsonl").write_text(json.dumps(line) + "\n")
    assert main(["export", str(run), "--output", str(tmp_path / "out")]) == 0
    card = (tmp_path / "out" / "card.md").read_text()
    assert "epsilon 7.990 at delta 1e-05" in card and "at delta 1e-05 is one training's; it was the only one" in card
    assert "at least 0.500, or 1.250 if its noise is Gaussian" in card
    assert "nn.GroupNorm" in (tmp_path / "out" / "model.py").read_text()


RESNET = NetworkArchitecture(
    name="resnet", options={"stem": "auto", "in_channels": 1, "num_classes": 10, "image_size": 8}
)
CELL = GenotypeArchitecture(
    space="nasbench201", genotype=str(SPACES["nasbench201"].sample(1, 0, {})[0]), sizes={**SIZES, "cells": 1}
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "architecture", [CELL, pytest.param(None, marks=pytest.mark.slow), pytest.param(RESNET, marks=pytest.mark.slow)],
    ids=["nasbench201", "darts", "resnet"],
)  # fmt: skip
def test_other_formats_have_the_same_logits_for_batches_of_any_size(architecture: Any, tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", {"aaa": (0.9, 0.7)}, kept={"aaa": record_of(architecture)})
    folder = tmp_path / "out"
    flags = ["--onnx", "--torchscript", "--torch-export"]
    assert main(["export", str(run), "--output", str(folder), *flags]) == 0
    model, session = load_model(folder), onnxruntime.InferenceSession(str(folder / "model.onnx"))
    script, program = torch.jit.load(folder / "model.torchscript.pt"), torch.export.load(folder / "model.pt2").module()
    for count in (1, 2, 33):
        images = torch.randint(0, 256, (count, 1, 8, 8), generator=torch.Generator().manual_seed(count)).to(torch.uint8)
        with torch.inference_mode():
            expected = model(images)
            assert (script(images) - expected).abs().max() <= 1e-5
            assert (program(images) - expected).abs().max() <= 1e-5
        (found,) = session.run(None, {"images": images.numpy()})
        assert (torch.from_numpy(found) - expected).abs().max() <= 1e-4


# --- the way back ---


def test_loading_runs_nothing_in_the_folder(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["export", str(run), "--output", str(tmp_path / "out")]) == 0
    (tmp_path / "out" / "model.py").write_text("raise SystemExit('it was run')")
    assert load_model(tmp_path / "out").training is False
    record = json.loads((tmp_path / "out" / "model.json").read_text())
    trap = tmp_path / "trap.py"
    trap.write_text("raise SystemExit('it was imported')")
    monkeypatch.syspath_prepend(tmp_path)
    told = {"trap:Space": "not known here: import trap first", "os:system": "is none", "os:path.join": "is none"}
    for space, words in told.items():
        arguments = {"command": f"touch {tmp_path / 'was run'}"}
        record["architecture"] = {"kind": "sample", "model_space": space, "arguments": arguments, "sample": {}}
        (tmp_path / "out" / "model.json").write_text(json.dumps(record))
        with pytest.raises(ConfigError, match=f"model space {space} .*{words}"):
            load_model(tmp_path / "out")
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mean": [0.1, 0.2], "std": [1.0, 1.0]}, "do not fit image_shape"),
        ({"std": [0.0]}, "standard deviation is 0"),
        ({"sed": 1}, "sed: unknown key; did you mean 'seed'"),
        ({"seed": "1"}, "seed: '1'"),
        ({"format": 2}, "format: 2"),
        ({"architecture": {"kind": "genotype", "space": "dart", "genotype": "G", "sizes": {}}}, "search space 'dart'"),
        ({"architecture": {"kind": "unknown", "text": "Mine"}}, "nothing says how the network 'Mine' is built"),
        ({"architecture": CELL.model_dump()}, "not the weights of its model.json"),
    ],
)
def test_a_record_that_is_not_right_is_told_in_one_line(run: Path, change: dict[str, Any], words: str) -> None:
    folder = run / "models" / "aaa"
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**record, **change}))
    with pytest.raises((ConfigError, DataError)) as caught:
        load_model(folder)
    assert words in str(caught.value) and "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_a_folder_that_is_no_export_is_told(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audit = ("--output", tmp_path / "audit")
    assert "it is a run directory: export a trial of it first" in told(capsys, "audit", "--model", run, *audit)
    assert "no such folder" in told(capsys, "audit", "--model", tmp_path / "a" / "b", *audit)
    (tmp_path / "empty").mkdir()
    assert "not an exported model, it has no model.json" in told(capsys, "audit", "--model", tmp_path / "empty", *audit)
    model = run / "models" / "aaa"
    assert "--weights: w.pt; the folder" in told(capsys, "audit", "--model", model, "--weights", "w.pt", *audit)
    assert "give both, or neither" in told(capsys, "audit", "--model", model, "--members", "a.npz", *audit)
    assert "--weights, --members, --nonmembers: missing" in told(capsys, "audit", "--model", "a:b", *audit)
    (model / "model.safetensors").write_bytes(b"x" * 100)
    assert "not a safetensors file" in told(capsys, "audit", "--model", model, *audit)
    assert not (tmp_path / "audit").exists()


def test_a_record_reads_back_what_it_wrote() -> None:
    sample = SampleArchitecture(model_space="a:B", arguments={"width": 3}, sample={"x": 1})
    for record in (record_of(), record_of(RESNET), record_of(sample, image_type="float32", private=True)):
        assert ModelRecord.from_json(record.to_json(), place="x") == record


def test_a_trial_may_be_named_by_its_number(run: Path) -> None:
    (one,) = choose_trials(read_run(run), "1")
    assert one.sequence == 1


@pytest.mark.parametrize("change", [{"seed": 4}, {"mean": [0.9]}, {"dataset": {"name": "digits", "limit": 400}}])
def test_a_record_that_was_changed_is_refused(
    change: dict[str, Any], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), "--trial", "bbb", "--output", str(tmp_path / "out")]) == 0
    path = tmp_path / "out" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    line = told(capsys, "audit", "--model", tmp_path / "out", "--output", tmp_path / "audit")
    assert "model.json: not the record that model.safetensors carries: one of them was changed" in line


def test_weights_that_were_damaged_are_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "models" / "bbb" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 64
    path.write_bytes(content)
    line = told(capsys, "export", run, "--trial", "bbb", "--output", tmp_path / "out")
    assert line.startswith(f"{path}: its weights are not those that it was written with")
    assert not (tmp_path / "out").exists()


def test_a_confirmation_that_is_not_finished_is_told(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "confirm").mkdir()
    assert main(["export", str(run), "--output", str(tmp_path / "out")]) == 0
    assert f"nni-privacy confirm {run} goes on" in capsys.readouterr().out
