"""Models out of the folders that ``nni-privacy export`` writes, and out of ``models/`` of a run directory."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nni_privacy.auditing.model_record import ModelRecord
from nni_privacy.data import Normalizer
from nni_privacy.errors import ConfigError, DataError
from nni_privacy.files import UNREADABLE, read_text
from nni_privacy.runs.models import MODEL_FILE, RECORD_FILE, metadata_of
from nni_privacy.runs.records import TRIALS
from nni_privacy.training.fit import MEMORY_FORMAT

__all__ = ["ReleasedModel", "load_model", "read_model"]


class ReleasedModel(nn.Module):
    """A trained network with its preprocessing: images (n, C, H, W) -> logits (n, K).

    It takes images as the network's data set has them, integers 0..255 or floats, so that
    :func:`~nni_privacy.audit` needs no ``normalize`` beside it.

    Args:
        network: takes normalised images.
        record: what is known of it.

    Attributes:
        network: the network itself.
        record: data set, recipe, seed, classes and versions.
    """

    def __init__(self, network: nn.Module, record: ModelRecord) -> None:
        super().__init__()
        self.network = network
        self.record = record

    @property
    def normalize(self) -> Normalizer:
        """The preprocessing alone."""
        return self.record.normalize

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, C, H, W) -> logits (n, K)."""
        logits: Tensor = self.network(self.normalize(images))
        return logits


def load_model(folder: str | Path) -> ReleasedModel:
    """The model of an exported folder, in evaluation mode on the CPU.

    Nothing in the folder is run: the network is built from ``model.json`` by this package, not by ``model.py``, and has
    the weights of ``model.safetensors``. The modules of a plugin whose space it is of must be imported before.

    Args:
        folder: as ``nni-privacy export`` writes it, or ``models/<trial>`` of a run directory.

    Raises:
        DataError: if it is no such folder, or one of its files is damaged.
        ConfigError: if the network cannot be built here.
    """
    record, state = read_model(folder)
    try:
        network = record.build()
    except ConfigError as error:
        raise ConfigError(f"{folder}: {error}") from None
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
        reason = " ".join(lines[0].split())
        raise DataError(f"{Path(folder) / MODEL_FILE}: not the weights of its model.json: {reason:.160}") from None
    try:
        carried = metadata_of((Path(folder) / MODEL_FILE).read_bytes())
    except DataError as error:
        raise DataError(f"{Path(folder) / MODEL_FILE}: {error}") from None
    if carried is not None and ModelRecord.from_json(carried, place=str(Path(folder) / MODEL_FILE)) != record:
        raise DataError(
            f"{Path(folder) / RECORD_FILE}: not the record that {MODEL_FILE} carries: one of them was changed"
        )
    network.to(memory_format=MEMORY_FORMAT)  # as it was trained: the last bits depend on it
    return ReleasedModel(network, record).eval()


def read_model(folder: str | Path) -> tuple[ModelRecord, dict[str, Tensor]]:
    """The record and the weights in a folder, read without running anything.

    Raises:
        DataError: as :func:`load_model`.
    """
    place = Path(folder)
    if not place.is_dir():
        raise DataError(f"{place}: no such folder; expected one that nni-privacy export wrote")
    for name in (RECORD_FILE, MODEL_FILE):
        if not (place / name).is_file():
            hint = ""
            if (place / TRIALS).is_file():
                hint = f"; it is a run directory: export a trial of it first, nni-privacy export {place} --output DIR"
            raise DataError(f"{place}: not an exported model, it has no {name}{hint}")
    record = ModelRecord.from_json(read_text(place / RECORD_FILE), place=str(place / RECORD_FILE))
    try:
        return record, load_file(place / MODEL_FILE)
    except SafetensorError as error:
        raise DataError(f"{place / MODEL_FILE}: not a safetensors file ({' '.join(str(error).split()):.120})") from None
    except UNREADABLE as error:
        raise DataError(f"{place / MODEL_FILE}: cannot be read ({' '.join(str(error).split()):.120})") from None
