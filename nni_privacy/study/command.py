"""A study from a configuration file to its report: what ``nni-privacy measure`` does."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nni_privacy.data import Dataset, load_dataset
from nni_privacy.errors import ConfigError
from nni_privacy.nni_runtime.run_directory import CONFIG, RunDirectory
from nni_privacy.search import conclude, interruptible, run_to_end
from nni_privacy.study.config import StudyConfig, load_study
from nni_privacy.study.plan import KEY, Measurement, plan_study
from nni_privacy.yaml_files import read_yaml

if TYPE_CHECKING:
    from nni_privacy.nni_runtime.experiment import PrivacyExperiment
    from nni_privacy.progress import SearchProgress
    from nni_privacy.study.evaluator import MeasurementEvaluator

__all__ = ["run_measure"]


def run_measure(
    config: str | Path,
    *,
    output: str | Path | None = None,
    data: Mapping[str, str] = MappingProxyType({}),
    resume: bool = False,
    port: int = 8080,
    exit_when_done: bool = False,
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

    Returns:
        The exit code: 0, 1 if no trial succeeded, 130 if interrupted.

    Raises:
        PrivacyError: if the input is not valid, or ``output`` holds something else.
    """
    from nni_privacy.nni_runtime.experiment import check_port

    settings = load_study(config, data=data)
    directory = Path(output or Path("runs") / f"{settings.name}-{time.strftime('%Y%m%d-%H%M%S')}").absolute()
    resumed = _check_directory(directory, settings)
    if resume and not resumed:
        raise ConfigError(f"output: {directory} holds no run to resume")
    check_port(port)
    planned = plan_study(settings, _load(settings))
    return _run(settings, planned, directory, port=port, resumed=resumed, exit_when_done=exit_when_done)


def _check_directory(directory: Path, settings: StudyConfig) -> bool:
    """Whether ``directory`` holds a run of this study that can be gone on with; an error if it holds anything else."""
    recorded = directory / CONFIG
    if not recorded.is_file():
        RunDirectory.check_free(directory)
        return False
    found, wanted = read_yaml(recorded, error=ConfigError), settings.resolved()
    free = ("concurrency", "gpus_per_trial", "training_service")  # they may change from one start to the next
    differing = [
        key for key in wanted if key not in free and (not isinstance(found, Mapping) or found.get(key) != wanted[key])
    ]
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


def _run(
    settings: StudyConfig,
    planned: Sequence[Measurement],
    directory: Path,
    *,
    port: int,
    resumed: bool,
    exit_when_done: bool,
) -> int:
    from nni_privacy.progress import SearchProgress

    address = f"http://127.0.0.1:{port}"
    with SearchProgress(len(planned), address) as progress, interruptible():
        experiment = _experiment(settings, planned, directory, progress)
        word = "resumed, " if resumed else ""
        print(
            f"{settings.name}: {word}{len(planned)} measurements, web UI at {address}, results in {directory}",
            flush=True,
        )
        finished = run_to_end(experiment, port, resume=resumed)
    return conclude(experiment, progress, address, finished=finished, exit_when_done=exit_when_done)


def _experiment(
    settings: StudyConfig, planned: Sequence[Measurement], directory: Path, progress: SearchProgress
) -> PrivacyExperiment:
    import nni

    from nni_privacy.nni_runtime.experiment import PrivacyExperiment
    from nni_privacy.study.space import MeasureAll, MeasurementSpace

    nni.silence_stdout()  # its log stays in the run directory
    pairs = [(measurement.sample, _evaluator(settings, measurement, directory)) for measurement in planned]
    values: dict[str, list[Any]] = {name: [] for name in KEY}
    for sample, _ in pairs:
        for name, value in sample.items():
            if value not in values[name]:
                values[name].append(value)
    return PrivacyExperiment(
        MeasurementSpace(**values),
        pairs[0][1],
        MeasureAll(pairs),
        output=directory,
        name=settings.name,
        trials=len(planned),
        concurrency=settings.concurrency,
        gpus_per_trial=settings.gpus_per_trial,
        settings=settings.resolved(),
        observers=[progress],
    )


def _evaluator(settings: StudyConfig, measurement: Measurement, directory: Path) -> MeasurementEvaluator:
    from nni_privacy.study.evaluator import MeasurementEvaluator

    section = settings.evaluator
    return MeasurementEvaluator(
        measurement.dataset,
        factors=measurement.factors,
        source=measurement.source.to_dict(),
        contours=None if settings.contours is None else settings.contours.model_dump(),
        folder=str(directory),
        recipe=measurement.recipe,
        attacks=section.attacks,
        seed=measurement.seed,
        device=section.device,
        threads=section.threads,
        effort=section.effort.model_dump(),
        shadow=section.shadow.model_dump(),
        plugins=section.plugins,
    )
