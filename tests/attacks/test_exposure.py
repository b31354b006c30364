"""A member's exposure against its definition written out, and against the attack's own metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_privacy.attacks import attack_metrics
from nni_privacy.attacks.exposure import found_members, score_percentiles
from nni_privacy.errors import AuditError


def brute_percentiles(scores: list[int], is_member: list[bool]) -> list[float]:
    others = [score for score, member in zip(scores, is_member, strict=True) if not member]
    shares = []
    for score, member in zip(scores, is_member, strict=True):
        if member:
            shares.append(sum(1.0 if other < score else 0.5 if other == score else 0.0 for other in others))
    return [share / len(others) for share in shares]


def brute_found(scores: list[int], is_member: list[bool], allowed: int) -> list[bool]:
    """A member is found if some threshold that is not above its score accuses no more than ``allowed`` non-members."""
    others = [score for score, member in zip(scores, is_member, strict=True) if not member]
    good = [threshold for threshold in scores if sum(other >= threshold for other in others) <= allowed]
    pairs = zip(scores, is_member, strict=True)
    return [any(threshold <= score for threshold in good) for score, member in pairs if member]


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40))
def test_percentiles_are_the_definition_with_ties(pairs: list[tuple[int, bool]]) -> None:
    scores, member = [score for score, _ in pairs], [one for _, one in pairs]
    if all(member) or not any(member):
        return
    found = score_percentiles(scores, member)
    np.testing.assert_allclose(found, brute_percentiles(scores, member), rtol=0, atol=1e-12)
    assert found.mean() == pytest.approx(attack_metrics(scores, member)["mia_auc"], abs=1e-12)


@given(st.integers(100, 330), st.integers(1, 60), st.integers(1, 300), st.integers(0, 2**31))
def test_found_members_are_those_above_the_threshold(others: int, members: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, others + members)
    member = rng.permutation(np.arange(others + members) < members)
    found = found_members(scores, member)
    assert found is not None
    assert found.tolist() == brute_found(scores.tolist(), member.tolist(), others // 100)
    assert found.mean() == attack_metrics(scores, member)["mia_tpr_at_1pct_fpr"]


def test_too_few_non_members_resolve_no_rate() -> None:
    scores = np.arange(149.0)
    assert found_members(scores, scores >= 99) is None  # 99 non-members
    assert found_members(scores, scores >= 100) is not None
    assert found_members(scores, scores >= 90, target_fpr=0.1) is not None
    with pytest.raises(AuditError, match="only members"):
        found_members(scores, scores >= 0)
