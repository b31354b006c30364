"""The live page of a run, served by the process that searches: from a thread of its own, for its manager to pass on."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nni_privacy.live.library import Library
from nni_privacy.live.run_view import holds_run
from nni_privacy.live.serving import SocketServer
from nni_privacy.nni_runtime.patches.live import LIVE_VARIABLE
from nni_privacy.runs.records import CONFIRM

__all__ = ["LivePage"]

_logger = logging.getLogger(__name__)


class LivePage:
    """The page of a run directory. Where there can be none, as a system has no such sockets, the run goes on without.

    A run that confirms a search is shown beside it.

    Args:
        folder: the run directory.
    """

    def __init__(self, folder: Path) -> None:
        confirms = folder.name == CONFIRM and holds_run(folder.parent)
        self._server: SocketServer | None = None
        try:
            self._server = SocketServer(Library([folder.parent if confirms else folder], nni=folder))
        except (OSError, AttributeError) as error:  # Python knows no such sockets on some systems
            _logger.warning("the web UI has no Privacy page: %s", error)

    @contextmanager
    def told(self) -> Iterator[None]:
        """A manager that is started meanwhile knows where the page is."""
        if self._server is None:
            yield
            return
        os.environ[LIVE_VARIABLE] = self._server.address
        try:
            yield
        finally:
            os.environ.pop(LIVE_VARIABLE, None)

    def close(self) -> None:
        """Ends it; may be called more than once."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
