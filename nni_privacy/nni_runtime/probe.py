"""Starting the repaired manager alone, without an experiment: to see whether it starts, and who it answers."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nni_privacy.errors import RuntimeRepairError
from nni_privacy.nni_runtime.patches.access import HOST_VARIABLE, OPEN_VARIABLE, TOKEN_HEADER, TOKEN_VARIABLE

__all__ = ["free_port", "lone_manager"]

_SECONDS_TO_START = 60.0
_SECONDS_TO_STOP = 10.0


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def lone_manager(overlay: Path, *, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """Starts the manager of ``overlay`` with its files in a temporary folder, gives its port, and stops it.

    Args:
        overlay: as from :func:`~nni_privacy.nni_runtime.make_overlay`.
        environment: variables besides this process's own, those that open a manager left out.

    Raises:
        RuntimeRepairError: if it does not answer within a minute; with the last line that it wrote.
    """
    package, port = overlay / "nni_node", free_port()
    with tempfile.TemporaryDirectory(prefix="nni-privacy-") as folder:
        arguments = {
            "port": port,
            "experiment-id": "probe",
            "action": "create",
            "experiments-directory": folder,
            "log-level": "error",
            "python-interpreter": "python",
            "mode": "local",
        }
        command = [str(package / "node"), str(package / "main.js")]
        command += [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
        ours = (HOST_VARIABLE, OPEN_VARIABLE, TOKEN_VARIABLE)
        inherited = {key: value for key, value in os.environ.items() if key not in ours}
        # NNI notes every experiment in its manifest, below the user's home: not this one.
        variables = {**inherited, "HOME": folder, **(environment or {})}
        with (Path(folder) / "output").open("w+", encoding="utf-8", errors="replace") as output:
            manager = subprocess.Popen(command, cwd=package, env=variables, stdout=output, stderr=output)  # noqa: S603
            try:
                _wait(manager, port, variables.get(TOKEN_VARIABLE), Path(output.name))
                yield port
            finally:
                _stop(manager)


def _wait(manager: subprocess.Popen[bytes], port: int, token: str | None, output: Path) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline and manager.poll() is None:
        if _answers(port, token):
            return
        time.sleep(0.1)
    lines = [line for line in output.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    raise RuntimeRepairError(f"NNI's manager does not start: {lines[-1] if lines else 'it says nothing'}")


def _answers(port: int, token: str | None = None) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    headers = {TOKEN_HEADER: token} if token else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/nni/check-status", headers=headers)
    try:
        with direct.open(request, timeout=5) as answer:
            # Before its routes are there, the manager answers everything with the web UI's page.
            return str(answer.headers.get_content_type()) == "application/json"
    except urllib.error.HTTPError as error:
        return error.code == 401  # it wants a token, which shows that it is up
    except OSError:
        return False


def _stop(manager: subprocess.Popen[bytes]) -> None:
    manager.terminate()
    try:
        manager.wait(_SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        manager.kill()
        manager.wait()
