"""The repairs of NNI's Python side, without a manager."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nni_privacy.errors import RuntimeRepairError
from nni_privacy.nni_runtime.messages import Trust, trusting
from nni_privacy.nni_runtime.repairs import REPAIRS, apply_repairs, chart_label, chart_space, chart_value

pytestmark = pytest.mark.usefixtures("nni_as_published")

SUPPORT = Path(__file__).resolve().parents[1] / "support"


@pytest.fixture
def repaired() -> None:
    apply_repairs()


def frozen_model() -> Any:
    import tiny_space
    from nni.nas.space import SimplifiedModelSpace

    space = SimplifiedModelSpace.from_model(tiny_space.TinySpace(), tiny_space.evaluator())
    return space.freeze({"op": "tanh", "width": 8, "pair": [0, 2]})


def sent(model: Any) -> dict[str, Any]:
    """A model as the manager gets it."""
    with trusting(Trust(types=None)):
        dumped: dict[str, Any] = model._dump()
    return dumped


def test_a_model_that_is_sent_repeats_its_choices_where_the_web_ui_looks(repaired: None) -> None:
    dumped = sent(frozen_model())
    assert dumped["mutation_summary"] == {"op": "tanh", "width": 8, "pair": "0,2"}
    assert dumped["sample"] == {"op": "tanh", "width": 8, "pair": [0, 2]}


def test_what_was_fixed_is_told_beside_what_was_searched(repaired: None) -> None:
    from nni.mutable import Categorical
    from nni.nas.space import SimplifiedModelSpace

    model = frozen_model()
    narrowed = {**model.mutables.mutables, "op": Categorical(["tanh"], label="op")}
    dumped = sent(SimplifiedModelSpace(model.model, narrowed, model.evaluator).freeze(model.sample))
    assert dumped["mutation_summary"] == {"width": 8, "pair": "0,2"}
    assert dumped["fixed_choices"] == {"op": "tanh"}
    assert "fixed_choices" not in sent(model)


def test_a_space_that_is_not_frozen_has_no_choices_to_repeat(repaired: None) -> None:
    import tiny_space
    from nni.nas.space import SimplifiedModelSpace

    assert "mutation_summary" not in sent(SimplifiedModelSpace.from_model(tiny_space.TinySpace()))


def test_a_model_that_a_program_writes_for_itself_is_as_nni_writes_it() -> None:
    import nni
    from nni.nas.space import SimplifiedModelSpace

    model = frozen_model()
    as_published = model._dump(), nni.dump(model)
    apply_repairs()
    assert (model._dump(), nni.dump(model)) == as_published
    assert SimplifiedModelSpace._load(**as_published[0])._dump() == as_published[0]


@pytest.mark.slow
def test_a_trial_without_the_repair_loads_the_model(repaired: None, tmp_path: Path) -> None:
    import nni

    with trusting(Trust(types=None)):
        text = nni.dump(frozen_model())
    assert "mutation_summary" in text
    (tmp_path / "model.json").write_text(text)
    program = (
        "import json, nni, sys; from pathlib import Path; model = nni.load(Path(sys.argv[1]).read_text()); "
        "print(json.dumps([model.sample, model.executable_model().architecture()]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "model.json")]
    output = subprocess.run(command, cwd=SUPPORT, check=True, capture_output=True, text=True).stdout
    sample, architecture = json.loads(output.splitlines()[-1])
    assert sample == {"op": "tanh", "width": 8, "pair": [0, 2]}
    assert architecture == "tanh|8|[0, 2]"


def test_labels_and_values_for_the_chart() -> None:
    assert chart_label("model/1/op") == "model.1.op"
    values = (3, 0.5, "none", True, None, (0, 1))
    assert [chart_value(value) for value in values] == [3, 0.5, "none", "True", "None", "0,1"]


def test_the_chart_gets_texts_for_lists_and_nothing_for_what_has_no_legacy_form() -> None:
    from nni.mutable import Categorical, CategoricalMultiple

    mutables = {
        "cell/pair": Categorical([(0, 1), (0, 2)], label="pair"),
        "inputs": CategoricalMultiple([0, 1, 2], n_chosen=2, label="inputs"),
    }
    assert chart_space(mutables) == {"cell.pair": {"_type": "choice", "_value": ["0,1", "0,2"]}}


@pytest.mark.parametrize("fixed", [True, False])
def test_the_space_that_is_sent_is_the_one_the_strategy_searches(repaired: None, fixed: bool) -> None:
    from nni.mutable import Categorical
    from nni.nas.experiment import NasExperiment

    mine, theirs = (
        Categorical(["sep_conv_3x3", "sep_conv_5x5"], label="op"),
        Categorical(["max_pool_3x3", "none"], label="op"),
    )
    sent: list[dict[str, Any]] = []
    experiment = SimpleNamespace(
        strategy=SimpleNamespace(**({"searched_space": lambda: {"op": mine}} if fixed else {})),
        model_space=SimpleNamespace(simplify=lambda: {"op": theirs}),
        update_search_space=sent.append,
    )
    NasExperiment._send_space_to_nni_manager(experiment)
    assert sent == [{"op": {"_type": "choice", "_value": (mine if fixed else theirs).values}}]


def _channel(commands: list[dict[str, Any] | None], *, strategy: bool = True) -> Any:
    from nni.runtime.tuner_command_channel import TunerCommandChannel

    channel = TunerCommandChannel("ws://localhost:1/tuner")
    if strategy:
        channel.on_terminate(lambda command: None)
    channel._channel = SimpleNamespace(receive=lambda: commands.pop(0))
    return channel


def test_imported_data_and_customized_trials_do_not_end_the_listener(repaired: None) -> None:
    commands: list[dict[str, Any] | None] = [
        {"type": "FD", "content": "[]"},
        {"type": "AD", "content": "{}"},
        {"type": "PI"},
        {"type": "GE", "content": "3"},
        None,
    ]
    channel = _channel(commands)
    assert channel.receive().count == 3
    assert type(channel.receive()).__name__ == "Terminate"


def test_a_tuners_channel_keeps_all_commands_and_a_change_of_the_space_arrives(repaired: None) -> None:
    space = {"x": {"_type": "choice", "_value": [1, 2]}}
    kinds = ["FD", "AD", "PI", "SS"]
    told: list[dict[str, Any] | None] = [{"type": kind, "content": json.dumps(space)} for kind in kinds]
    tuner = _channel(list(told), strategy=False)
    assert [tuner._receive()[0].value for _ in kinds] == kinds
    assert _channel(list(told)).receive().search_space == space


def test_a_lost_connection_ends_the_listener_quietly_and_a_fault_of_who_listens_does_not(repaired: None) -> None:
    stop = threading.Event()
    _channel([]).listen(stop)  # there is nothing more to be had: an IndexError
    assert stop.is_set()
    channel, stop = _channel([{"type": "GE", "content": "3"}]), threading.Event()
    channel.on_request_trial_jobs(lambda command: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        channel.listen(stop)


def test_imported_data_ends_the_listener_without_the_repair() -> None:
    with pytest.raises(ValueError, match="ImportData"):
        _channel([{"type": "FD", "content": "[]"}]).receive()


def test_repairs_can_be_applied_twice_and_taken_back() -> None:
    from nni.nas.space import SimplifiedModelSpace

    original = SimplifiedModelSpace._dump
    apply_repairs()
    once = SimplifiedModelSpace._dump
    apply_repairs()
    assert SimplifiedModelSpace._dump is once is not original
    assert all(repair.active for repair in REPAIRS.values())
    apply_repairs(without=tuple(REPAIRS))
    assert SimplifiedModelSpace._dump is original
    assert not any(repair.active for repair in REPAIRS.values())


@pytest.mark.parametrize("name", sorted(REPAIRS))
def test_a_method_that_reads_differently_is_refused(name: str) -> None:
    changed = replace(REPAIRS[name], expects=("what another release would hold",))
    with pytest.raises(RuntimeRepairError, match=f"repair '{name}'.*another release"):
        changed.apply()
    assert not changed.active


@pytest.mark.parametrize("name", sorted(REPAIRS))
def test_a_repaired_function_takes_what_nnis_own_takes_by_place_and_by_name(name: str) -> None:
    found = REPAIRS[name]
    own, ours = inspect.signature(found._current()), inspect.signature(found.replacement)
    parameters = [one for one in own.parameters.values() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    first = 1 if "." in found.target.partition(":")[2] else 0
    by_place = [one.name for one in parameters if one.kind is not one.KEYWORD_ONLY]
    by_name = {one.name: None for one in parameters if one.name not in by_place}
    ours.bind("original", *by_place, **by_name)
    ours.bind("original", *by_place[:first], **dict.fromkeys(by_place[first:]), **by_name)


def test_no_two_repairs_replace_the_same_function() -> None:
    targets = [found.target for found in REPAIRS.values()]
    assert len(targets) == len(set(targets))


@pytest.mark.parametrize("missing", ["NoSuchClass._dump", "SimplifiedModelSpace.no_such_method"])
def test_a_missing_class_or_method_is_refused(missing: str) -> None:
    changed = replace(REPAIRS["chart_parameters"], target=f"nni.nas.space:{missing}")
    with pytest.raises(RuntimeRepairError, match=r"repair 'chart_parameters'.*(NoSuchClass|no_such_method)"):
        changed.apply()


def test_what_has_nothing_to_choose_gets_no_axis(repaired: None) -> None:
    from nni.mutable import Categorical

    free, fixed = Categorical(["a", "b"], label="free"), Categorical(["a"], label="fixed")
    assert list(chart_space({"free": free, "fixed": fixed})) == ["free"]
