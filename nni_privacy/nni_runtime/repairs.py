"""Registry of the repairs of NNI's Python side, and those of the web UI's chart, of checkpoints and of the start."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from nni_privacy.nni_runtime.access import ACCESS_REPAIRS
from nni_privacy.nni_runtime.message_repairs import MESSAGE_REPAIRS
from nni_privacy.nni_runtime.messages import current_trust
from nni_privacy.nni_runtime.nnictl_repairs import NNICTL_REPAIRS
from nni_privacy.nni_runtime.package_repairs import PACKAGE_REPAIRS
from nni_privacy.nni_runtime.patches.lifetime import PARENT_VARIABLE
from nni_privacy.nni_runtime.patches.registry import PATCHES, check_names
from nni_privacy.nni_runtime.repairing import Original, Repair, repair
from nni_privacy.nni_runtime.trial_commands import COMMAND_REPAIRS

__all__ = ["REPAIRS", "Repair", "apply_repairs", "chart_label", "chart_space", "chart_value"]

_logger = logging.getLogger(__name__)

# Where NNI's web UI looks for the choices of an architecture (RETIARIIPARAMETERS in webui/src/static/const.ts).
_SUMMARY = "mutation_summary"
# Ours: what was fixed beforehand, which the page shows among the parameters of a trial; no axis is made of it.
_FIXED = "fixed_choices"
START_SECONDS = 60
"""Time that NNI's manager may take to start."""
_LOOK_SECONDS = 0.1


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


@repair(
    "the web UI does not find the choices inside the model that NNI sends: its hyper-parameter chart is empty",
    "nni.nas.space:SimplifiedModelSpace._dump",
    "rv['sample'] = self.sample",
    "return rv",
)
def chart_parameters(original: Original, self: Any) -> dict[str, Any]:
    dumped = original(self)
    # Only what is sent to the manager: a model that a program writes for itself stays as NNI writes it.
    if current_trust() is not None and dumped.get("sample"):
        searched: dict[str, int | float | str] = {}
        fixed: dict[str, int | float | str] = {}
        for label, value in dumped["sample"].items():
            place = fixed if _is_fixed(self.mutables.mutables.get(label)) else searched
            place[chart_label(label)] = chart_value(value)
        dumped[_SUMMARY] = searched
        if fixed:
            dumped[_FIXED] = fixed
    return dumped


@repair(
    "the web UI gets the model's space, not the one that is searched, and lists in it break the chart",
    "nni.nas.experiment.experiment:NasExperiment._send_space_to_nni_manager",
    "self.model_space.simplify().items()",
    "self.update_search_space(legacy_space_dict)",
)
def chart_search_space(original: Original, self: Any) -> None:
    searched = getattr(self.strategy, "searched_space", None)
    mutables = searched() if callable(searched) else self.model_space.simplify()
    self.update_search_space(chart_space(mutables))


@repair(
    "when the manager is killed, the thread that listens to it ends with a traceback on the screen",
    "nni.runtime.tuner_command_channel.channel:TunerCommandChannel.listen",
    "received = self.receive()",
    "stop_event.is_set()",
)
def lost_connection(original: Original, self: Any, stop_event: Any) -> None:
    lost: list[Exception] = []

    def receive() -> Any:
        try:
            return self.receive()
        except Exception as error:  # websockets' own, or what it makes of a refused connection
            lost.append(error)
            raise

    try:
        original(SimpleNamespace(receive=receive, _callbacks=self._callbacks), stop_event)
    except Exception as error:
        if not lost:  # what listens has raised it: a fault that nobody is to miss
            raise
        _logger.debug("the connection to NNI's manager is lost: %r", error)
        stop_event.set()


@repair(
    "a manager that needs more than three seconds to start, on a busy machine, is given up",
    "nni.experiment.launcher:_check_rest_server",
    "for i in range(retry):",
    "time.sleep(1)",
)
def patient_start(original: Original, port: int, retry: int = 3, url_prefix: str | None = None) -> None:
    rest = import_module("nni.experiment.rest")
    until = time.monotonic() + max(retry, START_SECONDS)
    while time.monotonic() < until:
        with suppress(Exception):  # as NNI's own: whatever it is, it is asked again
            rest.get(port, "/check-status", url_prefix)
            return
        time.sleep(_LOOK_SECONDS)
    original(port, 1, url_prefix)


@repair(
    "the manager of an experiment serves its port for good when the process that started it is killed",
    "nni.experiment.launcher:start_experiment",
    "proc = _start_rest_server(nni_manager_args, run_mode)",
    "foreground = run_mode.value == 'foreground'",
)
def watched_manager(
    original: Original,
    action: str,
    exp_id: str,
    config: Any,
    port: int,
    debug: bool,
    run_mode: Any,
    *more: Any,
    **named: Any,
) -> Any:
    if run_mode.value == "detach":  # it is meant to go on: nnictl ends once it has started one
        return original(action, exp_id, config, port, debug, run_mode, *more, **named)
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    try:
        return original(action, exp_id, config, port, debug, run_mode, *more, **named)
    finally:
        os.environ.pop(PARENT_VARIABLE, None)


@repair(
    "NNI's own resume ends in an UnpicklingError: today's torch refuses what strategies are saved as",
    "nni.nas.utils.serializer:TorchSerializer.load",
    "torch.load(str(path), map_location=self._map_location)",
)
def safe_checkpoints(original: Original, self: Any, path: Any) -> Any:
    import numpy as np
    from torch.serialization import safe_globals

    # Types of NNI's strategies' states besides plain values; none of them runs what a file says.
    individual = import_module("nni.nas.strategy.evolution").Individual
    label = import_module("nni.mutable.utils").label
    state = np.random.RandomState(0).get_state(legacy=False)["state"]["key"]
    reconstruct = state.__reduce__()[0]  # numpy has moved it from one module to another
    with safe_globals([individual, label, frozenset, reconstruct, np.ndarray, np.dtype, type(state.dtype)]):
        return original(self, path)


_OURS = (chart_parameters, chart_search_space, safe_checkpoints, lost_connection, patient_start, watched_manager)

REPAIRS: dict[str, Repair] = {
    found.name: found
    for found in (
        *_OURS,
        *MESSAGE_REPAIRS,
        *COMMAND_REPAIRS,
        *ACCESS_REPAIRS,
        *NNICTL_REPAIRS,
        *PACKAGE_REPAIRS,
    )
}


def apply_repairs(*, without: Collection[str] = ()) -> None:
    """Applies all repairs but those named, now or when their modules are imported; a named one is taken back.

    Raises:
        RuntimeRepairError: when NNI's Python side is not the one that the repairs were written for.
    """
    check_names(without, known=(*PATCHES, *REPAIRS))
    for name, found in REPAIRS.items():
        if name in without:
            found.remove()
        else:
            found.apply()
