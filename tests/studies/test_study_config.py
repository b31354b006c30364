"""A study's configuration: what it accepts, and how it says what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from nni_privacy.errors import ConfigError
from nni_privacy.schema import validated
from nni_privacy.studies.config import StudyConfig, load_study

SMALLEST: dict[str, Any] = {"name": "s", "datasets": [{"name": "digits"}], "architectures": [{"networks": ["resnet"]}]}

WRONG = [
    ({"architectures": []}, "architectures: .*at least 1"),
    ({"architectures": "resnet"}, "architectures: 'resnet'; input should be a valid list"),
    ({"architectures": [{"network": "resnet"}]}, "architectures: network; .*one of networks, genotypes, .*'networks'"),
    ({"architectures": [{"networks": ["resnett"]}]}, "unknown network 'resnett'; did you mean 'resnet'"),
    ({"architectures": [{"networks": []}]}, "networks: the list is empty"),
    ({"architectures": [{"networks": ["dla"], "stemm": "small"}]}, "stemm: unknown key; did you mean 'stem'"),
    ({"architectures": [{"sampled": 0}]}, "sampled: 0; .*greater than or equal to 1"),
    ({"architectures": [{"sampled": 1, "networks": "all"}]}, "sampled, networks; an entry is a mapping with one of"),
    ({"architectures": [{"sampled": 1, "variants": [{"pattern": "demotoin"}]}]}, "unknown pattern 'demotoin'"),
    (
        {"architectures": [{"sampled": 1, "variants": [{"pattern": "demotion", "cells": "normal", "budget": 6}]}]},
        "budget: 6 for pattern 'demotion-normal', which has 5 edges",
    ),
    ({"architectures": [{"sampled": 1, "variants": ["original", "original"]}]}, "'original' is there twice"),
    (
        {"architectures": [{"sampled": 1, "variants": [{"pattern": "demotion", "cells": "normal", "control": "no"}]}]},
        "control",
    ),
    ({"architectures": [{"strategy": {"name": "tpe"}}]}, "'tpe' trains many architectures .* nni-privacy search"),
    ({"architectures": [{"strategy": {"name": "gdas", "top_k": 3}}]}, "top_k: 3; a trial measures the best one only"),
    ({"seeds": []}, "seeds"),
    ({"seeds": [1, 1]}, r"seeds: \[1, 1\]: one is there twice"),
    ({"seeds": [-1]}, r"seeds\.0: -1; input should be greater"),
    ({"datasets": [{"name": "digits"}, {"name": "digits"}]}, "two have one label"),
    ({"datasets": [{"name": "digit"}]}, "unknown dataset 'digit': did you mean 'digits'"),
    ({"evaluator": {"kind": "predicted"}}, "evaluator.kind: 'predicted'; a study measures"),
    ({"trials": 3}, "trials: unknown key"),
    ({"name": "a/b"}, "holds no '/'"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_said_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        validated(StudyConfig, {**SMALLEST, **change})
    assert "\n" not in str(error.value)


def test_the_resolved_configuration_reads_back_as_itself() -> None:
    content = {
        **SMALLEST,
        "architectures": [
            {"networks": "all", "stem": "small"},
            {"sampled": 2, "variants": ["original", {"pattern": "demotion", "cells": ["normal", "dual"]}]},
            {"strategy": {"name": "gdas", "epochs": 2}, "pattern": {"name": "demotion", "cells": "reduction"}},
        ],
    }
    settings = validated(StudyConfig, content)
    written = yaml.safe_dump(settings.resolved())
    assert validated(StudyConfig, yaml.safe_load(written)).resolved() == settings.resolved()
    assert settings.resolved()["search_space"] == {"name": "darts", "channels": 16, "cells": 5, "nodes": 4}


def test_a_file_can_take_the_place_of_a_data_set(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    datasets = [{"name": "cifar10", "download": True, "limit": 50, "image_size": 16}, {"name": "digits"}]
    path.write_text(yaml.safe_dump({**SMALLEST, "datasets": datasets}))
    first, second = load_study(path, data={"cifar10": "x.npz"}).datasets
    assert (first.name, first.called) == ("npz", "cifar10")
    assert first.options == {"path": "x.npz", "limit": 50, "image_size": 16}
    assert second.called == "digits"
    with pytest.raises(ConfigError, match=r"--data: no data set 'cifar'; did you mean 'cifar10'"):
        load_study(path, data={"cifar": "x.npz"})


def test_a_name_alone_is_a_data_set_a_space_and_a_strategy(tmp_path: Path) -> None:
    content = {**SMALLEST, "datasets": ["digits"], "search_space": "nasbench201"}
    content["architectures"] = [{"strategy": "gdas", "pattern": "demotion-reduction"}]
    settings = validated(StudyConfig, content)
    assert settings.datasets[0].called == "digits" and settings.search_space.name == "nasbench201"
    (architecture,) = settings.architectures[0].architectures(settings.search_space)
    assert architecture.label == "gdas" and architecture.variants[0].label == "demotion-reduction-4"
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({**content, "datasets": ["digits"]}))
    assert load_study(path, data={"digits": "x.npz"}).datasets[0].options == {"path": "x.npz"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"datasets": [{"nmae": "digits"}]}, r"datasets\.0\.nmae: unknown key; did you mean 'name'"),
        ({"architecture": SMALLEST["architectures"]}, "architecture: unknown key; did you mean 'architectures'"),
        ({"architectures": [{"netwoks": ["dla"]}]}, "netwoks; an entry .*did you mean 'networks'"),
        ({"architectures": [{"strategy": {"nam": "gdas"}}]}, r"strategy\.nam: unknown key; did you mean 'name'"),
        (
            {"architectures": [{"sampled": 1, "variants": [{"patern": "demotion"}]}]},
            "patern: unknown key; did you mean",
        ),
    ],
)
def test_a_misspelled_key_is_told_and_not_that_another_is_missing(change: dict[str, Any], message: str) -> None:
    content = {key: value for key, value in SMALLEST.items() if f"{key}" not in ("architectures",)} | change
    if "architectures" not in change and "architecture" not in change:
        content["architectures"] = SMALLEST["architectures"]
    with pytest.raises(ConfigError, match=message):
        validated(StudyConfig, content)
