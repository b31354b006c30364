"""Files of weights as people save them: wrapped, prefixed, tied, with more beside them, or not weights at all."""

from __future__ import annotations

import argparse
import collections
import io
import pathlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn

from nni_privacy.auditing.weights import load_weights
from nni_privacy.errors import DataError

State = dict[str, Any]


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))


def state(seed: int = 1) -> State:
    return dict(network(seed).state_dict())


def prefixed(prefix: str, content: State | None = None) -> State:
    return {f"{prefix}{key}": value for key, value in (content or state()).items()}


def loaded(tmp_path: Path, content: Any, model: nn.Module | None = None) -> tuple[nn.Module, str]:
    torch.save(content, tmp_path / "w.pt")
    model = model or network()
    return model, load_weights(model, tmp_path / "w.pt")


def same(model: nn.Module, expected: State | None = None) -> bool:
    found = model.state_dict()
    return all(torch.equal(found[key], value) for key, value in (expected or state()).items())


def refusal(path: Path, model: nn.Module | None = None) -> str:
    with pytest.raises(DataError) as caught:
        load_weights(model or network(), path)
    return str(caught.value)


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "_module.", "model.", "module._orig_mod.", "_orig_mod.model.", "model.net.", "student."],
)
def test_prefixes_that_all_names_share_are_taken_off(tmp_path: Path, prefix: str) -> None:
    model, told = loaded(tmp_path, prefixed(prefix))
    assert same(model) and told == f"{tmp_path / 'w.pt'}: weights without {prefix!r} before their names"


@pytest.mark.parametrize(
    "keys",
    [
        ("state_dict",),
        ("model_state_dict",),
        ("model",),
        ("net",),
        ("model", "state_dict"),
        ("checkpoint", "net"),
        ("ours",),
    ],
)
def test_entries_of_a_checkpoint_are_found(tmp_path: Path, keys: tuple[str, ...]) -> None:
    content: Any = state()
    for key in reversed(keys):
        optimizer = torch.optim.Adam(network().parameters())
        content = {"epoch": 3, key: content, "optimizer_state_dict": optimizer.state_dict(), "loss": 0.1}
    model, told = loaded(tmp_path, content)
    assert same(model) and told.endswith(f"weights taken from {'.'.join(keys)!r}")


def test_entry_and_prefix_are_told_together(tmp_path: Path) -> None:
    model, told = loaded(tmp_path, {"state_dict": prefixed("model._orig_mod."), "epoch": 3})
    assert same(model) and told.endswith("taken from 'state_dict'; without 'model._orig_mod.' before their names")


def test_what_fits_as_it_is_is_told_nothing_about(tmp_path: Path) -> None:
    assert loaded(tmp_path, state())[1] == loaded(tmp_path, network(1).state_dict())[1] == ""


def test_a_network_wrapped_in_part_and_a_wrapped_factory(tmp_path: Path) -> None:
    content = {key.replace("3.", "3.module."): value for key, value in state().items()}
    model, told = loaded(tmp_path, content)
    assert same(model) and "'module.' in their names" in told
    model, told = loaded(tmp_path, state(), nn.DataParallel(network()))
    assert same(model.module) and "with 'module.' before their names" in told


def test_averaged_weights_and_those_of_a_loss_beside_are_left_out(tmp_path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(network(1))
    model, told = loaded(tmp_path, averaged.state_dict())
    assert same(model) and "'module.'" in told and "without 'n_averaged'" in told
    lightning = {**prefixed("model."), "criterion.weight": torch.ones(10)}
    model, told = loaded(tmp_path, {"state_dict": lightning})
    assert same(model) and "without 'criterion.weight'" in told


def test_of_several_states_the_usual_name_is_taken_and_the_others_are_told(tmp_path: Path) -> None:
    model, told = loaded(tmp_path, {"state_dict": state(1), "state_dict_ema": state(2)})
    assert same(model) and "'state_dict_ema' would fit, too" in told
    for content in (
        {"student": state(1), "teacher": state(2)},
        {**prefixed("student."), **prefixed("teacher.", state(2))},
    ):
        torch.save(content, tmp_path / "two.pt")
        said = refusal(tmp_path / "two.pt")
        assert "several states fit the model (" in said and "student" in said and "teacher" in said


@pytest.mark.parametrize(
    "value", [np.float64(0.9), np.float32(1), np.int64(3), np.bool_(True), np.float16(2), np.uint8(7), np.str_("a")]
)
def test_numpys_numbers_may_stand_beside_the_weights(tmp_path: Path, value: Any) -> None:
    for content in ({"state_dict": state(), "acc": value, "history": [value, value]}, {**state(), "acc": value}):
        for old in (False, True):
            torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=not old)
            model = network()
            load_weights(model, tmp_path / "w.pt")
            assert same(model)


def test_numbers_saved_by_numpy_1_are_read(tmp_path: Path) -> None:
    torch.save({"net": state(), "acc": np.float64(0.9)}, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    path = tmp_path / "w.pt"
    path.write_bytes(path.read_bytes().replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray"))
    assert "taken from 'net'" in load_weights(network(), path)


@pytest.mark.parametrize(
    ("content", "key", "kind"),
    [
        ({"model": 0, "args": argparse.Namespace(lr=0.1)}, "args", "argparse.Namespace"),
        ({"state_dict": 0, "hyper": {"paths": [pathlib.PurePosixPath("a")]}}, "hyper.paths.0", "pathlib"),
        ({"net": 0, "counts": collections.UserDict(a=1)}, "counts", "UserDict"),
        ({"net": 0, "activation": nn.ReLU}, "activation", "torch.nn.modules.activation.ReLU"),
        ({"net": nn.Linear(2, 2)}, "net", "torch.nn.modules.linear.Linear"),
        ({"net": 0, "matrix": np.eye(2)}, "matrix", "a NumPy array"),
    ],
    ids=["namespace", "path", "dictionary", "class", "module", "array"],
)
def test_other_objects_are_named_by_key_and_type(tmp_path: Path, content: State, key: str, kind: str) -> None:
    whole = {name: state() if isinstance(value, int) else value for name, value in content.items()}
    for old in {False, not key.startswith(("activation", "net"))}:  # the old format keeps sources of modules
        torch.save(whole, tmp_path / "w.pt", _use_new_zipfile_serialization=not old)
        said = refusal(tmp_path / "w.pt")
        assert f"{key!r} is " in said and kind in said and "save the file without it" in said and "\n" not in said


def test_a_whole_model_and_a_torchscript_archive_say_what_to_save(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    torch.save(network(), tmp_path / "whole.pt")
    said = refusal(tmp_path / "whole.pt")
    assert "a whole model (torch.nn.modules.container.Sequential); save model.state_dict()" in said
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "jit.pt")
    recwarn.clear()
    assert "a TorchScript archive, which holds code: save the state_dict()" in refusal(tmp_path / "jit.pt")
    assert not recwarn.list


def leave(path: str) -> None:
    Path(path).touch()


class Loud:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return leave, (str(self.path),)


@pytest.mark.parametrize("old", [False, True])
def test_nothing_in_a_file_is_run_to_name_it(tmp_path: Path, old: bool) -> None:
    content = {"net": state(), "loud": Loud(tmp_path / "ran")}
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=not old)
    assert f"'loud' is {__name__}.leave; save the file without it" in refusal(tmp_path / "w.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(content))
    refusal(tmp_path / "plain.pt")
    assert not (tmp_path / "ran").exists()


def test_a_dictionary_that_holds_itself_and_one_that_is_deep(tmp_path: Path) -> None:
    content: State = {"net": state()}
    content["self"] = content
    assert same(loaded(tmp_path, content)[0])
    deep: Any = {"a": 1}
    for _ in range(40):
        deep = {f"{number}": deep for number in range(9)}
    torch.save(deep, tmp_path / "deep.pt")
    assert "holds no weights but '0', '1', '2'" in refusal(tmp_path / "deep.pt")


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.b.weight = self.a.weight
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.b(self.a(images)))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_tied_weights_may_be_in_a_safetensors_file_once(tmp_path: Path, prefix: str) -> None:
    saved, model = Tied(), Tied()
    save_model(saved, tmp_path / "tied.safetensors")
    if prefix:
        content = {key: value for key, value in saved.state_dict().items() if key != "b.weight"}
        save_file(prefixed(prefix, content), tmp_path / "tied.safetensors")
    assert bool(load_weights(model, tmp_path / "tied.safetensors")) == bool(prefix)
    assert same(model, dict(saved.state_dict())) and model.a.weight is model.b.weight
    save_file({"a.weight": torch.ones(4, 4)}, tmp_path / "part.safetensors")
    assert "missing: 'head.weight', 'head.bias'" in refusal(tmp_path / "part.safetensors", model)


def test_a_safetensors_file_with_another_ending_is_known_by_its_content(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "w.bin")
    model = network()
    assert load_weights(model, tmp_path / "w.bin") == "" and same(model)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            {**state(), "3.weight": torch.ones(5, 144), "3.bias": torch.ones(5)},
            ["model: 2 have another shape", "other shapes: 3.weight is (5, 144), the model's is (10, 144)"],
        ),
        (
            dict(network().named_parameters()),
            ["2 of its 9 tensors are missing", "'1.running_mean', '1.running_var' (buffers: save model.state_dict()"],
        ),
        (
            prefixed("module.", {**{f"body.{n}.weight": torch.ones(1) for n in range(99)}, **state()}),
            ["99 of the file's are unknown to it", "unknown: 'body.0.weight', 'body.1.weight', 'body.2.weight', ..."],
        ),
        (
            {f"{'long' * 99}.{n}": torch.ones(1) for n in range(500)},
            ["8 of its 9 tensors are missing", "500 of the file's are unknown"],
        ),
    ],
    ids=["shape", "parameters", "more", "other"],
)  # fmt: skip
def test_a_mismatch_is_told_in_three_lines(tmp_path: Path, content: State, expected: list[str]) -> None:
    torch.save(content, tmp_path / "w.pt")
    lines = refusal(tmp_path / "w.pt").split("\n")
    assert len(lines) <= 3 and max(map(len, lines)) < 400
    for text in expected:
        assert text in "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the file is empty"), (b"weights", "not a file of weights"), (b"PK\x03\x04", "not a file of weights")],
)
def test_what_is_no_file_of_weights(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    assert message in refusal(tmp_path / "w.pt")
    assert "No such file" in refusal(tmp_path / "absent.pt")
    torch.save({"epoch": 3, "loss": 0.1}, tmp_path / "none.pt")
    assert "holds no weights but 'epoch', 'loss'; expected a state_dict" in refusal(tmp_path / "none.pt")


def _saved(content: Any, *, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def _arrays() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, weight=np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_file_that_is_cut_short_is_called_so(tmp_path: Path, zipped: bool, share: float) -> None:
    whole = _saved({"weight": torch.zeros(20, 50)}, zipped=zipped)
    (tmp_path / "w.pt").write_bytes(whole[: int(len(whole) * share)])
    assert "cut short" in refusal(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html>\n<html>", "text: '<!DOCTYPE html>'"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        (pickle.dumps({"weight": [0.0]}), "a pickle that torch.save has not written"),
        (_saved({"weight": np.zeros((2, 3))}), "'weight' is a NumPy array"),
        (_arrays(), "an archive of NumPy arrays"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file"),
        (bytes(999), "zeros only"),
    ],
)
def test_what_a_file_is_instead_is_said_in_a_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    told = refusal(tmp_path / "w.pt")
    assert message in told and "\n" not in told and len(told) < 300


def test_weights_take_the_models_type(tmp_path: Path) -> None:
    halves = {key: value.half() if value.is_floating_point() else value for key, value in state().items()}
    model, told = loaded(tmp_path, {"model": halves})
    assert next(model.parameters()).dtype == torch.float32 and "taken from 'model'" in told
