"""The recurrent policy of ENAS: it writes an architecture choice by choice (Pham et al., arXiv 1802.03268)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Controller", "ControllerDraw"]

INITIAL_RANGE = 0.1
"""Parameters start uniformly in [-0.1, 0.1] (arXiv 1802.03268, section 3)."""


@dataclass(frozen=True)
class ControllerDraw:
    """Architectures that a controller drew.

    Attributes:
        codes: (n, d) int64, the index of the value of each choice.
        log_probabilities: (n,) of the whole architectures, with gradient.
        entropies: (n, d) of each choice's distribution given the choices before it, in nats, with gradient.
    """

    codes: Tensor
    log_probabilities: Tensor
    entropies: Tensor


class Controller(nn.Module):
    """An LSTM that samples the choices in order, each given those before it (arXiv 1802.03268, section 2.2).

    The value of a choice is embedded as the input of the next step; the first input is learnt. Logits are
    ``tanh_constant * tanh(logits / temperature)``, which keeps every value possible.

    Args:
        choices: label to values, in order. Choices with a single value are fixed: no step, no parameters.
        hidden: units of a layer.
        layers: of the LSTM.
        tanh_constant: largest absolute logit.
        temperature: what logits are divided by first.
        generator: of the initial parameters.

    Attributes:
        counts: (d,) number of values of every choice that is sampled.
    """

    def __init__(
        self,
        choices: Mapping[str, Sequence[Any]],
        *,
        hidden: int = 32,
        layers: int = 2,
        tanh_constant: float = 2.5,
        temperature: float = 5.0,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.choices = {label: tuple(values) for label, values in choices.items()}
        self.counts = tuple(len(values) for values in self.choices.values() if len(values) > 1)
        self.tanh_constant, self.temperature = tanh_constant, temperature
        self.start = nn.Parameter(torch.empty(hidden))
        self.lstm = nn.LSTM(hidden, hidden, num_layers=layers)
        self.heads = nn.ModuleList(nn.Linear(hidden, count) for count in self.counts)
        # The value of the last choice is not read by anything.
        self.embeddings = nn.ModuleList(nn.Embedding(count, hidden) for count in self.counts[:-1])
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-INITIAL_RANGE, INITIAL_RANGE, generator=generator)

    def draw(self, count: int, *, generator: torch.Generator) -> ControllerDraw:
        """``count`` independent architectures."""
        return self._unroll(count, None, generator)

    def log_probabilities(self, codes: Tensor) -> Tensor:
        """Codes (n, d) -> (n,) logarithms of the probabilities that the controller draws them."""
        return self._unroll(len(codes), codes.to(self.start.device), None).log_probabilities

    def greedy(self) -> list[int]:
        """The (d,) codes of always taking the likeliest value."""
        with torch.no_grad():
            return self._unroll(1, None, None).codes[0].tolist()

    def sample(self, codes: Sequence[int]) -> dict[str, Any]:
        """The sample that (d,) codes stand for, fixed choices included."""
        remaining = iter(codes)
        return {
            label: values[next(remaining)] if len(values) > 1 else values[0] for label, values in self.choices.items()
        }

    def _unroll(self, count: int, codes: Tensor | None, generator: torch.Generator | None) -> ControllerDraw:
        """Goes through all choices; takes the given codes, draws them, or takes the likeliest."""
        inputs = self.start.expand(1, count, -1)
        state: tuple[Tensor, Tensor] | None = None
        taken, terms, entropies = [], [], []
        for step, head in enumerate(self.heads):
            output, state = self.lstm(inputs, state)
            logits = self.tanh_constant * torch.tanh(head(output[0]) / self.temperature)
            log_p = torch.log_softmax(logits, dim=1)
            if codes is not None:
                code = codes[:, step]
            elif generator is not None:
                # Drawn on the CPU, so that a seed means the same on every device.
                drawn = torch.multinomial(log_p.detach().exp().cpu(), 1, generator=generator)
                code = drawn[:, 0].to(log_p.device)
            else:
                code = log_p.argmax(dim=1)
            taken.append(code)
            terms.append(log_p.gather(1, code[:, None])[:, 0])
            entropies.append(-(log_p.exp() * log_p).sum(dim=1))
            if step < len(self.embeddings):
                inputs = self.embeddings[step](code)[None]
        return ControllerDraw(torch.stack(taken, 1), torch.stack(terms, 1).sum(1), torch.stack(entropies, 1))
