"""Label-Only, the weakest setting of Huang et al. (CCS 2022): members lie farther from the boundary.

Nothing is learned: the score is the L2 distance to the decision boundary that
:func:`nni_privacy.attacks.hop_skip_jump.boundary_distances` finds, 0 for records that are classified wrong. It takes
about a thousand queries a record, so at most 1,000 members and 1,000 non-members are attacked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nni_privacy.attacks.registry import AttackScores, register_attack
from nni_privacy.attacks.signals import TargetSignals
from nni_privacy.errors import AuditError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from nni_privacy.training.classifier import Outputs

__all__ = ["RECORDS_PER_SIDE", "attack_label_only", "choose_records", "measure_distances"]

RECORDS_PER_SIDE = 1000
"""Members, and non-members, that are attacked at most (the paper's number)."""


@register_attack("label_only", requires={"distances"})
def attack_label_only(signals: TargetSignals, *, seed: int = 0) -> AttackScores:
    """Score = L2 distance to the decision boundary, on at most 1,000 members and 1,000 non-members.

    Records whose distance was not measured (NaN) are not attacked; of more than 1,000 measured ones a side, 1,000 are
    drawn.

    Raises:
        AuditError: if no member or no non-member has a distance.
    """
    distances = signals.distances
    if distances is None:
        raise AuditError("label_only needs distances")
    records = choose_records(signals.is_member, seed=seed, among=~np.isnan(distances))
    member = signals.is_member[records]
    if member.all() or not member.any():
        raise AuditError("label_only needs the distances of members and of non-members")
    return AttackScores(distances[records], member, records)


def choose_records(
    is_member: npt.NDArray[np.bool_],
    *,
    seed: int,
    per_side: int = RECORDS_PER_SIDE,
    among: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.int64]:
    """Draws at most ``per_side`` members and non-members each, uniformly: sorted positions, all of a smaller side.

    Args:
        is_member: ``(n,)`` booleans.
        seed: of the draw.
        per_side: 1 or more.
        among: ``(n,)`` booleans, the records to choose from; all by default.

    Raises:
        AuditError: if ``per_side`` is below 1.
    """
    if per_side < 1:
        raise AuditError(f"per_side is {per_side}: allowed are integers of 1 or more")
    allowed = np.ones(len(is_member), dtype=np.bool_) if among is None else among
    generator = np.random.default_rng(seed)
    sides = (np.flatnonzero(is_member & allowed), np.flatnonzero(~is_member & allowed))
    return np.sort(np.concatenate([generator.permutation(side)[:per_side] for side in sides])).astype(np.int64)


def measure_distances(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    is_member: npt.NDArray[np.bool_],
    *,
    seed: int = 0,
    queries: int = 1000,
    per_side: int = RECORDS_PER_SIDE,
    box: tuple[float, float] | None = None,
    normalize: Callable[[Tensor], Tensor] | None = None,
    device: str | torch.device = "cpu",
    batch_size: int = 512,
    outputs: Outputs = "logits",
) -> tuple[npt.NDArray[np.float64], int]:
    """The signals ``distances`` and ``queries`` of a model: boundary distances of a seeded choice of records.

    Distances are in the units of ``to_float(images)``, before ``normalize``: 0..1 a pixel for ``uint8`` images.

    Args:
        model: returns logits ``(B, K)``; only their largest one is looked at. It is left on ``device``.
        images: ``(n, C, H, W)``, ``uint8`` or floats; or floats of any other shape, such as a table.
        labels: ``(n,)`` ``int64``, the true classes.
        is_member: ``(n,)`` booleans.
        seed: of the choice of records and of the probes.
        queries: the most predictions a record.
        per_side: members, and non-members, that are attacked at most.
        box: smallest and largest valid value of a pixel; by default 0 and 1 for ``uint8`` images and for floats within
            0..1, else the smallest and the largest value that occurs.
        normalize: as in training; for ``uint8`` images it must treat floats, in 0..1 or in 0..255, as it treats these.
        device: ``cpu``, ``cuda`` or a ``torch.device``.
        batch_size: images a forward pass.
        outputs: what the model returns, ``logits`` or ``probabilities``.

    Returns:
        ``(n,)`` distances, NaN for records that were not attacked, and the number of predictions of all records
        together.

    Raises:
        AuditError: if the records do not fit together, ``normalize`` treats floats otherwise than ``uint8``, or all
            floats are one value and ``box`` is not given.
    """
    import torch

    from nni_privacy.attacks.hop_skip_jump import boundary_distances, label_predictor
    from nni_privacy.data.normalize import to_float

    chosen = choose_records(is_member, seed=seed, per_side=per_side)
    index = torch.from_numpy(chosen)
    attacked = images.cpu()[index]
    unit = _unit(attacked.to(device), normalize)  # 1 / 255 where the model takes uint8 levels as they are
    if box is None:
        low, high = (float(images.min()), float(images.max())) if images.is_floating_point() else (0.0, 1.0)
        box = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
    result = boundary_distances(
        label_predictor(model, normalize=normalize, device=device, outputs=outputs),
        attacked.float() if unit != 1 else to_float(attacked),
        labels.cpu()[index],
        queries=queries,
        seed=seed,
        low=box[0] / unit,
        high=box[1] / unit,
        batch_size=batch_size,
    )
    distances = np.full(len(is_member), np.nan)
    distances[chosen] = result.distances * unit
    return distances, result.total_queries


def _unit(images: Tensor, normalize: Callable[[Tensor], Tensor] | None) -> float:
    """What 1 in the model's input stands for. Points between images are floats: ``normalize`` must take these too."""
    import torch

    from nni_privacy.data.normalize import UINT8_MAX, to_float

    if normalize is None or images.is_floating_point():
        return 1.0
    expected = normalize(images)
    for unit, floats in ((1.0, to_float(images)), (1 / UINT8_MAX, images.float())):
        found = normalize(floats)
        if found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-4, atol=1e-5):
            return unit
    raise AuditError("label_only: normalize gives other values for uint8 images than for the same images as floats")
