"""What a person in a notebook sees and does: short reports, and networks of classes that were just typed."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from torch import nn

from nni_privacy import AuditReport, Recipe, audit
from nni_privacy.attacks import AttackScores, TargetSignals, report_attack, roc_curve
from nni_privacy.auditing.figures import roc_figure
from nni_privacy.auditing.shadows import ModelSpec, ShadowOptions
from nni_privacy.errors import AuditError, ConfigError

IMAGES, LABELS = torch.rand(30, 1, 8, 8), torch.arange(30) % 10


def small_report(*names: str) -> AuditReport:
    member = np.arange(400) < 150
    random = np.random.default_rng(0)
    signals = TargetSignals.from_logits(random.normal(size=(400, 3)), np.zeros(400, dtype=int), member)
    scores = AttackScores(member + random.normal(size=400), member, np.arange(400))
    return AuditReport({name: report_attack(name, scores) for name in names}, signals)


def test_a_report_is_one_short_line() -> None:
    report = small_report("lira", "rmia")
    auc = report.metrics()["mia_auc"]
    assert repr(report).startswith(f"AuditReport(150 members, 250 non-members: lira AUC {auc:.4f} [")
    assert len(repr(report)) < 200 and "\n" not in repr(report) and "array" not in repr(report)


@pytest.mark.parametrize("part", ["signals", "roc"])
def test_its_parts_are_too(part: str) -> None:
    report = small_report("lira")
    text = repr({"signals": report.signals, "roc": report.primary.roc}[part])
    assert len(text) < 200 and "\n" not in text and "array" not in text


def test_a_notebook_shows_a_table_of_the_attacks_with_names_escaped() -> None:
    page = small_report("lira", "<b>bold</b>")._repr_html_()
    cells: list[str] = []
    parser = HTMLParser()
    parser.handle_data = lambda data: cells.append(data.strip())  # type: ignore[method-assign]
    parser.feed(page)
    assert "150 members, 250 non-members, 3 classes" in " ".join(cells)
    assert {"lira", "<b>bold</b>", "not resolvable"} <= set(cells) and "<b>" not in page
    assert any(re.fullmatch(r"0\.\d{4}", cell) for cell in cells)


def test_a_report_of_many_attacks_is_as_short() -> None:
    names = [f"attack{at}" for at in range(9)]
    report = small_report(*names)
    assert len(repr(report)) < 200 and "and 8 more;" in repr(report)
    strongest = dataclasses.replace(report.attacks["attack4"], roc=roc_curve([3, 2, 1, 0], [1, 1, 0, 0]))
    leading = AuditReport({**report.attacks, "attack4": strongest}, report.signals)
    assert "attack0 AUC" in repr(leading) and "attack4 AUC" in repr(leading) and "and 7 more" in repr(leading)


def test_a_notebook_shows_notices_verdict_and_what_was_not_made() -> None:
    report = dataclasses.replace(small_report("lira"), shared=150, skipped={"rmia": "needs <shadows>", "gap": "why"})
    page = report._repr_html_()
    assert f"notice: {report.notices[-1]}" in page and report.notices[-1].startswith("members among")
    assert "evidence of a leak: lira leads" in page and "<li>rmia: needs &lt;shadows&gt;</li>" in page
    assert "not made" not in small_report("lira")._repr_html_()


def test_curves_are_drawn_on_logarithmic_axes_with_the_diagonal() -> None:
    from matplotlib import pyplot

    report = small_report("lira", "a$b$")
    axes = report.plot_roc()
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    diagonal, *curves = axes.get_lines()
    assert np.array_equal(diagonal.get_xdata(), diagonal.get_ydata()) and len(curves) == 2
    roc = report.primary.roc
    above = roc.fpr > 0
    assert np.array_equal(curves[0].get_xdata()[above], roc.fpr[above])
    assert np.array_equal(curves[0].get_ydata()[above], roc.tpr[above])
    assert curves[0].get_drawstyle() == "steps-post"
    axes.figure.canvas.draw()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["guessing, AUC 0.500", f"lira, AUC {roc.auc:.3f}", rf"a\$b\$, AUC {roc.auc:.3f}"]
    assert axes.get_xlim()[0] == 1 / 250 and axes.get_ylim()[0] == pytest.approx(1 / 225)
    assert report.plot_roc(axes) is axes and len(axes.get_lines()) == 6
    pyplot.close(axes.figure)


def test_the_numbers_of_the_figure_are_computed_before_it_is_drawn() -> None:
    report = small_report("lira", "rmia")
    info = roc_figure(report.attacks)
    assert [line.label.partition(",")[0] for line in info.lines] == ["lira", "rmia"]
    assert (info.left, info.bottom) == (1 / 250, 1 / 150)
    code = "import nni_privacy.auditing.figures, sys; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"False\n"


def test_reference_models_without_a_factory_are_told_the_argument_and_the_page() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    records = (IMAGES, LABELS), (1 - IMAGES, LABELS)
    wanted = r"ShadowOptions\(.*model=ModelSpec\('module:factory'\)\).*docs/auditing\.md"
    with pytest.raises(AuditError, match=wanted):
        audit(model, *records, attacks="lira")
    with pytest.raises(ConfigError, match=wanted):
        audit(model, *records, attacks="lira", shadow=ShadowOptions(recipe=Recipe(epochs=1)))


def test_a_class_that_was_just_typed_can_be_audited_in_this_process() -> None:
    typed: dict[str, type[nn.Module]] = {}
    code = "class Net(nn.Sequential):\n    def __init__(self, width=8):\n"
    code += "        super().__init__(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, 10))"
    exec(code, {"nn": nn, "__name__": "__main__"}, typed)  # noqa: S102 - as a notebook does
    options = {"recipe": Recipe(epochs=1), "model": ModelSpec(typed["Net"], {"width": 4})}
    records = (IMAGES, LABELS), (1 - IMAGES, LABELS)
    report = audit(typed["Net"](), *records, attacks="lira", shadow=ShadowOptions(**options))
    assert 0 <= report.metrics()["mia_auc"] <= 1
    with pytest.raises(ConfigError, match="workers: 2, but the model's factory cannot be imported by another process"):
        audit(typed["Net"](), *records, attacks="lira", shadow=ShadowOptions(**options, workers=2))
