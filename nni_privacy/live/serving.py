"""Servers of the live page: on a port of 127.0.0.1, or on a Unix socket that this user alone can reach."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from nni_privacy.errors import ConfigError
from nni_privacy.live.app import LiveApp
from nni_privacy.live.guard import Guard
from nni_privacy.live.library import Library

__all__ = ["HERE", "SocketServer", "port_server"]

HERE = "127.0.0.1"
_PREFIX, _SOCKET = "nni-privacy-page-", "socket"
_OLD_SECONDS = 60.0
"""A socket of this age listens, or nobody will any more."""

_WAITING = 64
"""Connections that may wait to be taken."""

_LONGEST_ADDRESS = 90
"""Bytes; a socket's address may have a hundred everywhere."""

_logger = logging.getLogger(__name__)


class _Handler(WSGIRequestHandler):
    """A request, of which nothing is printed; one that is not finished in time is given up."""

    timeout = 30

    def version_string(self) -> str:
        """What the server calls itself: not its versions."""
        return "nni-privacy"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Keeps quiet: a page asks every other second."""
        _logger.debug("%s %s", type, message % args if args else message)

    def address_string(self) -> str:
        """Who asks; a Unix socket does not tell."""
        return str(self.client_address[0]) if self.client_address else "local"


class _Server(ThreadedWSGIServer):
    """A server whose threads end with the process, and which prints nothing of a client that went away."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Takes note of what a connection died of."""
        _logger.debug("a connection ended", exc_info=True)


def port_server(library: Library, port: int, *, token: str | None) -> ThreadedWSGIServer:
    """A server on a port of 127.0.0.1, which listens already.

    Args:
        library: what it shows.
        port: to listen on.
        token: that every request must carry; None: none.

    Raises:
        ConfigError: if it cannot listen there.
    """
    if not 1 <= port <= 65535:
        raise ConfigError(f"port: {port}; allowed is 1 to 65535")
    try:
        listener = socket.create_server((HERE, port))
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error
        raise ConfigError(f"port: {port} is in use or not allowed ({why}); choose another") from None
    with listener:
        return _Server(HERE, port, Guard(LiveApp(library), token=token, port=port), _Handler, fd=listener.fileno())


class SocketServer:
    """A server on a Unix socket in a new folder with mode 0700, in a thread of its own that ends with the process.

    Args:
        library: what it shows.

    Raises:
        OSError: if there can be no such socket here.
    """

    def __init__(self, library: Library) -> None:
        self._folder = _short_folder()
        # Also where nobody closes it, as a manager that does not start ends the program; never by a forked child.
        self._remove = weakref.finalize(self, _removed, self._folder, os.getpid())
        try:
            self.address = str(self._folder / _SOCKET)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(self.address)
                listener.listen(_WAITING)
                place = f"unix://{self.address}"
                self._server = _Server(place, 0, LiveApp(library), _Handler, fd=listener.fileno())
        except BaseException:
            self._remove()
            raise
        self._thread = threading.Thread(target=self._server.serve_forever, name="live page", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the server and takes its folder away; may be called more than once."""
        self._server.shutdown()
        self._thread.join(5)
        with suppress(OSError):
            self._server.server_close()
        self._remove()


def _removed(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _short_folder() -> Path:
    """A new folder of this user's alone, whose path is short enough for a socket."""
    for place in (None, "/tmp"):  # noqa: S108 - mkdtemp makes a folder of its own in it
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        if len(str(folder).encode()) < _LONGEST_ADDRESS:
            _remove_left_behind(folder.parent)
            return folder
        folder.rmdir()
    raise OSError("no folder whose path is short enough for a socket")


def _remove_left_behind(place: Path) -> None:
    """Removes the folders of this user's processes that were killed: nobody listens at their sockets."""
    for address in place.glob(f"{_PREFIX}*/{_SOCKET}"):
        with suppress(OSError):
            state = address.stat()
            if state.st_uid != os.getuid() or time.time() - state.st_mtime < _OLD_SECONDS:
                continue
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(1.0)
                try:
                    client.connect(str(address))
                except ConnectionRefusedError:
                    shutil.rmtree(address.parent, ignore_errors=True)
