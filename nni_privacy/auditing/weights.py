"""A user's file of weights, read without running anything in it, and put into a network under the network's names.

People save state dicts with more around them: as an entry of a checkpoint, and with the prefixes of wrappers
(``DataParallel``, ``torch.compile``, Opacus, Lightning). Both are taken off where what is left fits the network.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.serialization import safe_globals

from nni_privacy.auditing.file_kinds import kind_of_file
from nni_privacy.errors import DataError
from nni_privacy.files import CORRUPT_FILE, UNREADABLE

__all__ = ["load_weights"]

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params", "module")
"""Names under which checkpoints keep the weights."""

MARKS = re.compile(r"(^|(?<=\.))(module|_module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What wrappers put into names, also in their middle: ``features.module.0.weight`` is of a network wrapped in part."""

COUNTERS = ("n_averaged", "num_batches_tracked")
"""Ends of names that count and weigh nothing: they may be missing, or be there."""

NO_WEIGHTS = "not a file of weights (torch.save of a state_dict, or .safetensors)"

MAX_DEPTH = 4
"""Of dictionaries in a checkpoint."""
TRIED = 8
"""Ways to rename that are tried: those that explain most names."""
MAX_STRANGERS = 64
"""Kinds of objects other than weights that are looked at to name one."""
SHOWN = 3
"""Names that a message shows of each kind."""

State = Mapping[str, Any]


@dataclass(frozen=True)
class _Match:
    """Weights under names of the model.

    Attributes:
        state: tensors by name.
        how: what was done to the names, in words.
        left: names of the file with another beginning than those of the state.
        missing: names of the model that are not in it, nor tied to one that is.
        unknown: names that the model does not have.
        reshaped: names whose tensors have another shape than the model's.
    """

    state: State
    how: tuple[str, ...]
    left: list[str]
    missing: list[str]
    unknown: list[str]
    reshaped: list[str]

    @property
    def faults(self) -> int:
        return len(self.missing) + len(self.unknown) + len(self.reshaped)


def load_weights(model: nn.Module, path: Path) -> str:
    """Puts the weights of a file into a network.

    Args:
        model: of the architecture whose weights the file holds; its types stay.
        path: a file of ``torch.save`` with a state dict, at the top or as an entry of a checkpoint, or a
            safetensors file (tied weights may be in it once).

    Returns:
        What was taken off to make them fit, in one line; empty if they fitted as they were.

    Raises:
        DataError: if the file cannot be read, holds objects that only code can load, or does not fit; the last in three
            lines.
    """
    content = _read(path)
    if not isinstance(content, Mapping):
        raise DataError(f"{path}: holds a {type(content).__name__}, expected a state_dict")
    with suppress(*CORRUPT_FILE):
        model.load_state_dict(content)  # torch's own rules come first
        return ""
    tried = {keys: _matches(state, model) for keys, state in _states(content)}
    if not tried:
        names = ", ".join(repr(key)[:60] for key in list(content)[:SHOWN]) or "nothing"
        raise DataError(f"{path}: holds no weights but {names}; expected a state_dict")
    fitting = [(keys, match) for keys, matches in tried.items() for match in matches if not match.faults]
    if not fitting:
        likeliest = min((match for matches in tried.values() for match in matches), key=lambda match: match.faults)
        raise DataError(f"{path}: {_misfit(likeliest, model)}")
    usual = [found for found in fitting if set(found[0]) <= set(WRAPPERS)]
    found = usual or fitting
    if len(found) > 1:
        several = "; ".join(" ".join((".".join(keys) or "the top level", *match.how)) for keys, match in found)
        raise DataError(f"{path}: several states fit the model ({several[:300]}): save the one that is meant alone")
    keys, match = found[0]
    model.load_state_dict(match.state, strict=False)
    others = [".".join(other) for other, _ in fitting if other != keys]
    steps = [f"taken from {'.'.join(keys)!r}"] if keys else []
    steps += [*match.how, *(f"{other!r} would fit, too" for other in others)]
    return f"{path}: weights {'; '.join(steps)}" if steps else ""


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            start = file.read(9)
        if path.suffix == ".safetensors" or start[8:] == b"{":
            return load_file(path)
        if not start:
            raise DataError(f"{path}: the file is empty")
        if start.startswith(b"PK") and not zipfile.is_zipfile(path):
            raise DataError(f"{path}: {NO_WEIGHTS}: cut short, its end is missing; copy or save it again")
        with warnings.catch_warnings(), safe_globals(_numpy_scalars()):
            warnings.simplefilter("ignore")  # of archives that hold code: they are refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except SafetensorError as error:
        raise DataError(f"{path}: not a safetensors file: {error}") from None
    except DataError:
        raise
    except CORRUPT_FILE as error:
        raise DataError(f"{path}: {_unreadable(path, error)}") from None


def _numpy_scalars() -> list[Any]:
    """What a pickled number of numpy's consists of, under the names of numpy 1 and 2: plain data all of it."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(code)) for code in "?bhilqBHILQefdU"]
    names = [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]
    return [np.dtype, *kinds, *((scalar, name) for name in names)]


def _unreadable(path: Path, error: Exception) -> str:
    """Why torch does not load a file: what in it is not weights, and where."""
    if "TorchScript" in str(error):
        return "a TorchScript archive, which holds code: save the state_dict() of the model with torch.save"
    content, names = _with_strangers(path)
    if not names:
        cut = "cut short; copy or save it again" if "EOF" in str(error) else None
        reason = cut or kind_of_file(path)
        return NO_WEIGHTS if reason is None else f"{NO_WEIGHTS}: {reason}"
    first, kind = next(_places(content), ("", ""))
    kind = "a NumPy array" if kind.endswith("._reconstruct") else kind
    where = f"{first!r} is {kind}; save the file without it, or a state_dict alone"
    if not first:
        what = f"a whole model ({kind})" if kind else ", ".join(names[:SHOWN])
        where = f"{what}; save model.state_dict()"
    return f"holds objects other than weights, which are not loaded: {where}"


def _with_strangers(path: Path) -> tuple[Any, list[str]]:
    """What torch's careful reader finds if it is given stand-ins, which do nothing, for what is foreign; their names.

    The content is None where that is not enough: some names it never takes.
    """
    strangers: dict[str, type] = {}
    while len(strangers) < MAX_STRANGERS:
        allowed = [*_numpy_scalars(), *((stranger, name) for name, stranger in strangers.items())]
        try:
            with warnings.catch_warnings(), safe_globals(allowed):
                warnings.simplefilter("ignore")
                return torch.load(path, map_location="cpu", weights_only=True), list(strangers)
        except UNREADABLE as error:
            foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
            name = foreign[1] if foreign else ""
            name = name if "." in name or not name else f"builtins.{name}"  # which torch leaves out
            if not name or name in strangers:
                break
            strangers[name] = type(name, (_Stranger,), {})
    return None, list(strangers)


class _Stranger:
    """Stands for an object of a class that is not loaded."""

    def __new__(cls, *_: Any, **__: Any) -> _Stranger:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


def _places(content: Any) -> Iterator[tuple[str, str]]:
    """Keys and types of all strangers in what was read."""
    queue, seen = [("", content)], set()
    for key, value in queue:  # which grows meanwhile
        kind = value if isinstance(value, type) else type(value)
        if issubclass(kind, _Stranger):
            yield key, kind.__name__
        elif isinstance(value, Mapping | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            queue += [(f"{key}.{name}".lstrip("."), entry) for name, entry in items]


def _states(content: Mapping[Any, Any]) -> Iterator[tuple[tuple[str, ...], State]]:
    """The dictionaries in a checkpoint that hold tensors, with the keys that lead there."""
    queue: list[tuple[tuple[str, ...], Mapping[Any, Any]]] = [((), content)]
    seen = set()
    for keys, entry in queue:  # which grows meanwhile
        if id(entry) in seen or len(keys) > MAX_DEPTH:
            continue
        seen.add(id(entry))
        named = {key: value for key, value in entry.items() if isinstance(key, str)}
        if any(isinstance(value, Tensor) for value in named.values()):
            yield keys, named
        queue += [((*keys, key), value) for key, value in named.items() if isinstance(value, Mapping)]


def _matches(state: State, model: nn.Module) -> list[_Match]:
    """The state under names of the model: what fits if anything does, else what fits best comes first."""
    wanted = model.state_dict()
    # Numbers that somebody put beside the weights are left out; a layer's extra state is one that the model knows.
    state = {key: value for key, value in state.items() if isinstance(value, Tensor) or key in wanted}
    matches = []
    for plain in (lambda name: name, lambda name: MARKS.sub("", name)):
        theirs, ours = {plain(key): key for key in state}, {plain(key): key for key in wanted}
        if len(theirs) < len(state) or len(ours) < len(wanted):
            continue  # two names would become one
        marks = sorted({mark[0] for key in (*state, *wanted) for mark in MARKS.finditer(key) if plain(key) != key})
        how = (f"without {', '.join(map(repr, marks))} in their names",) if marks else ()
        for off, on in _exchanges(theirs, ours):
            named = {ours.get(on + name[len(off) :], on + name[len(off) :]): state[key]
                     for name, key in theirs.items() if name.startswith(off)}  # fmt: skip
            left = [key for name, key in theirs.items() if not name.startswith(off)]
            told = [*how, *([f"without {off!r} before their names"] if off else [])]
            told += [f"with {on!r} before their names"] if on else []
            told += [f"without {_listed(left)}"] if left else []
            matches.append(_compared(named, wanted, how=tuple(told), left=left))
        fitting = [match for match in matches if not match.faults]
        if fitting:
            return fitting
    return matches or [_compared(state, wanted, how=(), left=[])]


def _exchanges(theirs: Iterable[str], ours: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of a prefix to take off the file's names and one to put before them, what explains most names first."""
    ours = list(ours)
    before: dict[str, list[str]] = {}
    for name in theirs:
        for off, rest in _cuts(name):
            before.setdefault(rest, []).append(off)
    shared = [on for on, _ in _cuts(ours[0]) if all(name.startswith(on) for name in ours)] if ours else []
    found = Counter((off, on) for on in shared for name in ours for off in before.get(name[len(on) :], ()))
    return [pair for pair, _ in found.most_common(TRIED)]


def _cuts(name: str) -> list[tuple[str, str]]:
    """A name cut before each of its parts: ``a.b`` is ``("", "a.b")`` and ``("a.", "b")``."""
    starts = [0, *(dot.end() for dot in re.finditer(r"\.", name))]
    return [(name[:start], name[start:]) for start in starts]


def _compared(state: State, wanted: State, *, how: tuple[str, ...], left: list[str]) -> _Match:
    places = {name: _memory(wanted[name]) for name in wanted if isinstance(wanted[name], Tensor)}
    there = {places[name] for name in state if name in places}
    return _Match(
        {name: value for name, value in state.items() if name in wanted or not name.endswith(COUNTERS)},
        how,
        left,
        [name for name in wanted if name not in state and places.get(name) not in there
         and not name.endswith(COUNTERS)],
        [name for name in state if name not in wanted and not name.endswith(COUNTERS)],
        [name for name, value in state.items() if name in places and not is_lazy(wanted[name])
         and value.shape != wanted[name].shape],
    )  # fmt: skip


def _memory(tensor: Tensor) -> Any:
    """What two tied tensors have in common, and no others."""
    if is_lazy(tensor) or not tensor.numel():
        return object()
    return tensor.data_ptr(), tensor.shape, tensor.stride()


def _misfit(match: _Match, model: nn.Module) -> str:
    """Three lines: how many tensors do not fit, and the first of each kind."""
    wanted = model.state_dict()
    unknown = match.unknown + match.left
    kinds = {
        f"{len(match.missing)} of its {len(wanted)} tensors are missing in the file": match.missing,
        f"{len(unknown)} of the file's are unknown to it": unknown,
        f"{len(match.reshaped)} have another shape": match.reshaped,
    }
    buffers = {name for name, _ in model.named_buffers()}
    hint = " (buffers: save model.state_dict(), not the parameters)" if set(match.missing) <= buffers else ""
    shapes = [f"{name[:60]} is {tuple(match.state[name].shape)}, the model's is {tuple(wanted[name].shape)}"
              for name in match.reshaped[:SHOWN]]  # fmt: skip
    further = [f"unknown: {_listed(unknown)}"] if unknown else []
    further += [f"other shapes: {', '.join(shapes)}"] if shapes else []
    lines = [f"does not fit the model: {', '.join(text for text, names in kinds.items() if names)}"]
    lines += [f"missing: {_listed(match.missing)}{hint}"] if match.missing else []
    lines += ["; ".join(further)] if further else []
    return "\n  ".join(lines)


def _listed(names: list[str]) -> str:
    first = [repr(name)[:60] for name in names[:SHOWN]]
    return ", ".join([*first, "..."] if len(names) > SHOWN else first)
