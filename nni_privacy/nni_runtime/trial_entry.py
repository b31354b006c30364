"""What a trial on this machine is started with: NNI's own entry, in a process that does not outlive the manager.

``python -m nni_privacy.nni_runtime.trial_entry -m MODULE ARGUMENTS`` runs ``MODULE`` as ``python -m`` does. NNI's
manager stops its trials when it is stopped; when it is killed, they would train on with nobody to report to.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

__all__ = ["end_with_parent", "main"]

_INTERVAL = 1.0


def end_with_parent() -> None:
    """Kills this process as soon as the one that started it has ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_INTERVAL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def main() -> None:
    """Runs the module that the command line names."""
    if len(sys.argv) < 3 or sys.argv[1] != "-m":
        sys.exit("usage: trial_entry -m MODULE ARGUMENTS")
    end_with_parent()
    module = sys.argv[2]
    sys.argv = [module, *sys.argv[3:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
