"""The command ``nni-privacy measure``: a study from a configuration file to its report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_privacy.commands.options import ExitCode, add_access, add_command, add_configuration, add_web_ui
from nni_privacy.errors import ConfigError
from nni_privacy.nni_runtime.surroundings import put_outer_trial_aside
from nni_privacy.plugins import is_plugins

if TYPE_CHECKING:
    from nni_privacy.commands.session import Session
    from nni_privacy.data import Dataset
    from nni_privacy.studies.config import StudyConfig
    from nni_privacy.studies.evaluator import MeasurementEvaluator
    from nni_privacy.studies.plan import Measurement
    from nni_privacy.studies.space import MeasureAll, MeasurementSpace

__all__ = ["add_measure", "carry_out", "run_measure"]


def add_measure(commands: Any) -> None:
    """Adds the command to a parser's ``commands``."""
    measure = add_command(
        commands,
        "measure",
        "train and attack architectures x data sets x seeds: a study",
        "measure experiments/section3_small.yaml --dry-run",
        "measure experiments/section3_small.yaml --output study/ --exit-when-done",
        "measure study.yaml --data cifar10=mine.npz --output study/",
    )
    add_configuration(measure)
    measure.add_argument("--resume", action="store_true", help="go on; also without it where DIR holds this study")
    measure.add_argument(
        "--data", nargs="*", default=[], metavar="LABEL=FILE.npz", help="take the images of a data set from a file"
    )
    add_web_ui(measure, end="at the end")
    add_access(measure)
    measure.set_defaults(run=run_measure)


def run_measure(
    config: str | Path,
    *,
    output: str | Path | None = None,
    data: Sequence[str] = (),
    resume: bool = False,
    dry_run: bool = False,
    **web_ui: Any,
) -> ExitCode:
    """Runs the study that the configuration file describes, writes its report, and keeps the web UI up until Ctrl-C.

    Everything that can be wrong with the input is found before anything is written or started. Where ``output`` holds
    an interrupted run of the same study, what is left of it is run.

    Args:
        config: path of the YAML file.
        output: the run directory; by default ``runs/<name>-<time>``.
        data: ``LABEL=FILE.npz``: a file that takes the place of a data set.
        resume: refuse to start anew.
        dry_run: check everything, say what would run, and write nothing.
        **web_ui: ``port``, ``exit_when_done``, ``host``, ``token``; see :class:`~nni_privacy.commands.session.Session`.

    Returns:
        0, 1 if no trial succeeded, 130 if interrupted.

    Raises:
        PrivacyError: if the input is not valid, or ``output`` holds something else.
        RunStoppedError: if a fault of the machine ends the run.
    """
    put_outer_trial_aside()
    from nni_privacy.commands.session import Session, run_folder
    from nni_privacy.studies.config import load_study

    settings = load_study(config, data=_files_of(data))
    command = ["measure", str(config), *(["--data", *data] if data else [])]
    session = Session(settings=settings, directory=run_folder(output, settings.name), command=command, **web_ui)
    _check(settings, session, resume=resume)
    return carry_out(settings, session, what="measurements", dry_run=dry_run)


def carry_out(
    settings: StudyConfig,
    session: Session,
    *,
    what: str,
    dry_run: bool,
    summary: Callable[[], None] | None = None,
) -> ExitCode:
    """Runs a study that has been checked, or what is left of it, or says what would run.

    Args:
        settings: its configuration.
        session: that of its run.
        what: its trials are called.
        dry_run: write nothing.
        summary: called when all is measured and reported.
    """
    from nni_privacy.commands.dry_run import study_plan, without_downloads

    with without_downloads(settings.datasets) if dry_run else nullcontext():
        planned, data = _plan(settings)
    session.trials = len(planned)
    if dry_run:
        session.check_parts(*_build_parts(settings, session, planned))
        from nni_privacy.studies.forecast import forecast_study

        print(study_plan(settings, planned, forecast_study(settings, planned, data)), session.plan_of_run(), sep="\n")
        return ExitCode.DONE
    if session.conclude_complete():
        if summary is not None:
            summary()
        return ExitCode.DONE
    with session.opened():
        experiment = session.experiment(*_build_parts(settings, session, planned))
        finished = session.run_to_end(experiment, what=what)
    return session.conclude(experiment, finished=finished, summary=summary)


def _files_of(assignments: Sequence[str]) -> dict[str, str]:
    """``["digits=a.npz"]`` -> ``{"digits": "a.npz"}``."""
    pairs = {}
    for assignment in assignments:
        label, equals, path = assignment.partition("=")
        if not (label and equals and path):
            raise ConfigError(f"--data: {assignment!r}; expected LABEL=FILE.npz")
        pairs[label] = path
    return pairs


def _check(settings: StudyConfig, session: Session, *, resume: bool) -> None:
    """Raises ConfigError unless the study can be started where it is to be; resumes what was started there."""
    from nni_privacy.commands.session import differences
    from nni_privacy.runs.directory import RunDirectory

    directory = session.directory
    session.resume = RunDirectory.holds_run(directory)
    if session.resume:
        run = RunDirectory(directory, resumable=True)
        run.check_resumable()
        differing = sorted({path.partition(".")[0] for path, *_ in differences(run.config(), settings.resolved())})
        if differing:
            raise ConfigError(
                f"output: {directory} holds another run; {', '.join(differing)} differ: name a new folder"
            )
    else:
        RunDirectory.check_free(directory)
        if resume:
            raise ConfigError(f"output: {directory} holds no run to resume")
    session.check()


def _plan(settings: StudyConfig) -> tuple[list[Measurement], dict[str, Dataset]]:
    """All measurements of the study, and its data sets, loaded and split, and attacks of plugins called, as a check."""
    from nni_privacy.attacks.dry_call import call_dry
    from nni_privacy.cells.spaces import SPACES
    from nni_privacy.commands.build import build_space, check_split
    from nni_privacy.data import load_dataset
    from nni_privacy.studies.plan import plan_study

    data = {section.called: load_dataset(section.name, **section.options) for section in settings.datasets}
    for dataset in data.values():
        for seed in settings.seeds:
            check_split(dataset.split(seed=seed), name=dataset.name)
        call_dry(settings.evaluator.attacks, classes=dataset.num_classes)
        if is_plugins(SPACES[settings.search_space.name].model_space):
            build_space(settings, dataset)
    return plan_study(settings, data), data


def _build_parts(
    settings: StudyConfig, session: Session, planned: Sequence[Measurement]
) -> tuple[MeasurementSpace, MeasurementEvaluator, MeasureAll]:
    from nni_privacy.studies.evaluator import MeasurementEvaluator
    from nni_privacy.studies.plan import KEY
    from nni_privacy.studies.space import MeasureAll, MeasurementSpace

    def evaluator(measurement: Measurement) -> MeasurementEvaluator:
        return MeasurementEvaluator(
            measurement.dataset,
            factors=measurement.factors,
            source=measurement.source.to_dict(),
            contours=settings.contours,
            snapshots=settings.snapshots,
            folder=str(session.directory),
            seed=measurement.seed,
            weights=settings.keep != "none",
            **{**settings.evaluator.measuring(), "recipe": measurement.recipe},
        )

    pairs = [(one.sample, evaluator(one)) for one in planned]
    values = {name: list(dict.fromkeys(sample[name] for sample, _ in pairs)) for name in KEY}
    return MeasurementSpace(**values), pairs[0][1], MeasureAll(pairs)
