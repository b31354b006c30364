"""Interrupts of a command: SIGTERM, SIGHUP and Ctrl-C end it alike, from its first moment on. Imports nothing heavy."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupt", "interruptible", "take_interrupt"]

COMPILED = ("numpy", "torch")
"""Libraries whose import calls Python from compiled code, which swallows an exception, or aborts the process."""
IMPORTING = "<frozen importlib"
"""How the names of Python's own files of the import system begin."""
PATIENCE = 15.0
"""Seconds that an import may take after a signal."""
TICK = 0.02
"""Seconds from one look whether it is over to the next."""


class Interrupt:
    """A signal's handler that raises KeyboardInterrupt, and remembers it: what is imported may swallow that.

    Amid an import of what is compiled it waits until that is over; a second signal does not wait. Where Python tells
    that it was swallowed (by a finaliser, or by compiled code), it is raised again.

    Attributes:
        asked: whether a signal has come.
    """

    def __init__(self) -> None:
        self.asked = False
        self._until = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Takes a signal."""
        again, self.asked = self.asked, True
        self._until = time.monotonic() + PATIENCE
        if again or not _amid_import(frame):
            raise KeyboardInterrupt
        self.ask_later()

    def ask_later(self) -> None:
        """Raises after a moment."""
        signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, TICK)

    def _look(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() < self._until and _amid_import(frame):
            signal.setitimer(signal.ITIMER_REAL, TICK)
            return
        raise KeyboardInterrupt

    @property
    def waits(self) -> bool:
        """Whether a signal has come that has not been raised yet."""
        return signal.getsignal(signal.SIGALRM) == self._look and signal.getitimer(signal.ITIMER_REAL)[0] > 0

    def close(self) -> None:
        """Asks no more."""
        if signal.getsignal(signal.SIGALRM) == self._look:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _amid_import(frame: FrameType | None) -> bool:
    """Whether what runs is part of an import, and something compiled is there."""
    if not any(name in sys.modules for name in COMPILED):
        return False
    while frame is not None:
        if frame.f_code.co_filename.startswith(IMPORTING):
            return True
        frame = frame.f_back
    return False


@contextmanager
def _raised_again(handler: Interrupt) -> Iterator[None]:
    """An interrupt that Python could only tell of, as nobody can take it where it was raised, comes again."""
    previous = sys.unraisablehook

    def take(ignored: sys.UnraisableHookArgs) -> None:
        if handler.asked and issubclass(ignored.exc_type, KeyboardInterrupt) and _in_main_thread():
            handler.ask_later()
        else:
            previous(ignored)

    sys.unraisablehook = take
    try:
        yield
    finally:
        sys.unraisablehook = previous


def take_interrupt() -> None:
    """Lets this process end with an exit code of its own after an interrupt that has been caught.

    CPython remembers an interrupt that has left any source text that is run (dataclasses and named tuples are made so),
    even if it is caught then, and ends the process at last as if killed by SIGINT; it forgets it when the next runs.
    """
    exec("")  # noqa: S102 - a constant


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Lets SIGTERM and SIGHUP end a run as Ctrl-C does: the manager and its trials are stopped, what there is is kept.

    Ctrl-C's own signal is set too: a shell starts a background job with it ignored. A SIGHUP that is ignored, by nohup,
    stays so. Only the main thread can take signals: in another one, nothing is changed.

    Raises:
        KeyboardInterrupt: at once if one like this around it was asked to end, and something swallowed that.
    """
    handler = Interrupt()
    if not _in_main_thread():
        yield handler
        return
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        asked = [old for old in previous.values() if isinstance(old, Interrupt) and old.asked]
        if asked:
            asked[0].close()
            raise KeyboardInterrupt
        with _raised_again(handler):
            yield handler
        if handler.waits:
            raise KeyboardInterrupt
    finally:
        handler.close()
        for number, old in previous.items():
            signal.signal(number, old or signal.SIG_DFL)
