"""What the live page shows: runs, studies and audits by keys that stay the same while it is served."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from nni_privacy.live.audit_view import AuditView, holds_audit
from nni_privacy.live.run_view import RunView, holds_run
from nni_privacy.runs.records import CONFIRM

__all__ = ["Library", "View", "holds_something"]

View = RunView | AuditView

MOST = 1000
"""Folders of one folder of runs that are looked at."""


def holds_something(folder: Path) -> bool:
    """Whether a folder is a run or an audit, or one that holds some."""
    return any(_places(folder))


def _places(folder: Path) -> Iterator[Path]:
    """The runs and audits of a folder: itself with what confirms it, or those that lie in it."""
    if holds_run(folder) or holds_audit(folder):
        yield from _with_confirmation(folder)
        return
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    for path in inside[:MOST]:
        if holds_run(path) or holds_audit(path):
            yield from _with_confirmation(path)


def _with_confirmation(folder: Path) -> Iterator[Path]:
    yield folder
    if holds_run(folder / CONFIRM):
        yield folder / CONFIRM


class Library:
    """Everything that is shown. Safe among threads.

    A place is known by a key, its number in the order in which it was seen first; no request names a path.

    Args:
        folders: runs, audits, or folders of these; one may appear later or be gone for a while.
        nni: the run directory whose pages of NNI are beside this page; None: there are none.
    """

    def __init__(self, folders: Sequence[Path], *, nni: Path | None = None) -> None:
        self._folders, self._nni = [folder.absolute() for folder in folders], nni and nni.absolute()
        self._lock = threading.Lock()
        self._views: dict[str, View] = {}
        self._keys: dict[Path, str] = {}

    @property
    def beside_manager(self) -> bool:
        """Whether the page is one of NNI's manager's."""
        return self._nni is not None

    def views(self) -> dict[str, View]:
        """What there is now, by its key."""
        with self._lock:
            found = {}
            for path in self._now():
                key = self._keys.get(path)
                if key is None:
                    key = self._keys[path] = str(len(self._views))
                    self._views[key] = AuditView(path) if holds_audit(path) else RunView(path, nni=path == self._nni)
                found[key] = self._views[key]
            return found

    def view(self, key: str) -> View | None:
        """That of a key that has been given out; None of any other."""
        return self._views.get(key) or self.views().get(key)

    def read_ahead(self) -> None:
        """Reads all of it in a thread of its own, so that whoever opens the page soon does not wait for that."""

        def read() -> None:
            for view in self.views().values():
                with suppress(Exception):  # whoever asks for it is told
                    view.entry()

        threading.Thread(target=read, name="read ahead", daemon=True).start()

    def _now(self) -> Iterator[Path]:
        for folder in self._folders:
            try:
                yield from _places(folder)
            except OSError:  # it is gone, or closed to this user: what else there is stays
                continue
