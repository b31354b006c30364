"""A model as training and audits ask it: records in, logits out, whatever it takes and whatever it returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nni_privacy.data.inputs import Inputs
from nni_privacy.data.normalize import is_levels, to_float
from nni_privacy.errors import AuditError, ConfigError, PrivacyError, nearest

__all__ = ["OUTPUTS", "Classifier", "Outputs", "Transform", "answer_of", "module_of", "own_type", "to_logits"]

Transform = Callable[[Any], Any]
"""Applied to a batch before the model: a tensor, or the tuple or dictionary that the records are."""

Outputs = Literal["logits", "probabilities"]
Call = tuple[tuple[Any, ...], dict[str, Any]]

SUM_TOLERANCE = 0.02
"""Of probabilities of 16 bits."""
REASON_LENGTH = 200
_KEYWORDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_PLACES = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)


class Classifier:
    """Asks a model for logits ``(b, K)``.

    Records of several tensors go to the parameters of its ``forward``, by name or by place, or into its only one as a
    dictionary or a tuple. It may return a tensor, or an object or a mapping with ``logits``; one logit a record is that
    of the second of two classes.

    Args:
        model: in the mode and on the device that it is to be asked in.
        normalize: applied to each batch; without one, levels 0..255 are divided by 255.
        outputs: what it returns: ``logits``, or ``probabilities``, whose logarithms are taken.
        memory_format: of batches of images; None: as they are.

    Raises:
        ConfigError: if ``outputs`` is neither.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        normalize: Transform | None = None,
        outputs: Outputs = "logits",
        memory_format: torch.memory_format | None = None,
    ) -> None:
        if outputs not in OUTPUTS:
            raise ConfigError(f"outputs: {outputs!r}; {nearest(str(outputs), OUTPUTS)}")
        self.model, self.normalize, self.outputs, self.memory_format = model, normalize, outputs, memory_format
        self.dtype = own_type(model)
        self._arrange: Callable[[Inputs], Call] | None = None

    def __call__(self, inputs: Inputs, look: Callable[[Tensor], None] | None = None) -> Tensor:
        """The logits of records, which are prepared first; ``look`` is shown what the model itself returned.

        Raises:
            AuditError: if the model does not take them, or returns something else.
        """
        return self.logits(self.prepare(inputs), look)

    def logits(self, prepared: Inputs, look: Callable[[Tensor], None] | None = None) -> Tensor:
        """The same of records that are prepared."""
        answer = self.answer(prepared)
        if look is not None:
            look(answer)
        if self.outputs == "probabilities":
            _check_probabilities(answer.detach())
        return to_logits(answer, self.outputs)

    def prepare(self, inputs: Inputs) -> Inputs:
        """What the model sees: normalised floats of its own type; ids and truth values as they are."""
        if self.normalize is not None:
            inputs = Inputs.of(self.normalize(inputs.value))
        return inputs.map(self._prepared)

    def _prepared(self, tensor: Tensor) -> Tensor:
        if is_levels(tensor) and self.normalize is None:
            tensor = to_float(tensor)
        if tensor.is_floating_point() or is_levels(tensor):
            tensor = tensor.to(self.dtype)
        if self.memory_format is not None and tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=self.memory_format)
        return tensor

    def arranged(self, prepared: Inputs) -> Call:
        """Arguments and keywords of the model's ``forward``."""
        if self._arrange is None:
            self._arrange = _arrangement(self.model, prepared)
        return self._arrange(prepared)

    def answer(self, prepared: Inputs) -> Tensor:
        """What the model itself returns for prepared records, ``(b, K)``, or ``(b, 1)`` of one logit a record."""
        arguments, keywords = self.arranged(prepared)
        try:
            output = self.model(*arguments, **keywords)
        except (PrivacyError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # a user's code may raise anything
            reason = " ".join(str(error).split())[:REASON_LENGTH]
            ids = [name for name, tensor in prepared.items() if not tensor.is_floating_point()]
            hint = "; integers are ids here: give floats where it takes numbers" if ids else ""
            raise AuditError(f"the model fails on {prepared}: {type(error).__name__}: {reason}{hint}") from error
        return answer_of(output, len(prepared))


def own_type(model: nn.Module) -> torch.dtype:
    """The type of floats that a model computes in: that of its first parameter (or buffer) of floats."""
    tensors = (*model.parameters(), *model.buffers())
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)


def answer_of(output: Any, n: int) -> Tensor:
    """The tensor in what a model returned for ``n`` records: ``(n, K)``, or ``(n, 1)`` of one number a record.

    Raises:
        AuditError: if there is none, or it has another shape or type.
    """
    answer = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if answer is None and isinstance(output, Mapping):
        answer = output.get("logits")
    if not isinstance(answer, Tensor):
        found = f" with {', '.join(map(repr, output))}" if isinstance(output, Mapping) else ""
        raise AuditError(
            f"the model returned a {type(output).__name__}{found}, expected one tensor of logits (batch, classes), or "
            "an object or a mapping with logits"
        )
    if answer.ndim < 2 and answer.numel() == n:
        answer = answer.reshape(n, 1)
    if answer.ndim != 2 or len(answer) != n or not answer.shape[1] or not answer.is_floating_point():
        found = f"{answer.dtype} of shape {tuple(answer.shape)}"
        raise AuditError(
            f"the model returned {found} for {n} records, expected float logits ({n}, classes) or ({n},), as one "
            "tensor of logits, or in an object or a mapping"
        )
    return answer


def to_logits(answer: Tensor, outputs: Outputs) -> Tensor:
    """Logits ``(n, K)``, K >= 2, of what a model returns, see :data:`OUTPUTS`."""
    return OUTPUTS[outputs](answer)


def _from_logits(answer: Tensor) -> Tensor:
    """One logit z is that of class 1: the softmax of (0, z) is its sigmoid."""
    return answer if answer.shape[1] > 1 else torch.cat([torch.zeros_like(answer), answer], dim=1)


def _from_probabilities(answer: Tensor) -> Tensor:
    """Logarithms of probabilities; of one each, which is of class 1, its complement's too.

    No probability counts as less than what its type can hold.
    """
    shares = answer if answer.dtype == torch.float64 else answer.float()
    limits = torch.finfo(shares.dtype)
    if shares.shape[1] > 1:
        return shares.clamp_min(limits.tiny).log()
    others = (1 - shares).clamp_min(limits.eps / 2)
    return torch.cat([others, shares.clamp_min(limits.tiny)], dim=1).log()


OUTPUTS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"logits": _from_logits, "probabilities": _from_probabilities}
)
"""What models return, and how it is turned into logits."""


def _check_probabilities(answer: Tensor) -> None:
    if not bool(torch.isfinite(answer).all()):
        return  # a training that diverges, which others tell
    sums = answer.double().sum(dim=1)
    low, high = (float(one) for one in answer.aminmax())
    several = answer.shape[1] > 1
    off = several and bool(((sums - 1).abs() > SUM_TOLERANCE).any())
    if off or low < -SUM_TOLERANCE or high > 1 + SUM_TOLERANCE:
        sides = f", rows that sum to {float(sums.min()):.3g} to {float(sums.max()):.3g}" if several else ""
        raise AuditError(
            f"outputs: 'probabilities', but the model returned numbers from {low:.3g} to {high:.3g}{sides}: "
            "say outputs='logits' if that is what they are"
        )


def _arrangement(model: nn.Module, inputs: Inputs) -> Callable[[Inputs], Call]:
    """How inputs of this kind go into the model.

    Raises:
        AuditError: if its ``forward`` takes others.
    """
    parameters = _parameters(model)
    if parameters is None:
        return lambda one: ((), one.value) if one.names else (one.tensors, {})
    if inputs.names and _takes_names(parameters, inputs.names):
        return lambda one: ((), one.value)
    known = {parameter.name for parameter in parameters if parameter.kind in _KEYWORDS}
    if not inputs.names and _takes(parameters, len(inputs.tensors)):
        return lambda one: (one.tensors, {})
    if _takes(parameters, 1) and not known & set(inputs.names):
        return lambda one: ((one.value,), {})
    raise AuditError(f"the model takes ({', '.join(map(str, parameters))}), but is given {inputs}")


def _takes_names(parameters: list[inspect.Parameter], names: tuple[str, ...]) -> bool:
    known = {parameter.name for parameter in parameters if parameter.kind in _KEYWORDS}
    rest = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    return _needed(parameters) <= set(names) and (rest or set(names) <= known)


def _takes(parameters: list[inspect.Parameter], count: int) -> bool:
    places = [parameter for parameter in parameters if parameter.kind in _PLACES]
    rest = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    return (rest or count <= len(places)) and _needed(parameters) <= {parameter.name for parameter in places[:count]}


def _needed(parameters: list[inspect.Parameter]) -> set[str]:
    return {one.name for one in parameters if one.default is one.empty and one.kind in (*_KEYWORDS, *_PLACES)}


def _parameters(model: nn.Module) -> list[inspect.Parameter] | None:
    """The parameters of ``forward``, of a TorchScript program by its schema; None where neither is known."""
    forward = model.forward
    schema = getattr(forward, "schema", None)
    if schema is not None:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return [
            inspect.Parameter(one.name, kind, default=None if one.has_default_value() else inspect.Parameter.empty)
            for one in schema.arguments
            if one.name != "self"
        ]
    try:
        return list(inspect.signature(forward).parameters.values())
    except (TypeError, ValueError):
        return None


def module_of(model: Any) -> nn.Module:
    """A module, of an exported program the one that runs it.

    Raises:
        AuditError: if it is neither.
    """
    if isinstance(model, torch.export.ExportedProgram):
        return model.module()
    if not isinstance(model, nn.Module):
        raise AuditError(
            f"model is a {type(model).__name__}, expected a torch.nn.Module or an exported program; of other models "
            "the predictions can be audited"
        )
    return model
