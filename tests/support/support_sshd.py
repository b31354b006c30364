"""An OpenSSH server for one test: on 127.0.0.1, a free high port, with keys and a home folder of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/user_key.pub
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
SetEnv HOME={home} NNI_PRIVACY_CACHE={cache}
MaxStartups 50
"""


class SshServer:
    """A server that can be killed, as a machine that vanishes with all that runs on it, and started again."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.home = folder / "home"
        self.user = getpass.getuser()
        self.key = folder / "user_key"
        self._program = find_sshd()
        self._process: subprocess.Popen[bytes] | None = None
        self.home.mkdir()
        for name, kind in (("host_key", "ed25519"), ("user_key", "rsa")):
            generate_key(folder / name, kind)
        text = CONFIG.format(port=port, folder=folder, home=self.home, cache=folder / "cache")
        (folder / "sshd_config").write_text(text)

    def start(self) -> None:
        with (self.folder / "sshd.log").open("ab") as log:
            command = [self._program, "-D", "-e", "-f", str(self.folder / "sshd_config")]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError((self.folder / "sshd.log").read_text())

    def kill(self, *, all_of_it: bool = True) -> None:
        """Kills the server and its sessions; with ``all_of_it`` what they left running, too (its home folder tells)."""
        if self._process is None:
            return
        victims = psutil.Process(self._process.pid).children(recursive=True)
        victims += self._daemons() if all_of_it else []
        for process in [psutil.Process(self._process.pid), *victims]:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        self._process.wait()
        self._process = None

    def _daemons(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("HOME") == str(self.home):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def keepers(self) -> list[psutil.Process]:
        """The trial keepers that run on this machine."""
        return [process for process in self._daemons() if "trial_keeper/main.js" in " ".join(process.cmdline())]


def find_sshd() -> str:
    """The path of sshd; skips the test where there is none."""
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None or shutil.which("ssh-keygen") is None:
        pytest.skip("needs sshd and ssh-keygen (Debian: apt install openssh-server)")
    return program


def generate_key(path: Path, kind: str) -> None:
    # NNI's SSH library reads private keys of users as PEM.
    form = ["-m", "PEM", "-b", "2048"] if kind == "rsa" else []
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, *form, "-N", "", "-f", str(path)], check=True, stdin=subprocess.DEVNULL
    )


@contextmanager
def ssh_server(folder: Path, port: int) -> Iterator[SshServer]:
    """A running server; everything it started is gone at the end."""
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    server = SshServer(folder, port)
    server.start()
    try:
        yield server
    finally:
        server.kill()
