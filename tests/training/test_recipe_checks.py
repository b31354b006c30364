"""A recipe that does not suit network or records is refused before anything is trained, by a search's checks too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from nni.nas.space import SimplifiedModelSpace
from torch import nn

from nni_privacy import PrivacyEvaluator
from nni_privacy.data.inputs import Inputs
from nni_privacy.errors import ConfigError, DataError
from nni_privacy.search_spaces import DARTS, NasBench201
from nni_privacy.training.fit import fit
from nni_privacy.training.recipe import Recipe
from nni_privacy.training.recipe_checks import check_network, check_records

PROJECT = Path(__file__).resolve().parents[1] / "support" / "projects" / "own_space"
UNFIT = {
    "drop_path": (0.2, r"recipe\.drop_path: a \w+ has no layer with a drop_prob"),
    "auxiliary": (0.4, r"recipe\.auxiliary: a \w+ has no auxiliary_layer"),
    "cutout": (9, r"recipe\.cutout: 9; images are 8 x 8: at most 8"),
}


def recipe_of(**options: Any) -> Recipe:
    return Recipe.from_mapping({"epochs": 1, **options})


@pytest.mark.parametrize("option", UNFIT)
def test_the_check_of_a_search_and_training_say_the_same(option: str) -> None:
    value, said = UNFIT[option]
    recipe, images, labels = recipe_of(**{option: value}), torch.rand(8, 1, 8, 8), torch.arange(8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(ConfigError, match=said):
        fit(model, images, labels, recipe=recipe, seed=0, device="cpu")
    check, given = (check_records, Inputs.of(images)) if option == "cutout" else (check_network, model)
    with pytest.raises(ConfigError, match=said):
        check(recipe, given)


@pytest.mark.slow
@pytest.mark.parametrize("option", UNFIT)
def test_a_dry_run_refuses_what_no_trial_could_be_trained_by(option: str, tmp_path: Path) -> None:
    value, said = UNFIT[option]
    settings = yaml.safe_load((PROJECT / "search.yaml").read_text())
    settings["evaluator"]["recipe"][option] = value
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(settings))
    words = [sys.executable, "-m", "nni_privacy", "search", "search.yaml", "--dry-run"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stdout
    (line,) = done.stderr.splitlines()
    assert re.search(said, line), line


@pytest.mark.parametrize(
    "space", [DARTS(channels=2, cells=3), NasBench201(channels=2, cells=1)], ids=["darts", "nasbench201"]
)
def test_our_own_spaces_take_all_of_them(space: Any) -> None:
    options = {"drop_path": 0.2, "auxiliary": 0.4, "cutout": 8, "precision": "bfloat16"}
    evaluator = PrivacyEvaluator("digits", recipe=recipe_of(**options))
    evaluator.check_space(SimplifiedModelSpace.from_model(space, evaluator))


def test_a_network_of_half_precision_takes_no_precision_of_a_recipe() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).bfloat16()
    with pytest.raises(ConfigError, match=r"recipe\.precision: 'bfloat16' .* the Sequential's are bfloat16; give"):
        fit(
            model, torch.rand(8, 1, 8, 8), torch.arange(8), recipe=recipe_of(precision="bfloat16"), seed=0, device="cpu"
        )
    fit(model, torch.rand(8, 1, 8, 8), torch.arange(8), recipe=recipe_of(), seed=0, device="cpu")


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (torch.rand(4, 1, 8, 8), torch.arange(3), r"validation: images have shape .* labels \(3,\)"),
        (torch.rand(4, 1, 8, 8), torch.rand(4), r"validation: labels are torch.float32, expected torch.int64"),
        (torch.rand(4, 1, 8, 8), torch.full((4,), 10), r"validation: labels run from 10 to 10, .* has 10 classes"),
    ],
)
def test_records_to_look_at_are_checked(images: Any, labels: Any, said: str) -> None:
    model, recipe = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), recipe_of(stop_early={"patience": 1})
    given = {"recipe": recipe, "seed": 0, "device": "cpu", "validation": (images, labels)}
    with pytest.raises(DataError, match=said):
        fit(model, torch.rand(8, 1, 8, 8), torch.arange(8), **given)
