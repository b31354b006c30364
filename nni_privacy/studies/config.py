"""The configuration of a measurement study: what ``nni-privacy measure`` reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from nni_privacy.attacks import check_reference_models
from nni_privacy.config import DatasetConfig, RunConfig, check_command
from nni_privacy.data.registry import COMMON_OPTIONS
from nni_privacy.errors import ConfigError, nearest
from nni_privacy.nni_runtime.training_services import without_secrets
from nni_privacy.schema import Seed, named, read_section
from nni_privacy.studies.entries import ArchitecturesEntry, OneSize, parse_entry
from nni_privacy.studies.snapshots import SnapshotOptions
from nni_privacy.training.contour_options import ContourOptions

__all__ = ["StudyConfig", "StudyDataset", "defence_called", "load_study"]


class StudyDataset(DatasetConfig):
    """An entry of ``datasets``: name, options, and what it is called in tables (by default its name)."""

    label: str | None = Field(None, min_length=1)

    @property
    def called(self) -> str:
        """What it is called in tables."""
        return self.label or self.name


class StudyConfig(RunConfig):
    """A whole study: every architecture on every data set with every defence and seed."""

    seeds: list[Seed] = Field(default_factory=lambda: [0], min_length=1)
    datasets: list[StudyDataset] = Field(min_length=1)
    search_space: OneSize = Field(default_factory=lambda: OneSize(name="darts"))
    architectures: list[SerializeAsAny[ArchitecturesEntry]] = Field(min_length=1)
    defences: list[Literal["none"] | dict[str, Any]] = Field(["none"], min_length=1)
    contours: ContourOptions | None = None
    snapshots: SnapshotOptions | None = None

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) != len(seeds):
            raise ConfigError(f"{seeds}: one is there twice")
        return seeds

    @field_validator("architectures", mode="before")
    @classmethod
    def _entries(cls, entries: Any) -> Any:
        return [parse_entry(entry) for entry in entries] if isinstance(entries, list) else entries

    @field_validator("defences")
    @classmethod
    def _defences_differ(cls, defences: list[Any]) -> list[Any]:
        labels = [defence_called(defence) for defence in defences]
        if len(set(labels)) != len(labels):
            raise ConfigError(f"{', '.join(labels)}: one is there twice")
        return defences

    @model_validator(mode="after")
    def _fits_together(self) -> StudyConfig:
        if self.evaluator.kind != "measured":
            raise ConfigError(f"evaluator.kind: {self.evaluator.kind!r}; a study measures")
        labels = [dataset.called for dataset in self.datasets]
        if len(set(labels)) != len(labels):
            raise ConfigError(f"datasets: {', '.join(labels)}: two have one label; give one a label of its own")
        if self.snapshots is not None:
            check_reference_models(self.snapshots.attacks, self.evaluator.shadow.count)
        return self

    def resolved(self) -> dict[str, Any]:
        """All values, defaults included, as plain data for a YAML file."""
        content = self.model_dump(mode="json")
        content["search_space"] = {"name": self.search_space.name, **self.search_space.options}
        content["training_service"] = without_secrets(self.training_service)
        return content


def defence_called(defence: str | Mapping[str, Any]) -> str:
    """What an entry of ``defences`` is called in tables.

    Raises:
        ConfigError: if it is no defence.
    """
    if isinstance(defence, str):
        return defence
    from nni_privacy.training.defences import defence_label

    return defence_label(defence)


def load_study(path: str | Path, *, data: Mapping[str, str] = MappingProxyType({})) -> StudyConfig:
    """Reads and checks a study's configuration file.

    Args:
        path: a YAML file.
        data: label of a data set to the path of an ``.npz`` file that takes its place; ``limit``, ``image_size``
            and the like stay as they are.

    Raises:
        ConfigError: if the file cannot be read or a value is not valid; one line that names file, field, value and what
            is allowed.
    """

    def change(content: Mapping[str, Any]) -> Mapping[str, Any]:
        check_command(content, "measure", path)
        return _with_data(content, data)

    return read_section(StudyConfig, path, change)


def _with_data(content: Mapping[str, Any], data: Mapping[str, str]) -> Mapping[str, Any]:
    sections = content.get("datasets")
    sections = [named(section) for section in sections] if isinstance(sections, list) else []
    if not data or not sections or not all(isinstance(section, Mapping) for section in sections):
        return content  # what is wrong with it is found where the whole is checked
    labels = [str(section.get("label") or section.get("name")) for section in sections]
    for label in data:
        if label not in labels:
            raise ConfigError(f"--data: no data set {label!r}; {nearest(label, labels)}")
    replaced = []
    for section, label in zip(sections, labels, strict=True):
        kept = {key: value for key, value in section.items() if key in COMMON_OPTIONS}
        own = {"name": "npz", "path": data[label], "label": label} if label in data else section
        replaced.append({**kept, **own})
    return {**content, "datasets": replaced}
