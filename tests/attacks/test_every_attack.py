"""What every registered attack must do; a new one is tested as soon as it is registered."""

import dataclasses

import numpy as np
import pytest
from planted_signals import planted_signals

from nni_privacy.attacks import attack_names, get_attack, report_attack
from nni_privacy.errors import AuditError, ConfigError

ATTACKS = attack_names()
SEEDS = range(5)
EXTRAS = ("features", "view_logits", "distances", "shadows", "black_box_shadow", "white_box_shadow")
OPTIONAL = {"gradients": "features"}
# With ordinary 95% intervals one of 20 nulls is "found" by chance. Bonferroni's correction keeps the chance that any
# attack finds any of the nulls at 5%; the same intervals must exclude 0.5 where there is a leak.
CONFIDENCE = 1 - 0.05 / (len(ATTACKS) * len(SEEDS))
ROUNDS = 20_000  # resolves tails of half a thousandth


@pytest.fixture(scope="module")
def leaks():
    return [planted_signals(gap=3.0, seed=seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def nulls():
    return [planted_signals(gap=0.0, seed=100 + seed) for seed in SEEDS]


def auc_interval(name, signals, seed):
    report = report_attack(name, get_attack(name)(signals, seed=seed), confidence=CONFIDENCE, bootstrap=ROUNDS)
    return report.metrics["mia_auc_low"], report.metrics["mia_auc_high"]


def test_all_the_settings_are_there():
    paper = {"black_box_shadow", "black_box_partial", "white_box_shadow", "white_box_partial"}
    assert set(ATTACKS) >= paper | {"lira", "rmia", "loss_threshold"}
    assert all(get_attack(name).description for name in ATTACKS)


TRAINS = {"white_box_shadow", "white_box_partial", "black_box_shadow"}
"""Attacks whose many trainings take seconds."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in TRAINS else []) for name in ATTACKS]
)
def test_a_planted_leak_is_found_and_a_null_is_not(name, leaks, nulls):
    found = [auc_interval(name, leak, seed)[0] > 0.5 for seed, leak in enumerate(leaks)]
    assert all(found), f"the leak was found for {sum(found)} of 5 seeds"
    intervals = [auc_interval(name, null, seed) for seed, null in enumerate(nulls)]
    held = sum(low <= 0.5 <= high for low, high in intervals)
    assert held == len(SEEDS), f"a null's interval held 0.5 for {held} of 5 seeds: {intervals}"


@pytest.mark.parametrize("name", ATTACKS)
def test_scores_are_reproducible_and_about_the_records_they_name(name, leaks):
    first, again = (get_attack(name)(leaks[0], seed=7) for _ in range(2))
    assert np.array_equal(first.scores, again.scores) and np.array_equal(first.records, again.records)
    assert np.isfinite(first.scores).all()
    assert np.array_equal(first.is_member, leaks[0].is_member[first.records])


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_names_the_signals_it_lacks(name):
    bare = dataclasses.replace(planted_signals(gap=0.0, n=30), queries=None, **dict.fromkeys(EXTRAS))
    missing = get_attack(name).requires - bare.available
    if not missing:
        assert len(get_attack(name)(bare).scores)
        return
    with pytest.raises(AuditError, match=f"attack '{name}' needs .*{sorted(missing)[0]}"):
        get_attack(name)(bare)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_reads_only_what_it_requires(name):
    """Otherwise its requirement would be wrong, and it would fail on someone's signals."""
    signals = planted_signals(gap=1.0, n=30)
    attack = get_attack(name)
    unused = [extra for extra in EXTRAS if extra not in {OPTIONAL.get(need, need) for need in attack.requires}]
    if "shadows" in attack.requires:
        unused.remove("view_logits")  # of the shadows' number
    stripped = dataclasses.replace(signals, **dict.fromkeys(unused))
    assert np.array_equal(attack(stripped, seed=1).scores, attack(signals, seed=1).scores)


def test_an_unknown_option_or_requirement_is_refused():
    from nni_privacy.attacks import register_attack

    with pytest.raises(ConfigError, match="did you mean 'gamma'"):
        get_attack("rmia")(planted_signals(gap=0.0, n=30), gama=1.0)
    assert get_attack("lira").options == {"mode": "auto", "variance": "auto", "statistic": "logit"}
    with pytest.raises(ConfigError, match="did you mean 'gradients'"):
        register_attack("broken", requires={"gradient"})
