"""The run directory: plain files that outlive NNI's, one line a finished trial, readable with pandas."""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import yaml

from nni_privacy.errors import ConfigError

__all__ = ["RunDirectory", "TrialRecord", "describe_environment"]

TRIALS = "trials.jsonl"
CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
SCORES = "scores"

_RECORDED_PACKAGES = ("nni-privacy", "nni", "torch", "torchvision", "pytorch-lightning", "numpy", "scikit-learn")


@dataclass(frozen=True)
class TrialRecord:
    """A finished trial: one line of ``trials.jsonl``.

    Attributes:
        trial: NNI's id of the trial.
        sequence: its number in the web UI.
        status: whether it succeeded.
        architecture: what was really trained; of a failed trial, what was proposed.
        metrics: its final metrics, fractions; empty if it failed.
        seconds: wall time of training and audit, without NNI's overhead.
        error: why it failed.
        factors: of a trial of a study, what it was set to (architecture, data set, seed, ...); see
            :mod:`nni_privacy.study`.
    """

    trial: str
    sequence: int
    status: Literal["succeeded", "failed"]
    architecture: str
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    seconds: float | None = None
    error: str | None = None
    factors: Mapping[str, Any] | None = None

    def to_json(self) -> str:
        """One line of JSON; fields without a value are left out."""
        content = {key: value for key, value in asdict(self).items() if value is not None}
        return json.dumps(content, allow_nan=False)


class RunDirectory:
    """Writes a run's files. Safe to call from several threads.

    Args:
        path: a folder that does not exist yet or is empty.

    Raises:
        ConfigError: if the folder holds files, or cannot be made.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._lock = threading.Lock()
        self.check_free(self.path)

    @staticmethod
    def check_free(path: Path) -> None:
        """Raises ConfigError unless a run can be written to ``path``; writes nothing."""
        try:
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise ConfigError(f"output: {path} exists and is not empty; name a new folder")
            parent = next(folder for folder in (path, *path.parents) if folder.exists())
        except OSError as error:
            raise ConfigError(f"output: {path}: {error.strerror or error}") from None
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise ConfigError(f"output: {path}: {parent} is not a folder that can be written to")

    def create(self, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Makes the folder and writes ``config.yaml`` and ``environment.json``."""
        try:
            (self.path / SCORES).mkdir(parents=True)
        except OSError as error:
            raise ConfigError(f"output: {self.path}: {error.strerror or error}") from None
        (self.path / CONFIG).write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
        text = json.dumps(dict(environment), indent=2)
        (self.path / ENVIRONMENT).write_text(text + "\n", encoding="utf-8")
        (self.path / TRIALS).touch()

    def append(self, record: TrialRecord) -> None:
        """Adds a finished trial to ``trials.jsonl``; on disk when this returns."""
        with self._lock, (self.path / TRIALS).open("a", encoding="utf-8") as file:
            file.write(record.to_json() + "\n")
            file.flush()
            os.fsync(file.fileno())

    def save_scores(self, trial: str, content: bytes) -> None:
        """Writes the per-record scores of ``trial``; the file appears whole or not at all."""
        target = self.path / SCORES / f"{trial}.npz"
        partial = target.with_suffix(".partial")
        partial.write_bytes(content)
        partial.replace(target)


def describe_environment(**facts: Any) -> dict[str, Any]:
    """Versions of python and of the packages that matter, the platform, the time, and ``facts``."""
    versions: dict[str, str | None] = {}
    for package in _RECORDED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "versions": versions,
        **facts,
    }
