"""NNI's messages are read as plain data, or with the types that they may hold, and never with anything else."""

from __future__ import annotations

import base64
import decimal
import json
import math
import os
import pathlib
import pickle
import shlex
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nni
import numpy as np
import pytest
import tiny_space
from hypothesis import given
from hypothesis import strategies as st
from nni.common import serializer
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import TrainingServiceExecutionEngine
from nni.nas.experiment import NasExperiment
from nni.nas.experiment.config import NasExperimentConfig
from nni.nas.space import ModelStatus, SimplifiedModelSpace
from nni.nas.strategy import Random
from support_search import free_port

from nni_privacy import PrivacyEvaluator, PrivacyExperiment
from nni_privacy.errors import RuntimeRepairError
from nni_privacy.nni_runtime import install
from nni_privacy.nni_runtime.access import current_access, set_default_access
from nni_privacy.nni_runtime.message_repairs import READING, experiment_trust, trust_of_trial
from nni_privacy.nni_runtime.messages import (
    NAMES,
    PICKLE,
    PLAIN,
    Trust,
    UnsafeMessageError,
    check_object,
    objects_in,
    trusting,
)
from nni_privacy.nni_runtime.repairs import REPAIRS
from nni_privacy.nni_runtime.trial_commands import trial_python
from nni_privacy.search_spaces import DARTS


@pytest.fixture(autouse=True, scope="module")
def _reading() -> Iterator[None]:
    active = [repair.active for repair in READING]
    for repair in READING:
        repair.apply()
    yield
    for repair, was in zip(READING, active, strict=True):
        if not was:
            repair.remove()


class Gadget:
    """What runs when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._marker),)


def pickled(thing: Any) -> str:
    return base64.b64encode(pickle.dumps(thing)).decode()


def bombs(marker: Path) -> dict[str, dict[str, Any]]:
    """All that NNI makes something of, and that would make `marker`."""
    code = pickled(Gadget(marker))
    return {
        "object": {PICKLE: code},
        "type": {"__nni_type__": f"bytes:{code}"},
        "called pickle": {"__symbol__": f"bytes:{code}"},
        "instance of a pickle": {"__instance_type__": f"bytes:{code}"},
        "called function": {"__symbol__": "path:os.mkdir", "__args__": [str(marker)]},
        "without a prefix": {"__symbol__": "os.mkdir", "__args__": [str(marker)]},
        "function": {"__nni_type__": "path:os.mkdir"},
        "import": {"__nni_type__": "path:antigravity.fly"},
        "loaded class": {"__instance_type__": "path:nni.nas.evaluator.functional.FunctionalEvaluator", "function": {}},
        "enumeration": {"__enum__": {"__enum_instance_type__": ["os", "mkdir"], "name": str(marker)}},
        "no enumeration": {"__enum__": 3},
        "number that numpy reads from a file": {"__ndarray__": "/etc/hostname", "dtype": "loadtxt", "shape": []},
        "array that fills the memory": {"__ndarray__": [], "dtype": "object", "shape": [1 << 40]},
        "array that grows": {"__ndarray__": "b64.gz:H4sI", "dtype": "uint8", "shape": [1]},
        "array without a shape": {"__ndarray__": [1], "dtype": "uint8", "shape": [-1]},
        "no name": {"__symbol__": ["path:os.mkdir"]},
        "fraction of nothing": {"__fraction__": 1, "numerator": 1, "denominator": 0},
        "no complex number": {"__complex__": [1]},
        "date with a zone": {"__datetime__": 1, "tzinfo": "x"},
        "no number": {"__decimal__": "abc"},
        "series of its own type": {"__pandas_series__": {"type": "V1000000000", "name": "a"}, "data": [1]},
        "texts that fill the memory": {"__ndarray__": ["a"] * 6, "dtype": "S2000000000", "shape": [6]},
        "objects": {"__ndarray__": [], "dtype": "object", "shape": [3]},
        "scalar that is none": {"__ndarray__": 1e12, "dtype": "void", "shape": []},
    }


KINDS = sorted(bombs(Path()))


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"default": 0.5, "extra": [x]}, lambda x: [[{"a": x}]]])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_a_message_is_run_or_imported(kind: str, wrap: Callable[[Any], Any], tmp_path: Path) -> None:
    text = json.dumps(wrap(bombs(tmp_path / "pwned")[kind]))
    with trusting(PLAIN), pytest.raises(UnsafeMessageError) as caught:
        nni.load(text)
    assert "\n" not in str(caught.value)
    file = tmp_path / "message.json"
    file.write_text(text)
    with trusting(PLAIN), file.open() as stream, pytest.raises(UnsafeMessageError):
        nni.load(fp=stream)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("kind", ["object", "type", "called pickle", "called function"])
def test_without_the_repair_it_is(kind: str, tmp_path: Path) -> None:
    for repair in READING:
        repair.remove()
    try:
        with trusting(PLAIN), __import__("contextlib").suppress(Exception):
            nni.load(json.dumps(bombs(tmp_path / "pwned")[kind]))
    finally:
        for repair in READING:
            repair.apply()
    assert (tmp_path / "pwned").exists()


def test_keys_that_are_spelt_otherwise_or_given_twice_are_found(tmp_path: Path) -> None:
    code = pickled(Gadget(tmp_path / "pwned"))
    for text in (
        f'{{"\\u005f_nni_obj__": "{code}"}}',
        f'{{"a": 1, "__nni_obj__": 1, "__nni_obj__": "{code}"}}',
        f'// a comment\n{{"__nni_obj__": "{code}"}}',
    ):
        with trusting(PLAIN), pytest.raises(ValueError):  # refused, or no JSON
            nni.load(text)
    assert not (tmp_path / "pwned").exists()


KEYS = st.text().filter(lambda key: not key.startswith("__"))  # those are the marks of objects that are not plain
PLAIN_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(PLAIN_JSON)
def test_plain_data_arrives_as_it_was_sent(value: Any) -> None:
    with trusting(PLAIN):
        assert same(nni.load(nni.dump(value)), value)


@given(PLAIN_JSON, st.sampled_from([PICKLE, *NAMES]), st.text())
def test_a_mark_anywhere_is_found(value: Any, mark: str, content: str) -> None:
    text = json.dumps({"before": value, "deep": [{"a": {mark: content, "more": value}}], "after": value})
    with trusting(PLAIN), pytest.raises(UnsafeMessageError):
        nni.load(text)
    names, is_pickled = objects_in(text)
    assert is_pickled or content.removeprefix("path:") in names


@pytest.mark.parametrize(
    "value",
    [np.float32(0.5), np.arange(6).reshape(2, 3), {1, 2}, 1 + 2j, pathlib.Path("/a/b"), decimal.Decimal("1.5"), (1, 2)],
)
def test_what_is_data_stays_data(value: Any) -> None:
    with trusting(Trust()):
        found = nni.load(nni.dump({"value": value}))["value"]
    if isinstance(value, (tuple, np.ndarray)):
        np.testing.assert_array_equal(found, value)
    else:
        assert found == value


def test_numbers_of_numpy_are_numbers_where_they_are_reported() -> None:
    with trusting(PLAIN):
        found = nni.load(nni.dump({"a": np.float32(0.5), "b": np.arange(3), "c": np.ones((2, 2))}))
    assert found["a"] == 0.5 and found["b"].tolist() == [0, 1, 2] and found["c"].shape == (2, 2)


@pytest.mark.parametrize("value", [SimpleNamespace(), lambda: 0, np.sum, Gadget, tiny_space.TinySpace])
def test_what_is_no_data_is_not_sent(value: Any) -> None:
    with trusting(PLAIN), pytest.raises(UnsafeMessageError, match=r"pickled|none of this experiment's types"):
        nni.dump({"value": value})


def test_what_a_program_reads_by_itself_is_its_own_business() -> None:
    assert nni.load(nni.dump(SimpleNamespace(a=1))).a == 1
    assert nni.load('{"__nni_type__": "path:math.floor"}') is math.floor
    assert nni.load(nni.dump(Gadget)) is not None


def test_trust_is_a_threads_own() -> None:
    found: list[Any] = []
    with trusting(PLAIN):
        thread = threading.Thread(target=lambda: found.append(nni.load('{"__nni_type__": "path:math.floor"}')))
        thread.start()
        thread.join()
    assert found == [math.floor]


def test_only_the_named_types_are_imported() -> None:
    trust = Trust(frozenset({"math.floor"}))
    with trusting(trust):
        assert nni.load('{"__nni_type__": "path:math.floor"}') is math.floor
        with pytest.raises(UnsafeMessageError, match=r"math\.ceil"):
            nni.load('{"__nni_type__": "path:math.ceil"}')
    with trusting(Trust(pickles=True)):
        assert nni.load(nni.dump(SimpleNamespace(a=1))).a == 1
    assert check_object({"a": 1}, PLAIN) == {"a": 1}


# --- what an experiment's trials may be sent ---


@pytest.fixture
def installed() -> Iterator[None]:
    before = current_access()
    install()
    yield
    set_default_access(wants_token=before.wants_token, allow_pickle=before.allow_pickle)


def an_experiment(space: Any, evaluator: Any) -> NasExperiment:
    return NasExperiment(space, evaluator, Random(), NasExperimentConfig("ts", "simplified", "local"))


def test_an_experiments_types_are_those_of_its_space_and_evaluator(installed: None) -> None:
    trust = experiment_trust(an_experiment(tiny_space.TinySpace(), tiny_space.evaluator()))
    assert trust is not None and not trust.pickles
    assert trust.types == {
        "nni.nas.space.space.SimplifiedModelSpace",
        "nni.nas.space.metrics.Metrics",
        "nni.nas.evaluator.functional.FunctionalEvaluator",
        "tiny_space.TinySpace",
        "tiny_space.evaluate",
    }


def test_a_model_goes_to_a_trial_and_is_the_same_there(installed: None) -> None:
    space = DARTS(channels=4, cells=3, in_channels=1, num_classes=10)
    evaluator = PrivacyEvaluator("digits", attacks=["loss_threshold"])
    experiment = an_experiment(space, evaluator)
    trust = experiment_trust(experiment)
    model = SimplifiedModelSpace.from_model(space, evaluator).random()
    with trusting(trust):
        text = nni.dump({"parameters": model})
    names, is_pickled = objects_in(text)
    assert names <= trust.types and not is_pickled
    words = trial_python("python3", trust).split()
    assert trust_of_trial(words[words.index("--types") + 1], pickles=False) == trust
    with trusting(trust):
        received = nni.load(text)["parameters"]
    assert received.sample == model.sample and received.evaluator.seed == evaluator.seed


def test_one_configuration_serves_two_experiments(installed: None) -> None:
    config, commands = NasExperimentConfig("ts", "simplified", "local"), []
    config.trial_concurrency = 1

    def start(experiment: NasExperiment) -> None:
        commands.append(experiment.config.json()["trialCommand"])

    for function in (tiny_space.evaluate, tiny_space.wait_and_report):
        experiment = NasExperiment(tiny_space.TinySpace(), FunctionalEvaluator(function), Random(), config)
        REPAIRS["careful_trials"].replacement(start, experiment)
    assert "tiny_space.evaluate" in commands[0] and "wait_and_report" not in commands[0]
    assert "tiny_space.wait_and_report" in commands[1] and "tiny_space.evaluate" not in commands[1]
    assert config._trial_command_params is None and "nni_privacy" not in config.json()["trialCommand"]


def test_a_graph_is_sent_where_it_is_asked_for(installed: None, caplog: pytest.LogCaptureFixture) -> None:
    graph = NasExperimentConfig("ts", "graph", "local")
    space, evaluator = tiny_space.TinySpace(), tiny_space.evaluator()
    trust = experiment_trust(NasExperiment(space, evaluator, Random(), graph))
    assert trust is not None and trust.has_type("nni.nas.space.pytorch.graph.PytorchGraphModelSpace")
    assert "can run code" in caplog.text
    plain = experiment_trust(an_experiment(space, evaluator))
    assert plain is not None and not plain.has_type("nni.nas.space.pytorch.graph.PytorchGraphModelSpace")


def test_choices_of_the_evaluator_are_made_before_it_is_sent(installed: None) -> None:
    evaluator = FunctionalEvaluator(tiny_space.evaluate, rate=nni.choice("rate", [0.1, 0.2]))
    trust = experiment_trust(an_experiment(tiny_space.TinySpace(), evaluator))
    assert trust is not None and not trust.pickles
    model = SimplifiedModelSpace.from_model(tiny_space.TinySpace(), evaluator).random()
    with trusting(trust):
        received = nni.load(nni.dump({"parameters": model}))["parameters"]
    assert received.evaluator.arguments == {"rate": model.sample["rate"]}


def test_of_an_experiment_without_a_space_nothing_is_known(installed: None) -> None:
    assert experiment_trust(NasExperiment(None, None, None)) is None  # type: ignore[arg-type]


@pytest.mark.slow
def test_its_engine_runs_whatever_it_is_given(
    installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(tiny_space.__file__).parent))  # for the trial
    experiment: Any = NasExperiment(None, None, None)  # type: ignore[arg-type]
    experiment.config.experiment_working_directory = tmp_path
    experiment._start_nni_manager(free_port(), False)
    engine = TrainingServiceExecutionEngine(experiment)
    try:
        model = SimplifiedModelSpace.from_model(tiny_space.TinySpace(), tiny_space.evaluator()).random()
        engine.submit_models(model)
        engine.wait_models(model)
        assert model.status == ModelStatus.Trained
        assert [listed.metric for listed in engine.list_models()] == [model.metric]
    finally:
        experiment._stop_nni_manager()
        engine.shutdown()
    assert "has no space" in caplog.text


def local_evaluator() -> FunctionalEvaluator:
    return FunctionalEvaluator(lambda model: None)


def test_trials_of_a_script_load_its_own_pickles_and_no_others(installed: None, tmp_path: Path) -> None:
    from nni.nas.space import SimplifiedModelSpace

    options = SimpleNamespace(epochs=3)
    evaluator = FunctionalEvaluator(lambda model, options: options.epochs, options=options)
    space = tiny_space.TinySpace()
    trust = experiment_trust(an_experiment(space, evaluator))
    assert trust is not None and not trust.pickles and len(trust.known) == 2
    model = SimplifiedModelSpace.from_model(space, evaluator).random()
    options.epochs = 4  # what was pickled when the search began is what is sent
    with trusting(trust):
        text = nni.dump({"parameters": model})
        with pytest.raises(UnsafeMessageError, match="none of the pickles"):
            nni.dump(SimpleNamespace(a=1))
    words = shlex.split(trial_python("python3", trust))
    types, known = (words[words.index(option) + 1] for option in ("--types", "--pickles"))
    trial = trust_of_trial(types, pickles=False, known=known)
    assert trial == trust
    for reader in (trial, trust):
        with trusting(reader):
            assert nni.load(text)["parameters"].evaluator.evaluate(None) == 3
        for kind in ("object", "type", "called pickle", "instance of a pickle", "called function", "function"):
            with trusting(reader), pytest.raises(UnsafeMessageError):
                nni.load(json.dumps({"parameters": bombs(tmp_path / "pwned")[kind]}))
    assert not (tmp_path / "pwned").exists()


def test_what_would_be_pickled_is_refused_at_once_and_by_name(installed: None, tmp_path: Path) -> None:
    with pytest.raises(RuntimeRepairError, match=r"local_evaluator.*pickled.*allow_pickle=True") as caught:
        PrivacyExperiment(tiny_space.TinySpace(), local_evaluator(), Random(), output=tmp_path / "run")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_pickles_are_sent_where_they_are_asked_for_with_a_warning(
    installed: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    search = PrivacyExperiment(
        tiny_space.TinySpace(), local_evaluator(), Random(), output=tmp_path / "run", allow_pickle=True
    )
    trust = experiment_trust(search)
    assert trust is not None and trust.pickles
    assert "allow_pickle" in caplog.text
    assert "--allow-pickle" in trial_python("python3", trust)


def test_names_have_no_place_in_a_shell() -> None:
    trust = Trust(frozenset({"a.b; touch /tmp/x"}))
    assert "'a.b; touch /tmp/x'" in trial_python("python3", trust)


def test_the_serializer_is_replaced_wherever_nni_holds_it() -> None:
    import nni.runtime.msg_dispatcher as dispatcher

    assert nni.load is serializer.load is dispatcher.load
