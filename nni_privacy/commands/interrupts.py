"""Interrupts of a command: SIGTERM, SIGHUP and Ctrl-C end it alike, from its first moment on. Imports nothing heavy."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupt", "interruptible", "take_interrupt"]


class Interrupt:
    """A signal's handler that raises KeyboardInterrupt, and remembers it: what is imported may swallow that.

    Attributes:
        asked: whether a signal has come.
    """

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Takes a signal."""
        self.asked = True
        raise KeyboardInterrupt


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
    if threading.current_thread() is not threading.main_thread():
        yield handler
        return
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        if any(getattr(old, "asked", False) for old in previous.values()):
            raise KeyboardInterrupt
        yield handler
    finally:
        for number, old in previous.items():
            signal.signal(number, old or signal.SIG_DFL)
