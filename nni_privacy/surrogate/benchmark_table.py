"""A benchmark's results as a table of text."""

from __future__ import annotations

from nni_privacy.surrogate.benchmark import METRICS, BenchmarkInfo, Difference, ModelScores

__all__ = ["benchmark_table"]

_TITLES = {"r2": "R2", "spearman": "Spearman", "kendall": "Kendall"}


def benchmark_table(info: BenchmarkInfo) -> str:
    """Markdown: mean ± standard deviation over the splits, and the paired difference to the reference."""
    compared = ("r2", "spearman")
    heads = ["model", *(_TITLES[metric] for metric in METRICS)]
    heads += [f"{_TITLES[metric]} minus {info.reference} [95%]" for metric in compared] + ["seconds"]
    rows = [heads, ["---"] + ["---:"] * (len(heads) - 1)]
    for model in info.models:
        cells = [model.name, *(f"{model.mean(metric):.3f} ± {model.deviation(metric):.3f}" for metric in METRICS)]
        cells += [_compared(info, model, metric) for metric in compared]
        rows.append([*cells, f"{model.seconds.mean():.1f}"])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _compared(info: BenchmarkInfo, model: ModelScores, metric: str) -> str:
    return "" if model.name == info.reference else _difference(info.difference(model, metric))


def _difference(difference: Difference) -> str:
    return f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
