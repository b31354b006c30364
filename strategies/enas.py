"""ENAS (Pham et al.: Efficient Neural Architecture Search via Parameter Sharing, ICML 2018, arXiv 1802.03268)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from nni_privacy.runs.journal import sample_key
from nni_privacy.schema import Count
from nni_privacy.search_spaces.supernet import Sample
from nni_privacy.strategies.one_shot import Batch, OneShotOptions
from nni_privacy.strategies.weight_sharing import CandidateOptions, WeightSharing, judging

__all__ = ["ENAS", "Controller", "ControllerDraw", "ControllerTrainer", "ENASOptions"]

INITIAL_RANGE = 0.1
"""Parameters start uniformly in [-0.1, 0.1] (arXiv 1802.03268, section 3)."""
CONTROLLER_STEPS = 50
ENTROPY_DRAWS = 64
"""Architectures over which the reported entropy is averaged."""
DRAWS_PER_CANDIDATE = 20
"""How often the controller is asked for each of the different candidates before fewer are taken."""


class ENASOptions(CandidateOptions):
    """Options of :class:`ENAS`; those of the weights are DARTS' (arXiv 1806.09055, section 3.1)."""

    controller_steps: int | None = Field(
        None,
        ge=1,
        description="steps of the controller after an epoch; by default one a step of the weights, at most 50",
    )
    samples_per_step: Count = Field(20, description="architectures whose rewards make up one controller step")
    controller_learning_rate: float = Field(1e-3, gt=0, description="of the controller (Adam)")
    controller_gradient_clip: float = Field(5.0, gt=0, description="largest norm of the controller's gradient")
    controller_hidden: Count = Field(32, description="units of an LSTM layer")
    controller_layers: Count = Field(2, description="layers of the LSTM")
    tanh_constant: float = Field(2.5, gt=0, description="largest absolute logit")
    temperature: float = Field(5.0, gt=0, description="what logits are divided by before the tanh")
    entropy_weight: float = Field(1e-4, ge=0, description="of the entropy in the reward")
    baseline_decay: float = Field(0.99, ge=0, lt=1, description="of the moving average of rewards")


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

    def sample(self, codes: Sequence[int]) -> dict[str, Any]:
        """The sample that (d,) codes stand for, fixed choices included."""
        remaining = iter(codes)
        return {
            label: values[next(remaining)] if len(values) > 1 else values[0] for label, values in self.choices.items()
        }

    def draw(
        self, count: int, *, codes: Tensor | None = None, generator: torch.Generator | None = None
    ) -> ControllerDraw:
        """``count`` independent architectures: of the given (count, d) codes, drawn, or of the likeliest values."""
        inputs = self.start.expand(1, count, -1)
        state: tuple[Tensor, Tensor] | None = None
        taken, terms, entropies = [], [], []
        for step, head in enumerate(self.heads):
            output, state = self.lstm(inputs, state)
            logits = self.tanh_constant * torch.tanh(head(output[0]) / self.temperature)
            log_p = torch.log_softmax(logits, dim=1)
            if codes is not None:
                code = codes[:, step].to(log_p.device)
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


class ControllerTrainer:
    """REINFORCE with a moving-average baseline (arXiv 1802.03268, section 2.2).

    loss = -mean over the samples of log p(architecture) * (R - b), R = reward + ``entropy_weight`` * entropy; b follows
    R sample by sample, b <- decay * b + (1 - decay) * R, starting at the first R.

    Args:
        controller: the policy; its parameters are all that changes.
        options: of ENAS.

    Attributes:
        baseline: b; None before the first step.
    """

    def __init__(self, controller: Controller, options: ENASOptions) -> None:
        self.controller, self.options = controller, options
        self.optimizer = torch.optim.Adam(controller.parameters(), lr=options.controller_learning_rate)
        self.baseline: float | None = None

    def step(self, reward: Callable[[Sample], float], *, generator: torch.Generator) -> float:
        """One Adam step; ``reward`` judges a sampled architecture. Returns the mean reward, without the entropy."""
        drawn = self.controller.draw(self.options.samples_per_step, generator=generator)
        rewards = [reward(self.controller.sample(codes)) for codes in drawn.codes.tolist()]
        entropies = drawn.entropies.detach().sum(dim=1).tolist()
        advantages = []
        for value, entropy in zip(rewards, entropies, strict=True):
            total, decay = value + self.options.entropy_weight * entropy, self.options.baseline_decay
            self.baseline = total if self.baseline is None else decay * self.baseline + (1 - decay) * total
            advantages.append(total - self.baseline)
        log_probabilities = drawn.log_probabilities
        loss = -(log_probabilities * log_probabilities.new_tensor(advantages)).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.controller.parameters(), self.options.controller_gradient_clip)
        self.optimizer.step()
        return sum(rewards) / len(rewards)


class ENAS(WeightSharing):
    """Efficient NAS: a controller learns by REINFORCE which paths of the supernet are accurate (arXiv 1802.03268).

    An epoch alternates between the two halves (section 2.2). Weights: each SGD step, on a training batch, runs one
    architecture that the controller draws (one Monte Carlo sample). Controller, after that: each of
    ``controller_steps`` Adam steps draws ``samples_per_step`` architectures; the reward of each is its accuracy with
    the shared weights on a validation batch, the same for all of a step, plus 1e-4 times the entropy.

    The controller, an LSTM of 2 x 32 units, decides every choice of the space that the pattern leaves open, in order.

    Selection: ``candidates`` different architectures drawn from the controller are scored by the accuracy of the shared
    weights on one batch of ``score_batch_size`` validation records (the whole half where it has no more), best first.

    Defaults: logits 2.5 tanh(l / 5) (section 3.2); 2 x 32 units, entropy 1e-4, Adam 1e-3, 50 steps of 20 samples,
    baseline decay 0.99, clip 5, 100 candidates (as in NAS-Bench-201's comparison, arXiv 2001.00326); epochs and weights
    as for DARTS. An epoch with fewer than 50 steps of the weights has as few steps of the controller, so that small
    data do not spend most of the search on it.

    Attributes:
        controller: the policy; there after :meth:`prepare`.
        trainer: its optimiser and baseline.
    """

    Options: ClassVar[type[OneShotOptions]] = ENASOptions

    controller: Controller
    trainer: ControllerTrainer

    def begin(self) -> None:
        """Builds the supernet, the controller and both optimisers."""
        super().begin()
        options = self.options
        self.controller = Controller(
            self.layout().choices,
            hidden=options.controller_hidden,
            layers=options.controller_layers,
            tanh_constant=options.tanh_constant,
            temperature=options.temperature,
            generator=torch.Generator().manual_seed(self.stream(6)),
        ).to(self.data.device)
        self.trainer = ControllerTrainer(self.controller, options)

    def architecture_parameters(self) -> list[nn.Parameter]:
        """Those of the controller, in a fixed order."""
        return list(self.controller.parameters())

    # --- the two phases of an epoch ---

    def search_step(self, train: Batch, validation: Batch, epoch: int) -> dict[str, float]:
        """One step of the weights on a path that the controller draws."""
        with torch.no_grad():
            (codes,) = self.controller.draw(1, generator=self.generator).codes.tolist()
        gates = self.supernet.path_gates(self.controller.sample(codes))
        return {"train_loss": self.weight_step(train, gates)}

    def after_epoch(self, epoch: int) -> dict[str, float]:
        """The steps of the controller, a validation batch each."""
        weight_steps = max(len(self.data.train) // self.options.batch_size, 1)
        steps = self.options.controller_steps or min(CONTROLLER_STEPS, weight_steps)
        rewards = 0.0
        with judging(self.supernet):
            for step in range(steps):
                seed = self.stream(8, epoch, step)
                batch = self.data.validation_batch(batch_size=self.options.batch_size, seed=seed)
                rewards += self.trainer.step(partial(self.accuracy, batch=batch), generator=self.generator)
        return {"reward": rewards / steps, "baseline": float(self.trainer.baseline or 0.0)}

    # --- what the search has found ---

    def drawn_candidates(self, count: int) -> list[Sample]:
        """``count`` different architectures drawn from the controller, fewer if it hardly knows as many."""
        generator = torch.Generator().manual_seed(self.stream(7))
        found: dict[str, Sample] = {}
        with torch.no_grad():
            for _ in range(DRAWS_PER_CANDIDATE):
                for codes in self.controller.draw(count, generator=generator).codes.tolist():
                    sample = self.controller.sample(codes)
                    found[sample_key(sample)] = sample
                if len(found) >= count:
                    break
        return list(found.values())[:count]

    def best_samples(self, count: int) -> list[Sample]:
        """The candidates of the highest accuracy."""
        samples = self.drawn_candidates(max(count, self.options.candidates))
        batch = self.data.validation_batch(batch_size=self.options.score_batch_size, seed=self.stream(9))
        return self.ranked_by_accuracy(samples, batch)[:count]

    def current_sample(self) -> Sample:
        """What the controller writes if it always takes the likeliest value."""
        with torch.no_grad():
            return self.controller.sample(self.controller.draw(1).codes[0].tolist())

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers of the weights and of the controller."""
        return {**super().optimizers(), "architecture": self.trainer.optimizer}

    def entropy(self) -> float | None:
        """Mean entropy of the controller's choices, each given those before it, over some of its draws; in nats."""
        generator = torch.Generator().manual_seed(self.stream(10))
        with torch.no_grad():
            entropies: Tensor = self.controller.draw(ENTROPY_DRAWS, generator=generator).entropies
        return float(entropies.mean())

    # --- checkpoints ---

    def trained_parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """Weights, controller and both optimisers."""
        return {
            **super().trained_parts(),
            "controller": self.controller,
            "controller_optimizer": self.trainer.optimizer,
        }

    def search_state(self) -> dict[str, Any]:
        """The state of all parts, and the baseline."""
        return {**super().search_state(), "baseline": self.trainer.baseline}

    def load_search_state(self, state: Mapping[str, Any]) -> None:
        """Restores all parts and the baseline."""
        super().load_search_state(state)
        self.trainer.baseline = state["baseline"]
