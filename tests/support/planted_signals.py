"""Synthetic signals with everything an attack can require, with or without a leak planted in all of them."""

from __future__ import annotations

import numpy as np

from nni_privacy.attacks import ShadowSignals, TargetSignals

CLASSES = 4
FEATURES = 6
SHADOWS = 6
VIEWS = 3
EPOCHS = 5


def planted_signals(*, gap: float, n: int = 120, seed: int = 0) -> TargetSignals:
    """Signals of n members and n non-members; of members, everything is ``gap`` more typical of a fitted record."""
    generator = np.random.default_rng(seed)
    target = _plain(generator, gap, n)
    keep = np.array([generator.permutation(SHADOWS) < SHADOWS // 2 for _ in range(2 * n)])
    distances = np.where(target.correct, generator.gamma(3.0, size=2 * n) + gap * target.is_member, 0.0)
    return TargetSignals.from_logits(
        target.logits,
        target.labels,
        target.is_member,
        features=target.features,
        view_logits=np.stack([target.logits, *(_jitter(generator, target.logits) for _ in range(VIEWS - 1))], axis=1),
        distances=distances,
        queries=1000,
        shadows=_shadows(generator, target.labels, keep, gap),
        black_box_shadow=_plain(generator, gap, n),
        white_box_shadow=_plain(generator, gap, n),
        outsider=_outsider(generator, target.labels),
        loss_trace=_trace(generator, gap * target.is_member),
    )


def _plain(generator: np.random.Generator, gap: float, n: int) -> TargetSignals:
    labels = generator.integers(0, CLASSES, size=2 * n)
    is_member = generator.permutation(2 * n) < n
    features = np.abs(generator.normal(size=(2 * n, FEATURES))).astype(np.float32)
    return TargetSignals.from_logits(_logits(generator, labels, gap * is_member), labels, is_member, features=features)


def _logits(generator: np.random.Generator, labels: np.ndarray, gap: np.ndarray) -> np.ndarray:
    logits = generator.normal(size=(*gap.shape, CLASSES))
    index = labels.reshape(-1, *[1] * gap.ndim)
    own = np.take_along_axis(logits, index, axis=-1) + 1 + gap[..., None]
    np.put_along_axis(logits, index, own, axis=-1)
    return logits.astype(np.float32)


def _jitter(generator: np.random.Generator, logits: np.ndarray) -> np.ndarray:
    return (logits + 0.3 * generator.normal(size=logits.shape)).astype(np.float32)


def _shadows(generator: np.random.Generator, labels: np.ndarray, keep: np.ndarray, gap: float) -> ShadowSignals:
    logits = _logits(generator, labels, gap * keep)
    views = np.stack([logits, *(_jitter(generator, logits) for _ in range(VIEWS - 1))], axis=2)
    others = generator.integers(0, CLASSES, size=100)
    population = _logits(generator, others, np.zeros((100, SHADOWS, VIEWS)))
    answers = _logits(generator, others, np.zeros((100, VIEWS)))
    return ShadowSignals(views, keep, population, others, None, answers)


def _outsider(generator: np.random.Generator, labels: np.ndarray) -> ShadowSignals:
    others = generator.integers(0, CLASSES, size=100)
    answers = [_logits(generator, truth, np.zeros(len(truth))) for truth in (labels, others, others)]
    attacked, own, target = (logits[:, None] for logits in answers)
    keep = np.zeros((len(labels), 1), dtype=bool)
    return ShadowSignals(attacked[:, None], keep, own[:, None], others, None, target)


def _trace(generator: np.random.Generator, gap: np.ndarray) -> np.ndarray:
    """Losses that fall: of members further."""
    fallen = np.linspace(0, 1, EPOCHS)[:, None] * (1 + gap)
    return np.log1p(np.exp(1 - fallen + 0.5 * generator.normal(size=fallen.shape))).astype(np.float32)
