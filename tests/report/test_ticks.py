"""Labels of ticks do not lie on one another, whatever the numbers are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from report.effects_samples import study_rows, variants
from report.effects_samples import write_study as write_effects
from report.overlaps import overlapping_ticks
from report.study_samples import write_study

from nni_privacy.report import effects_page, run_page, study_page
from nni_privacy.report.style import drawing_style, new_figure
from nni_privacy.runs.records import read_run


@pytest.mark.parametrize("columns", [1, 3, 5])
@pytest.mark.parametrize("width", [3.5, 6.4, 11.0])
def test_labels_have_room_in_figures_of_every_size(width: float, columns: int) -> None:
    rng = np.random.default_rng([columns, int(width)])
    with drawing_style():
        for _ in range(6):
            figure, ((*panels,),) = new_figure(width, 2.3, columns=columns, squeeze=False)
            centre, reach = rng.choice([0, 0.5, 0.75, 12.0, 1e5, -3e-3]), 10.0 ** rng.uniform(-4, 4)
            for axes in panels:
                axes.set_xlim(centre - reach * rng.uniform(), centre + reach)
                axes.locator_params(axis="x", nbins=int(rng.integers(4, 9)))
            assert overlapping_ticks(figure) == [], (centre, reach)
            assert all(len(axes.get_xticks()) >= 1 for axes in panels)


@pytest.mark.parametrize("values", [[3, 4, 5], range(1, 17), [0.5, 1, 8, 100], [100_000, 103_000, 104_000, 210_000]])
def test_numbers_that_were_measured_are_ticks_where_there_is_room(values: list[float]) -> None:
    points = [SimpleNamespace(architecture="a", x=float(x), y=0.1 * x) for x in values]
    with drawing_style():
        figure = effects_page.draw_slope(SimpleNamespace(points=points, estimate=None), x="x", y="y")
        effect = SimpleNamespace(by_architecture={}, estimate=None, mean=0.1)
        budgets = effects_page.draw_budgets("t", dict.fromkeys(values, effect))
    for one in (figure, budgets):
        assert overlapping_ticks(one) == []
        assert set(one.axes[0].get_xticks()) <= set(values) or len(values) > effects_page.TICKS
    assert budgets.axes[0].get_xticks()[0] == values[0]


@pytest.mark.slow
def test_no_labels_of_a_study_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, list[tuple[str, str]]] = {}
    for page in (study_page, effects_page, run_page):
        draw = page.to_svg

        def spy(figure, *, draw=draw, prefix: str, label: str):
            found[f"{prefix} {label}"] = overlapping_ticks(figure)
            return draw(figure, prefix=prefix, label=label)

        monkeypatch.setattr(page, "to_svg", spy)
    patterns = variants(budgets=(1, 2, 4), controls=(None, "placebo"))
    wide = study_rows(treated=patterns, noise=0.0003, architectures=3, attacks=("label_only",), cells=(3, 5))
    few = {"humans": ("resnet", "vgg", "dla"), "searched": ("gdas", "enas", "setn")}
    for folder in (
        write_study(tmp_path / "study", datasets=("cifar10", "stl10"), seeds=(0,), noise=1e-4, **few),
        write_effects(tmp_path / "wide", wide),
    ):
        study_page.render_study(read_run(folder))
    assert len(found) > 8 and {name: pairs for name, pairs in found.items() if pairs} == {}
