"""Repairs of NNI's Python side: what comes from the manager, a trial or a file of a run runs nothing.

NNI's own reading and writing of messages is kept; the places where messages come in and go out say how far their
sender is trusted (:mod:`~nni_privacy.nni_runtime.messages`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from nni_privacy.errors import RuntimeRepairError
from nni_privacy.nni_runtime.access import current_access
from nni_privacy.nni_runtime.messages import (
    PICKLE,
    PLAIN,
    Trust,
    UnsafeMessageError,
    check_object,
    current_trust,
    objects_in,
    trusting,
)
from nni_privacy.nni_runtime.metrics import as_metric, final_fault, in_short
from nni_privacy.nni_runtime.repairing import Original, Repair, repair

__all__ = ["MESSAGE_REPAIRS", "READING", "TUNING", "experiment_trust", "sent_evaluator", "trial_repairs"]
__all__ += ["trust_of_trial"]

_logger = logging.getLogger(__name__)

NEEDED = frozenset({"nni.nas.space.space.SimplifiedModelSpace", "nni.nas.space.metrics.Metrics"})
"""Types that NNI itself puts around a model space and an evaluator to send an architecture to a trial."""

GRAPH = frozenset({"nni.nas.space.pytorch.graph.PytorchGraphModelSpace"})
"""Of a model as a graph, which a trial turns into code and runs."""

_SERIALIZER = "nni.common.serializer"
_NO_LIMIT = 1 << 40
_TRUST = "_nni_privacy_trust"


# --- reading and writing ---


@repair(
    "NNI unpickles whatever a message holds, and calls any function that it names",
    f"{_SERIALIZER}:load",
    "_json_tricks_any_object_decode",
    "json_tricks.loads(string, obj_pairs_hooks=hooks",
    everywhere=True,
)
def message_reading(original: Original, string: str | None = None, *, fp: Any = None, **options: Any) -> Any:
    trust = current_trust()
    if trust is None:
        return original(string, fp=fp, **options)

    def check(found: Any) -> Any:
        return check_object(found, trust)

    # Machines write no comments; taking them out would change texts that hold a `#`.
    options = {**options, "ignore_comments": False, "extra_obj_pairs_hooks": (check,)}
    return original(string, fp=fp, **options)


@repair(
    "NNI pickles what it cannot write otherwise, also into messages",
    f"{_SERIALIZER}:_json_tricks_any_object_encode",
    "cloudpickle.dumps(obj)",
    "'__nni_obj__'",
)
def message_objects(original: Original, obj: Any, primitives: bool = False, pickle_size_limit: int = 4096) -> Any:
    trust = current_trust()
    plain = isinstance(obj, (list, dict)) or not (hasattr(obj, "__dict__") or hasattr(obj, "__slots__"))
    if trust is None or plain:
        return original(obj, primitives, pickle_size_limit)
    if not trust.pickles and not trust.known:
        raise UnsafeMessageError(f"{_described(obj)} would have to be pickled")
    return {PICKLE: trust.once_written(obj, original(obj, primitives, pickle_size_limit)[PICKLE])}


@repair(
    "NNI pickles classes and functions that cannot be imported, also into messages",
    f"{_SERIALIZER}:get_hybrid_cls_or_func_name",
    "cloudpickle.dumps(cls_or_func)",
    "return 'path:' + name",
)
def message_types(original: Original, cls_or_func: Any, pickle_size_limit: int = 4096) -> str:
    name = str(original(cls_or_func, pickle_size_limit))
    trust = current_trust()
    if trust is None:
        return name
    if name.startswith("bytes:"):
        if not trust.pickles and not trust.known:
            raise UnsafeMessageError(f"{_described(cls_or_func)} cannot be imported and would have to be pickled")
        return "bytes:" + trust.once_written(cls_or_func, name.removeprefix("bytes:"))
    if not trust.has_type(name.removeprefix("path:")):
        raise UnsafeMessageError(f"{name.removeprefix('path:')} is none of this experiment's types")
    return name


def _described(value: Any) -> str:
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{getattr(kind, '__module__', '?')}.{kind.__qualname__}"


# --- where messages come in, in the process that searches ---


def _read_plain(original: Original, *arguments: Any, **options: Any) -> Any:
    with trusting(PLAIN):
        return original(*arguments, **options)


@repair(
    "a metric from a trial, or from whoever passes for one, can run code in the searching process",
    "nni.runtime.tuner_command_channel.channel:TunerCommandChannel.receive",
    "command_type, data = self._receive()",
    "data['value'] = load(data['value'])",
    "load(data['hyper_params'])['parameter_id']",
)
def metric_messages(original: Original, self: Any) -> Any:
    while True:
        command, data = self._receive()  # a connection that is lost ends the listening, as NNI means it to
        try:
            with trusting(PLAIN):
                received = original(SimpleNamespace(_receive=lambda: (command, data)))  # noqa: B023 - called at once
            if hasattr(received, "value"):
                received.value = as_metric(received.value)
            return received
        except Exception as error:  # the thread that listens goes on: whoever sent this must not end the search
            why = " ".join(str(error).split())
            _logger.warning("a message from NNI's manager is refused: %s", why)
            if hasattr(self, "on_refused"):  # an engine of ours tells what becomes of the trial
                self.on_refused(data, why)


@repair(
    "resuming, or 'Customized trial' in the web UI, kills the thread that listens to trials: the search hangs",
    "nni.runtime.tuner_command_channel.channel:TunerCommandChannel._receive",
    "self._channel.receive()",
    "CommandType(command['type'])",
)
def unknown_commands(original: Original, self: Any) -> Any:
    commands = import_module("nni.runtime.tuner_command_channel.command_type").CommandType
    # What is imported is in the strategy's checkpoint already; a customized trial is no architecture.
    ignored = (commands.ImportData, commands.AddCustomizedTrialJob, commands.Ping)
    while True:
        command, data = original(self)
        if not self._callbacks:  # the channel of a tuner, which reads all commands by itself
            return command, data
        if command in ignored:
            _logger.debug("the command %s of NNI's manager means nothing to a NAS strategy: ignored", command)
        elif command == commands.TrialEnd:
            return command, _without_model(data)
        else:
            return command, data


def _without_model(data: str) -> str:
    """The end of a trial without its model, of which NNI wants to know the number only: no network is built."""
    try:
        end = json.loads(data)
        number = json.loads(end["hyper_params"])["parameter_id"]
    except (ValueError, TypeError, KeyError):
        return data
    return json.dumps({**end, "hyper_params": json.dumps({"parameter_id": number})})


# --- what goes out to trials, and comes back of it ---


def experiment_trust(experiment: Any) -> Trust | None:
    """The trust of an experiment's messages to its trials: the types of its space and evaluator, pickles where allowed.

    Args:
        experiment: NNI's ``NasExperiment``. Of one without a space, and of anything else that an engine is given in its
            place, nothing is known: whatever is submitted is sent as NNI sends it.

    Raises:
        RuntimeRepairError: if something would have to be pickled and that is not allowed; one line that names it.
    """
    known = getattr(experiment, _TRUST, None)
    if known is None and getattr(experiment, "model_space", None) is not None:
        known = _find_trust(experiment)
        setattr(experiment, _TRUST, known)
    return known


def sent_evaluator(experiment: Any) -> Any:
    """An experiment's evaluator as trials get it: where it has choices, they are made."""
    evaluator = experiment.evaluator
    return evaluator.default() if getattr(evaluator, "is_mutable", bool)() else evaluator


def _find_trust(experiment: Any) -> Trust:
    serializer = import_module(_SERIALIZER)
    space, allowed = experiment.model_space, current_access().allow_pickle
    content = [getattr(space, f"trace_{part}", None) for part in ("symbol", "args", "kwargs")]
    try:
        with trusting(Trust(types=None, pickles=allowed)):
            text = serializer.dump([*content, sent_evaluator(experiment)], pickle_size_limit=_NO_LIMIT)
    except UnsafeMessageError as error:
        if not getattr(experiment, "refuses_pickles", False):
            return _trust_in_pickles([*content, sent_evaluator(experiment)], _needed(experiment))
        raise RuntimeRepairError(
            f"{error} to be sent to trials; define it in a module that trials can import (or decorate its class "
            "with nni.trace), or accept pickles with allow_pickle=True"
        ) from None
    names, pickles = objects_in(text)
    if pickles:
        _logger.warning(
            "allow_pickle: parts of the space or the evaluator are sent to trials as pickles: whoever can send a "
            "trial its parameters can run code in it"
        )
    return Trust(_needed(experiment) | names, pickles=bool(pickles))


def _needed(experiment: Any) -> frozenset[str]:
    """Types that an experiment's models are sent as."""
    form = experiment.config.model_format
    if getattr(form, "name", form) != "graph" or getattr(experiment, "refuses_pickles", False):
        return NEEDED
    _logger.warning("graph: models are sent as graphs: whoever can send a trial its parameters can run code in it")
    return NEEDED | GRAPH


def _trust_in_pickles(content: list[Any], needed: frozenset[str]) -> Trust:
    """The trust of an experiment of NNI's whose space or evaluator stands in its script: its own pickles, no others.

    Trials know them by their SHA-256, which stands in their command; nobody else can make them load anything.
    """
    written: dict[int, tuple[Any, str]] = {}
    with trusting(Trust(types=None, pickles=True, written=written)):
        text = import_module(_SERIALIZER).dump(content, pickle_size_limit=_NO_LIMIT)
    names, pickles = objects_in(text)
    return Trust(needed | names, known=pickles, written=written)


@repair(
    "parts of a space or an evaluator are sent to trials as pickles, without a word",
    "nni.nas.execution.training_service:TrainingServiceExecutionEngine.submit_models",
    "self._channel.send_trial(",
    "parameters=cast(Any, model)",
)
def sent_models(original: Original, self: Any, *models: Any) -> None:
    with trusting(experiment_trust(self.nodejs_binding)):
        original(self, *models)


@repair(
    "models are made of whatever the manager says that trials were given",
    "nni.nas.execution.training_service:TrainingServiceExecutionEngine.list_models",
    "nni.load(nni.dump(param.parameters))",
)
def listed_models(original: Original, self: Any, status: Any = None) -> Iterator[Any]:
    models = iter(original(self, status))
    while True:
        with trusting(experiment_trust(self.nodejs_binding)):
            try:
                model = next(models)
            except StopIteration:
                return
        yield model


def trust_of_trial(types: str, *, pickles: bool, known: str = "") -> Trust:
    """The trust that the options ``--types``, ``--allow-pickle`` and ``--pickles`` of a trial stand for."""
    names, digests = (frozenset(filter(None, words.split(","))) for words in (types, known))
    return Trust(names, pickles=pickles, known=digests)


# --- in a trial ---


def trial_repairs(trust: Trust) -> tuple[Repair, ...]:
    """The repairs of a process that is one trial, whose parameters are read under ``trust``."""

    @repair(
        "what the manager gives a trial as its parameters can run code in it",
        "nni.runtime.trial_command_channel.v3:TrialCommandChannelV3.receive_parameter",
        "nni.load(res['parameter'])",
    )
    def trial_parameters(original: Original, self: Any) -> Any:
        with trusting(trust):
            return original(self)

    @repair(
        "a trial's log holds the key of its channel",
        "nni.runtime.trial_command_channel.v3:TrialCommandChannelV3.__init__",
        "Connect to trial command channel {url}",
    )
    def trial_log(original: Original, self: Any, url: str) -> None:
        logger = logging.getLogger(original.__module__)
        before, logger.disabled = logger.disabled, True
        try:
            original(self, url)
        finally:
            logger.disabled = before

    return (
        trial_log,
        trial_parameters,
        trial_metrics,
    )


@repair(
    "a metric that is no plain data is pickled, and refused where it arrives",
    "nni.runtime.trial_command_channel.v3:TrialCommandChannelV3.send_metric",
    "nni.dump(value)",
    "type: Literal['PERIODICAL', 'FINAL']",
)
def trial_metrics(original: Original, self: Any, *arguments: Any, **options: Any) -> None:
    value = options.get("value")
    fault = final_fault(value) if options.get("type") == "FINAL" else None
    try:
        with trusting(PLAIN):
            if fault is None:
                original(self, *arguments, **options)
    except UnsafeMessageError as error:
        fault = f"{in_short(value)} was reported; {error}: report numbers, texts, lists and mappings"
    if fault is not None:
        raise ValueError(fault)  # the last line of the trial's log, and so its error


# --- in a tuner of hyper-parameters ---


@repair(
    "a metric that the tuner cannot read ends it, and with it the experiment",
    "nni.runtime.msg_dispatcher_base:MsgDispatcherBase.process_command",
    "command_handlers[command](data)",
)
def tuner_commands(original: Original, self: Any, command: Any, data: Any) -> None:
    commands = import_module("nni.runtime.tuner_command_channel.command_type").CommandType
    try:
        original(self, command, data)
    except Exception as error:
        if command not in (commands.ReportMetricData, commands.ImportData, commands.TrialEnd):
            raise
        # What a trial or an import says must not end the tuner, and with it the experiment.
        _logger.warning("the command %s of NNI's manager is refused: %r", command, error)


TUNING = (tuner_commands,)
"""Further repairs of a process that is one tuner."""

READING = (message_reading, message_objects, message_types)
"""Repairs that make NNI's serializer ask how far a message is trusted; needed in every process that reads some."""

_SEARCHING = (
    Repair(
        "command_messages",
        "whoever reaches the manager's port can send the searching process a message that runs code in it",
        "nni.runtime.command_channel.websocket.connection:WsConnection.receive",
        ("return nni.load(msg)",),
        _read_plain,
    ),
    metric_messages,
    unknown_commands,
    sent_models,
    listed_models,
    Repair(
        "json_checkpoints",
        "a checkpoint written as JSON can run code when the experiment is resumed",
        "nni.nas.utils.serializer:JsonSerializer.load",
        ("return nni.load(fp=f)",),
        _read_plain,
    ),
    Repair(
        "checkpoint_config",
        "the configuration in a checkpoint can run code when the experiment is resumed",
        "nni.nas.experiment.experiment:NasExperiment.load_checkpoint",
        ("NasExperimentConfig(**nni.load(fp=f))",),
        _read_plain,
    ),
    Repair(
        "database_config",
        "the configuration in an experiment's database can run code when it is looked at or resumed",
        "nni.tools.nnictl.config_utils:Config.refresh_config",
        ("config_v0_to_v1(nni.load(",),
        _read_plain,
    ),
)

MESSAGE_REPAIRS = (*READING, *_SEARCHING)
