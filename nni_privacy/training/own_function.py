"""Training by a function of the user's own: ``train: module:function`` of a recipe.

The function is called as ``function(model=, data=, recipe=, seed=, device=, on_epoch=)`` and trains ``model`` in place;
what it returns is not looked at. Random numbers of python, numpy and torch are seeded before and put back after it.
"""

from __future__ import annotations

import hashlib
import inspect
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from nni_privacy.data.inputs import Inputs
from nni_privacy.errors import ConfigError, nearest
from nni_privacy.plugins import import_from_here, place_of, plugin_faults, told
from nni_privacy.training.classifier import Classifier

__all__ = ["ARGUMENTS", "TrainingData", "own_function", "run_own_function", "source_digest"]

ARGUMENTS = ("model", "data", "recipe", "seed", "device", "on_epoch")


class TrainingData(Dataset[tuple[Any, Tensor]]):
    """The records to train on, as the model takes them: a data set for ``torch.utils.data.DataLoader``.

    ``data[i]`` is a record, normalised and of floats, and its label; ``data[rows]`` of a list, a slice or a tensor of
    rows are a batch of them. Records of several tensors are tuples or dictionaries of such.

    Args:
        inputs: of all records.
        labels: ``(n,)`` ``int64``.
        classifier: of the model; it knows how records are prepared.

    Attributes:
        inputs: as they are stored, before they are prepared.
        labels: ``(n,)`` classes.
    """

    def __init__(self, inputs: Inputs, labels: Tensor, classifier: Classifier) -> None:
        self.inputs, self.labels = inputs, labels
        self._classifier = classifier

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Any) -> tuple[Any, Tensor]:
        if isinstance(rows, slice | list | tuple) or getattr(rows, "ndim", False):
            chosen: Any = rows if isinstance(rows, slice) else torch.as_tensor(rows)
            return self._classifier.prepare(self.inputs[chosen]).value, self.labels[chosen]
        row = int(rows)
        if not -len(self) <= row < len(self):
            raise IndexError(row)  # what ends a loop over all records
        one = self._classifier.prepare(self.inputs[[row]])
        return one.map(lambda tensor: tensor[0]).value if one.several else one.tensors[0][0], self.labels[row]


def own_function(name: str) -> Callable[..., Any]:
    """The function that ``train`` names, imported; modules of the current folder are found, too.

    Raises:
        ConfigError: if it cannot be imported, is none, or takes other arguments; one line with the file where known.
    """
    path, _, attribute = name.partition(":")
    import_from_here()
    try:
        module = import_module(path)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"recipe.train: {name!r} cannot be imported: {told(error, path)}") from error
    function = getattr(module, attribute, None)
    if not callable(function):
        known = [one for one, value in vars(module).items() if inspect.isfunction(value)]
        raise ConfigError(f"recipe.train: {name!r}; {path} has no such function; {nearest(attribute, known)}")
    try:
        inspect.signature(function).bind(**dict.fromkeys(ARGUMENTS))
    except TypeError as error:
        wanted = ", ".join(ARGUMENTS)
        found = f"{place_of(function)}{attribute}: {error}"
        raise ConfigError(f"recipe.train: {found}; it is called with {wanted}") from None
    return function


def run_own_function(name: str, **arguments: Any) -> None:
    """Calls the function that ``train`` names.

    Raises:
        ConfigError: if it cannot be imported, or fails: one line with its file and line.
    """
    function = own_function(name)
    with plugin_faults(f"recipe.train {name!r}", function), _seeded_libraries(arguments["seed"]):
        function(**arguments)


@contextmanager
def _seeded_libraries(seed: int) -> Iterator[None]:
    """Seeds python's and numpy's global generators meanwhile; torch's is the caller's to see to."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one is meant
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def source_digest(name: str) -> str:
    """SHA-256 of the file that holds the function: of two with other code, models are not the same.

    Raises:
        ConfigError: as :func:`own_function`.
    """
    function = own_function(name)
    file = getattr(sys.modules[function.__module__], "__file__", None)
    return hashlib.sha256(Path(file).read_bytes() if file else name.encode()).hexdigest()
