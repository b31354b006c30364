"""DrNAS: samples are those of a Dirichlet distribution, and the second stage goes on from the first."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from one_shot_spaces import SPACES, images_and_labels, prepared
from torch.distributions import Dirichlet

from nni_privacy.cells.darts import Genotype
from nni_privacy.cells.nasbench201 import NasBench201Genotype
from nni_privacy.errors import ConfigError
from nni_privacy.patterns import load_pattern
from nni_privacy.search_spaces import DARTS
from nni_privacy.search_spaces.constraints import FixedEdges
from nni_privacy.search_spaces.supernet import NONE, Gate
from nni_privacy.strategies.drnas import LEAST_CONCENTRATION, DrNAS, sample_dirichlet

DRAWS = 20_000
STANDARD_ERRORS = 5
BUDGETS = [("darts", 0), ("darts", 4), ("nasbench201", 0), ("nasbench201", 4), ("layers", 0)]


def strategy_for(name: str, *, budget: int = 0, **options: Any) -> DrNAS:
    settings = {"data": images_and_labels(), "batch_size": 8, "epochs": 2, "seed": 1, "warmup": 0.0, **options}
    return prepared(DrNAS(**settings), SPACES[name](), budget=budget)


# --- the distribution ---


@pytest.mark.parametrize("concentration", [[1.0, 1.0, 1.0], [0.3, 2.0, 5.0, 0.9]])
def test_samples_are_on_the_simplex_with_mean_and_variance_of_the_dirichlet(concentration: list[float]) -> None:
    beta = torch.tensor(concentration)
    theta = sample_dirichlet({"edge": beta.expand(DRAWS, -1)}, seed=0)["edge"]
    assert bool((theta >= 0).all())
    assert torch.allclose(theta.sum(1), torch.ones(DRAWS), atol=1e-6)
    mean, variance = beta / beta.sum(), Dirichlet(beta).variance
    assert bool(((theta.mean(0) - mean).abs() <= STANDARD_ERRORS * (variance / DRAWS).sqrt()).all())
    assert torch.allclose(theta.var(0), variance, rtol=0.1)


def test_the_gradient_of_the_samples_is_that_of_their_mean() -> None:
    """Pathwise derivatives: averaged over samples, d E[theta . c] / d beta; the mean's derivative is known."""
    beta = torch.tensor([0.7, 1.5, 2.0], requires_grad=True)
    costs = torch.tensor([1.0, -2.0, 0.5])
    theta = sample_dirichlet({"edge": beta.expand(DRAWS, -1)}, seed=1)["edge"]
    (found,) = torch.autograd.grad((theta @ costs).mean(), beta)
    (exact,) = torch.autograd.grad((beta / beta.sum()) @ costs, beta)
    assert torch.allclose(found, exact, atol=0.02)


def test_samples_follow_their_seed_and_leave_the_global_generator_alone() -> None:
    beta = {"first": torch.ones(4), "second": torch.ones(4)}
    before = torch.get_rng_state()
    first, again, other = (sample_dirichlet(beta, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in beta)
    assert not torch.equal(first["first"], other["first"])
    assert not torch.equal(first["first"], first["second"])


@pytest.mark.parametrize("alpha", [-30.0, -7.0, 0.0, 30.0])
def test_extreme_architectures_have_finite_samples_and_gradients(alpha: float) -> None:
    strategy = strategy_for("nasbench201")
    with torch.no_grad():
        for parameter in strategy.architecture_parameters():
            parameter.fill_(alpha)
    assert all(beta.min().item() >= 0.99 * LEAST_CONCENTRATION for beta in strategy.concentrations().values())
    strategy.generator = torch.Generator().manual_seed(0)
    weights = torch.cat([gate.weights for gate in strategy.gates().values() if gate.weights is not None])
    gradients = torch.autograd.grad(weights.square().sum(), strategy.architecture_parameters())
    assert torch.isfinite(weights).all()
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_probabilities_are_the_dirichlet_mean_of_elu_plus_one() -> None:
    strategy = strategy_for("nasbench201")
    key, alpha = strategy.architecture.items()[0]
    with torch.no_grad():
        alpha.copy_(torch.tensor([-1.0, 0.0, 0.5, 2.0, -0.2]))
    beta = torch.tensor([torch.e**-1.0, 1.0, 1.5, 3.0, torch.e**-0.2])
    assert torch.allclose(strategy.concentrations()[key], beta)
    assert torch.allclose(strategy.probabilities()[key], beta / beta.sum())
    assert not strategy.probabilities()[key].requires_grad


@pytest.mark.parametrize(("name", "budget"), BUDGETS)
def test_the_validation_loss_reaches_every_concentration(name: str, budget: int) -> None:
    strategy = strategy_for(name, budget=budget)
    strategy.generator = torch.Generator().manual_seed(0)
    train, validation = next(strategy.data.epoch(batch_size=8, seed=0, epoch=0))
    weights = {key: value.clone() for key, value in strategy.supernet.named_parameters()}
    value, gradients = strategy.architecture_gradients(validation, train)
    assert value > 0
    assert all(float(gradient.norm()) > 0 for gradient in gradients)
    assert all(torch.equal(value, weights[key]) for key, value in strategy.supernet.named_parameters())


# --- the stages ---


def test_seven_then_four_operations_on_darts_and_five_then_three_on_nasbench201() -> None:
    sizes = {}
    for name in SPACES:
        strategy = strategy_for(name)
        first = {len(decision.candidates) for decision in strategy.supernet.decisions}
        strategy.progress()
        sizes[name] = first, {len(decision.candidates) for decision in strategy.supernet.decisions}
    assert sizes == {"darts": ({7}, {4}), "nasbench201": ({5}, {3}), "layers": ({3}, {2})}
    assert all(NONE not in decision.candidates for decision in strategy_for("darts").supernet.decisions)
    assert all(NONE in decision.candidates for decision in strategy_for("nasbench201").supernet.decisions)


@pytest.mark.parametrize(("kept", "left"), [(0.1, 2), (0.5, 3), (0.61, 4), (1.0, 5)])
def test_at_least_two_candidates_are_kept(kept: float, left: int) -> None:
    strategy = strategy_for("nasbench201", kept=kept)
    strategy.progress()
    assert {len(decision.candidates) for decision in strategy.supernet.decisions} == {left}


@pytest.mark.parametrize(("name", "budget"), BUDGETS)
def test_the_likeliest_candidates_stay_with_their_alpha_in_order(name: str, budget: int) -> None:
    strategy = strategy_for(name, budget=budget)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for alpha in strategy.architecture_parameters():
            alpha.copy_(torch.randn(alpha.shape, generator=generator))
    before = {
        decision.key: dict(zip(decision.candidates, strategy.architecture[decision.key].tolist(), strict=True))
        for decision in strategy.supernet.decisions
    }
    exported, optimizer = strategy.current_sample(), strategy.architecture_optimizer
    strategy.progress()
    for decision in strategy.supernet.decisions:
        alphas = before[decision.key]
        best = sorted(alphas, key=lambda op: -alphas[op])[: len(decision.candidates)]
        assert list(decision.candidates) == [op for op in alphas if op in best]
        assert strategy.architecture[decision.key].tolist() == [alphas[op] for op in decision.candidates]
    if name != "darts":  # between whose edges the means change
        assert strategy.current_sample() == exported
    assert strategy.architecture_optimizer is not optimizer
    assert not strategy.weight_optimizer.state
    assert strategy.supernet.training


@pytest.mark.parametrize("name", SPACES)
def test_kept_operations_compute_the_same_after_the_stage_change(name: str) -> None:
    """With the same K on both sides, every path of kept operations gives the same logits, bit for bit."""
    whole = strategy_for(name, partial_channels=[1, 1], epochs=4)
    whole.run_epoch(0)
    images = whole.data.batch(whole.data.validation[:8])[0]
    old, decisions = whole.supernet, whole.supernet.decisions
    whole.progress()
    for supernet in (old, whole.supernet):
        supernet.eval()
    path = {decision.key: decision.candidates[0] for decision in whole.supernet.decisions}
    logits = []
    for supernet, known in ((old, decisions), (whole.supernet, whole.supernet.decisions)):
        gates = {decision.key: Gate(active=(decision.candidates.index(path[decision.key]),)) for decision in known}
        with torch.no_grad():
            logits.append(supernet(images, gates))
    assert torch.equal(*logits)


def test_wider_operations_take_over_the_weights_that_they_share() -> None:
    strategy = prepared(
        DrNAS(data=images_and_labels(), batch_size=8, partial_channels=[4, 2], seed=2), SPACES["nasbench201"]()
    )
    old = {key: value.clone() for key, value in strategy.supernet.state_dict().items()}
    strategy.progress()
    widened = 0
    for key, value in strategy.supernet.state_dict().items():
        overlap = tuple(slice(min(a, b)) for a, b in zip(old[key].shape, value.shape, strict=True))
        assert torch.equal(value[overlap], old[key][overlap])
        widened += value.shape != old[key].shape
    assert widened > 0


@pytest.mark.parametrize(("epochs", "stages"), [(1, [1]), (2, [2, 2]), (3, [1, 2, 2]), (4, [1, 2, 2, 2])])
def test_either_stage_has_half_of_the_epochs(epochs: int, stages: list[int]) -> None:
    """The stage in which the search stands after each epoch; with one epoch there is no second stage."""
    seen: list[int] = []
    strategy = strategy_for("layers", epochs=epochs, on_epoch=lambda record: seen.append(int(record.metrics["stage"])))
    strategy.search()
    assert seen == stages


def test_the_architecture_is_frozen_in_the_first_part_of_either_stage() -> None:
    strategy = strategy_for("layers", epochs=50, warmup=0.4)
    trained = [epoch for epoch in range(50) if strategy.trains_architecture(epoch)]
    assert trained == [*range(10, 25), *range(35, 50)]
    for epochs in range(1, 12):
        short = strategy_for("layers", epochs=epochs, warmup=0.99)
        assert short.trains_architecture(epochs - 1)
        assert short.trains_architecture(short.first_stage_epochs() - 1)


def test_alpha_stays_as_it_is_during_the_warmup() -> None:
    strategy = strategy_for("layers", epochs=8, warmup=0.5)
    alpha = [parameter.detach().clone() for parameter in strategy.architecture_parameters()]
    strategy.run_epoch(0)
    assert all(torch.equal(old, new) for old, new in zip(alpha, strategy.architecture_parameters(), strict=True))
    strategy.run_epoch(2)
    assert not any(torch.equal(old, new) for old, new in zip(alpha, strategy.architecture_parameters(), strict=True))


# --- whole searches ---


@pytest.mark.parametrize("channels", [4, 8])
def test_small_numbers_of_channels_work(channels: int) -> None:
    space = DARTS(channels=channels, cells=3, nodes=2, in_channels=1)
    strategy = prepared(DrNAS(data=images_and_labels(), batch_size=24, epochs=2, seed=1), space)
    (sample,) = strategy.search()
    assert space.contains(sample)


@pytest.mark.parametrize(("name", "budget"), BUDGETS)
def test_a_search_never_exports_a_dropped_operation_and_keeps_fixed_edges(name: str, budget: int) -> None:
    strategy = strategy_for(name, budget=budget, epochs=2, top_k=6)
    space, found = SPACES[name](), strategy.search()
    candidates = {decision.key: decision.candidates for decision in strategy.supernet.decisions}
    assert strategy.stage == 1
    for sample in found:
        assert space.contains(sample)
        path = strategy.layout().path(sample)  # raises for an operation that is no candidate any more
        assert all(index < len(candidates[key]) for key, index in path.items())
    if budget:
        pattern = load_pattern("demotion-reduction").first(budget)
        fixed = getattr(space, "fixed_edges", FixedEdges.of)(pattern)
        assert not any(fixed.missing_from(genotype_of(name, sample)) for sample in found)


def genotype_of(name: str, sample: dict[str, Any]) -> Any:
    return Genotype.from_sample(sample, nodes=3) if name == "darts" else NasBench201Genotype.from_sample(sample)


@pytest.mark.parametrize("stop", [1, 2, 3])
@pytest.mark.parametrize("name", ["nasbench201", "layers"])
def test_resumed_before_at_and_after_the_stage_change_it_ends_as_uninterrupted(name: str, stop: int) -> None:
    whole = strategy_for(name, epochs=4)

    def keep(record: Any) -> None:
        if record.epoch == stop:
            torch.save(whole.state_dict(), buffer)

    buffer = io.BytesIO()
    whole.on_epoch = keep
    expected = whole.search()
    buffer.seek(0)
    rest = strategy_for(name, epochs=4)
    rest.load_state_dict(torch.load(buffer, weights_only=True))
    assert rest.stage == (0 if stop == 1 else 1)
    assert rest.search() == expected
    ours, theirs = rest.supernet.state_dict(), whole.supernet.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    pairs = zip(rest.architecture_parameters(), whole.architecture_parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


@pytest.mark.parametrize(
    "options", [{"warmup": 1.0}, {"kept": 0.0}, {"partial_channels": [4]}, {"partial_channels": [0, 4]}]
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        DrNAS(**options)
