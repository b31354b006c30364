"""What it takes to go on with a search in its run directory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nni_privacy.config import SearchConfig
from nni_privacy.errors import ConfigError
from nni_privacy.nni_runtime.run_directory import RunDirectory

__all__ = ["check_resumable", "conclude_complete", "differences", "is_complete"]

FREE = ("name", "trials", "strategy.top_k", "concurrency", "gpus_per_trial", "training_service", "trial_timeout")
"""Fields that may change from one start of a run to the next; ``trials``, and ``top_k`` with it, may only grow."""


def check_resumable(settings: SearchConfig, output: str | Path | None) -> None:
    """Raises ConfigError unless ``output`` holds an interrupted run of this search; changes nothing."""
    if output is None:
        raise ConfigError("--resume: name the directory of the run with --output")
    if settings.predicted:
        raise ConfigError("--resume: with evaluator.kind: predicted a search takes seconds; start it anew")
    directory = Path(output).absolute()
    if not RunDirectory.holds_run(directory):
        raise ConfigError(f"output: {directory} holds no run to resume")
    run = RunDirectory(directory, resumable=True)
    run.lock.check()
    recorded, wanted = run.config(), settings.resolved()
    for field, before, now in differences(recorded, wanted):
        raise ConfigError(f"{field}: {now!r:.80}; the run in {directory} was started with {before!r:.80}")
    before = recorded.get("trials")
    if isinstance(before, int) and settings.trials < before:
        raise ConfigError(
            f"trials: {settings.trials}; the run in {directory} was started with {before}: allowed is more"
        )


def differences(recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The fields in which a search differs from the recorded one, of those that matter: path, recorded, wanted.

    >>> list(differences({"trials": 3, "evaluator": {"threads": 1}}, {"trials": 4, "evaluator": {"threads": 2}}))
    [('evaluator.threads', 1, 2)]
    """
    for key in dict.fromkeys((*wanted, *recorded)):
        if key in recorded:  # a newer version may know more
            yield from _differences(key, recorded[key], wanted.get(key))


def _differences(path: str, before: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    if path in FREE:
        return
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*now, *before)):
            yield from _differences(f"{path}.{key}", before.get(key), now.get(key))
    elif before != now:
        yield path, before, now


def is_complete(settings: SearchConfig, directory: Path) -> bool:
    """Whether the run in ``directory`` has all its trials."""
    return len(RunDirectory(directory, resumable=True).records()) >= settings.trials


def conclude_complete(directory: Path) -> int:
    """Reports a run that has all its trials. Returns the exit code, 0."""
    from nni_privacy.report import write_report

    count = len(RunDirectory(directory, resumable=True).records())
    print(f"complete: all {count} trials are finished, there is nothing to resume; report: {write_report(directory)}")
    return 0
