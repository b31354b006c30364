"""``python -m nni_privacy.nni_runtime -m MODULE ...``, or a script in its place: a program of NNI's, with NNI repaired.

Whatever starts an experiment of NNI does so on the repaired one, without a changed line: NNI's own command line
(``-m nni.tools.nnictl.nnictl create --config FILE``), and scripts with an ``Experiment`` or a ``NasExperiment``.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from nni_privacy.errors import RuntimeRepairError
from nni_privacy.nni_runtime import install

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the module or the script that the command line, or ``arguments``, names, as ``python`` runs it."""
    parser = argparse.ArgumentParser(
        prog="python -m nni_privacy.nni_runtime", description="Runs a program with NNI 3.0 repaired, as python runs it."
    )
    parser.add_argument("--no-token", action="store_true", help="let every user of this machine into the web UI")
    parser.add_argument("--allow-pickle", action="store_true", help="send trials what can be sent as a pickle only")
    parser.add_argument("--warm-trials", action="store_true", help="fork trials of a NasExperiment from one process")
    parser.add_argument("-m", dest="module", nargs=argparse.REMAINDER, help="MODULE ARGUMENTS")
    parser.add_argument("script", nargs=argparse.REMAINDER, help="SCRIPT ARGUMENTS")
    options = parser.parse_args(arguments)
    words = options.module or options.script
    if not words:
        parser.error("expected -m MODULE or a script")
    if options.module and not _is_there(words[0]):
        parser.error(f"-m: no module named {words[0]}")
    if not options.module and not Path(words[0]).exists():
        parser.error(f"no file {words[0]}")
    try:
        install(
            token=False if options.no_token else None,
            allow_pickle=options.allow_pickle or None,
            warm_trials=options.warm_trials or None,
        )
    except RuntimeRepairError as error:
        parser.error(str(error))
    sys.argv[:] = words
    if options.module:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    else:
        _run_script(words[0])


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # of a package that it is in
        return False


def _run_script(script: str) -> None:
    """Runs a file; modules beside it are found, where ``-m`` has put those of the working folder."""
    beside = str(Path(script).resolve().parent)
    if sys.path[1] in ("", str(Path.cwd())):  # the repaired package stands before it
        del sys.path[1]
    sys.path.insert(1, beside)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
