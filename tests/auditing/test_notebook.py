"""What a person in a notebook sees and does: short reports, and networks of classes that were just typed."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from torch import nn

from nni_privacy import AuditReport, Recipe, audit
from nni_privacy.attacks import AttackScores, TargetSignals, report_attack
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


def test_reference_models_without_a_factory_are_told_the_argument_and_the_page() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    records = (IMAGES, LABELS), (1 - IMAGES, LABELS)
    wanted = r"ShadowOptions\(.*model=ModelSpec\('module:factory'\)\).*docs/attacks\.md"
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
