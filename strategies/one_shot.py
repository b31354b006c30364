"""Base class of one-shot strategies: the way into NNI, the data, checkpoints, and the log of the search."""

from __future__ import annotations

import io
import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from nni.nas.execution import ExecutionEngine
from nni.nas.space import ExecutableModelSpace
from nni.nas.strategy import Strategy
from pydantic import Field
from torch import Tensor

from nni_privacy.data import Normalizer
from nni_privacy.errors import ConfigError, PrivacyError
from nni_privacy.files import UNREADABLE, atomic_write, writing_run
from nni_privacy.rng import isolated, stream_seed
from nni_privacy.runs.epochs import EpochRecord, SearchLog
from nni_privacy.schema import Count, Seed, Several, checked, validated
from nni_privacy.search_spaces.hub import space_name
from nni_privacy.search_spaces.searchable import Searchable, open_space
from nni_privacy.search_spaces.supernet import Gate, Sample
from nni_privacy.strategies.registry import StrategyOptions
from nni_privacy.training.fit import epoch_batches, prepare_batch, resolve_device

__all__ = ["Batch", "OneShotOptions", "OneShotStrategy", "SearchData"]

CHECKPOINT = "checkpoint.pt"
_MOST_RANKED = 1024
"""How many of the best architectures are looked at for feasible ones."""
_logger = logging.getLogger(__name__)
Batch = tuple[Tensor, Tensor]
"""Images (n, C, h, w), normalised, and labels (n,), on the device."""


@dataclass(frozen=True, eq=False)
class SearchData:
    """The two halves of target-train on which an architecture is searched (paper, section 1).

    Attributes:
        images: (n, C, h, w), all records.
        labels: (n,) int64.
        train: indices of the half on which weights are trained.
        validation: indices of the half on which architectures are judged.
        normalize: statistics of all of ``images``.
        device: where batches go.
    """

    images: Tensor
    labels: Tensor
    train: Tensor
    validation: Tensor
    normalize: Normalizer
    device: torch.device

    @classmethod
    def halved(cls, images: Tensor, labels: Tensor, *, seed: int, device: str) -> SearchData:
        """Two equal, disjoint, random halves of the given records; of an odd number one is left over."""
        if len(images) != len(labels) or len(labels) < 4:
            raise ConfigError(f"data: {len(images)} images and {len(labels)} labels; a search needs 4 or more of both")
        half = len(labels) // 2
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(stream_seed(seed, 0)))
        normalize = Normalizer.fit(images)
        return cls(images, labels, order[:half], order[half : 2 * half], normalize, resolve_device(device))

    @classmethod
    def of_evaluator(cls, evaluator: Any, *, seed: int, device: str) -> SearchData:
        """The halves of an evaluator's target-train; of its target-test and shadow parts nothing is seen.

        Raises:
            ConfigError: if the evaluator has no data of ours.
        """
        if not hasattr(evaluator, "load_data"):
            raise ConfigError(
                f"data: a {type(evaluator).__name__} does not say what to search on; "
                "give the strategy data=(images, labels)"
            )
        data, split = evaluator.load_data()
        members = torch.from_numpy(split.target_train)
        return cls.halved(data.images[members], data.labels[members], seed=seed, device=device)

    def batch(self, index: Tensor) -> Batch:
        """The records ``index``, normalised, on the device."""
        images = self.images[index].to(self.device)
        return prepare_batch(images, self.normalize), self.labels[index].to(self.device)

    def epoch(self, *, batch_size: int, seed: int, epoch: int) -> Iterator[tuple[Batch, Batch]]:
        """Pairs of a training and a validation batch, both halves reshuffled; the same for the same seed and epoch."""
        orders = [
            epoch_batches(
                len(half),
                batch_size=batch_size,
                generator=torch.Generator().manual_seed(stream_seed(seed, 1, epoch, number)),
            )
            for number, half in enumerate((self.train, self.validation))
        ]
        for train, validation in zip(*orders, strict=True):
            yield self.batch(self.train[train]), self.batch(self.validation[validation])

    def validation_batch(self, *, batch_size: int, seed: int, number: int = 0) -> Batch:
        """One random batch of the validation half."""
        generator = torch.Generator().manual_seed(stream_seed(seed, 2, number))
        return self.batch(self.validation[torch.randperm(len(self.validation), generator=generator)[:batch_size]])


class OneShotOptions(StrategyOptions):
    """Options of every one-shot strategy."""

    batch_size: Several = Field(64, description="records a step, of either half")
    top_k: Count = Field(1, description="architectures to train from scratch and audit at the end")


class OneShotStrategy(Strategy):
    """A search that trains (or probes) one supernet, then submits its best architectures to NNI's engine.

    The engine retrains these from scratch and audits them, whichever engine it is: they are ordinary trials, in the web
    UI and in the run directory. Nothing of the supernet's weights reaches them.

    The search runs in this process, on the two halves of target-train. With a ``folder`` it leaves a checkpoint there
    after every epoch; a strategy with the same options and folder goes on from it, and ends in the same cell.

    Args:
        data: images (n, C, h, w) and labels (n,) to search on; by default the target-train part of the experiment's
            :class:`~nni_privacy.PrivacyEvaluator`.
        seed: drives the halves, the initial weights, the batches and everything that is drawn; by default the
            evaluator's, or 0.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: torch's threads on the CPU; one is reproducible bit for bit.
        folder: where checkpoint and log go; without one there are none.
        on_epoch: called with the :class:`EpochRecord` of each epoch.
        **options: of the algorithm, see its :attr:`Options`.

    Raises:
        ConfigError: if an option is unknown or out of range; at :meth:`check`, if the space or data do not fit.
    """

    Options: ClassVar[type[OneShotOptions]] = OneShotOptions

    def __init__(
        self,
        *,
        data: tuple[Tensor, Tensor] | None = None,
        seed: int | None = None,
        device: str = "auto",
        threads: int = 1,
        folder: str | Path | None = None,
        on_epoch: Callable[[EpochRecord], None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.options: Any = validated(self.Options, options)
        self.given_data, self.device, self.threads = data, device, checked(Count, threads, "threads")
        self.seed = checked(Seed | None, seed, "seed")
        self.folder = None if folder is None else Path(folder)
        self.on_epoch = on_epoch
        self.feasible: Callable[[Sample], bool] | None = None
        """Which architectures may be among the best; None: all."""
        self.epoch = 0
        """Number of finished epochs."""
        self._begun = False

    searchable: Searchable
    data: SearchData

    def extra_repr(self) -> str:
        """For ``repr``."""
        return ", ".join(f"{name}={value!r}" for name, value in self.options.model_dump().items())

    # --- the way into NNI ---

    def check(self, model_space: ExecutableModelSpace) -> None:
        """Raises ConfigError unless the search could start on ``model_space``; changes and writes nothing."""
        searchable = open_space(model_space)
        records, batch_size = len(self._open_data(model_space).train), self.options.batch_size
        if batch_size > records:
            raise ConfigError(f"batch_size: {batch_size}; each half of the training records has {records}")
        self._checkpoint()  # a damaged one is said before anything is started
        if not searchable.own:
            self._try(searchable, self._open_data(model_space))

    def _try(self, searchable: Searchable, data: SearchData) -> None:
        """Raises ConfigError unless a space that is not ours works as one network: mixed, and with every candidate."""
        name = space_name(searchable.space)
        with isolated(threads=self.threads), torch.no_grad():
            try:
                supernet = searchable.supernet(seed=0).to(data.device)
                images, _ = data.batch(data.train[:2])
                sizes = {one.key: len(one.candidates) for one in supernet.decisions}
                mixed = {key: Gate(weights=torch.full((n,), 1 / n, device=data.device)) for key, n in sizes.items()}
                paths = ({key: Gate(active=(at % n,)) for key, n in sizes.items()} for at in range(max(sizes.values())))
                found = [supernet(images, gates) for gates in (mixed, *paths)]
            except PrivacyError:
                raise
            except (TypeError, ValueError, RuntimeError, LookupError, AttributeError) as error:
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                raise ConfigError(f"{name} cannot be searched as one network: {reason}") from None
            if not all(isinstance(logits, Tensor) and logits.ndim == 2 for logits in found):
                raise ConfigError(f"{name} returns a {type(found[0]).__name__}; expected logits (n, K)")

    def _initialize(self, model_space: ExecutableModelSpace, engine: ExecutionEngine) -> ExecutableModelSpace:
        self.prepare(model_space)
        return model_space

    def prepare(self, model_space: ExecutableModelSpace) -> None:
        """Opens space and data and builds what is searched; :meth:`search` may follow, without an engine."""
        self.check(model_space)
        if self.seed is None:
            self.seed = int(getattr(getattr(model_space, "evaluator", None), "seed", 0))
        self.searchable = open_space(model_space)
        if self.searchable.sizes:
            shown = " and ".join(f"{size} {label}" for label, size in self.searchable.sizes.items())
            _logger.warning("the cell is searched, and trained, at the largest size: %s", shown)
        self.data = self._open_data(model_space)
        with isolated(threads=self.threads):
            self.begin()
            self._begun = True
            state = self._checkpoint()
            if state is not None:
                with self._reading_checkpoint():
                    self.load_state_dict(state)

    def _open_data(self, model_space: ExecutableModelSpace) -> SearchData:
        evaluator = getattr(model_space, "evaluator", None)
        seed = self.seed if self.seed is not None else int(getattr(evaluator, "seed", 0))
        if self.given_data is not None:
            return SearchData.halved(*self.given_data, seed=seed, device=self.device)
        return SearchData.of_evaluator(evaluator, seed=seed, device=self.device)

    def _run(self) -> None:
        for sample in self.search():
            if not self.wait_for_resource():
                return
            self.engine.submit_models(self.model_space.freeze(self._sized(sample)))

    def _sized(self, sample: Sample) -> Sample:
        """A sample of the space: where its size is searched, with the size that the cell was searched at."""
        return {**sample, **self.searchable.sizes}

    # --- the search ---

    def search(self) -> list[Sample]:
        """Runs what is left of the search.

        Returns:
            The best architectures, the best first, at most ``top_k``, all different.
        """
        with isolated(threads=self.threads), SearchLog(self.folder) as log:
            for epoch in range(self.epoch, self.total_epochs()):
                started = time.perf_counter()
                metrics = self.run_epoch(epoch)
                self.epoch = epoch + 1
                seconds = round(time.perf_counter() - started, 3)
                sample, layout = self.current_sample(), self.layout()
                text, skips = layout.describe(sample), layout.skip_connections(sample)
                total, entropy = self.total_epochs(), self.entropy()
                record = EpochRecord(self.epoch, total, text, skips, entropy, dict(metrics), seconds)
                # The log first: stopped in between, the epoch is done again and its line replaced, not left out.
                with writing_run():
                    log.write(record)
                self._save()
                if self.on_epoch is not None:
                    self.on_epoch(record)
            return self._best_feasible()

    def _best_feasible(self) -> list[Sample]:
        """The best architectures, those that are not feasible left out."""
        top_k = wanted = self.options.top_k
        feasible = self.feasible
        if feasible is None:
            return self.best_samples(top_k)
        while True:
            ranked = self.best_samples(wanted)
            found = [sample for sample in ranked if feasible(self._sized(sample))]
            if len(found) >= top_k or len(ranked) < wanted or wanted >= _MOST_RANKED:
                break
            wanted = min(4 * wanted, _MOST_RANKED)
        if len(found) < top_k:
            _logger.warning("of the best %d architectures %d keep the constraints", len(ranked), len(found))
        return found[:top_k]

    @abstractmethod
    def total_epochs(self) -> int:
        """How many epochs the search has."""

    @abstractmethod
    def begin(self) -> None:
        """Builds what is searched, from :attr:`searchable`, :attr:`data` and :attr:`seed`."""

    @abstractmethod
    def run_epoch(self, epoch: int) -> dict[str, float]:
        """One epoch, counted from 0; what it draws depends on the seed and its number only. Returns its metrics."""

    @abstractmethod
    def best_samples(self, count: int) -> list[Sample]:
        """The best architectures as the search stands now, the best first; may be asked after any epoch."""

    @abstractmethod
    def search_state(self) -> dict[str, Any]:
        """Everything that the epochs change, as tensors and plain values."""

    @abstractmethod
    def load_search_state(self, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`search_state` gave."""

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers by what they change, ``weights`` or ``architecture``; empty if nothing is trained."""
        return {}

    def entropy(self) -> float | None:
        """Mean entropy of the decisions' distributions in nats; None if there are none."""
        return None

    @abstractmethod
    def current_sample(self) -> Sample:
        """The architecture that would be exported now, at little cost."""

    @abstractmethod
    def layout(self) -> Any:
        """The layout of the supernet."""

    def stream(self, *stream: int) -> int:
        """A seed for one purpose, given by numbers (what, which epoch), independent of those for all others."""
        if self.seed is None:
            raise RuntimeError("prepare() comes first")
        return stream_seed(self.seed, *stream)

    # --- checkpoints ---

    def state_dict(self) -> dict[str, Any]:
        """The search so far; empty where it did not begin (NNI saves the state of a search that was refused, too)."""
        if not self._begun:
            return {}
        return {"identity": self._identity(), "epoch": self.epoch, "search": self.search_state()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on from ``state_dict``, after :meth:`prepare`; that of a search that did not begin changes nothing.

        Raises:
            ConfigError: if it is of another search.
        """
        if not state_dict:
            return
        identity, found = self._identity(), state_dict["identity"]
        if found != identity:
            differing = sorted(key for key in identity if found.get(key) != identity[key])
            raise ConfigError(f"the checkpoint is of another search; {', '.join(differing)} differ")
        self.epoch = int(state_dict["epoch"])
        self.load_search_state(state_dict["search"])

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to fit; top_k may differ, it concerns the end only."""
        return {
            "algorithm": type(self).__name__,
            "options": self.options.model_dump(mode="json", exclude={"top_k"}),
            "seed": self.seed,
            "space": self.searchable.space.__name__,
            "sizes": {key: value for key, value in self.searchable.arguments.items() if type(value) is int},
            "choices": {
                str(label): [str(value) for value in values] for label, values in self.searchable.choices.items()
            },
            "records": len(self.data.labels),
        }

    def _save(self) -> None:
        if self.folder is None:
            return
        content = io.BytesIO()
        torch.save(self.state_dict(), content)
        with writing_run():
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic_write(self.folder / CHECKPOINT, content.getvalue())

    def _checkpoint(self) -> dict[str, Any] | None:
        """What the folder's checkpoint holds; None if there is none."""
        path = None if self.folder is None else self.folder / CHECKPOINT
        if path is None or not path.is_file():
            return None
        with self._reading_checkpoint():
            state = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(state, dict) or not {"identity", "epoch", "search"} <= set(state):
                raise ConfigError("not a checkpoint of a search: identity, epoch or search is missing")
            return state

    @contextmanager
    def _reading_checkpoint(self) -> Iterator[None]:
        try:
            yield
        except ConfigError as error:
            raise ConfigError(f"{self.folder}/{CHECKPOINT}: {error}") from None
        except UNREADABLE as error:
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(f"{self.folder}/{CHECKPOINT}: not a checkpoint of a search: {reason}") from None
