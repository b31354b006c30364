"""A study from a configuration file to its report: what ``nni-privacy measure`` does."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from nni_privacy.commands.build import training_services
from nni_privacy.commands.search import check_token
from nni_privacy.commands.session import (
    check_host_and_port,
    conclude,
    conclude_complete,
    differences,
    interruptible,
    run_to_end,
)
from nni_privacy.data import Dataset, load_dataset
from nni_privacy.errors import ConfigError
from nni_privacy.nni_runtime.access import ManagerAccess, manager_access
from nni_privacy.runs.directory import RunDirectory
from nni_privacy.studies.config import StudyConfig, load_study
from nni_privacy.studies.plan import KEY, Measurement, plan_study

if TYPE_CHECKING:
    from nni.nas.experiment import NasExperimentConfig

    from nni_privacy.commands.session import SearchProgress
    from nni_privacy.nni_runtime.experiment import PrivacyExperiment
    from nni_privacy.studies.evaluator import MeasurementEvaluator

__all__ = ["run_measure"]


def run_measure(
    config: str | Path,
    *,
    output: str | Path | None = None,
    data: Mapping[str, str] = MappingProxyType({}),
    resume: bool = False,
    port: int = 8080,
    exit_when_done: bool = False,
    host: str | None = None,
    token: bool = True,
) -> int:
    """Runs the study that the configuration file describes, writes its report, and keeps the web UI up until Ctrl-C.

    Everything that can be wrong with the input is found before anything is written or started. Where ``output`` holds
    an interrupted run of the same study, what is left of it is run.

    Args:
        config: path of the YAML file.
        output: the run directory; by default ``runs/<name>-<time>``.
        data: label of a data set to the path of an ``.npz`` file that takes its place.
        resume: refuse to start anew.
        port: of the web UI on 127.0.0.1.
        exit_when_done: stop the web UI when all is measured.
        host: an address of this machine that the web UI is open at, too, for whoever has its token.
        token: whether the web UI wants the token in the address that is printed.

    Returns:
        The exit code: 0, 1 if no trial succeeded, 130 if interrupted.

    Raises:
        PrivacyError: if the input is not valid, or ``output`` holds something else.
        RunStoppedError: if a fault of the machine ends the run.
    """
    settings = load_study(config, data=data)
    directory = Path(output or Path("runs") / f"{settings.name}-{time.strftime('%Y%m%d-%H%M%S')}").absolute()
    resumed = _check_directory(directory, settings)
    if resume and not resumed:
        raise ConfigError(f"output: {directory} holds no run to resume")
    check_host_and_port(host, port)
    check_token(host, token=token)
    planned = plan_study(settings, _load(settings))
    services = training_services(settings, host, trials=len(planned))
    if resumed and len(RunDirectory(directory, resumable=True).records()) >= len(planned):
        return conclude_complete(directory)
    with manager_access(host=host, wants_token=token, announce=False) as access:
        run = _Run(settings, planned, directory, resumed, services)
        return run.to_end(port=port, exit_when_done=exit_when_done, access=access)


def _check_directory(directory: Path, settings: StudyConfig) -> bool:
    """Whether ``directory`` holds a run of this study that can be gone on with; an error if it holds anything else."""
    if not RunDirectory.holds_run(directory):
        RunDirectory.check_free(directory)
        return False
    run = RunDirectory(directory, resumable=True)
    run.lock.check()
    differing = sorted({path.partition(".")[0] for path, *_ in differences(run.config(), settings.resolved())})
    if differing:
        raise ConfigError(f"output: {directory} holds another run; {', '.join(differing)} differ: name a new folder")
    return True


def _load(settings: StudyConfig) -> dict[str, Dataset]:
    found = {}
    for section in settings.datasets:
        data = load_dataset(section.name, **section.options)
        for seed in settings.seeds:
            data.split(seed=seed)
        found[section.called] = data
    return found


@dataclass(frozen=True, eq=False)
class _Run:
    """A study that is about to be run."""

    settings: StudyConfig
    planned: Sequence[Measurement]
    directory: Path
    resumed: bool
    services: NasExperimentConfig | None

    def to_end(self, *, port: int, exit_when_done: bool, access: ManagerAccess) -> int:
        """Runs what is left. Returns the exit code."""
        from nni_privacy.commands.session import SearchProgress

        with SearchProgress(len(self.planned), access.plain_address(port)) as progress, interruptible():
            experiment = self._experiment(progress)
            word = "resumed, " if self.resumed else ""
            access.say(f"{self.settings.name}: {word}{len(self.planned)} measurements", self.directory, port)
            finished = run_to_end(experiment, port, resume=self.resumed)
        return conclude(experiment, progress, access.page(port), finished=finished, exit_when_done=exit_when_done)

    def _experiment(self, progress: SearchProgress) -> PrivacyExperiment:
        import nni

        from nni_privacy.nni_runtime.experiment import PrivacyExperiment
        from nni_privacy.studies.space import MeasureAll, MeasurementSpace

        nni.silence_stdout()  # its log stays in the run directory
        settings = self.settings
        pairs = [(one.sample, _evaluator(settings, one, self.directory)) for one in self.planned]
        values = {name: list(dict.fromkeys(sample[name] for sample, _ in pairs)) for name in KEY}
        return PrivacyExperiment(
            MeasurementSpace(**values),
            pairs[0][1],
            MeasureAll(pairs),
            self.services,
            output=self.directory,
            name=settings.name,
            trials=len(self.planned),
            concurrency=settings.concurrency,
            gpus_per_trial=settings.gpus_per_trial,
            settings=settings.resolved(),
            observers=[progress],
            trial_timeout=settings.trial_timeout,
        )


def _evaluator(settings: StudyConfig, measurement: Measurement, directory: Path) -> MeasurementEvaluator:
    from nni_privacy.studies.evaluator import MeasurementEvaluator

    return MeasurementEvaluator(
        measurement.dataset,
        factors=measurement.factors,
        source=measurement.source.to_dict(),
        contours=settings.contours,
        folder=str(directory),
        seed=measurement.seed,
        **{**settings.evaluator.measuring(), "recipe": measurement.recipe},
    )
