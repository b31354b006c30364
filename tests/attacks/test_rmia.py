import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_privacy.attacks import ShadowSignals, TargetSignals, get_attack, rmia_counts, rmia_ratios, rmia_scores
from nni_privacy.errors import AuditError, ConfigError

RATIO = st.sampled_from([1e-300, 0.1, 0.2, 0.3, 1 / 3, 0.6, 1.0, 2.0, 3.0, 1e300]) | st.floats(1e-6, 1e6)


def definition(ratios, population, gamma):
    with np.errstate(over="ignore"):
        return (ratios[:, None] / population[None, :] >= gamma).sum(axis=1)


@given(st.lists(RATIO, min_size=1, max_size=30), st.lists(RATIO, min_size=1, max_size=30), RATIO)
def test_counts_equal_the_definition_exactly(ratios, population, gamma):
    x, z = np.array(ratios), np.array(population)
    assert np.array_equal(rmia_counts(x, z, gamma=gamma), definition(x, z, gamma))


def test_counts_equal_the_definition_where_division_rounds_onto_gamma():
    generator = np.random.default_rng(0)
    x = generator.random(3000) + 0.1
    z = np.concatenate([np.nextafter(x / 3, side) for side in (0, 1)] + [x / 3])
    counts = rmia_counts(x, z, gamma=3.0)
    assert np.array_equal(counts, definition(x, z, 3.0))
    assert not np.array_equal(counts, np.searchsorted(np.sort(z), x / 3.0)), "nothing was rounded: the test is void"


def test_scores_keep_the_order_of_the_raw_ratio_where_counts_saturate():
    generator = np.random.default_rng(0)
    population = generator.random(500) + 0.5
    ratios = 1 + 1e-13 * np.arange(200) + 10  # every one of them beats the whole population
    assert set(rmia_counts(ratios, population)) == {500}
    assert (np.diff(rmia_scores(ratios, population)) > 0).all()
    mixed = np.concatenate([ratios, generator.random(300) * 3])
    scores = rmia_scores(mixed, population)
    assert np.array_equal(np.argsort(scores, kind="stable"), np.argsort(mixed, kind="stable"))
    np.testing.assert_array_equal(np.floor(scores * 500 + 1e-9), rmia_counts(mixed, population))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_without_a_population_a_record_is_compared_with_all_others(gamma):
    ratios = np.random.default_rng(0).random(50) + 0.1
    others = np.array([definition(ratios[[i]], np.delete(ratios, i), gamma)[0] for i in range(50)])
    np.testing.assert_array_equal(np.floor(rmia_scores(ratios, gamma=gamma) * 49 + 1e-9), others)


def test_ratios_follow_the_papers_formulas():
    target, references = np.array([0.9, 0.8, 0.7]), np.array([[0.6, 0.4], [0.5, 0.3], [0.2, 0.4]])
    keep = np.array([[True, False], [False, False], [True, True]])
    online = rmia_ratios(target, references, keep, mode="online")
    np.testing.assert_allclose(online, [0.9 / 0.5, np.nan, np.nan])
    offline = rmia_ratios(target, references, keep, mode="offline", offline_a=0.3)
    np.testing.assert_allclose(offline, [0.9 / ((1.3 * 0.4 + 0.7) / 2), 0.8 / ((1.3 * 0.4 + 0.7) / 2), np.nan])
    np.testing.assert_allclose(
        rmia_ratios(target, references, ~keep & False, offline_a=1.0), target / references.mean(1)
    )


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_attack_equals_the_definition_on_its_signals(temperature):
    generator = np.random.default_rng(0)
    n, m, shadows, classes = 30, 20, 4, 3
    labels, others = generator.integers(0, classes, n), generator.integers(0, classes, m)
    logits, answers = generator.normal(size=(n, classes)), generator.normal(size=(m, 1, classes))
    references, population = (
        generator.normal(size=(n, shadows, 1, classes)),
        generator.normal(size=(m, shadows, 1, classes)),
    )
    keep = np.tile([True, False], (n, 2))
    cast = [block.astype(np.float32) for block in (references, population, answers)]
    signals = TargetSignals.from_logits(
        logits.astype(np.float32),
        labels,
        np.arange(n) < n // 2,
        shadows=ShadowSignals(cast[0], keep, cast[1], others, None, cast[2]),
    )

    def p(block, classes_of):
        values = np.exp(block.astype(np.float32).astype(float) / temperature)
        index = classes_of.reshape(-1, *[1] * (values.ndim - 1))
        return np.take_along_axis(values, index, -1)[..., 0] / values.sum(-1)

    for mode in ("online", "offline"):
        x = rmia_ratios(p(logits, labels), p(references[:, :, 0], labels), keep, mode=mode)
        z = rmia_ratios(p(answers[:, 0], others), p(population[:, :, 0], others), np.zeros((m, shadows), dtype=bool))
        counts = definition(x, z, 2.0)
        found = get_attack("rmia")(signals, mode=mode, temperature=temperature)
        np.testing.assert_array_equal(np.floor(found.scores * m + 1e-9), counts)


def test_eight_thousand_squared_takes_milliseconds():
    generator = np.random.default_rng(0)
    ratios, population = generator.random(8000), generator.random(8000) + 0.01
    rmia_scores(ratios, population)
    started = time.process_time()
    rmia_scores(ratios, population)
    assert time.process_time() - started < 0.05


def test_bad_ratios_and_options_are_refused():
    good = np.ones(3)
    for ratios, population in ((good * np.nan, good), (-good, good), (good, good * 0), (good, good[:0])):
        with pytest.raises(AuditError):
            rmia_counts(ratios, population)
    with pytest.raises(ConfigError, match="gamma"):
        rmia_counts(good, good, gamma=0)
    with pytest.raises(ConfigError, match="offline_a"):
        rmia_ratios(good, np.ones((3, 2)), np.zeros((3, 2), dtype=bool), offline_a=2)
    with pytest.raises(AuditError, match="expected"):
        rmia_ratios(good, np.ones((3, 2)), np.zeros((3, 3), dtype=bool))
