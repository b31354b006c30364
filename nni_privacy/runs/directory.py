"""Run directory: plain files that outlive NNI's, one line per finished trial, readable with pandas."""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from nni_privacy.errors import ConfigError
from nni_privacy.files import LineFile, atomic_write, read_yaml
from nni_privacy.runs.journal import JOURNAL, Journal
from nni_privacy.runs.lines import DAMAGED, listed
from nni_privacy.runs.lock import RunLock
from nni_privacy.runs.plain_data import plain_data
from nni_privacy.runs.records import CONFIG, ENVIRONMENT, SCORES, TRIALS, TrialRecord, read_trials
from nni_privacy.runs.salvage import check_known, salvage_trials

__all__ = ["RunDirectory", "describe_environment"]

_logger = logging.getLogger(__name__)

_RECORDED_PACKAGES = ("nni-privacy", "nni", "torch", "torchvision", "pytorch-lightning", "numpy", "scikit-learn")


class RunDirectory:
    """Writes a run's files. Safe to call from several threads.

    Args:
        path: a folder that does not exist yet or is empty.
        resumable: take a folder that holds a run, too.

    Raises:
        ConfigError: if the folder holds other files, or cannot be made.
    """

    def __init__(self, path: str | Path, *, resumable: bool = False) -> None:
        self.path = Path(path).absolute()
        self.journal = Journal(self.path / JOURNAL)
        self.lock = RunLock(self.path)
        self._trials = LineFile(self.path / TRIALS)
        if not (resumable and self.holds_run(self.path)):
            self.check_free(self.path)

    @staticmethod
    def holds_run(path: Path) -> bool:
        """Whether ``path`` is the directory of a run that has been started; one of its files may be lost."""
        with suppress(OSError):  # the name may be too long for any file
            return any((path / name).is_file() for name in (CONFIG, TRIALS, JOURNAL))
        return False

    @staticmethod
    def check_free(path: Path) -> None:
        """Raises ConfigError unless a run can be written to ``path``; writes nothing."""
        try:
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise ConfigError(f"output: {path} exists and is not empty; name a new folder")
            parent = next(folder for folder in (path, *path.parents) if folder.exists())
        except OSError as error:
            raise ConfigError(f"output: {path}: {error.strerror or error}") from None
        try:  # modes say little: to root, and of some file systems
            Path(tempfile.mkdtemp(prefix=".free-", dir=parent)).rmdir()
        except OSError as error:
            why = error.strerror or error
            raise ConfigError(f"output: {path}: {parent} is not a folder that can be written to ({why})") from None

    def check_resumable(self) -> None:
        """Raises ConfigError unless the run can go on; changes nothing."""
        self.lock.check()
        check_known(self.path, self.journal)

    def create(self, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Makes the folder and writes ``config.yaml`` and ``environment.json``; see :func:`.plain_data`.

        Args:
            config: what the run was started with.
            environment: versions, seed, device.
        """
        config, environment = plain_data(config), plain_data(environment)
        try:
            (self.path / SCORES).mkdir(parents=True)
        except OSError as error:
            raise ConfigError(f"output: {self.path}: {error.strerror or error}") from None
        (self.path / TRIALS).touch()
        (self.path / JOURNAL).touch()
        started = {**environment, "starts": [_start_of(environment)]}
        atomic_write(self.path / ENVIRONMENT, json.dumps(started, indent=2) + "\n")
        # Last: with it, the folder is a run directory.
        atomic_write(self.path / CONFIG, yaml.safe_dump(dict(config), sort_keys=False))

    def open_again(
        self, environment: Mapping[str, Any], *, trials: int | None = None, config: Mapping[str, Any] | None = None
    ) -> list[TrialRecord]:
        """Makes the folder of an interrupted run ready to go on, whole (:mod:`nni_privacy.runs.salvage`).

        Args:
            environment: as at :meth:`create`.
            trials: how many there are to be now; ``config.yaml`` is changed where it says another number.
            config: as at :meth:`create`; what ``config.yaml`` lacks of it is added.

        Returns:
            The finished trials, in the order in which they ended.

        Raises:
            ConfigError: if it holds no run, or one that cannot go on.
            OSError: if it cannot be written to.
        """
        if not self.holds_run(self.path):
            raise ConfigError(f"output: {self.path} holds no run to resume")
        recorded = self.config()
        records = salvage_trials(self.path, self.journal)
        (self.path / SCORES).mkdir(exist_ok=True)
        self._start_again(environment)
        wanted = plain_data({**(config or {}), **recorded})
        if "trials" in wanted:
            wanted["trials"] = trials
        if wanted != recorded:
            atomic_write(self.path / CONFIG, yaml.safe_dump(wanted, sort_keys=False))
        return records

    def _start_again(self, environment: Mapping[str, Any]) -> None:
        """Adds a start to ``environment.json``; one that is no such file is set aside and written anew."""
        path = self.path / ENVIRONMENT
        known: Any = {}
        if path.is_file():
            with suppress(ValueError, RecursionError):
                known = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(known, dict) or not isinstance(known.get("starts"), list):
                aside = path.with_name(path.name + DAMAGED)
                path.replace(aside)
                _logger.warning("%s: not what a run writes: set aside as %s, and written anew", path, aside.name)
                known = {}
        starts = [*known.get("starts", []), _start_of(environment)]
        # What was fixed follows from the configuration, which is the same.
        fixed = {key: environment[key] for key in ("fixed_edges",) if key in environment}
        content = plain_data({**environment, **known, **fixed, "starts": starts})
        atomic_write(path, json.dumps(content, indent=2) + "\n")

    def config(self) -> dict[str, Any]:
        """The configuration that the run was started with; empty if its file is lost.

        Raises:
            ConfigError: if it cannot be read.
        """
        path = self.path / CONFIG
        if not path.is_file():
            return {}
        remedy = "put back a copy; or delete it and resume, and the configuration that you give counts as the run's"
        try:
            content = read_yaml(path, error=ConfigError)
        except ConfigError as error:
            raise ConfigError(f"{error}; {remedy}") from None
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: not the configuration of a run; {remedy}")
        return content

    def records(self) -> list[TrialRecord]:
        """The finished trials that their file says, in the order in which they ended; a corrupt line is logged.

        Raises:
            DataError: if the file cannot be read.
        """
        trials, corrupt = read_trials(self._trials.path)
        if corrupt:
            _logger.warning("%s: skipped, as no whole JSON object: line %s", self._trials.path, listed(corrupt))
        return list(trials)

    def append(self, record: TrialRecord) -> None:
        """Adds a finished trial to ``trials.jsonl``; on disk when this returns.

        Raises:
            OSError: if it cannot be written; the file is then as it was.
        """
        self._trials.append(record.to_json())

    def save_scores(self, trial: str, content: bytes) -> None:
        """Writes the per-record scores of ``trial``; the file appears whole or not at all.

        Raises:
            OSError: if it cannot be written.
        """
        atomic_write(self.path / SCORES / f"{trial}.npz", content)


def _start_of(environment: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an environment that may differ from one start of a run to the next."""
    return {key: environment[key] for key in ("started", "experiment", "versions") if key in environment}


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
