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

_RUN, _AUDIT, _CLOSED = "run", "audit", "closed"
"""What a folder is; the last: nobody can tell, as it cannot be read."""

Place = tuple[Path, str]


def holds_something(folder: Path) -> bool:
    """Whether a folder is a run or an audit, or one that holds some."""
    return any(kind != _CLOSED for _, kind in _places(folder))


def _places(folder: Path) -> Iterator[Place]:
    """The runs and audits of a folder: itself with what confirms it, or those that lie in it."""
    if (kind := _kind(folder)) is not None:
        yield from _with_confirmation(folder, kind)
        return
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and _is_folder(path))
    for path in inside[:MOST]:
        try:
            kind = _kind(path)
        except OSError:  # it is listed with its error: those behind it are not its fault
            kind = _CLOSED
        if kind is not None:
            yield from _with_confirmation(path, kind)


def _kind(folder: Path) -> str | None:
    if holds_audit(folder):
        return _AUDIT
    return _RUN if holds_run(folder) else None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _with_confirmation(folder: Path, kind: str) -> Iterator[Place]:
    yield folder, kind
    if kind != _CLOSED and _holds_confirmation(folder):
        yield folder / CONFIRM, _RUN


def _holds_confirmation(folder: Path) -> bool:
    """Whether the run that confirms it lies in it; a link that leads out is none."""
    try:
        return holds_run(folder / CONFIRM) and (folder / CONFIRM).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return False


class Library:
    """Everything that is shown. Safe among threads.

    A place is known by a key, its number in the order in which it was seen first as what it is: an audit in the place
    of a run has a key of its own. No request names a path.

    Args:
        folders: runs, audits, or folders of these; one may appear later or be gone for a while.
        nni: the run directory whose pages of NNI are beside this page; None: there are none.
    """

    def __init__(self, folders: Sequence[Path], *, nni: Path | None = None) -> None:
        self._folders, self._nni = [folder.absolute() for folder in folders], nni and nni.absolute()
        self._lock = threading.Lock()
        self._views: dict[str, View] = {}
        self._keys: dict[Place, str] = {}

    @property
    def beside_manager(self) -> bool:
        """Whether the page is one of NNI's manager's."""
        return self._nni is not None

    def views(self) -> dict[str, View]:
        """What there is now, by its key."""
        with self._lock:
            found = {}
            for place in self._now():
                key = self._keys.get(place)
                if key is None:
                    key = self._keys[place] = str(len(self._views))
                    path, kind = place
                    self._views[key] = AuditView(path) if kind == _AUDIT else RunView(path, nni=path == self._nni)
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

    def _now(self) -> Iterator[Place]:
        for folder in self._folders:
            try:
                yield from _places(folder)
            except OSError:  # it is gone, or closed to this user: what else there is stays
                continue
