"""The studies that ship: each is read, and its small profile planned on a stand-in for its data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nni_privacy.data import Dataset
from nni_privacy.studies.config import load_study
from nni_privacy.studies.plan import plan_study

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
STUDIES = sorted(path.name for kind in ("section", "bench") for path in EXPERIMENTS.glob(f"{kind}*.yaml"))
SMALL = [name for name in STUDIES if name.endswith("_small.yaml")]


def test_every_study_has_a_small_profile_and_a_row_in_the_table() -> None:
    table = (EXPERIMENTS / "README.md").read_text()
    assert len(STUDIES) == 2 * len(SMALL) > 0
    assert all(f"`{name}`" in table for name in STUDIES)


@pytest.mark.parametrize("name", STUDIES)
def test_studies_are_valid(name: str) -> None:
    settings = load_study(EXPERIMENTS / name)
    assert settings.name.endswith("-small") == (name in SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_small_profiles_can_be_planned(name: str) -> None:
    settings = load_study(EXPERIMENTS / name)
    images, labels = torch.zeros(40, 3, 16, 16, dtype=torch.uint8), torch.arange(40) % 10
    data = {section.called: Dataset(section.name, images, labels, 10) for section in settings.datasets}
    planned = plan_study(settings, data)
    assert len({tuple(measurement.sample.values()) for measurement in planned}) == len(planned) >= 3
