"""An audit of a user's own model and records: what ``nni-privacy audit`` does."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from nni_privacy.errors import ConfigError, DataError
from nni_privacy.files import SPOILED
from nni_privacy.plugins import import_from_here, import_plugins

if TYPE_CHECKING:
    import torch

    from nni_privacy.auditing.audit import AuditReport
    from nni_privacy.auditing.shadows import ShadowOptions
    from nni_privacy.data import Dataset, Normalizer
    from nni_privacy.training.recipe import Recipe

__all__ = ["AuditRequest", "parse_assignments", "run_audit"]

ANY_NUMBER_OF_CLASSES = 2**31 - 1
"""A file of members need not hold every class; the model says how many there are."""


@dataclass(frozen=True, kw_only=True)
class AuditRequest:
    """The arguments of the command.

    Attributes:
        model: ``package.module:factory``; the factory takes no arguments and returns the untrained network.
        weights: a state dict saved by torch or as safetensors.
        members: ``.npz`` of records that the model was trained on.
        nonmembers: ``.npz`` of records that it was not trained on.
        output: folder of the results.
        population: ``.npz`` of further records of the attacker's own, halved for the paper's shadow models.
        attacks: names, the primary one first.
        normalize: ``none``: the model normalises by itself; ``members``: by statistics of the members.
        recipe: how the target was trained; shadow models are trained the same way.
        shadows: number of reference models.
        workers: processes that train shadow models.
        effort: fields of :class:`~nni_privacy.auditing.Effort`.
        seed: of everything that is drawn.
        device: ``auto``, ``cpu`` or ``cuda``.
        allow_shared: accept images that are on both sides.
        plugins: modules to import first, which may register attacks.
    """

    model: str
    weights: Path
    members: Path
    nonmembers: Path
    output: Path
    population: Path | None = None
    attacks: Sequence[str] = ("black_box_partial", "loss_threshold")
    normalize: str = "none"
    recipe: Mapping[str, Any]
    shadows: int = 4
    workers: int = 0
    effort: Mapping[str, int]
    seed: int = 0
    device: str = "auto"
    allow_shared: bool = False
    plugins: Sequence[str] = ()


def run_audit(request: AuditRequest) -> int:
    """Audits the model, writes the results, and prints a line for each attack.

    Raises:
        PrivacyError: if the input is not valid; nothing has been written then.
    """
    from nni_privacy.attacks import get_attack
    from nni_privacy.auditing.audit import audit
    from nni_privacy.auditing.options import Effort
    from nni_privacy.auditing.shadows import ModelSpec
    from nni_privacy.data import Normalizer
    from nni_privacy.report.audit_page import write_audit
    from nni_privacy.runs.directory import RunDirectory
    from nni_privacy.training.recipe import Recipe

    RunDirectory.check_free(request.output.absolute())
    import_plugins(request.plugins)
    for name in request.attacks:
        get_attack(name)
    recipe = Recipe.from_mapping(request.recipe)
    effort = Effort.from_mapping(request.effort)
    members, nonmembers = _records(request.members), _records(request.nonmembers)
    import_from_here()
    spec = ModelSpec(request.model)
    model = spec.build()
    _load_weights(model, request.weights)
    normalize: Normalizer | None = Normalizer.fit(members.images) if request.normalize == "members" else None
    report = audit(
        model,
        (members.images, members.labels),
        (nonmembers.images, nonmembers.labels),
        attacks=request.attacks,
        shadow=_shadow_options(request, spec, recipe),
        effort=effort,
        seed=request.seed,
        device=request.device,
        normalize=normalize,
        allow_shared=request.allow_shared,
    )
    page = write_audit(report, request.output, title=f"Audit of {request.model}", facts=_facts(request))
    _print(report)
    print(f"report: {page}")
    return 0


def parse_assignments(texts: Sequence[str], *, option: str) -> dict[str, Any]:
    """``["epochs=30", "learning_rate=0.1"]`` -> ``{"epochs": 30, "learning_rate": 0.1}``.

    Raises:
        ConfigError: if a text is not ``KEY=VALUE`` with a plain value.
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"{option}: {text!r} is not KEY=VALUE")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"{option}: {text!r} does not have a plain value") from None
    return values


def _shadow_options(request: AuditRequest, spec: Any, recipe: Recipe) -> ShadowOptions:
    from nni_privacy.auditing.shadows import ShadowOptions

    halves: dict[str, Any] = {}
    if request.population is not None:
        population = _records(request.population)
        order = np.random.default_rng(request.seed).permutation(len(population))
        half = len(order) // 2
        for name, rows in (("train", order[:half]), ("test", order[half : 2 * half])):
            halves[name] = (population.images[rows], population.labels[rows])
    return ShadowOptions(recipe=recipe, model=spec, count=request.shadows, workers=request.workers, **halves)


def _records(path: Path) -> Dataset:
    from nni_privacy.data.npz import read_npz

    return read_npz(path, num_classes=ANY_NUMBER_OF_CLASSES)


def _load_weights(model: torch.nn.Module, path: Path) -> None:
    state = _read_state(path)
    state = state.get("state_dict", state)
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: does not fit the model: {' '.join(str(error).split())[:300]}") from None


def _read_state(path: Path) -> dict[str, Any]:
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except pickle.UnpicklingError:
        raise DataError(f"{path}: holds objects other than weights, which are not loaded; save a state_dict") from None
    except SPOILED as error:
        raise DataError(f"{path}: not a file of weights: {' '.join(str(error).split())[:200]}") from None
    except Exception as error:
        if type(error).__module__.startswith("safetensors"):
            raise DataError(f"{path}: not a safetensors file: {error}") from None
        raise
    if not isinstance(state, dict):
        raise DataError(f"{path}: holds a {type(state).__name__}, expected a state_dict")
    return state


def _facts(request: AuditRequest) -> dict[str, str]:
    return {
        "Model": request.model,
        "Weights": str(request.weights),
        "Members": str(request.members),
        "Non-members": str(request.nonmembers),
        "Population": str(request.population or "none"),
        "Normalisation": request.normalize,
        "Recipe of shadow models": ", ".join(f"{key}: {value}" for key, value in request.recipe.items())
        or "the paper's",
        "Seed": str(request.seed),
    }


def _print(report: AuditReport) -> None:
    for name, result in report.attacks.items():
        low, auc, high = (result.metrics[key] for key in ("mia_auc_low", "mia_auc", "mia_auc_high"))
        rate = result.metrics["mia_tpr_at_1pct_fpr"]
        shown = "not resolvable" if rate is None else f"{rate:.4f}"
        print(f"{name:<24} AUC {auc:.4f} [{low:.4f}, {high:.4f}]  TPR at 1% FPR {shown}")
