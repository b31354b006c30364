"""Benchmark of surrogates on architectures that they have not seen: the paper's Table 2 over many random splits.

One split says next to nothing: with 268 test architectures the standard deviation of R2 is .04, of Spearman .05. So
every model sees the same random splits, and is compared with the default split by split.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice, product
from multiprocessing import get_context

import numpy as np

from nni_privacy.cells.codes import GenotypeCodes
from nni_privacy.errors import ConfigError
from nni_privacy.files import to_csv
from nni_privacy.surrogate.base import Floats, build_surrogate
from nni_privacy.surrogate.data import MIAData

__all__ = ["BenchmarkInfo", "ModelScores", "benchmark", "benchmark_table", "corrected_interval", "score", "scores_csv"]

_TITLES = {"r2": "R2", "spearman": "Spearman", "kendall": "Kendall"}
METRICS = tuple(_TITLES)
TEST_SHARE = 0.1
"""As in the paper: 268 of 2,678."""

Task = tuple[str, int]
"""A model's name and the number of the split."""


@dataclass(frozen=True, eq=False)
class ModelScores:
    """One model's results.

    Attributes:
        name: of the surrogate.
        scores: (splits, 3), the columns as in METRICS: R2 (1 is perfect, 0 no better than the mean, it may be
            negative), Spearman and Kendall (tau b) rank correlation (-1 to 1).
        seconds: (splits,), to fit and to predict.
    """

    name: str
    scores: Floats
    seconds: Floats

    def mean(self, metric: str) -> float:
        """Over the splits."""
        return float(self.scores[:, METRICS.index(metric)].mean())

    def deviation(self, metric: str) -> float:
        """Standard deviation between single splits; not that of the mean."""
        return float(self.scores[:, METRICS.index(metric)].std(ddof=1))


@dataclass(frozen=True)
class Difference:
    """A model's mean minus the reference's, with a 95% interval that allows for overlapping training sets."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True, eq=False)
class BenchmarkInfo:
    """The results of all models on the same splits.

    Attributes:
        models: in the order asked for.
        reference: the model that the others are compared with.
        architectures: how many there were.
        test: how many of them each split tests on.
        seed: of the splits.
    """

    models: tuple[ModelScores, ...]
    reference: str
    architectures: int
    test: int
    seed: int

    @property
    def splits(self) -> int:
        """How many random splits."""
        return len(self.models[0].seconds)

    def difference(self, model: ModelScores, metric: str) -> Difference:
        """Paired: split by split, ``model`` minus the reference."""
        reference = next(other for other in self.models if other.name == self.reference)
        column = METRICS.index(metric)
        values = model.scores[:, column] - reference.scores[:, column]
        return corrected_interval(values, test=self.test, train=self.architectures - self.test)


def benchmark(
    data: MIAData,
    names: Sequence[str],
    *,
    splits: int = 30,
    seed: int = 0,
    workers: int = 1,
    reference: str = "default",
    observe: Callable[[ModelScores], None] | None = None,
) -> BenchmarkInfo:
    """Fits every model to nine tenths of the data and tests it on the rest, ``splits`` times.

    Args:
        data: measured architectures.
        names: of surrogates; ``reference`` is added if it is not among them.
        splits: random splits, at least 2; the same for all models.
        seed: of the splits and of the models.
        workers: processes, each on one thread.
        reference: the model to compare with.
        observe: called with each model's scores as soon as they are complete.

    Raises:
        ConfigError: if a name is unknown or twice there, or a number is too small.
    """
    if splits < 2 or workers < 1:
        raise ConfigError(f"splits: {splits}, workers: {workers}; at least 2 splits and 1 worker are needed")
    chosen = list(names) if reference in names else [reference, *names]
    if len(set(chosen)) < len(chosen):
        raise ConfigError(f"models: one of them is named twice: {', '.join(chosen)}")
    for name in chosen:
        build_surrogate(name)
    codes = GenotypeCodes.from_genotypes(data.genotypes)
    results = _run(partial(_one_split, codes, data.mia_auc, seed), list(product(chosen, range(splits))), workers)
    models = []
    for name in chosen:
        table = np.array(list(islice(results, splits)))
        models.append(ModelScores(name, table[:, :-1], table[:, -1]))
        if observe is not None:
            observe(models[-1])
    return BenchmarkInfo(tuple(models), reference, len(data), _test_size(len(data)), seed)


def _run(measure: Callable[[Task], list[float]], tasks: Sequence[Task], workers: int) -> Iterator[list[float]]:
    """The results of ``tasks``, in their order."""
    if workers == 1:
        yield from map(measure, tasks)
        return
    # Fresh processes: a fork of one whose torch has threads can hang.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        yield from pool.map(measure, tasks)


def _one_thread() -> None:
    """Several processes with several threads each would be in each other's way."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)


def _one_split(codes: GenotypeCodes, auc: Floats, seed: int, task: Task) -> list[float]:
    """R2, Spearman, Kendall, seconds."""
    name, split = task
    order = np.random.default_rng([seed, split]).permutation(len(auc))
    test, train = np.split(order, [_test_size(len(auc))])
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning a fit would bury the table
        surrogate = build_surrogate(name).fit(codes[train], auc[train], seed=split)
        predicted = surrogate.predict(codes[test])
    return [*score(auc[test], predicted), time.perf_counter() - started]


def _test_size(architectures: int) -> int:
    return max(2, round(TEST_SHARE * architectures))


def score(measured: Floats, predicted: Floats) -> tuple[float, float, float]:
    """R2, Spearman and Kendall correlation of (n,) predictions; a correlation with constant predictions counts 0."""
    from scipy.stats import kendalltau, spearmanr

    residual = np.sum((measured - predicted) ** 2)
    r2 = 1 - residual / np.sum((measured - measured.mean()) ** 2)
    if np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return float(r2), 0.0, 0.0
    return float(r2), float(spearmanr(measured, predicted)[0]), float(kendalltau(measured, predicted)[0])


def corrected_interval(values: Floats, *, test: int, train: int) -> Difference:
    """Mean and 95% interval of a statistic over random splits whose training sets overlap.

    The variance of the mean is (1 / J + test / train) s^2, not s^2 / J (Nadeau & Bengio, Machine Learning 52, 2003).

    Args:
        values: (J,), one of each split.
        test: size of a test set.
        train: size of a training set.
    """
    from scipy.stats import t

    splits = len(values)
    half = t.ppf(0.975, splits - 1) * np.sqrt((1 / splits + test / train) * values.var(ddof=1))
    mean = float(values.mean())
    return Difference(mean, mean - float(half), mean + float(half))


def scores_csv(info: BenchmarkInfo) -> str:
    """Every score of every split: model, split, r2, spearman, kendall, seconds."""
    columns, rows = ("model", "split", *METRICS, "seconds"), []
    for model in info.models:
        for split, (values, seconds) in enumerate(zip(model.scores.tolist(), model.seconds.tolist(), strict=True)):
            row = (model.name, split, *(f"{value:.6f}" for value in values), f"{seconds:.2f}")
            rows.append(dict(zip(columns, row, strict=True)))
    return to_csv(rows, columns)


def benchmark_table(info: BenchmarkInfo) -> str:
    """Markdown: mean ± standard deviation over the splits, and the paired difference to the reference."""
    compared = ("r2", "spearman")
    heads = ["model", *(_TITLES[metric] for metric in METRICS)]
    heads += [f"{_TITLES[metric]} minus {info.reference} [95%]" for metric in compared] + ["seconds"]
    rows = [heads, ["---"] + ["---:"] * (len(heads) - 1)]
    for model in info.models:
        cells = [model.name, *(f"{model.mean(metric):.3f} ± {model.deviation(metric):.3f}" for metric in METRICS)]
        same = model.name == info.reference
        cells += ["" if same else str(info.difference(model, metric)) for metric in compared]
        rows.append([*cells, f"{model.seconds.mean():.1f}"])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
