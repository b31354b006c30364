"""Distances to the decision boundary from predicted labels alone: HopSkipJump in L2, all records at once.

Source: Chen, Jordan and Wainwright, HopSkipJumpAttack (S&P 2020, arXiv 1904.02144), untargeted. As there, a point on
the boundary is moved along the boundary's normal, which is estimated from the labels of points around it, and brought
back to the boundary by bisection. What is different, to get nearer with fewer queries:

- Start: the nearest attacked (or pool) image of each other predicted class, instead of uniform noise. Their labels are
  known already, because every image is asked once whether it is classified right.
- Probes around the boundary point are orthonormal in blocks, and the same for all records.
- Step and bisection are one: a bisection along the half circle over the segment from the image to the boundary point,
  in the plane of the estimated normal (CGBA, Reza et al., ICCV 2023, arXiv 2308.03163). Every point of it is nearer
  than the one before, and for a flat boundary and an exact normal it ends at the foot of the perpendicular.

Every forward pass is put together of the queries of all records. Records take part in lock-step until their budget
ends. A distance is that of an image which was seen to be classified wrong, so never below the true one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nni_privacy.data.inputs import Inputs
from nni_privacy.errors import AuditError
from nni_privacy.training.classifier import Classifier, Outputs
from nni_privacy.training.fit import evaluation_mode

__all__ = ["BoundaryResult", "boundary_distances", "label_predictor"]

Predict = Callable[[Tensor], Tensor]

FIRST_PROBES = 30  # for the first normal; the t-th gets sqrt(t) times as many (Chen et al.: 100)
LEAST_PROBES = 10  # fewer tell nothing of the normal
PROBE_BLOCK = 64  # probes that are orthogonal to each other
PROBE_RADIUS = 0.015  # as a fraction of the distance
STARTS = 9  # nearest images of so many classes
START_STEPS = 6  # bisections of the first start's segment: to 1/64 of it
WORTHWHILE = 0.98  # of the best distance so far: a further start must cross the boundary nearer than that
NOISE_STARTS = 100  # uniform noise images that are tried for want of a start (as adversarial-robustness-toolbox does)
CANDIDATE_ROWS = 256  # records whose distances to all possible starts are held at once
_SURE = 1 - 1e-6  # mean answers beyond are all the same


@dataclass(frozen=True, eq=False)
class BoundaryResult:
    """What :func:`boundary_distances` found.

    Attributes:
        distances: ``(n,)`` ``float64``, L2 distance from each image to the nearest image found that is not classified
            as its label, in the images' units; 0 for images that are classified wrong themselves.
        queries: ``(n,)`` ``int64``, predictions spent on each record, at most the budget.
        found: ``(n,)`` booleans. Where false, every prediction was the label; the distance is then the largest one
            within the box, an upper bound.
        adversarial: ``(n, C, H, W)`` ``float32``, those nearest images (the image itself where it is classified wrong
            or nothing was found).
        pool_queries: predictions spent on the pool, for all records together.
    """

    distances: npt.NDArray[np.float64]
    queries: npt.NDArray[np.int64]
    found: npt.NDArray[np.bool_]
    adversarial: Tensor
    pool_queries: int = 0

    @property
    def total_queries(self) -> int:
        """All predictions that were asked for."""
        return int(self.queries.sum()) + self.pool_queries


def boundary_distances(
    predict: Predict,
    images: Tensor,
    labels: Tensor,
    *,
    queries: int = 1000,
    seed: int = 0,
    low: float = 0.0,
    high: float = 1.0,
    pool: Tensor | None = None,
    batch_size: int = 512,
) -> BoundaryResult:
    """Estimates each image's L2 distance to the decision boundary of a classifier that tells labels only.

    Args:
        predict: maps images ``(B, C, H, W)`` ``float32`` to predicted classes ``(B,)``, integers. The only access to
            the model; called with at most ``batch_size`` images.
        images: ``(n, C, H, W)`` ``float32`` within ``low..high``.
        labels: ``(n,)`` integers, the true classes.
        queries: the most predictions a record, 1 or more; an image that is classified wrong takes 1.
        seed: of the probes. Records see the same probes, whatever they are attacked together with.
        low: smallest valid value of a pixel; nothing outside of the box is ever asked.
        high: largest valid value of a pixel, above ``low``.
        pool: ``(m, C, H, W)`` like ``images``, more images to start from, for one prediction each; the attacked images
            start from each other in any case. A start decides which stretch of the boundary is explored: with few
            images of few classes, a pool helps.
        batch_size: images a forward pass, 1 or more; bounds the memory and changes nothing else.

    Raises:
        AuditError: if shapes, types or ranges do not fit, or ``predict`` does not return one integer an image.
    """
    if not low < high or min(queries, batch_size) < 1 or seed < 0:
        options = f"low {low}, high {high}, queries {queries}, batch_size {batch_size}, seed {seed}"
        raise AuditError(f"{options}: expected low < high, queries and batch_size of 1 or more, a seed of 0 or more")
    _check_images("images", images, low, high)
    if labels.shape != images.shape[:1] or labels.is_floating_point():
        raise AuditError(f"labels are {labels.dtype} {tuple(labels.shape)}, expected integers ({len(images)},)")
    if pool is not None:
        _check_images("pool", pool, low, high)
        if pool.shape[1:] != images.shape[1:]:
            raise AuditError(f"the pool's images are {tuple(pool.shape[1:])}, the attacked {tuple(images.shape[1:])}")
    with torch.no_grad():
        search = _Search(predict, images, labels, queries, (low, high), batch_size)
        starts, classes = search.images, search.first_labels
        if pool is not None:
            flat = pool.to(images.device).flatten(1)
            starts, classes = torch.cat([starts, flat]), torch.cat([classes, search.predict(flat)])
        search.start(starts, classes, seed)
        search.descend(seed)
        return search.result(0 if pool is None else len(pool))


def label_predictor(
    model: nn.Module,
    *,
    normalize: Callable[[Tensor], Tensor] | None = None,
    device: str | torch.device = "cpu",
    outputs: Outputs = "logits",
) -> Predict:
    """The ``predict`` of a model that returns logits: images ``(B, C, H, W)`` -> predicted classes ``(B,)``.

    Args:
        model: is moved to ``device``; run in evaluation mode, its layers' modes put back after each call.
        normalize: applied to each batch, as in training; distances are measured before it.
        device: where the model runs; answers come back to where the images are.
        outputs: what the model returns, ``logits`` or ``probabilities``.
    """
    classifier = Classifier(model.to(device), normalize=normalize, outputs=outputs)

    def predict(images: Tensor) -> Tensor:
        with evaluation_mode(model), torch.inference_mode():
            return classifier(Inputs((images.to(device),))).argmax(1).to(images.device)

    return predict


class _Search:
    """The state of all records: the nearest adversarial point ``best`` (n, D), its distance, and queries spent."""

    def __init__(
        self, predict: Predict, images: Tensor, labels: Tensor, budget: int, box: tuple[float, float], batch_size: int
    ) -> None:
        self._predict, self._batch_size = predict, batch_size
        self._shape = images.shape[1:]
        self.images, self.labels = images.flatten(1), labels.to(images.device)
        self.budget, self.low, self.high = budget, *box
        self.used = torch.ones(len(images), dtype=torch.int64)
        self.first_labels = self.predict(self.images)
        self.wrong = (self.first_labels != self.labels).cpu()
        self.best = self.images.clone()
        self.distance = torch.where(self.wrong.to(images.device), 0.0, torch.inf).to(images.dtype)
        # How far a probe typically reaches along the normal, as a fraction of the distance: bisections end within it.
        reach = PROBE_RADIUS / math.sqrt(self.images.shape[1])
        self.line_steps = math.ceil(math.log2(1 / reach))
        self.arc_steps = math.ceil(math.log2(math.pi / 2 / reach))

    def predict(self, points: Tensor) -> Tensor:
        """Predicted classes ``(B,)`` of points ``(B, D)``, a batch at a time."""
        parts = []
        for chunk in points.split(self._batch_size):
            answer = self._predict(chunk.reshape(-1, *self._shape))
            if not isinstance(answer, Tensor) or answer.shape != chunk.shape[:1] or answer.is_floating_point():
                raise AuditError(f"predict must return one integer for each of the {len(chunk)} images")
            parts.append(answer.to(points.device))
        return torch.cat(parts)

    def crossed(self, rows: Tensor, points: Tensor) -> Tensor:
        """Asks one point ``(D,)`` a row, counts it, and keeps it where it is nearer than the best. Returns booleans."""
        if not len(rows):
            return torch.zeros(0, dtype=torch.bool, device=rows.device)
        points = points.clamp(self.low, self.high)
        self.used[rows.cpu()] += 1
        crossed = self.predict(points) != self.labels[rows]
        distance = (points - self.images[rows]).norm(dim=1)
        nearer = crossed & (distance < self.distance[rows])
        self.best[rows[nearer]], self.distance[rows[nearer]] = points[nearer], distance[nearer]
        return crossed

    def affords(self, rows: Tensor, count: int) -> Tensor:
        """Which rows' budgets allow ``count`` more queries, booleans."""
        return (self.used[rows.cpu()] + count <= self.budget).to(rows.device)

    def start(self, starts: Tensor, classes: Tensor, seed: int) -> None:
        """Brings every record that is classified right to the boundary, from the best of several starts."""
        rows = torch.nonzero(~self.wrong)[:, 0].to(self.images.device)
        for part in rows.split(CANDIDATE_ROWS):
            self._start_rows(part, starts, classes)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(NOISE_STARTS):
            noise = torch.rand(self.images.shape[1], generator=generator).to(self.images)
            lost = rows[~self.distance[rows].isfinite() & self.affords(rows, 1)]
            if not len(lost):
                break
            self.crossed(lost, (self.low + (self.high - self.low) * noise).expand(len(lost), -1))
            self._bisect_segment(lost[self.distance[lost].isfinite()], self.line_steps)
        coarse = 2.0 ** (2 - START_STEPS)  # how far beyond the boundary the coarse bisections may have ended
        found = rows[self.distance[rows].isfinite()]
        self._bisect_segment(found, self.line_steps - START_STEPS + 2, low=1 - coarse)

    def _start_rows(self, rows: Tensor, starts: Tensor, classes: Tensor) -> None:
        """Tries the nearest start of each other class, the nearest class first."""
        for position, (index, gap) in enumerate(self._candidates(rows, starts, classes)):
            usable = gap.isfinite()
            part, goals = rows[usable], starts[index[usable]]
            if position == 0:  # known to be adversarial: no query
                self.best[part], self.distance[part] = goals, (goals - self.images[part]).norm(dim=1)
            else:  # one query tells whether this direction crosses the boundary nearer than the best one
                ratio = (self.distance[part] * WORTHWHILE / gap[usable]).clamp(max=1.0)[:, None]
                trial = self.images[part] + ratio * (goals - self.images[part])
                within = self.affords(part, 1)
                part = part[within]
                part = part[self.crossed(part, trial[within])]
            self._bisect_segment(part, START_STEPS)

    def _candidates(self, rows: Tensor, starts: Tensor, classes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Index and distance ``(rows,)`` of the nearest start of each other class; infinite where there is none."""
        gaps = torch.cdist(self.images[rows], starts)
        gaps[self.labels[rows][:, None] == classes[None]] = torch.inf
        nearest = [gaps[:, mask].min(1) for mask in (classes == name for name in classes.unique())]
        indices = [torch.nonzero(classes == name)[:, 0] for name in classes.unique()]
        distance = torch.stack([entry.values for entry in nearest], dim=1)
        index = torch.stack([where[entry.indices] for where, entry in zip(indices, nearest, strict=True)], dim=1)
        order = distance.argsort(dim=1, stable=True)[:, :STARTS]
        yield from zip(index.gather(1, order).T, distance.gather(1, order).T, strict=True)

    def _bisect_segment(self, rows: Tensor, steps: int, low: float = 0.0) -> None:
        """Bisects between an image and its best point, on the segment's part from ``low`` to 1."""
        origin, ends = self.images[rows], self.best[rows]
        self._bisect(rows, lambda at, part: origin[part] + at * (ends[part] - origin[part]), steps, (1.0, low))

    def _bisect(
        self, rows: Tensor, path: Callable[[Tensor, Tensor], Tensor], steps: int, ends: tuple[float, float]
    ) -> None:
        """Bisects a path from its adversarial end ``ends[0]`` towards ``ends[1]``, one query a step and row."""
        inside = torch.full((len(rows), 1), ends[0]).to(self.images)
        outside = torch.full_like(inside, ends[1])
        for _ in range(steps):
            part = torch.nonzero(self.affords(rows, 1))[:, 0]
            if not len(part):
                return
            middle = (inside[part] + outside[part]) / 2
            crossed = self.crossed(rows[part], path(middle, part))[:, None]
            inside[part] = torch.where(crossed, middle, inside[part])
            outside[part] = torch.where(crossed, outside[part], middle)

    def descend(self, seed: int) -> None:
        """Normal, half circle, next normal: until no record's budget allows another one."""
        generator = torch.Generator().manual_seed(seed + 1)
        found = torch.nonzero(self.distance.isfinite() & ~self.wrong.to(self.distance.device))[:, 0]
        turn = 0
        while True:
            rows = found[self.affords(found, LEAST_PROBES + self.arc_steps)]
            if not len(rows):
                return
            turn += 1
            left = self.budget - int(self.used[rows.cpu()].max()) - self.arc_steps
            probes = min(int(FIRST_PROBES * math.sqrt(turn)), left)
            if left - probes < LEAST_PROBES + self.arc_steps:
                probes = left  # what is left would not be enough for another turn
            normal = self._normals(rows, probes, generator)
            self._bisect_arc(rows, normal)

    def _normals(self, rows: Tensor, probes: int, generator: torch.Generator) -> Tensor:
        """Unit vectors ``(rows, D)`` into the adversarial side (Chen et al., equation 16), from ``probes`` queries."""
        radius = PROBE_RADIUS * self.distance[rows]
        # Sums over the probes of answer * offset and of offset; the mean answer is taken off at the end.
        sums = torch.zeros(len(rows), 2, self.images.shape[1]).to(self.images)
        answers = torch.zeros(len(rows), 1).to(self.images)
        for block in _probe_blocks(probes, self.images.shape[1], generator):
            block = block.to(self.images)
            for part in torch.arange(len(rows), device=rows.device).split(max(1, self._batch_size // len(block))):
                center = self.best[rows[part]][:, None]
                points = (center + radius[part][:, None, None] * block).clamp(self.low, self.high)
                labels = self.predict(points.flatten(0, 1)).reshape(len(part), len(block))
                signs = (labels != self.labels[rows[part]][:, None]).to(points.dtype) * 2 - 1
                weights = torch.stack([signs, torch.ones_like(signs)], dim=1)
                sums[part] += torch.bmm(weights, points - center)  # what is left of a probe within the box
                answers[part] += signs.sum(1, keepdim=True)
        self.used[rows.cpu()] += probes
        mean = answers / probes
        normal = sums[:, 0] - torch.where(mean.abs() < _SURE, mean, 0.0) * sums[:, 1]
        return normal / normal.norm(dim=1, keepdim=True).clamp_min(torch.finfo(normal.dtype).tiny)

    def _bisect_arc(self, rows: Tensor, normal: Tensor) -> None:
        """Bisects the half circle over image and best point, from the best point towards the image.

        At angle t from the best point, seen from the image, it is ``distance * cos(t)`` away.
        """
        origin, distance = self.images[rows], self.distance[rows][:, None]
        straight = (self.best[rows] - origin) / distance
        across = normal - (normal * straight).sum(1, keepdim=True) * straight
        across /= across.norm(dim=1, keepdim=True).clamp_min(torch.finfo(across.dtype).tiny)

        def path(angle: Tensor, part: Tensor) -> Tensor:
            direction = angle.cos() * straight[part] + angle.sin() * across[part]
            return origin[part] + distance[part] * angle.cos() * direction

        self._bisect(rows, path, self.arc_steps, (0.0, math.pi / 2))

    def result(self, pool_queries: int) -> BoundaryResult:
        """Distances in double precision, of the points that were asked; the box's farthest corner for want of one."""
        found = self.distance.isfinite()
        images = self.images.double()
        corner = torch.maximum(images - self.low, self.high - images).norm(dim=1)
        distances = torch.where(found, (self.best.double() - images).norm(dim=1), corner)
        return BoundaryResult(
            distances=distances.cpu().numpy(),
            queries=self.used.numpy(),
            found=found.cpu().numpy(),
            adversarial=self.best.reshape(-1, *self._shape),
            pool_queries=pool_queries,
        )


def _probe_blocks(probes: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Unit vectors in blocks ``(b, size)``, random and orthogonal to each other within a block; ``probes`` in all."""
    width = min(PROBE_BLOCK, size)
    for start in range(0, probes, width):
        basis, triangle = torch.linalg.qr(torch.randn(size, width, generator=generator))
        basis *= triangle.diagonal().sign()  # else LAPACK's choice of signs would make some directions more likely
        yield basis.T[: probes - start].contiguous()


def _check_images(name: str, images: Tensor, low: float, high: float) -> None:
    if images.ndim < 2 or not len(images) or images.dtype != torch.float32:
        raise AuditError(f"{name} are {images.dtype} {tuple(images.shape)}, expected float32 (n, C, H, W), n >= 1")
    if not bool(((images >= low) & (images <= high)).all()):
        raise AuditError(f"{name} have values outside of the box {low}..{high}, or NaN")
