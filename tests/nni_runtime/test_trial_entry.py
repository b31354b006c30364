"""Trials end with the process that started them, and run the module that they are given."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from nni_privacy.runs.processes import ProcessId

ENTRY = [sys.executable, "-m", "nni_privacy.nni_runtime.trial_entry"]
# A parent that starts a trial, tells its id, and waits.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen(sys.argv[1:])
print(child.pid, flush=True)
time.sleep(60)
"""


def test_it_runs_a_module_with_its_arguments(tmp_path: Path) -> None:
    (tmp_path / "told.py").write_text("import sys; print(__name__, sys.argv[1:]); sys.exit(7)")
    done = subprocess.run([*ENTRY, "-m", "told", "trial", "x"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 7
    assert done.stdout == "__main__ ['trial', 'x']\n"
    assert subprocess.run([*ENTRY, "trial"], capture_output=True).returncode == 2


def test_a_trial_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("import time; time.sleep(60)")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *ENTRY, "-m", "long"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    trial = ProcessId.of(int(parent.stdout.readline()))
    assert trial is not None
    process = psutil.Process(trial.pid)
    while process.num_threads() < 2:  # it watches from then on
        assert trial.alive
    parent.kill()
    parent.wait()
    psutil.wait_procs([process], timeout=20)
    assert not trial.alive
