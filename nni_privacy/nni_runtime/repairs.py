"""Repairs of NNI's Python side: methods replaced in memory, each only where NNI's own is what it was written for."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Any

from nni_privacy.errors import RuntimeRepairError
from nni_privacy.nni_runtime.access import request_with_token, with_channel_key
from nni_privacy.nni_runtime.patches import PATCHES, check_names

__all__ = ["REPAIRS", "Repair", "apply_repairs", "chart_label", "chart_space", "chart_value"]

_logger = logging.getLogger(__name__)

# Marks a replaced method and keeps NNI's own, so that applying twice changes nothing and a repair can be taken back.
_ORIGINAL = "__nni_privacy_original__"
# Where NNI's web UI looks for the choices of an architecture (RETIARIIPARAMETERS in webui/src/static/const.ts).
_SUMMARY = "mutation_summary"
START_SECONDS = 60
"""How long NNI's manager may take to start."""


@dataclass(frozen=True)
class Repair:
    """One fault of NNI's Python side and the method that mends it.

    Attributes:
        name: how users, tests and ``nni-privacy doctor`` call it.
        why: the fault, in one sentence.
        module: where the class is imported from.
        owner: the class; empty where the method is a function of the module.
        method: the method that is replaced.
        expects: texts that must stand in the source of NNI's method.
        make: NNI's method -> the one that takes its place.
    """

    name: str
    why: str
    module: str
    owner: str
    method: str
    expects: tuple[str, ...]
    make: Callable[[Callable[..., Any]], Callable[..., Any]]

    @property
    def active(self) -> bool:
        """Whether the repair is in place now, in this process."""
        return hasattr(self._current(self._class()), _ORIGINAL)

    def apply(self) -> None:
        """Puts the repair in place; does nothing where it is already."""
        owner = self._class()
        method = self._current(owner)
        if hasattr(method, _ORIGINAL):
            return
        self._check(method)
        repaired = wraps(method)(self.make(method))
        setattr(repaired, _ORIGINAL, method)
        setattr(owner, self.method, repaired)

    def remove(self) -> None:
        """Puts NNI's own method back."""
        owner = self._class()
        original = getattr(self._current(owner), _ORIGINAL, None)
        if original is not None:
            setattr(owner, self.method, original)

    def _class(self) -> Any:
        if not self.owner:
            return import_module(self.module)
        owner = getattr(import_module(self.module), self.owner, None)
        if not isinstance(owner, type):
            raise RuntimeRepairError(f"repair {self.name!r} does not fit: {self.module} has no class {self.owner}")
        return owner

    def _current(self, owner: Any) -> Callable[..., Any]:
        method = vars(owner).get(self.method)
        if not callable(method):
            raise RuntimeRepairError(f"repair {self.name!r} does not fit: {self.owner} has no method {self.method}")
        return method

    def _check(self, method: Callable[..., Any]) -> None:
        try:
            source = inspect.getsource(method)
        except (OSError, TypeError) as error:
            raise RuntimeRepairError(
                f"repair {self.name!r}: the source of {self.owner}.{self.method} cannot be read"
            ) from error
        for text in self.expects:
            if text not in source:
                raise RuntimeRepairError(
                    f"repair {self.name!r} does not fit {self.owner}.{self.method}: expected {text!r} in its source; "
                    "nni-privacy repairs NNI 3.0 as published, and this copy differs"
                )


def chart_label(label: str) -> str:
    """A label without slashes, which NNI's own labels hold: the web UI cuts a column's title at the second one."""
    return label.replace("/", ".")


def chart_value(value: Any) -> int | float | str:
    """A value as a point of an axis: a number or a text.

    The web UI takes a list, a dict or a null for a nested search space and draws nothing.

    >>> chart_value([0, 2]), chart_value(None), chart_value("skip_connect"), chart_value(0.5)
    ('0,2', 'None', 'skip_connect', 0.5)
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, (list, tuple)):
        return ",".join(str(chart_value(item)) for item in value)
    return str(value)


def chart_space(mutables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A search space in the form that the web UI's chart reads: ``{label: {"_type": ..., "_value": [...]}}``.

    Args:
        mutables: label -> NNI mutable, as from ``simplify()``.

    Returns:
        One entry for each mutable that has such a form and something to choose; the web UI infers the axes of the
        others from the trials.
    """
    space: dict[str, dict[str, Any]] = {}
    for label, mutable in mutables.items():
        if _is_fixed(mutable):
            continue
        try:
            spec = mutable.as_legacy_dict()
        except NotImplementedError:
            _logger.debug("%r has no form for the web UI; its axis is inferred from the trials", mutable)
            continue
        space[chart_label(label)] = {**spec, "_value": [chart_value(value) for value in spec["_value"]]}
    return space


def _is_fixed(mutable: Any) -> bool:
    """Whether there is nothing to choose: an axis with a single point only takes room."""
    return len(getattr(mutable, "values", ())) == 1


def _chart_parameters(original: Callable[..., Any]) -> Callable[..., Any]:
    def _dump(self: Any) -> dict[str, Any]:
        dumped = original(self)
        if dumped.get("sample"):
            dumped[_SUMMARY] = {
                chart_label(label): chart_value(value)
                for label, value in dumped["sample"].items()
                if not _is_fixed(self.mutables.mutables.get(label))
            }
        return dumped

    return _dump


def _chart_search_space(original: Callable[..., Any]) -> Callable[..., Any]:
    def _send_space_to_nni_manager(self: Any) -> None:
        searched = getattr(self.strategy, "searched_space", None)
        mutables = searched() if callable(searched) else self.model_space.simplify()
        self.update_search_space(chart_space(mutables))

    return _send_space_to_nni_manager


def _unknown_commands(original: Callable[..., Any]) -> Callable[..., Any]:
    def _receive(self: Any) -> Any:
        ignored = _commands_without_meaning()
        while True:
            command, data = original(self)
            if command not in ignored:
                return command, data
            _logger.debug("the command %s of NNI's manager means nothing to a NAS strategy: ignored", command)

    return _receive


def _lost_connection(original: Callable[..., Any]) -> Callable[..., Any]:
    def listen(self: Any, stop_event: Any) -> None:
        try:
            original(self, stop_event)
        except Exception as error:  # websockets' own, or what it makes of a refused connection
            _logger.debug("the connection to NNI's manager is lost: %r", error)
            stop_event.set()

    return listen


def _patient_start(original: Callable[..., Any]) -> Callable[..., Any]:
    def _check_rest_server(port: int, retry: int = 3, url_prefix: str | None = None) -> None:
        original(port, max(retry, START_SECONDS), url_prefix)

    return _check_rest_server


def _safe_checkpoints(original: Callable[..., Any]) -> Callable[..., Any]:
    def load(self: Any, path: Any) -> Any:
        from torch.serialization import safe_globals

        with safe_globals(_checkpoint_types()):
            return original(self, path)

    return load


def _checkpoint_types() -> list[Any]:
    """What states of NNI's strategies are made of besides plain values; none of it runs what a file says."""
    import numpy as np

    individual = import_module("nni.nas.strategy.evolution").Individual
    label = import_module("nni.mutable.utils").label
    state = np.random.RandomState(0).get_state(legacy=False)["state"]["key"]
    reconstruct = state.__reduce__()[0]  # numpy has moved it from one module to another
    return [individual, label, frozenset, reconstruct, np.ndarray, np.dtype, type(state.dtype)]


def _commands_without_meaning() -> frozenset[Any]:
    commands = import_module("nni.runtime.tuner_command_channel.command_type").CommandType
    # What is imported is in the strategy's checkpoint already; a customized trial is no architecture.
    return frozenset({commands.ImportData, commands.AddCustomizedTrialJob, commands.Ping})


_ALL = (
    Repair(
        name="chart_parameters",
        why="the web UI does not find the choices inside the model that NNI sends: its hyper-parameter chart is empty",
        module="nni.nas.space",
        owner="SimplifiedModelSpace",
        method="_dump",
        expects=("rv['sample'] = self.sample", "return rv"),
        make=_chart_parameters,
    ),
    Repair(
        name="chart_search_space",
        why="the web UI gets the model's space, not the one that is searched, and lists in it break the chart",
        module="nni.nas.experiment.experiment",
        owner="NasExperiment",
        method="_send_space_to_nni_manager",
        expects=("self.model_space.simplify().items()", "self.update_search_space(legacy_space_dict)"),
        make=_chart_search_space,
    ),
    Repair(
        name="unknown_commands",
        why="resuming, or 'Customized trial' in the web UI, kills the thread that listens to trials: the search hangs",
        module="nni.runtime.tuner_command_channel.channel",
        owner="TunerCommandChannel",
        method="_receive",
        expects=("self._channel.receive()", "CommandType(command['type'])"),
        make=_unknown_commands,
    ),
    Repair(
        name="safe_checkpoints",
        why="NNI's own resume ends in an UnpicklingError: today's torch refuses what strategies are saved as",
        module="nni.nas.utils.serializer",
        owner="TorchSerializer",
        method="load",
        expects=("torch.load(str(path), map_location=self._map_location)",),
        make=_safe_checkpoints,
    ),
    Repair(
        name="lost_connection",
        why="when the manager is killed, the thread that listens to it ends with a traceback on the screen",
        module="nni.runtime.tuner_command_channel.channel",
        owner="TunerCommandChannel",
        method="listen",
        expects=("received = self.receive()", "stop_event.is_set()"),
        make=_lost_connection,
    ),
    Repair(
        name="patient_start",
        why="a manager that needs more than three seconds to start, on a busy machine, is given up",
        module="nni.experiment.launcher",
        owner="",
        method="_check_rest_server",
        expects=("for i in range(retry):", "time.sleep(1)"),
        make=_patient_start,
    ),
    Repair(
        name="request_token",
        why="NNI's own requests to a manager that wants a token (search --host) carry none",
        module="nni.experiment.rest",
        owner="",
        method="request",
        expects=("requests.request(method, url, timeout=timeout)", "'api/v1/nni'"),
        make=request_with_token,
    ),
    Repair(
        name="channel_key",
        why="the strategy's own channel to a manager that wants a token (search --host) has no key",
        module="nni.runtime.command_channel.websocket.connection",
        owner="WsConnection",
        method="connect",
        expects=("_connect_async(self._url)",),
        make=with_channel_key,
    ),
)

REPAIRS: dict[str, Repair] = {repair.name: repair for repair in _ALL}


def apply_repairs(*, without: Collection[str] = ()) -> None:
    """Applies all repairs but those named; a named one that is in place is taken back.

    Raises:
        RuntimeRepairError: when NNI's Python side is not the one that the repairs were written for.
    """
    check_names(without, known=(*PATCHES, *REPAIRS))
    for repair in REPAIRS.values():
        if repair.name in without:
            repair.remove()
        else:
            repair.apply()
