"""Spoiled studies: one clear line, or a plan; never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from mutations import spoiled_yaml

from nni_privacy.errors import PrivacyError
from nni_privacy.studies.config import load_study

STUDY: dict[str, Any] = {
    "name": "study",
    "seeds": [0, 1],
    "datasets": [{"name": "digits", "limit": 200, "label": "d"}, {"name": "npz", "path": "x.npz", "image_size": 16}],
    "search_space": {"name": "darts", "channels": 4, "cells": 3, "nodes": 4},
    "architectures": [
        {"networks": ["resnet", "dla"], "stem": "small"},
        {
            "sampled": 2,
            "seed": 1,
            "variants": [
                "original",
                {"pattern": ["demotion"], "cells": "dual", "budget": [2, 3], "control": "placebo"},
            ],
        },
        {"genotypes": "found.txt", "limit": 3, "label": "found"},
        {"strategy": {"name": "gdas", "epochs": 2}, "pattern": {"name": "demotion", "cells": "normal", "budget": 2}},
    ],
    "defences": ["none", {"augmentation": True}, {"dp": {"epsilon": 8.0, "delta": 0.00001}}],
    "evaluator": {"recipe": {"epochs": 1}, "attacks": ["loss_threshold"], "effort": {"views": 2}},
    "contours": {"steps": 5, "span": 0.5, "records": 16},
    "concurrency": 2,
}


def test_the_study_that_is_spoiled_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    assert load_study(path, data={"d": "y.npz"}).datasets[0].name == "npz"


@pytest.mark.slow
@settings(
    max_examples=200,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(content=spoiled_yaml(STUDY))
def test_a_spoiled_study_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    try:
        load_study(path, data={"d": "y.npz"}).resolved()
    except PrivacyError as error:
        said = str(error)
    else:
        return
    assert said.startswith(str(path)) and "\n" not in said and len(said) < 2000


@pytest.mark.parametrize("datasets", [5, "digits", [5], [{}], None])
def test_a_file_in_place_of_a_data_set_hides_no_fault(tmp_path: Path, datasets: Any) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, "datasets": datasets}))
    with pytest.raises(PrivacyError):
        load_study(path, data={"d": "y.npz"})
