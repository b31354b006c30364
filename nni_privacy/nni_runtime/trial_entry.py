"""Entry point of trials on this machine: NNI's own, in a process that reads its parameters with care.

``python -m nni_privacy.nni_runtime.trial_entry [OPTIONS] -m MODULE ARGUMENTS`` runs ``MODULE`` as ``python -m`` does.
NNI's manager stops its trials when it is stopped; when it is killed, they would train on with nobody to report to. And
they would make whatever their parameters say: here only what the options name.
"""

from __future__ import annotations

import argparse
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Sequence
from importlib import import_module

from nni_privacy.lazy import quick_imports
from nni_privacy.nni_runtime.surroundings import show_warnings

__all__ = ["end_with_parent", "main"]

_INTERVAL = 1.0


def end_with_parent(parent: int | None = None) -> None:
    """Kills this process as soon as the one that started it, ``parent`` if it knows, has ended."""
    watched = os.getppid() if parent is None else parent

    def watch() -> None:
        while os.getppid() == watched:
            time.sleep(_INTERVAL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def main(arguments: Sequence[str] | None = None, *, parent: int | None = None) -> None:
    """Runs the module that the command line, or ``arguments``, names."""
    parser = argparse.ArgumentParser(prog="trial_entry")
    parser.add_argument("--types", help="dotted names that its parameters may hold, by commas; without: any")
    parser.add_argument("--allow-pickle", action="store_true", help="its parameters may hold pickles")
    parser.add_argument("--pickles", default="", help="SHA-256 of pickles that they may hold, by commas")
    parser.add_argument("--outlive", action="store_true", help="go on when the process that started it ends")
    parser.add_argument("-m", dest="module", required=True, nargs=argparse.REMAINDER, help="MODULE ARGUMENTS")
    options = parser.parse_args(arguments)
    show_warnings()
    if not options.module:
        parser.error("-m: expected MODULE ARGUMENTS")
    if not options.outlive:
        end_with_parent(parent)
    if options.types is not None:
        _read_with_care(options.types, pickles=options.allow_pickle, known=options.pickles)
    sys.argv = options.module
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _read_with_care(types: str, *, pickles: bool, known: str) -> None:
    with quick_imports():
        from nni_privacy.nni_runtime.message_repairs import READING, trial_repairs, trust_of_trial
        from nni_privacy.nni_runtime.proxies import trial_receive_proxy, trial_send_proxy

        import_module("nni.nas.execution.training_service")
        if "nni_privacy.evaluator" in types:
            import_module("nni_privacy.evaluator")
    trust = trust_of_trial(types, pickles=pickles, known=known)
    for repair in (*READING, trial_send_proxy, trial_receive_proxy, *trial_repairs(trust)):
        repair.apply()


if __name__ == "__main__":
    main()
