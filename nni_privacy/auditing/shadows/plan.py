"""What defines one trained shadow, and the key under which its answers are remembered."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nni_privacy.auditing.shadows.models import CallableModel, ModelSource, ModelSpec, spec_for
from nni_privacy.data import Normalizer
from nni_privacy.data.inputs import Inputs
from nni_privacy.errors import ConfigError, DataError
from nni_privacy.rng import derived_seed
from nni_privacy.training.classifier import Outputs
from nni_privacy.training.early_stopping import held_out
from nni_privacy.training.own_function import source_digest
from nni_privacy.training.recipe import Recipe

__all__ = ["FORMAT_VERSION", "Normalization", "ShadowData", "ShadowTask", "canonical_json"]

FORMAT_VERSION = 1
"""Of the files in the cache and of what their keys are made of; a change makes all older files unused."""

Normalization = Normalizer | Literal["own"] | None
"""How a shadow's images are normalised: ``own``: by statistics of its own training records, as the evaluator does for
the target; a :class:`Normalizer` with fixed statistics; ``None``: ``uint8`` divided by 255."""

Indices = npt.NDArray[np.int64]
Arrays = dict[str, npt.NDArray[Any]]

_MODULES = (
    "nni_privacy.training.fit",
    "nni_privacy.training.classifier",
    "nni_privacy.data.inputs",
    "nni_privacy.training.recipe",
    "nni_privacy.training.recipe_checks",
    "nni_privacy.training.auxiliary",
    "nni_privacy.training.averaging",
    "nni_privacy.training.batch_augmentation",
    "nni_privacy.training.drop_path",
    "nni_privacy.training.early_stopping",
    "nni_privacy.training.loop",
    "nni_privacy.training.modes",
    "nni_privacy.training.optimizers",
    "nni_privacy.training.own_function",
    "nni_privacy.training.schedules",
    "nni_privacy.rng",
    "nni_privacy.training.defences",
    "nni_privacy.training.dp_sgd",
    "nni_privacy.training.dp_layers",
    "nni_privacy.auditing.forward",
    "nni_privacy.data.normalize",
    "nni_privacy.auditing.shadows.shadow",
)

_DIGEST_CHUNK = 4096  # records that are copied at once to be hashed

TYPES = (torch.uint8, torch.float32, torch.int64, torch.bool)
"""Of inputs: levels, floats, ids and masks."""


@dataclass(frozen=True, eq=False)
class ShadowData:
    """All records that the shadows are trained on or asked about, which tasks name by row.

    Attributes:
        images: ``(N, C, H, W)``, ``uint8`` or ``float32``; or records of any kind, of ``int64`` or ``bool`` too, see
            :class:`~nni_privacy.data.Inputs`.
        labels: ``(N,)`` ``int64``.

    Raises:
        DataError: if types are others or lengths differ.
    """

    images: Any
    labels: Tensor

    def __post_init__(self) -> None:
        inputs, labels = Inputs.of(self.images), self.labels
        if labels.shape != (len(inputs),):
            shapes = f"{inputs.noun} have shape {inputs.shapes}, labels {tuple(labels.shape)}"
            raise DataError(f"shadow models: {shapes}: expected (N, ...) and (N,)")
        if labels.dtype != torch.int64 or any(tensor.dtype not in TYPES for tensor in inputs.tensors):
            types = f"{inputs}, labels {labels.dtype}"
            raise DataError(f"shadow models: {types}: expected {', '.join(map(str, TYPES))}, and int64")
        object.__setattr__(self, "images", inputs.map(lambda tensor: tensor.detach().cpu().contiguous()).value)
        object.__setattr__(self, "labels", labels.detach().cpu().contiguous())

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def inputs(self) -> Inputs:
        """The records without their labels."""
        return Inputs.of(self.images)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of names, types, shapes and contents, hexadecimal."""
        digest = hashlib.sha256()
        for name, tensor in (*self.inputs.items(), ("labels", self.labels)):
            digest.update(f"{name!r} {tensor.dtype} {tuple(tensor.shape)}".encode())
            for chunk in tensor.split(_DIGEST_CHUNK):
                digest.update(chunk.numpy())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False, kw_only=True)
class ShadowTask:
    """Everything that defines one trained shadow and what it is asked.

    Attributes:
        number: of the shadow, from 0; for messages only.
        model: what is trained.
        model_digest: :func:`~nni_privacy.auditing.shadows.models.fingerprint` of it; ``None``: it is not remembered.
        recipe: how it is trained: the target's recipe.
        data: ``ShadowData.digest`` of the records.
        training: rows of the data that it is trained on, in order.
        queries: rows that it is asked about, in order.
        views: versions of every queried image, the plain one first, see ``extraction.view_images``.
        gradients: whether the classifier's input (or explicit gradients) of the queries are kept too.
        normalize: see :data:`Normalization`.
        outputs: what the model returns.
        seed: of initial weights, batches and layers.
        device: ``cpu`` or ``cuda``, resolved.
    """

    number: int
    model: ModelSource
    model_digest: str | None
    recipe: Recipe
    data: str
    training: Indices
    queries: Indices
    views: int = 1
    gradients: bool = False
    normalize: Normalization = "own"
    outputs: Outputs = "logits"
    seed: int
    device: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", spec_for(self.model))  # another process cannot build all that ModelSpec takes

    def describe(self) -> dict[str, Any]:
        """What the key is made of, as plain values: no more and no less than what the answers depend on."""
        normalize: Any = self.normalize
        if isinstance(normalize, Normalizer):
            normalize = {"mean": list(normalize.mean), "std": list(normalize.std)}
        model: dict[str, Any] = {"digest": self.model_digest}
        if isinstance(self.model, ModelSpec):
            model.update(factory=self.model.factory, arguments=self.model.arguments)
        return {
            "format": FORMAT_VERSION,
            "versions": {"nni-privacy": version("nni-privacy"), "torch": torch.__version__, "code": _code_digest()},
            "model": model,
            "recipe": self.recipe.to_dict(),
            **({"train": source_digest(self.recipe.train)} if self.recipe.train is not None else {}),
            "data": self.data,
            "training": _describe_rows(self.training),
            "queries": _describe_rows(self.queries),
            "views": self.views,
            "gradients": self.gradients,
            "normalize": normalize,
            "outputs": self.outputs,
            "seed": self.seed,
            "device": self.device.partition(":")[0],
        }

    @cached_property
    def description(self) -> str:
        """:meth:`describe` as canonical JSON: sorted keys, no spaces."""
        return canonical_json(self.describe())

    @cached_property
    def key(self) -> str:
        """SHA-256 of the description, hexadecimal: the name of the shadow's file in the cache."""
        return hashlib.sha256(self.description.encode()).hexdigest()

    def validation(self, n: int) -> Indices | None:
        """Which of the ``n`` records of the data ``stop_early`` looks at: some that the shadow is not trained on.

        As many as the target holds out. Records of the shadow's own would not be trained on then, and who is IN and who
        is OUT would no longer be as planned. None without ``stop_early``, or if there are no other records.
        """
        others = np.setdiff1d(np.arange(n), self.training)
        if self.recipe.stop_early is None or not len(others):
            return None
        count = np.count_nonzero(held_out(self.recipe, len(self.training), seed=self.seed))
        return np.random.default_rng(derived_seed(self.seed, "held out")).permutation(others)[:count]

    def accepts(self, arrays: Mapping[str, npt.NDArray[Any]]) -> bool:
        """Whether arrays have the names and shapes of this task's answers."""
        logits = arrays.get("logits")
        if logits is None or logits.ndim != 3 or logits.shape[:2] != (len(self.queries), self.views):
            return False
        extra = [name for name in ("features", "gradients") if name in arrays]
        return len(extra) == int(self.gradients) and all(len(arrays[name]) == len(self.queries) for name in extra)

    def to_message(self) -> dict[str, Any]:
        """All fields as JSON's values, for a worker process.

        Raises:
            ConfigError: if the model cannot be built in another process.
        """
        if isinstance(self.model, CallableModel):
            raise ConfigError("this model can be built in this process only: use workers=0, or an importable factory")
        content = self.describe()
        content.update(training=self.training.tolist(), queries=self.queries.tolist(), number=self.number)
        return {**content, "device": self.device}

    @classmethod
    def from_message(cls, content: Mapping[str, Any]) -> ShadowTask:
        """The task of :meth:`to_message`."""
        normalize = content["normalize"]
        if isinstance(normalize, Mapping):
            normalize = Normalizer(tuple(normalize["mean"]), tuple(normalize["std"]))
        plain = {name: content[name] for name in _PLAIN}
        return cls(
            model=ModelSpec(content["model"]["factory"], content["model"]["arguments"]),
            model_digest=content["model"]["digest"],
            recipe=Recipe.from_mapping(content["recipe"]),
            training=np.asarray(content["training"], dtype=np.int64),
            queries=np.asarray(content["queries"], dtype=np.int64),
            normalize=normalize,
            **plain,
        )


_PLAIN = ("number", "data", "views", "gradients", "outputs", "seed", "device")


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; numpy's numbers are written as python's."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be part of a shadow's description")


@cache
def _code_digest() -> str:
    """SHA-256 of the modules that make a shadow's answers: under development code changes and versions stay."""
    digest = hashlib.sha256()
    for module in _MODULES:
        # Found, not imported: Opacus takes a second, and most recipes do without it.
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise ImportError(f"{module} is not installed")
        digest.update(Path(spec.origin).read_bytes())
    return digest.hexdigest()


def _describe_rows(rows: Indices) -> dict[str, Any]:
    return {"count": len(rows), "sha256": hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()}
