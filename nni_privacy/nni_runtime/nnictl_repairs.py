"""Repairs of NNI's command line: tokens of this user's running managers, where they answer, and old configurations."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import Any

from nni_privacy.errors import ConfigError, nearest
from nni_privacy.nni_runtime.access import addressed, web_address
from nni_privacy.nni_runtime.messages import PLAIN, trusting
from nni_privacy.nni_runtime.proxies import direct_request
from nni_privacy.nni_runtime.repairing import Original, Repair, repair

__all__ = ["NNICTL_REPAIRS"]

_VERBS = ("get", "put", "post", "delete")
_REQUESTS = "requests"

_logger = logging.getLogger("nni.experiment.config")
"""NNI's own: its command line silences all others."""


class _TokenRequests:
    """Takes the place of ``requests`` in nnictl: each request goes straight to the manager, with its token."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def __getattr__(self, name: str) -> Any:
        return partial(self._ask, name) if name in _VERBS else getattr(self._original, name)

    def _ask(self, method: str, url: str, *, headers: Mapping[str, str] = MappingProxyType({}), **options: Any) -> Any:
        address, token = addressed(url)
        return direct_request(method, address, headers={**headers, **token}, **options)


def _with_token(original: Original, *arguments: Any, **options: Any) -> Any:
    """NNI's own function, with its errors, in whose eyes ``requests`` is another module."""
    function: Any = original
    names = {**function.__globals__, _REQUESTS: _TokenRequests(import_module(_REQUESTS))}
    return FunctionType(function.__code__, names, argdefs=function.__defaults__)(*arguments, **options)


_TOKENS = tuple(
    Repair(
        f"nnictl_{verb}",
        "nnictl's requests carry no token, and go to a proxy where the environment names one",
        f"nni.tools.nnictl.rest_utils:rest_{verb}",
        (f"{_REQUESTS}.{verb}(url",),
        _with_token,
        everywhere=True,
    )
    for verb in _VERBS
)


@repair(
    "nnictl webui url says nothing: the addresses of an experiment are written down nowhere",
    "nni.tools.nnictl.nnictl_utils:webui_url",
    "experiments_dict[experiment_id].get('webuiUrl')",
    everywhere=True,
)
def nnictl_address(original: Original, args: Any) -> None:
    own = original.__globals__
    experiment = own["get_config_filename"](args)
    known = own["Experiments"]().get_all_experiments()[experiment]
    own["print_normal"](f"Web UI url: {web_address(int(known['port']), known.get('prefixUrl'))}")


@repair(
    "trials that share their environment on this machine (reuseMode) kill the manager, and a misspelt tuner is told "
    "after two minutes, in a log",
    "nni.experiment.launcher:NniManagerArgs.__init__",
    "self.mode = config.training_service.platform",
)
def startable_settings(
    original: Original, self: Any, action: str, exp_id: str, config: Any, *more: Any, **named: Any
) -> None:
    """Looks at NNI's own copy, which a manager is started with; the configuration stays as it was written."""
    service = config.training_service
    if getattr(service, "platform", None) == "local" and service.reuse_mode:
        _logger.warning("trainingService.reuseMode: NNI's manager cannot do that on this machine; left out")
        service.reuse_mode = False
    if action != "view":
        _check_algorithms(config)
    original(self, action, exp_id, config, *more, **named)


def _check_algorithms(config: Any) -> None:
    known = import_module("nni.tools.package_utils.config_manager")
    for field in ("tuner", "assessor", "advisor"):
        name = getattr(getattr(config, field, None), "name", None)
        if isinstance(name, str) and known.get_algo_meta(name) is None:
            names = (one.name for one in known.get_all_algo_meta())
            raise ConfigError(f"{field}.name: {name!r}; {nearest(name, names)}")


@repair(
    "configurations of NNI 1 that ask for GPUs of this machine are refused: their defaults are not carried over",
    "nni.experiment.config.convert:to_v2",
    "_move_field(v1_trial, v2, 'gpuNum', 'trialGpuNumber')",
    "_move_field(local_config, ts, 'useActiveGpu')",
)
def old_gpu_defaults(original: Original, v1: Any) -> Any:
    v2 = original(v1)
    service = v2["trainingService"]
    if service["platform"] == "local" and v2.get("trialGpuNumber"):
        service.setdefault("useActiveGpu", False)
    elif service["platform"] == "local":
        service.pop("maxTrialNumberPerGpu", None)  # NNI 1 did not look at it then
    return v2


@repair(
    "every start reads NNI's list of all experiments ten times, slowly, and whatever stands in it can run code",
    "nni.tools.nnictl.config_utils:Experiments.read_file",
    "return nni.load(fp=file)",
)
def listed_experiments(original: Original, self: Any) -> Any:
    try:  # what NNI writes is plain; objects that stand in it are not made
        return json.loads(Path(self.experiment_file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        with trusting(PLAIN):
            return original(self)


def _runs(original: Original, pid: Any) -> bool:
    """Whether a process runs; one that has ended may wait for a parent that never looks, as in a container."""
    import psutil

    try:
        return bool(original(pid)) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


_ENDED = tuple(
    Repair(
        name,
        "in a container a stopped manager is taken for a running one: nnictl waits a minute, and resumes nothing",
        target,
        expects,
        _runs,
        everywhere=True,
    )
    for name, target, expects in (
        ("ended_manager", "nni.tools.nnictl.common_utils:detect_process", ("process.is_running()",)),
        ("ended_process", "nni.tools.nnictl.command_utils:_check_pid_running", ("os.kill(pid, 0)",)),
    )
)

NNICTL_REPAIRS = (*_TOKENS, nnictl_address, *_ENDED, startable_settings, old_gpu_defaults, listed_experiments)
