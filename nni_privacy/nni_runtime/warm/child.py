"""What a warm trial needs that was forked: its own environment, streams, seeds and threads, as if newly started."""

from __future__ import annotations

import atexit
import os
import random
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module, invalidate_caches
from typing import Any, NoReturn

from nni_privacy.nni_runtime import trial_entry
from nni_privacy.nni_runtime.warm.request import Request

__all__ = ["Prepared", "prepare", "run_trial"]

_TRIAL = "nni.nas.execution.training_service"
_BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")


@dataclass(frozen=True)
class Prepared:
    """What the server had when it was ready, for its children to start from.

    Attributes:
        threads: torch's own choice of the number of threads.
        evaluator: the experiment's, kept so that what it has loaded stays.
    """

    threads: int
    evaluator: Any


def prepare(content: dict[str, Any]) -> Prepared:
    """Imports what trials need.

    Args:
        content: ``types``, the dotted names that parameters may hold; ``pickles``, whether these may be pickles; and
            ``evaluator``, the experiment's as NNI writes it. If it has a method ``warm_up``, that is called.
    """
    import nni
    import torch

    from nni_privacy.nni_runtime.message_repairs import READING, trust_of_trial
    from nni_privacy.nni_runtime.messages import trusting

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    import_module(_TRIAL)
    trust = trust_of_trial(content["types"], pickles=content["pickles"])
    for repair in READING:
        repair.apply()
    with trusting(trust):
        evaluator = nni.load(content["evaluator"])
    for name in sorted(trust.types or ()):
        with suppress(ImportError):  # the name of a class inside a class
            import_module(name.rpartition(".")[0])
    warm_up = getattr(evaluator, "warm_up", None)
    if warm_up is not None:
        warm_up()
    return Prepared(threads, evaluator)


def run_trial(request: Request, prepared: Prepared, *, parent: int) -> NoReturn:
    """Becomes the trial that ``request`` describes; a child of ``parent``, with which it ends."""
    os.setsid()
    for target, stream in enumerate(request.streams):
        os.dup2(stream, target)
        os.close(stream)
    code = 1
    try:
        _start_anew(request, prepared)
        trial_entry.main(request.arguments[request.arguments.index("-m") + 2 :], parent=parent)
        code = 0
    except SystemExit as end:
        code = _exit_code(end.code)
    except KeyboardInterrupt:
        traceback.print_exc()
        _finish()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # as the interpreter does at the end of a program
        traceback.print_exc()
    _finish()
    os._exit(code)


def _exit_code(code: Any) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _finish() -> None:
    """What the interpreter does at its end, but for taking down every module."""
    with suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]
    with suppress(Exception):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        with suppress(Exception):
            if stream is not None:
                stream.flush()


def _start_anew(request: Request, prepared: Prepared) -> None:
    import numpy as np
    import torch

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.directory)
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = request.directory
    invalidate_caches()
    # Random seeds as a new process has them: from the system.
    random.seed()
    np.random.seed()  # noqa: NPY002 - what a trial draws from numpy without a generator
    torch.default_generator.seed()
    # As many threads as a new process would have had: the server itself has one. The import sets a variable.
    from threadpoolctl import threadpool_limits

    said = next((os.environ[name] for name in _BLAS_VARIABLES if os.environ.get(name, "").isdigit()), None)
    count = int(said) if said else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threadpool_limits(limits=count, user_api="blas")
    torch.set_num_threads(prepared.threads)
    _tell_nni()


def _tell_nni() -> None:
    """NNI reads a trial's variables when it is imported: whatever holds them gets this trial's, and its log."""
    import nni

    source = import_module("nni.runtime.env_vars")
    before, now = source.trial_env_vars, source._load_env_vars(source._trial_env_var_names)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "nni" and vars(module).get("trial_env_vars") is before:
            module.__dict__["trial_env_vars"] = now
    trial: Any = import_module("nni.trial")
    trial._experiment_id, trial._trial_id = now.NNI_EXP_ID or "STANDALONE", now.NNI_TRIAL_JOB_ID or "STANDALONE"
    trial._sequence_id = int(now.NNI_TRIAL_SEQ_ID or 0)
    nni.silence_stdout()
    import_module("nni.runtime.log")._init_logger()
