from __future__ import annotations

import json
import logging
import random
from typing import Any

import pytest
from nni.nas.space import SimplifiedModelSpace
from two_objectives import FAILS, FakeEngine, trade_off, volume_of

from nni_privacy.cells.darts import DARTS_OPERATIONS
from nni_privacy.errors import ConfigError
from nni_privacy.patterns import load_pattern
from nni_privacy.search_spaces import DARTS
from nni_privacy.strategies import FixedPattern, ParetoEvolution, build_strategy

BUDGET = 200


@pytest.fixture(scope="module")
def space() -> SimplifiedModelSpace:
    return SimplifiedModelSpace.from_model(DARTS(channels=1, cells=3, in_channels=1))


def run(strategy: Any, space: Any, evaluate: Any, **options: Any) -> FakeEngine:
    engine = FakeEngine(evaluate, **{"budget": 60, **options})
    strategy(space, engine)
    return engine


@pytest.mark.slow
@pytest.mark.parametrize("problem", [0, 1])
def test_it_beats_random_search_in_ten_of_ten_seeds(space, problem):
    evaluate = trade_off(problem)
    for seed in range(10):
        found = run(ParetoEvolution(seed=seed), space, evaluate, budget=BUDGET)
        drawn = run(build_strategy("random", seed=seed), space, evaluate, budget=BUDGET)
        assert volume_of(found, evaluate) > volume_of(drawn, evaluate)


@pytest.mark.parametrize("concurrency", [1, 3, 30])
def test_it_spends_the_budget_without_repeating_itself(space, concurrency):
    samples = run(ParetoEvolution(population_size=5), space, trade_off(0), concurrency=concurrency).samples
    assert len(samples) == len({json.dumps(sample) for sample in samples}) == 60


def test_the_same_seed_proposes_the_same(space):
    first, second, other = (run(ParetoEvolution(seed=seed), space, trade_off(0)).samples for seed in (4, 4, 5))
    assert first == second != other


def test_failed_and_incomplete_trials_are_ignored_with_a_warning(space, caplog):
    evaluate = trade_off(0)
    poor = [{}, {"mia_auc": float("nan")}, {"mia_auc": None}]
    poor = [FAILS, *({"default": 2.0, "accuracy": 2.0, **rest} for rest in poor)]
    draw = random.Random(0)
    strategy = ParetoEvolution(population_size=6)
    with caplog.at_level(logging.WARNING):
        engine = run(strategy, space, lambda sample: draw.choice([*poor, evaluate(sample)]))
    assert len(engine.samples) == 60
    assert strategy.front() and all(values["accuracy"] < 1 for _, values in strategy.front())
    assert "mia_auc" in caplog.text


def test_a_checkpoint_of_plain_data_goes_on_as_if_never_stopped(space):
    evaluate = trade_off(1)
    whole = run(ParetoEvolution(seed=2), space, evaluate).samples
    first = ParetoEvolution(seed=2)
    start = run(first, space, evaluate, budget=40).samples
    second = ParetoEvolution(seed=2)
    engine = FakeEngine(evaluate, budget=20)
    second.initialize(space, engine)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    second.run()
    assert start + engine.samples == whole


def test_inside_a_fixed_pattern_every_proposal_has_its_edges(space):
    strategy = FixedPattern(ParetoEvolution(population_size=5), "demotion-reduction", budget=4)
    fixed = set(load_pattern("demotion-reduction").edges[:4])
    for sample in run(strategy, space, trade_off(0)).samples:
        assert fixed <= set(DARTS.genotype_of(sample).reduction.edges)


@pytest.mark.slow
def test_it_ends_when_the_space_is_exhausted():
    space = SimplifiedModelSpace.from_model(DARTS(nodes=1, channels=1, cells=3, in_channels=1))
    samples = run(
        ParetoEvolution(population_size=5),
        space,
        lambda sample: {"default": 0.5, "accuracy": 0.5, "mia_auc": 0.5},
        budget=5000,
    )
    assert len(samples.samples) == len(DARTS_OPERATIONS) ** 4


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"objectives": {"accuracy": "up"}}, "objectives.accuracy: unknown direction 'up'"),
        ({"objectives": {}}, "at least one metric"),
        ({"population_size": 1}, "population_size: 1"),
        ({"mutation_prob": 0.0}, "mutation_prob: 0.0"),
    ],
)
def test_bad_options_are_one_clear_line(options, wanted):
    with pytest.raises(ConfigError, match=wanted) as caught:
        ParetoEvolution(**options)
    assert "\n" not in str(caught.value)
