"""What a warm trial needs that was forked: its own environment, streams, seeds and threads, as if newly started."""

from __future__ import annotations

import atexit
import os
import random
import signal
import sys
import threading
import weakref
from collections.abc import Callable
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
        threads: torch's own choice of the number of threads, or what an imported module has set.
        path: the first folder that modules are searched in, which is the working directory, as the server had it.
        variables: of the environment, that imported modules have changed: before and after, None: not there.
        seeded: names of the random generators that imported modules have seeded or drawn from.
        python_state: of Python's own generator.
        evaluator: the experiment's, kept so that what it has loaded stays.
    """

    threads: int
    path: str
    variables: dict[str, tuple[str | None, str | None]]
    seeded: frozenset[str]
    python_state: tuple[Any, ...]
    evaluator: Any


def prepare(content: dict[str, Any]) -> Prepared:
    """Imports what trials need.

    Args:
        content: ``types``, the dotted names that parameters may hold; ``pickles``, whether these may be pickles;
            ``known``, the SHA-256 of pickles that they may hold; and ``evaluator``, the experiment's as NNI writes it.
            If it has a method ``warm_up``, that is called.
    """
    import nni
    import torch

    from nni_privacy.nni_runtime.message_repairs import READING, trust_of_trial
    from nni_privacy.nni_runtime.messages import trusting

    threads, path = torch.get_num_threads(), sys.path[0]
    torch.set_num_threads(1)
    import_module(_TRIAL)
    trust = trust_of_trial(content["types"], pickles=content["pickles"], known=content["known"])
    for repair in READING:
        repair.apply()
    variables, states = dict(os.environ), _random_states()
    with trusting(trust):
        evaluator = nni.load(content["evaluator"])
    for name in sorted(trust.types or ()):
        with suppress(ImportError):  # the name of a class inside a class
            import_module(name.rpartition(".")[0])
    warm_up = getattr(evaluator, "warm_up", None)
    if callable(warm_up):
        warm_up()
    if torch.get_num_threads() != 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
    changed = {name for name, _ in variables.items() ^ os.environ.items()}
    return Prepared(
        threads=threads,
        path=path,
        variables={name: (variables.get(name), os.environ.get(name)) for name in changed},
        seeded=frozenset(name for name, state in _random_states().items() if state != states[name]),
        python_state=random.getstate(),
        evaluator=evaluator,
    )


def _random_states() -> dict[str, bytes]:
    """What the state of each global random generator is, by the name of its module."""
    import numpy as np
    import torch

    _, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - the generator that modules seed
    return {
        "random": repr(random.getstate()).encode(),
        "numpy": np.asarray(keys).tobytes() + repr(rest).encode(),
        "torch": torch.default_generator.get_state().numpy().tobytes(),
    }


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
        sys.excepthook(*sys.exc_info())
        _finish()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # as the interpreter does at the end of a program
        sys.excepthook(*sys.exc_info())
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

    if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL):  # else a module has set its own
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # What imported modules would delete at their end, temporary folders, is the server's: others still use it.
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False
    os.environ.clear()
    os.environ.update(request.environment)
    for name, (before, after) in prepared.variables.items():
        if request.environment.get(name) == before:
            os.environ.pop(name, None)
            os.environ |= {} if after is None else {name: after}
    os.chdir(request.directory)
    if not getattr(sys.flags, "safe_path", False) and prepared.path in sys.path:
        sys.path[sys.path.index(prepared.path)] = request.directory
    invalidate_caches()
    # Random seeds as a new process has them: from the system, unless a module sets them when it is imported.
    seeds: dict[str, Callable[[], Any]] = {
        "random": random.seed,
        "numpy": np.random.seed,
        "torch": torch.default_generator.seed,
    }
    for name in seeds.keys() - prepared.seeded:
        seeds[name]()
    if "random" in prepared.seeded:
        random.setstate(prepared.python_state)  # Python seeds its own anew in each fork
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
