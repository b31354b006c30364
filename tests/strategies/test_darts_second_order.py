"""DARTS, second order: its hypergradient is the exact one, and its architecture step leaves no trace."""

from __future__ import annotations

import pytest
import torch
from one_shot_spaces import SPACES, images_and_labels, prepared
from torch import Tensor
from torch.nn import functional

from nni_privacy.errors import ConfigError
from nni_privacy.strategies.darts import DARTSFirstOrder, DARTSSecondOrder, hypergradient

RATE, MOMENTUM, DECAY = 0.1, 0.9, 3e-2
TOLERANCE = 1e-4
"""Largest relative error of the hypergradient."""


class MixtureOfLayers:
    """A logistic regression on a softmax mixture of two hidden layers: weights w, architecture a, in doubles."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.weights = [draw(5, 4), draw(5, 4), draw(4, 3)]
        self.architecture = [0.3 * draw(2), 0.3 * draw(4)]
        self.buffers = [0.1 * draw(*weight.shape) for weight in self.weights]
        self.train, self.validation = ((draw(30, 5), torch.randint(3, (30,), generator=generator)) for _ in range(2))

    def loss(self, batch: tuple[Tensor, Tensor], weights: list[Tensor], architecture: list[Tensor]) -> Tensor:
        images, labels = batch
        mixture = torch.softmax(architecture[0], 0)
        hidden = mixture[0] * torch.tanh(images @ weights[0]) + mixture[1] * functional.softplus(images @ weights[1])
        return functional.cross_entropy((hidden * torch.sigmoid(architecture[1])) @ weights[2], labels)

    def leaves(self) -> tuple[list[Tensor], list[Tensor]]:
        weights = [weight.clone().requires_grad_() for weight in self.weights]
        return weights, [alpha.clone().requires_grad_() for alpha in self.architecture]

    def exact(self, *, nesterov: bool, buffers: bool) -> list[Tensor]:
        """By differentiating through one step of torch's SGD, written out."""
        weights, architecture = self.leaves()
        gradients = torch.autograd.grad(self.loss(self.train, weights, architecture), weights, create_graph=True)
        moved = []
        for weight, gradient, buffer in zip(weights, gradients, self.buffers, strict=True):
            decayed = gradient + DECAY * weight.detach()
            step = decayed + MOMENTUM * buffer if buffers else decayed
            moved.append(weight - RATE * (decayed + MOMENTUM * step if nesterov else step))
        return list(torch.autograd.grad(self.loss(self.validation, moved, architecture), architecture))

    def first_order(self) -> list[Tensor]:
        weights, architecture = self.leaves()
        return list(torch.autograd.grad(self.loss(self.validation, weights, architecture), architecture))

    def approximated(self, *, nesterov: bool, buffers: bool) -> tuple[float, list[Tensor], list[Tensor]]:
        weights, architecture = self.leaves()
        value, gradients = hypergradient(
            lambda: self.loss(self.train, weights, architecture),
            lambda: self.loss(self.validation, weights, architecture),
            weights=weights,
            architecture=architecture,
            momentum_buffers=self.buffers if buffers else [None] * len(weights),
            learning_rate=RATE,
            momentum=MOMENTUM,
            weight_decay=DECAY,
            nesterov=nesterov,
        )
        return value, gradients, weights


def relative_error(found: list[Tensor], exact: list[Tensor]) -> float:
    flat, true = (torch.cat([part.flatten() for part in parts]) for parts in (found, exact))
    return float((flat - true).norm() / true.norm())


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("buffers", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_hypergradient_is_the_exact_one_where_first_order_is_not(seed: int, buffers: bool, nesterov: bool) -> None:
    toy = MixtureOfLayers(seed)
    exact = toy.exact(nesterov=nesterov, buffers=buffers)
    _, found, _ = toy.approximated(nesterov=nesterov, buffers=buffers)
    assert relative_error(found, exact) <= TOLERANCE
    assert relative_error(toy.first_order(), exact) > 100 * TOLERANCE


def test_a_quadratic_has_the_hypergradient_of_its_closed_form() -> None:
    # L_train = (w - a)^2 / 2 and L_val = (w - 1)^2 / 2: w' = w - xi (w - a), dL_val/da = (w' - 1) xi.
    w, a = torch.tensor([0.3], dtype=torch.float64, requires_grad=True), torch.zeros(1, dtype=torch.float64)
    a.requires_grad_()
    value, (gradient,) = hypergradient(
        lambda: ((w - a) ** 2).sum() / 2,
        lambda: ((w - 1) ** 2).sum() / 2,
        weights=[w],
        architecture=[a],
        momentum_buffers=[None],
        learning_rate=RATE,
    )
    moved = 0.3 - RATE * 0.3
    assert value == pytest.approx((moved - 1) ** 2 / 2)
    assert float(gradient) == pytest.approx((moved - 1) * RATE)


def test_the_step_is_that_of_torch_sgd() -> None:
    for nesterov in (False, True):
        toy = MixtureOfLayers(0)
        weights, architecture = toy.leaves()
        sgd = torch.optim.SGD(weights, lr=RATE, momentum=MOMENTUM, weight_decay=DECAY, nesterov=nesterov)
        for weight, buffer in zip(weights, toy.buffers, strict=True):
            sgd.state[weight]["momentum_buffer"] = buffer.clone()
        toy.loss(toy.train, weights, architecture).backward()
        sgd.step()
        after = toy.loss(toy.validation, weights, architecture).item()
        assert toy.approximated(nesterov=nesterov, buffers=True)[0] == pytest.approx(after, rel=1e-12)


def test_the_weights_are_bit_identical_afterwards_even_if_a_loss_fails() -> None:
    toy = MixtureOfLayers(1)
    _, _, weights = toy.approximated(nesterov=False, buffers=True)
    assert all(torch.equal(weight, before) for weight, before in zip(weights, toy.weights, strict=True))

    weights, architecture = toy.leaves()

    def fails() -> Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        hypergradient(
            lambda: toy.loss(toy.train, weights, architecture),
            fails,
            weights=weights,
            architecture=architecture,
            momentum_buffers=[None] * 3,
            learning_rate=RATE,
        )
    assert all(torch.equal(weight, before) for weight, before in zip(weights, toy.weights, strict=True))


def test_weights_that_do_not_matter_leave_the_first_order_gradient() -> None:
    w, a = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    _, (gradient,) = hypergradient(
        lambda: (w * a).sum(),
        lambda: (a**2).sum(),
        weights=[w],
        architecture=[a],
        momentum_buffers=[None],
        learning_rate=RATE,
    )
    assert torch.equal(gradient, torch.tensor([2.0, 2.0]))


@pytest.mark.parametrize("budget", [0, 4])
@pytest.mark.parametrize("name", SPACES)
def test_an_architecture_step_moves_the_architecture_only(name: str, budget: int) -> None:
    if name == "layers" and budget:
        pytest.skip("no patterns there")
    strategy = prepared(DARTSSecondOrder(data=images_and_labels(), batch_size=8, seed=1), SPACES[name](), budget=budget)
    strategy.run_epoch(0)
    before = {key: value.clone() for key, value in strategy.supernet.state_dict().items()}
    buffers = [state["momentum_buffer"].clone() for state in strategy.weight_optimizer.state.values()]
    alpha = [parameter.detach().clone() for parameter in strategy.architecture_parameters()]
    generator = torch.get_rng_state()
    train, validation = next(strategy.data.epoch(batch_size=8, seed=0, epoch=5))
    strategy.architecture_step(validation, train)
    after = strategy.supernet.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    states = strategy.weight_optimizer.state.values()
    assert all(torch.equal(old, state["momentum_buffer"]) for old, state in zip(buffers, states, strict=True))
    assert all(not torch.equal(old, new) for old, new in zip(alpha, strategy.architecture_parameters(), strict=True))
    assert torch.equal(generator, torch.get_rng_state())
    if name == "layers":
        assert any("running_mean" in key for key in before)


def test_its_gradient_on_a_supernet_is_that_of_differentiating_through_the_step() -> None:
    """In doubles, on the layers of a user's space without dropout, by torch.func."""
    # Candidates with a ReLU have kinks, which a finite difference of the default length steps over.
    options = {"batch_size": 8, "perturbation": 1e-6}
    strategy = prepared(DARTSSecondOrder(data=images_and_labels(), seed=2, **options), SPACES["layers"]())
    strategy.run_epoch(0)
    supernet = strategy.supernet.double()
    supernet.network.space.classifier[0].p = 0.0
    strategy.architecture.double()
    for state in strategy.weight_optimizer.state.values():
        state["momentum_buffer"] = state["momentum_buffer"].double()
    train, validation = (
        (images.double(), labels) for images, labels in next(strategy.data.epoch(batch_size=8, seed=0, epoch=5))
    )
    found = strategy.architecture_gradients(validation, train)[1]

    options, parameters = strategy.options, dict(supernet.named_parameters())

    def loss(batch: tuple[Tensor, Tensor], weights: dict[str, Tensor]) -> Tensor:
        logits = torch.func.functional_call(supernet, weights, (batch[0], strategy.gates()))
        return functional.cross_entropy(logits, batch[1])

    gradients = torch.autograd.grad(loss(train, parameters), list(parameters.values()), create_graph=True)
    rate, moved = strategy.weight_optimizer.param_groups[0]["lr"], {}
    for (name, weight), gradient in zip(parameters.items(), gradients, strict=True):
        buffer = strategy.weight_optimizer.state[weight]["momentum_buffer"]
        moved[name] = weight - rate * (options.momentum * buffer + gradient + options.weight_decay * weight.detach())
    exact = torch.autograd.grad(loss(validation, moved), strategy.architecture_parameters())
    assert relative_error(found, list(exact)) <= TOLERANCE
    first = DARTSFirstOrder.architecture_gradients(strategy, validation, train)[1]
    assert relative_error(first, list(exact)) > TOLERANCE


def test_a_search_is_the_same_for_the_same_seed_and_keeps_running_statistics_to_the_weight_steps() -> None:
    def search() -> tuple[list[dict], dict[str, Tensor]]:
        strategy = prepared(
            DARTSSecondOrder(data=images_and_labels(), batch_size=8, epochs=2, seed=3), SPACES["layers"]()
        )
        return strategy.search(), strategy.supernet.state_dict()

    (first, weights), (second, again) = search(), search()
    assert first == second
    assert all(torch.equal(weights[key], again[key]) for key in weights)
    steps = 2 * (48 // 2 // 8)
    assert all(int(value) == steps for key, value in weights.items() if key.endswith("num_batches_tracked"))


def test_a_finite_difference_of_no_length_is_refused() -> None:
    with pytest.raises(ConfigError, match="perturbation"):
        DARTSSecondOrder(perturbation=0.0)
