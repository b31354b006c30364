"""ENAS: the controller is a distribution, REINFORCE improves it, and it leaves the shared weights alone."""

from __future__ import annotations

import itertools
import math
from copy import deepcopy
from typing import Any

import pytest
import torch
from one_shot_spaces import SPACES, images_and_labels, prepared

from nni_privacy.strategies.enas import ENAS, Controller, ControllerTrainer, ENASOptions

BUDGETS = [("darts", 0), ("darts", 4), ("nasbench201", 0), ("nasbench201", 4), ("layers", 0)]
CHOICES = {"first": ("a", "b", "c"), "fixed": ("only",), "second": ("a", "b"), "third": (0, 1, 2, 3)}


def controller_for(choices: dict[str, tuple[Any, ...]], *, seed: int = 0, scale: float = 1.0) -> Controller:
    controller = Controller(choices, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in controller.parameters():
            parameter.mul_(scale)
    return controller


def log_probabilities(controller: Controller, codes: torch.Tensor) -> torch.Tensor:
    return controller.draw(len(codes), codes=codes).log_probabilities


def all_codes(controller: Controller) -> torch.Tensor:
    return torch.tensor(list(itertools.product(*map(range, controller.counts))))


def strategy_for(name: str, *, budget: int = 0, **options: Any) -> ENAS:
    settings = {"data": images_and_labels(), "batch_size": 8, "epochs": 2, "seed": 1, "candidates": 8, **options}
    return prepared(ENAS(samples_per_step=3, **settings), SPACES[name](), budget=budget)


# --- the controller ---


def test_the_probabilities_of_all_architectures_sum_to_one() -> None:
    controller = controller_for(CHOICES, scale=20)
    probabilities = log_probabilities(controller, all_codes(controller)).detach().exp()
    assert len(probabilities) == 24
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-5)
    assert float(probabilities.max() / probabilities.min()) > 2


def test_draws_have_the_probabilities_that_the_controller_says() -> None:
    controller = controller_for(CHOICES, scale=20)
    drawn = controller.draw(20_000, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(drawn.log_probabilities, log_probabilities(controller, drawn.codes), atol=1e-5)
    for codes, probability in zip(
        all_codes(controller), log_probabilities(controller, all_codes(controller)).exp().tolist(), strict=True
    ):
        found = float((drawn.codes == codes).all(1).double().mean())
        assert abs(found - probability) <= 5 * math.sqrt(probability / 20_000)


def test_the_entropies_of_the_choices_add_up_to_that_of_the_architectures() -> None:
    controller = controller_for(CHOICES, scale=20)
    exact = -sum(p.exp() * p for p in log_probabilities(controller, all_codes(controller)).detach())
    drawn = controller.draw(20_000, generator=torch.Generator().manual_seed(0))
    assert drawn.entropies.shape == (20_000, 3)
    assert float(drawn.entropies.detach().sum(1).mean()) == pytest.approx(float(exact), rel=0.01)


def test_choices_with_one_value_are_fixed_and_take_no_parameters() -> None:
    controller = controller_for(CHOICES)
    assert controller.counts == (3, 2, 4)
    assert controller.sample([2, 0, 3]) == {"first": "c", "fixed": "only", "second": "a", "third": 3}
    without = controller_for({label: values for label, values in CHOICES.items() if label != "fixed"})
    assert [p.shape for p in controller.parameters()] == [p.shape for p in without.parameters()]


def test_logits_stay_within_the_constant() -> None:
    controller = controller_for({"only": ("a", "b")}, scale=1000)
    log_p = log_probabilities(controller, torch.tensor([[0], [1]])).tolist()
    assert abs(log_p[0] - log_p[1]) <= 5 + 1e-4


def test_greedy_takes_the_likeliest_value_each_time() -> None:
    controller = controller_for({"first": ("a", "b", "c")}, scale=20)
    likeliest = int(log_probabilities(controller, all_codes(controller)).argmax())
    assert controller.draw(1).codes[0].tolist() == [likeliest]


# --- REINFORCE ---


def test_the_expected_reward_rises_to_95_percent_of_the_optimum() -> None:
    """The reward counts agreements with a hidden architecture; the third choice pays only after the right second."""
    choices: dict[str, tuple[Any, ...]] = {f"edge{i}": tuple("abcd") for i in range(3)}
    target = ("b", "d", "a")
    controller = controller_for(choices)
    trainer = ControllerTrainer(controller, ENASOptions(controller_learning_rate=1e-2))

    def reward(sample: dict[str, Any]) -> float:
        agrees = [value == wanted for value, wanted in zip(sample.values(), target, strict=True)]
        return (agrees[0] + agrees[1] + (agrees[1] and agrees[2])) / 3

    def expected() -> float:
        codes = all_codes(controller)
        with torch.no_grad():
            probabilities = log_probabilities(controller, codes).exp().tolist()
        return sum(p * reward(controller.sample(code)) for p, code in zip(probabilities, codes.tolist(), strict=True))

    optimum = 1.0
    assert expected() < 0.3 * optimum
    generator = torch.Generator().manual_seed(0)
    for _ in range(400):
        trainer.step(reward, generator=generator)
    assert expected() >= 0.95 * optimum


def test_the_gradient_is_that_of_the_paper() -> None:
    controller = controller_for({"only": ("a", "b", "c")})
    options = ENASOptions(samples_per_step=6, controller_gradient_clip=1e6, baseline_decay=0.5, entropy_weight=0.1)
    rewards = {"a": 0.2, "b": 0.7, "c": 0.4}
    drawn = controller.draw(6, generator=torch.Generator().manual_seed(3))
    baseline, loss = None, torch.zeros(())
    for codes, log_p, entropy in zip(
        drawn.codes.tolist(), drawn.log_probabilities, drawn.entropies.sum(1).tolist(), strict=True
    ):
        value = rewards["abc"[codes[0]]] + 0.1 * entropy
        baseline = value if baseline is None else 0.5 * baseline + 0.5 * value
        loss = loss - log_p * (value - baseline) / 6
    expected = torch.autograd.grad(loss, list(controller.parameters()), allow_unused=True)
    trainer = ControllerTrainer(controller, options)
    mean = trainer.step(lambda sample: rewards[sample["only"]], generator=torch.Generator().manual_seed(3))
    assert trainer.baseline == pytest.approx(baseline)
    assert mean == pytest.approx(sum(rewards["abc"[c[0]]] for c in drawn.codes.tolist()) / 6)
    for parameter, gradient in zip(controller.parameters(), expected, strict=True):
        if gradient is not None:
            assert parameter.grad is not None and torch.allclose(parameter.grad, gradient, atol=1e-6)


# --- the search ---


def test_the_controller_has_an_optimiser_of_its_own_and_does_not_touch_the_weights() -> None:
    strategy = strategy_for("layers")
    shared = {id(p) for group in strategy.weight_optimizer.param_groups for p in group["params"]}
    own = {id(p) for group in strategy.trainer.optimizer.param_groups for p in group["params"]}
    assert own == {id(p) for p in strategy.architecture_parameters()} and not own & shared
    strategy.run_epoch(0)
    weights = {name: value.clone() for name, value in strategy.supernet.state_dict().items()}
    controller = [parameter.clone() for parameter in strategy.controller.parameters()]
    strategy.after_epoch(1)
    assert all(torch.equal(value, weights[name]) for name, value in strategy.supernet.state_dict().items())
    assert any(not torch.equal(p, q) for p, q in zip(strategy.controller.parameters(), controller, strict=True))
    controller = [parameter.clone() for parameter in strategy.controller.parameters()]
    batch = strategy.data.batch(strategy.data.train[:8])
    strategy.search_step(batch, batch, 1)
    assert all(torch.equal(p, q) for p, q in zip(strategy.controller.parameters(), controller, strict=True))


@pytest.mark.parametrize(("name", "budget"), BUDGETS)
def test_candidates_are_different_architectures_of_the_space_with_the_best_first(name: str, budget: int) -> None:
    strategy = strategy_for(name, budget=budget, epochs=1)
    strategy.search()
    found = strategy.best_samples(4)
    batch = strategy.data.batch(strategy.data.validation)
    layout = strategy.layout()
    assert len({layout.describe(sample) for sample in found}) == 4
    assert all(sample[label] in values for sample in found for label, values in layout.choices.items())
    if name != "layers":  # which has dropout and running statistics
        assert strategy.accuracy(found[0], batch) == max(
            strategy.accuracy(sample, batch) for sample in strategy.drawn_candidates(8)
        )
    assert strategy.current_sample() == strategy.controller.sample(strategy.controller.draw(1).codes[0].tolist())


def test_the_entropy_is_that_of_uniform_choices_at_first() -> None:
    strategy = strategy_for("nasbench201")
    entropy = strategy.entropy()
    assert entropy is not None and entropy == pytest.approx(math.log(5), abs=1e-2)


def test_a_search_that_goes_on_from_its_state_ends_as_if_uninterrupted() -> None:
    whole = strategy_for("nasbench201")
    whole.run_epoch(0)
    state = deepcopy(whole.state_dict())
    resumed = strategy_for("nasbench201", data=images_and_labels())
    resumed.load_state_dict(state)
    assert resumed.trainer.baseline == whole.trainer.baseline is not None
    assert whole.run_epoch(1) == resumed.run_epoch(1)
    assert whole.best_samples(3) == resumed.best_samples(3)


def test_steps_of_the_controller_follow_those_of_the_weights_or_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    for option, expected in (({}, 3), ({"controller_steps": 2}, 2)):
        strategy = strategy_for("layers", **option)
        calls: list[int] = []
        monkeypatch.setattr(strategy.trainer, "step", lambda reward, generator, calls=calls: calls.append(1) or 0.5)
        strategy.generator = torch.Generator()
        assert strategy.after_epoch(0)["reward"] == 0.5
        assert len(calls) == expected
