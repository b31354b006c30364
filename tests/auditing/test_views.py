"""``views: auto``: the record itself, and its mirror image where training shows it, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import audited_model
import numpy as np
import pytest

from nni_privacy import Recipe, audit
from nni_privacy.auditing.audit import AuditReport
from nni_privacy.auditing.options import Effort
from nni_privacy.auditing.shadows import ModelSpec, ShadowOptions
from nni_privacy.data import load_dataset
from nni_privacy.training.fit import seed_everything

ATTACKS = ("lira", "rmia", "label_only_augmentation")


@pytest.fixture
def audited(tmp_path: Path) -> Any:
    digits = load_dataset("digits")
    members, others, population = (
        (digits.images[rows], digits.labels[rows]) for rows in (slice(40), slice(40, 80), slice(80, 120))
    )
    seed_everything(0)
    model = audited_model.build()

    def run(*, augmentation: bool, effort: Effort | None = None, attacks: Any = ATTACKS) -> tuple[AuditReport, int]:
        recipe = Recipe(epochs=1, augmentation=augmentation)
        spec = ModelSpec("audited_model:build")
        shadow = ShadowOptions(recipe=recipe, model=spec, count=4, cache=str(tmp_path), train=population)
        report = audit(model, members, others, attacks=attacks, shadow=shadow, effort=effort, device="cpu")
        return report, len(list(tmp_path.glob("*.npz")))

    return run


@pytest.mark.parametrize(("augmentation", "views"), [(False, 1), (True, 2)])
def test_auto_asks_references_for_one_view_unless_the_recipe_augments(audited, augmentation, views):
    report, trained = audited(augmentation=augmentation)
    shadows = report.signals.shadows
    assert shadows.views == views and shadows.target_population_logits.shape[1] == views
    assert report.signals.view_logits.shape[1] == 2, "robustness needs an augmented image in any case"
    explicit, now = audited(augmentation=augmentation, effort=Effort(views=views), attacks=["lira", "rmia"])
    assert (trained, now) == (4, 4), "the cache knows a number of views, not where it comes from"
    for name in ("lira", "rmia"):
        assert explicit.attacks[name].metrics == report.attacks[name].metrics


def test_a_number_of_views_is_what_it_says(audited):
    report, _ = audited(augmentation=False, effort=Effort(views=3))
    assert report.signals.shadows.views == 3 == report.signals.view_logits.shape[1]
    np.testing.assert_array_equal(report.signals.view_logits[:, 0], report.signals.logits)
    assert (report.signals.view_logits[:, 1] != report.signals.logits).any()
