"""Draws a benchmark of surrogates: every score of every split, and the means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nni_privacy.report.style import drawing_style, new_figure, to_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nni_privacy.surrogate.benchmark import BenchmarkInfo

__all__ = ["benchmark_svg", "draw_benchmark"]

SPLIT, MEAN, REFERENCE = "#94a3b8", "#0072b2", "#c2410c"
_PANELS = {"r2": "R² (1 = perfect, 0 = no better than the mean)", "spearman": "Spearman's rank correlation"}


def benchmark_svg(info: BenchmarkInfo) -> str:
    """The figure as an ``<svg>`` element."""
    with drawing_style():
        label = f"R2 and Spearman of {len(info.models)} surrogates on {info.splits} random splits"
        return to_svg(draw_benchmark(info), prefix="surrogates", label=label)


def draw_benchmark(info: BenchmarkInfo) -> Figure:
    """One row a model, the best first; must be called inside :func:`drawing_style`."""
    models = sorted(info.models, key=lambda model: model.mean("spearman"))
    figure, panels = new_figure(8.2, 1.3 + 0.34 * len(models), columns=2, sharey=True)
    for axes, (metric, title) in zip(panels, _PANELS.items(), strict=True):
        for row, model in enumerate(models):
            values = model.scores[:, list(_PANELS).index(metric)]
            colour = REFERENCE if model.name == info.reference else MEAN
            heights = row + np.linspace(-0.22, 0.22, len(values))
            axes.plot(values, heights, "o", ms=2.2, color=SPLIT, alpha=0.7, label="one split" if row == 0 else None)
            label = "mean (orange: what the others are compared with)" if model is models[-1] else None
            axes.plot(values.mean(), row, "D", ms=5.5, color=colour, label=label)
        axes.axvline(0, color=SPLIT, lw=0.8)
        axes.set(xlabel=title, yticks=range(len(models)), yticklabels=[model.name for model in models])
        axes.grid(visible=False, axis="y")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncol=2)
    return figure
