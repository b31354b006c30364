"""Records where a project keeps them: as tensors, in a loader or a data set, or behind a function; all or some of them.

They are read without a trace: no generator is moved on, so a training that goes on with the same loader draws the
batches that it would have drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from torch.utils.data import Dataset as TorchDataset

from nni_privacy.auditing.records import in_order, is_map_style, record_tensors
from nni_privacy.data import Dataset
from nni_privacy.data.inputs import Inputs
from nni_privacy.errors import AuditError, DataError
from nni_privacy.rng import derived_seed, isolated
from nni_privacy.training.gradients import gradients_on

__all__ = ["SourcedRecords", "check_sources", "holds_records", "read_records", "trainer_caveats", "trainer_records"]

_LOADERS = {"members": "train_dataloader", "nonmembers": "val_dataloaders"}


@dataclass(frozen=True, eq=False)
class SourcedRecords:
    """Records of one side of an audit.

    Attributes:
        inputs: of n records.
        labels: ``(n,)`` of ``int64``.
        places: ``(n,)`` of ``int64``, where each stood in its source.
    """

    inputs: Inputs
    labels: Tensor
    places: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def pair(self) -> tuple[Any, Tensor]:
        """As :func:`nni_privacy.audit` takes them."""
        return self.inputs.value, self.labels

    def some(self, rows: npt.NDArray[np.int64]) -> SourcedRecords:
        """Those at ``rows``."""
        return SourcedRecords(self.inputs[torch.from_numpy(rows)], self.labels[rows], self.places[rows])


def holds_records(value: Any) -> bool:
    """Whether ``value`` is certainly records: a data set or a loader, or a list of them."""
    if isinstance(value, list | tuple):
        return bool(value) and all(map(holds_records, value))
    return isinstance(value, Dataset | DataLoader | TorchDataset)


def check_sources(members: Any, nonmembers: Any) -> None:
    """Sees, without reading them, that both are of a kind that can hold records, or None: they may be read much later.

    Raises:
        AuditError: if one is not.
    """
    for name, source in (("members", members), ("nonmembers", nonmembers)):
        if source is None or callable(source) or (hasattr(source, "__len__") and not isinstance(source, str | bytes)):
            continue
        raise AuditError(
            f"{name} is a {type(source).__name__}, expected a pair (inputs, labels), a mapping with labels, a data set "
            "or loader of torch, or a function that returns one"
        )


def read_records(name: str, source: Any, *, scaled: bool, limit: int | None = None, seed: int = 0) -> SourcedRecords:
    """Reads the records of one side.

    Args:
        name: of the side, for messages.
        source: what :func:`~nni_privacy.auditing.records.record_tensors` takes; a list of loaders or data sets, one
            after the other; or a function without arguments that returns such.
        scaled: as there.
        limit: the most records; of more, so many are drawn by ``seed``, and no others are loaded where the source can
            tell them apart.
        seed: of what is drawn.

    Raises:
        AuditError: with ``name``, if they cannot be read.
    """
    with gradients_on(), isolated(threads=torch.get_num_threads()):  # also in the middle of a validation
        if callable(source) and not holds_records(source):
            source = source()
        if not isinstance(source, list | tuple) or not holds_records(source):
            return _read(name, source, scaled=scaled, limit=limit, seed=seed)
        parts = [_read(name, part, scaled=scaled, limit=None, seed=seed) for part in source]
    try:
        inputs = Inputs.cat([part.inputs for part in parts])
    except DataError as error:
        raise AuditError(f"{name}: {error}") from error
    labels = torch.cat([part.labels for part in parts])
    rows = _drawn(name, len(labels), limit, seed)
    whole = SourcedRecords(inputs, labels, np.arange(len(labels)))
    return whole if rows is None else whole.some(rows)


def trainer_records(trainer: Any, side: str) -> Any:
    """The loaders that a trainer of Lightning takes one side from; None if there are none, or it is not set up yet.

    Args:
        trainer: of Lightning.
        side: ``members`` or ``nonmembers``.
    """
    found = getattr(trainer, _LOADERS[side], None)
    return None if isinstance(found, list | tuple) and not found else found


def trainer_caveats(trainer: Any) -> tuple[str, ...]:
    """Why what a trainer's loader yields may be no members; each begins with its kind, as notices do."""
    limit, fast = getattr(trainer, "limit_train_batches", 1.0), getattr(trainer, "fast_dev_run", False)
    if not fast and (limit is None or (isinstance(limit, float) and limit == 1)):
        return ()
    cause = "fast_dev_run" if fast else f"limit_train_batches={limit}"
    return (
        f"unsure members: by {cause} the trainer leaves batches out, so some members may never have been trained on",
    )


def _read(name: str, source: Any, *, scaled: bool, limit: int | None, seed: int) -> SourcedRecords:
    loaded, rows = source, None
    if isinstance(source, DataLoader) or is_map_style(source):
        loader = in_order(source)
        if loader is not source and hasattr(loader.dataset, "__len__"):
            rows = _drawn(name, len(loader.dataset), limit, seed)
        if rows is not None:
            subset: Any = Subset(loader.dataset, rows.tolist())
            workers = loader.num_workers
            loaded = DataLoader(subset, loader.batch_size, collate_fn=loader.collate_fn, num_workers=workers)
    with _kept_generators(source):
        inputs, labels = record_tensors(name, loaded, scaled=scaled)
    if rows is not None and len(rows) == len(labels):
        return SourcedRecords(inputs, labels, rows)
    whole = SourcedRecords(inputs, labels, np.arange(len(labels)))
    rows = _drawn(name, len(labels), limit, seed)
    return whole if rows is None else whole.some(rows)


def _drawn(name: str, count: int, limit: int | None, seed: int) -> npt.NDArray[np.int64] | None:
    """The places of ``limit`` of ``count`` records in their order; None if it is all of them."""
    if limit is None or count <= limit:
        return None
    chosen = np.random.default_rng(derived_seed(seed, "records", name)).choice(count, limit, replace=False)
    return np.sort(chosen).astype(np.int64)


@contextmanager
def _kept_generators(source: Any) -> Iterator[None]:
    """Puts the generators that a loader draws its order from back."""
    holders = [source, getattr(source, "sampler", None), getattr(source, "batch_sampler", None)]
    with ExitStack() as stack:
        for holder in holders:
            generator = getattr(holder, "generator", None)
            if isinstance(generator, torch.Generator):
                stack.callback(generator.set_state, generator.get_state())
        yield
