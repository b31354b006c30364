"""An NNI evaluator that carries out one measurement of a study."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from nni_privacy.auditing.monitor import Watcher
from nni_privacy.auditing.shadows.models import ModelSource
from nni_privacy.data import Dataset, FourWaySplit, Normalizer
from nni_privacy.evaluator import PrivacyEvaluator, architecture_text, factors_text
from nni_privacy.studies.snapshots import SnapshotOptions, Snapshots
from nni_privacy.studies.sources import source_from_dict
from nni_privacy.training.contour_options import ContourOptions

__all__ = ["MeasurementEvaluator"]


class MeasurementEvaluator(PrivacyEvaluator):
    """Makes the network of a measurement, trains it, and attacks it.

    It reports what :class:`~nni_privacy.PrivacyEvaluator` does, and the factors of the measurement.

    Args:
        dataset: see :class:`~nni_privacy.PrivacyEvaluator`, as for the options that are not named here.
        factors: what tells the measurement from the others of its study.
        source: how the network comes about, as :meth:`~nni_privacy.studies.sources.Source.to_dict` gives it.
        contours: how the loss contour is made; None: none is.
        snapshots: after which epochs the model is attacked, and how; None: at the end only.
        folder: of the study; a search in the trial keeps its checkpoints there, where that folder is.
        **options: of :class:`~nni_privacy.PrivacyEvaluator`.
    """

    def __init__(
        self,
        dataset: str | Mapping[str, Any],
        *,
        factors: Mapping[str, Any],
        source: Mapping[str, Any],
        contours: ContourOptions | Mapping[str, Any] | None = None,
        snapshots: SnapshotOptions | Mapping[str, Any] | None = None,
        folder: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dataset, **options)
        self.factors = dict(factors)
        self.source = source_from_dict(source)
        self.contours = ContourOptions.from_mapping(contours) if isinstance(contours, Mapping) else contours
        self.snapshots = SnapshotOptions.from_mapping(snapshots) if isinstance(snapshots, Mapping) else snapshots
        self.folder = folder

    @property
    def searches(self) -> bool:
        """Whether only the trial will know the architecture."""
        return self.source.text is None

    @property
    def architecture_text(self) -> str:
        """What will be trained, as far as it is known before."""
        return self.source.text or str(self.factors["architecture"])

    def describe(self, model: nn.Module) -> dict[str, Any]:
        """The architecture and the factors."""
        return {
            "architecture": architecture_text(model) if self.searches else self.architecture_text,
            "factors": factors_text(self.factors),
        }

    def watchers(
        self, model: nn.Module, data: Dataset, split: FourWaySplit, normalize: Normalizer, device: torch.device
    ) -> Sequence[Watcher]:
        """The snapshots, if some are asked for."""
        return (
            [] if self.snapshots is None else [Snapshots(self.snapshots, self, model, data, split, normalize, device)]
        )

    def shadow_model(self, data: Dataset) -> ModelSource | None:
        """The source's own word for it."""
        return self.source.shadow_model(data)

    def further_arrays(
        self, model: nn.Module, data: Dataset, split: FourWaySplit, normalize: Normalizer, device: torch.device
    ) -> dict[str, npt.NDArray[Any]]:
        """The loss contour over some of target-train, if one is asked for."""
        if self.contours is None:
            return {}
        from nni_privacy.training.contours import loss_contour

        chosen = split.target_train[: self.contours.records]  # in the split's random order
        info = loss_contour(
            model,
            data.images[chosen],
            data.labels[chosen],
            normalize=normalize,
            steps=self.contours.steps,
            span=self.contours.span,
            seed=self.seed,
            device=device,
        )
        return info.to_arrays()

    def _execute(self, model: Any) -> Any:
        # NNI's model only says which measurement this is; the network is made here.
        torch.set_num_threads(self.threads)
        data, _ = self.load_data()
        return self.evaluate(self.source.build(data, evaluator=self, folder=self._search_folder()))

    def _search_folder(self) -> Path | None:
        """Where a search of this measurement keeps its checkpoint: the study's folder, if that is on this machine."""
        if self.folder is not None and Path(self.folder).is_dir():
            name = hashlib.sha256(factors_text(self.factors).encode()).hexdigest()[:16]
            return Path(self.folder) / "searches" / name
        output = os.environ.get("NNI_OUTPUT_DIR")
        return None if output is None else Path(output) / "search"

    def _dump(self) -> dict[str, Any]:
        return {
            **super()._dump(),
            "factors": self.factors,
            "source": self.source.to_dict(),
            "contours": None if self.contours is None else self.contours.to_dict(),
            "snapshots": None if self.snapshots is None else self.snapshots.to_dict(),
            "folder": self.folder,
        }
