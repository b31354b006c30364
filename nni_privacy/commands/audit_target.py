"""What ``nni-privacy audit`` attacks: a network that a factory makes, with its weights, or an exported folder."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_privacy.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import nn

    from nni_privacy.auditing.model_record import ModelRecord
    from nni_privacy.auditing.shadows.models import ModelSource

__all__ = ["Asked", "AuditTarget", "Records", "exported_target", "factory_target", "is_folder", "read_records"]

DEFAULT_ATTACKS = ("black_box_partial", "loss_threshold")
DEFAULT_SHADOWS = 4

Records = tuple[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options that say what is attacked and how; None or empty where the user has left one out."""

    model: str
    weights: Path | None
    members: Path | None
    nonmembers: Path | None
    normalize: str | None
    attacks: Sequence[str] | None
    recipe: Mapping[str, Any]
    effort: Mapping[str, Any]
    shadows: int | None
    reference: str | None
    seed: int | None
    plugins: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class AuditTarget:
    """A trained network and its records, and how it is attacked.

    Attributes:
        network: returns logits.
        source: how more of its kind are built, for shadow models.
        members: inputs and labels of the records it was trained on.
        nonmembers: of others.
        normalize: what its inputs go through.
        attacks: names, the primary one first.
        recipe: how it was trained.
        effort: the attacks' query budget.
        shadows: number of reference models.
        reference: what they are, where they are not of its architecture.
        seed: of the audit.
        halves: records of the attacker's own, ``train`` and ``test``, where the target brings some.
        own_records: whether these are the very records of its trial.
        facts: what a reader should know, by name.
    """

    network: nn.Module
    source: ModelSource
    members: Records
    nonmembers: Records
    normalize: Callable[[Any], Any] | None
    attacks: Sequence[str]
    recipe: Mapping[str, Any]
    effort: Mapping[str, Any]
    shadows: int
    reference: str | None
    seed: int
    halves: Mapping[str, Records] = field(default_factory=dict)
    own_records: bool = False
    facts: Mapping[str, object] = field(default_factory=dict)


def is_folder(model: str) -> bool:
    """Whether ``--model`` names a folder rather than a factory."""
    return Path(model).exists() or (os.sep in model and ":" not in model)


def factory_target(asked: Asked) -> AuditTarget:
    """A network that a user's factory makes.

    Raises:
        PrivacyError: if an option is missing, or one of the files cannot be read or does not fit.
    """
    from nni_privacy.auditing.shadows import ModelSpec
    from nni_privacy.auditing.weights import load_weights
    from nni_privacy.plugins import import_from_here

    if asked.weights is None or asked.members is None or asked.nonmembers is None:
        missing = [f"--{name}" for name in ("weights", "members", "nonmembers") if getattr(asked, name) is None]
        raise ConfigError(f"{', '.join(missing)}: missing; only an exported folder as --model goes without")
    inside, outside = read_records(asked.members), read_records(asked.nonmembers)
    import_from_here()
    spec = ModelSpec(asked.model)
    network = spec.build()
    if told := load_weights(network, asked.weights):
        print(f"nni-privacy: {told}", file=sys.stderr)
    return AuditTarget(
        network=network,
        source=spec,
        members=inside,
        nonmembers=outside,
        normalize=_statistics(inside) if asked.normalize == "members" else None,
        attacks=_given(asked.attacks, DEFAULT_ATTACKS),
        recipe=asked.recipe,
        effort=asked.effort,
        shadows=_given(asked.shadows, DEFAULT_SHADOWS),
        reference=asked.reference,
        seed=_given(asked.seed, 0),
        facts={
            "Weights": _weights(asked.weights),
            "Members": asked.members,
            "Non-members": asked.nonmembers,
            "Normalisation": asked.normalize or "none",
        },
    )


def exported_target(asked: Asked) -> AuditTarget:
    """An exported model; without records of the user's it is attacked as its trial was, on the same ones.

    Its preprocessing is its own; attacks, recipe, effort and seed are those of its trial where the user names no
    others. Torch then uses as many threads as the trial did: the last bits of logits depend on it.

    Raises:
        PrivacyError: if it is no exported folder, an option does not go with one, or its data cannot be loaded.
    """
    import torch

    from nni_privacy.release import load_model
    from nni_privacy.runs.models import MODEL_FILE

    if asked.weights is not None:
        raise ConfigError(f"--weights: {asked.weights}; the folder {asked.model} has its own")
    if asked.normalize is not None:
        raise ConfigError(f"--normalize: {asked.normalize}; the folder {asked.model} says what its images go through")
    if (asked.members is None) != (asked.nonmembers is None):
        raise ConfigError("--members, --nonmembers: give both, or neither to attack it on the records of its trial")
    model = load_model(asked.model)
    record = model.record
    records: dict[str, Any] = {}
    if asked.members is not None and asked.nonmembers is not None:
        inside, outside = read_records(asked.members), read_records(asked.nonmembers)
        records |= {"members": inside, "nonmembers": outside}
        named: dict[str, object] = {"Members": asked.members, "Non-members": asked.nonmembers}
    else:
        records |= _own_records(record)
        quarter = f"of {record.dataset['name']}, split as for its trial (seed {record.seed})"
        named = {"Members": f"target-train {quarter}", "Non-members": f"target-test {quarter}"}
    torch.set_num_threads(record.threads)
    return AuditTarget(
        network=model.network,
        source=record.architecture.source,
        normalize=record.normalize,
        attacks=_repeatable(record.attacks) if asked.attacks is None else asked.attacks,
        recipe=asked.recipe or _trusted(record.recipe, asked),
        effort=asked.effort or record.effort,
        shadows=_given(asked.shadows, record.shadows),
        reference=_given(asked.reference, record.reference),
        seed=_given(asked.seed, record.seed),
        facts={"Weights": _weights(Path(asked.model) / MODEL_FILE), **named, "Normalisation": "its own"},
        **records,
    )


def _trusted(recipe: Mapping[str, Any], asked: Asked) -> Mapping[str, Any]:
    """A recipe that a file tells; a function that trains is only called if the user has named its module, too."""
    train = recipe.get("train")
    if train is not None and str(train).partition(":")[0] not in asked.plugins:
        raise ConfigError(
            f"{asked.model}: its recipe trains by {str(train)!r:.80}, and nothing is imported because a file names it: "
            "give --plugins with that module if you trust it, or a --recipe of your own"
        )
    return recipe


def _given(value: Any, default: Any) -> Any:
    """What the user has given, be it nothing of its kind; the default where nothing was given."""
    return default if value is None else value


def _repeatable(attacks: Sequence[str]) -> Sequence[str]:
    """The attacks of a trial that can be made on its weights alone; a line tells of those that cannot."""
    from nni_privacy.attacks import get_attack

    kept = [name for name in attacks if "loss_trace" not in get_attack(name).requires]
    if left := [name for name in attacks if name not in kept]:
        told = "losses from the training are not kept with a model"
        print(f"nni-privacy: without {', '.join(left)}: {told}", file=sys.stderr)
    return kept or DEFAULT_ATTACKS


def _own_records(record: ModelRecord) -> dict[str, Any]:
    """Members, non-members and the attacker's halves as the trial had them, in the same order."""
    from nni_privacy.auditing.canaries import plant_canaries
    from nni_privacy.data import load_dataset
    from nni_privacy.training.early_stopping import without_held_out
    from nni_privacy.training.recipe import Recipe

    data = load_dataset(**record.dataset)
    if data.image_shape != record.image_shape:
        shapes = f"images of {data.image_shape}, but the model was trained on {record.image_shape}"
        raise DataError(f"dataset {data.name!r}: {shapes}")
    split, _ = without_held_out(data.split(seed=record.seed), Recipe.from_mapping(record.recipe), seed=record.seed)
    if record.canaries:
        _, split = plant_canaries(data, split, record.canaries, seed=record.seed)
    parts = {name: (data.images[rows], data.labels[rows]) for name, rows in vars(split).items()}
    return {
        "members": parts["target_train"],
        "nonmembers": parts["target_test"],
        "halves": {"train": parts["shadow_train"], "test": parts["shadow_test"]},
        "own_records": True,
    }


def read_records(path: Path) -> Records:
    """Inputs and labels of a file of the user's; DataError if it cannot be read."""
    from nni_privacy.auditing.record_files import read_record_file

    return read_record_file(path)


def _statistics(members: Records) -> Callable[[Any], Any]:
    from nni_privacy.data import Normalizer
    from nni_privacy.data.inputs import Inputs

    inputs = Inputs.of(members[0])
    if inputs.numbers is None:
        raise ConfigError(f"--normalize: members; needs images or a table of floats, these are {inputs}")
    return Normalizer.fit(inputs.numbers)


def _weights(path: Path) -> str:
    return f"{path} (SHA-256 of the file: {hashlib.sha256(path.read_bytes()).hexdigest()})"
