"""Loaders of a training that nobody told of: those that are gone through while weights change, and the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import DataLoader

__all__ = ["LoaderWatch"]


@dataclass(eq=False)
class LoaderWatch:
    """Watches every loader of torch that is gone through in a process.

    One during which the model's weights change yields members; one during which they do not, others, unless its data
    set is that of the former, too, as where the accuracy on the training data is measured.

    Attributes:
        state: tells two states of the model apart; called when a loader is begun and when it ends.
    """

    state: Callable[[], object]
    _trained: list[DataLoader[Any]] = field(default_factory=list)
    _asked: list[DataLoader[Any]] = field(default_factory=list)
    _open: list[tuple[DataLoader[Any], object]] = field(default_factory=list)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watches in this context; what a loader yields, and draws, stays the same."""
        original: Any = DataLoader.__iter__

        def begin(loader: DataLoader[Any]) -> Iterator[Any]:
            return self._through(loader, original(loader))

        DataLoader.__iter__ = begin  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            DataLoader.__iter__ = original  # type: ignore[method-assign]

    def found(self, side: str) -> list[DataLoader[Any]] | None:
        """The loaders of ``members`` or ``nonmembers`` so far, each data set once; None if there are none."""
        trained = [*self._trained, *(loader for loader, before in self._open if self.state() != before)]
        ours = {id(loader.dataset) for loader in trained}
        others = [loader for loader in self._asked if id(loader.dataset) not in ours]
        chosen = trained if side == "members" else others
        return list({_kind(loader): loader for loader in chosen}.values()) or None

    def _through(self, loader: DataLoader[Any], batches: Iterator[Any]) -> Iterator[Any]:
        entry = (loader, self.state())
        self._open.append(entry)
        try:
            yield from batches
        finally:  # also where it is left in the middle
            self._open.remove(entry)
            (self._trained if self.state() != entry[1] else self._asked).append(loader)


def _kind(loader: DataLoader[Any]) -> tuple[Any, ...]:
    """What tells loaders of different records apart: a function may make those of one set anew for every epoch."""
    size = len(loader.dataset) if hasattr(loader.dataset, "__len__") else None
    drawn: Any = loader.sampler
    sampler = len(drawn) if hasattr(drawn, "__len__") else None
    return type(loader.dataset), size, sampler, loader.batch_size
