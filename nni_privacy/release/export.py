"""Export of a trial's model: a folder with weights, code, card and other formats, there whole or not at all."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from nni_privacy.analysis.constraints import Constraints
from nni_privacy.analysis.model_choice import best_trial, front_trials
from nni_privacy.errors import ConfigError, nearest
from nni_privacy.files import new_folder
from nni_privacy.release.card import card_info, render_card
from nni_privacy.release.formats import FORMATS, check_formats, write_format
from nni_privacy.release.loading import ReleasedModel, load_model
from nni_privacy.release.source import model_source
from nni_privacy.rng import derived_seed
from nni_privacy.runs.confirmed import read_confirmed
from nni_privacy.runs.directory import RunDirectory
from nni_privacy.runs.models import MODEL_FILE, MODELS, RECORD_FILE, ModelStore
from nni_privacy.runs.records import RunInfo, TrialRecord

__all__ = ["BEST", "FRONT", "choose_trials", "export_trial", "known_metrics", "released_metrics"]

BEST, FRONT = "best", "front"
SOURCE_FILE, CARD_FILE = "model.py", "card.md"

_PROBED = 16
_TOLERANCE = 1e-6
"""Of the logits of ``model.py``, relative to the largest one."""
_LEAST = 1e-9


def choose_trials(run: RunInfo, which: str) -> list[TrialRecord]:
    """The trials that are meant.

    Args:
        run: where they are.
        which: ``best``: what a confirmation of the run says, else the most accurate that keeps the constraints;
            ``front``: all on the Pareto front; or the id or the number of a trial.

    Raises:
        ConfigError: if there is no such trial; with the nearest name.
    """
    if run.predicted:
        raise ConfigError(f"{run.directory}: its AUCs are predicted, nothing was trained: there is no model")
    if not run.succeeded:
        raise ConfigError(f"{run.directory}: no trial has succeeded: there is no model")
    by_id = {trial.trial: trial for trial in run.trials}
    if which in by_id:
        return [by_id[which]]
    numbered = [trial for trial in run.trials if str(trial.sequence) == which]
    if numbered:
        return numbered[-1:]
    if which == FRONT:
        return front_trials(run.succeeded)
    if which == BEST:
        return [_best(run)]
    raise ConfigError(f"--trial: no trial {which!r:.80}; {nearest(which, [BEST, FRONT, *by_id])}")


def released_metrics(run: RunInfo, trial: TrialRecord) -> dict[str, float]:
    """What is known of a trial's architecture: confirmed means and the ends of their intervals, where it has some.

    The primary attack's metrics are also there under the attack's name.
    """
    confirmed = read_confirmed(run.directory)
    one = None if confirmed is None else confirmed.of(trial.trial)
    found = {**trial.metrics, **({} if one is None else one.means)}
    primary = run.attacks[0] if run.attacks else ""
    return {**{f"{primary}_{name}": value for name, value in found.items() if name.startswith("mia_")}, **found}


def known_metrics(run: RunInfo, trials: Sequence[TrialRecord]) -> set[str]:
    """Names of the metrics by which trials can be judged, those of no finite number among them."""
    unresolved = {name for trial in trials for name in trial.unresolved}
    return unresolved.union(*(released_metrics(run, trial) for trial in trials))


def export_trial(run: RunInfo, trial: TrialRecord, output: Path, *, formats: Sequence[str] = ()) -> Path:
    """Writes a trial's model into a new folder: ``model.safetensors``, ``model.json``, ``model.py`` and ``card.md``.

    The code is run once: its logits must be those of the network.

    Args:
        run: the run.
        trial: one of its trials.
        output: a folder that does not exist yet, or is empty.
        formats: further ones, of :data:`~nni_privacy.release.formats.FORMATS`.

    Returns:
        The folder.

    Raises:
        ConfigError: if the weights of the trial were not kept, the folder is not empty, or a format cannot be written.
        DataError: if its files are damaged, or the folder cannot be written.
    """
    check_formats(formats)
    RunDirectory.check_free(output.absolute())
    source = _kept(run, trial)
    model = load_model(source)
    _remove_drafts(output.absolute())
    with new_folder(output) as draft:
        for name in (MODEL_FILE, RECORD_FILE):
            shutil.copyfile(source / name, draft / name)
        (draft / SOURCE_FILE).write_text(model_source(model.record, model.network), encoding="utf-8")
        _check_source(draft / SOURCE_FILE, model)
        for name in formats:
            write_format(name, model, draft)
        (draft / CARD_FILE).write_text(_card(run, trial, model, draft, formats), encoding="utf-8")
    return output


def _best(run: RunInfo) -> TrialRecord:
    by_id = {trial.trial: trial for trial in run.succeeded}
    confirmed = read_confirmed(run.directory)
    if confirmed is not None and confirmed.best in by_id:
        return by_id[confirmed.best]
    if confirmed is not None:
        raise ConfigError(
            f"--trial: {BEST}; by its confirmed numbers no architecture keeps the constraints; the nearest is trial "
            f"{confirmed.nearest}: name one with --trial ID"
        )
    constraints = Constraints.of(run.config.get("constraints"))
    found = best_trial(run.succeeded, constraints.conditions)
    if found is None:
        raise ConfigError(
            f"--trial: {BEST}; no trial keeps the constraints ({constraints}): name one with --trial ID"
            if constraints
            else f"--trial: {BEST}; no trial reports an accuracy: name one with --trial ID"
        )
    return found


def _kept(run: RunInfo, trial: TrialRecord) -> Path:
    """The folder of a trial's model; a ConfigError that says why there is none."""
    store = ModelStore(run.directory / MODELS)
    if trial.trial in store:
        return store.path(trial.trial)
    if not trial.succeeded:
        raise ConfigError(f"trial {trial.trial} has no weights: it {trial.status} ({trial.error or 'no reason given'})")
    keep = run.config.get("keep")
    why = {
        "front": "it is neither on the front nor the most accurate one, and keep: front keeps no others; "
        "keep: all would have kept it",
        "none": "with keep: none no trial's are; keep: front (the default) or all would have kept some",
        None: "the run was made before weights were kept, or by a program that keeps none",
    }.get(keep, "they did not come back from where it ran, or were removed")
    kept = [one.trial for one in run.succeeded if one.trial in store]
    there = f"; kept are those of {', '.join(kept[:10])}{' and others' if len(kept) > 10 else ''}" if kept else ""
    raise ConfigError(f"trial {trial.trial} has no weights: {why}{there}")


def _check_source(path: Path, model: ReleasedModel) -> None:
    """Raises ConfigError unless the code gives the logits of the network, on images of noise."""
    record = model.record
    generator = torch.Generator().manual_seed(derived_seed(record.seed, "export"))
    images: Tensor = torch.rand(_PROBED, *record.image_shape, generator=generator)
    if record.image_type == "uint8":
        images = (images * 256).to(torch.uint8)
    try:
        found = _module_of(path).predict(images)
    except Exception as error:  # a layer that cannot be made from its attributes may raise anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split()):.160}"
        raise ConfigError(f"{path.name}: the network cannot be written as plain torch ({reason})") from error
    with torch.inference_mode():
        wanted = model(images)
    worst = float((found - wanted).abs().max()) / max(_LEAST, float(wanted.abs().max()))
    if not worst <= _TOLERANCE:
        raise ConfigError(
            f"{path.name}: the network cannot be written as plain torch: logits differ by {worst:.1e} of the largest"
        )


def _module_of(path: Path) -> Any:
    """A file that was just written, imported as it will be, but for what Python would leave beside it."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec = importlib.util.spec_from_file_location("nni_privacy_exported_model", path)
        module: Any = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    finally:
        sys.dont_write_bytecode = before
    return module


def _card(run: RunInfo, trial: TrialRecord, model: ReleasedModel, draft: Path, formats: Sequence[str]) -> str:
    files = {
        SOURCE_FILE: "the network and its preprocessing as code; needs torch alone",
        MODEL_FILE: "the weights",
        RECORD_FILE: "what nni-privacy needs to know: data set, recipe, split, architecture",
        **{FORMATS[name].file: f"{FORMATS[name].title}, preprocessing included" for name in formats},
    }
    digest = hashlib.sha256((draft / MODEL_FILE).read_bytes()).hexdigest()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    info = card_info(run, trial, model.record, digest=digest, parameters=parameters, files=files)
    return render_card(info)


def _remove_drafts(output: Path) -> None:
    """Removes what killed exports to the same folder left beside it."""
    if not output.parent.is_dir():
        return
    for draft in output.parent.glob(f".{output.name}.*.partial"):
        number = re.fullmatch(r"\.(\d+)\.partial", draft.name.removeprefix(f".{output.name}"))
        if number and draft.is_dir() and not psutil.pid_exists(int(number[1])):
            with suppress(OSError):
                shutil.rmtree(draft)
