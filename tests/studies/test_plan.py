"""The list of measurements of a study."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from genotype_styles import STYLES

from nni_privacy import Genotype, load_pattern
from nni_privacy.cells.codes import random_architectures
from nni_privacy.data import load_dataset
from nni_privacy.errors import ConfigError, PrivacyError
from nni_privacy.schema import validated
from nni_privacy.studies.config import StudyConfig
from nni_privacy.studies.plan import Measurement, plan_study
from nni_privacy.studies.sources import source_from_dict

DIGITS = {"name": "digits", "limit": 200}


def planned(**content: Any) -> list[Measurement]:
    settings = validated(StudyConfig, {"name": "s", "datasets": [DIGITS], **content})
    data = {section.called: load_dataset(section.name, **section.options) for section in settings.datasets}
    return plan_study(settings, data)


def test_every_architecture_meets_every_data_set_and_seed_once() -> None:
    datasets = [DIGITS, {**DIGITS, "label": "again", "limit_seed": 3}]
    found = planned(datasets=datasets, seeds=[4, 2], architectures=[{"networks": ["resnet", "dla"]}, {"sampled": 2}])
    told = [tuple(m.factors[key] for key in ("seed", "dataset", "architecture")) for m in found]
    names = ["resnet", "dla", "sampled-1", "sampled-2"]
    assert told == list(product([4, 2], ["digits", "again"], names))
    assert [m.seed for m in found[:8]] == [4] * 8 and found[0].dataset == DIGITS
    assert {m.factors["kind"] for m in found if m.factors["architecture"] in ("resnet", "dla")} == {"human-designed"}


def test_variants_are_the_patterns_modifications_with_their_factors() -> None:
    variants = ["original", {"pattern": "demotion", "cells": ["normal", "dual"], "budget": [3, 4]}]
    found = planned(architectures=[{"sampled": 1, "variants": variants}])
    labels = ["original", *(f"demotion-{cells}-{m}" for cells in ("normal", "dual") for m in (3, 4))]
    assert [m.factors["variant"] for m in found] == labels
    original = Genotype.parse(found[0].source.text)
    for measurement, (cells, budget) in zip(found[1:], product(("normal", "dual"), (3, 4)), strict=True):
        expected = load_pattern("demotion", cells=cells).first(budget).apply(original)
        assert measurement.source.text == str(expected)
        factors = {key: measurement.factors[key] for key in ("pattern", "cells", "budget", "control")}
        assert factors == {"pattern": "demotion", "cells": cells, "budget": budget, "control": None}


def test_a_placebo_changes_the_operations_of_the_same_edges_and_a_size_matched_control_none() -> None:
    section = {"pattern": "demotion", "cells": "reduction", "control": ["none", "placebo", "size-matched"]}
    original, pattern, placebo, matched = planned(architectures=[{"sampled": 1, "variants": ["original", section]}])
    cells = [Genotype.parse(m.source.text).reduction for m in (original, pattern, placebo)]
    pairs = [{(edge.source, edge.target) for edge in cell.edges} for cell in cells]
    assert pairs[1] == pairs[2] and cells[1] != cells[2]
    assert matched.source.text == original.source.text
    assert matched.factors["channels"] < original.factors["channels"]  # average pooling has no weights
    assert matched.factors["size"] == original.factors["size"]  # the size that was asked for: they are a pair
    assert matched.factors["variant"] == "demotion-reduction-4-size-matched"


def test_more_sampled_architectures_begin_with_the_same_ones() -> None:
    few, many = (planned(architectures=[{"sampled": count, "seed": 5}]) for count in (2, 4))
    assert [m.source.text for m in few] == [m.source.text for m in many[:2]]
    assert len({m.source.text for m in many}) == 4


@pytest.mark.parametrize("name", ["darts", "nasbench201"])
def test_sources_cross_to_the_trial_as_plain_data(name: str) -> None:
    space = {"name": name, "channels": 4, "cells": 3}
    strategy = {"strategy": {"name": "gdas", "epochs": 1}, "search_space": space}
    entries = [{"networks": ["resnet"]}, {"sampled": 1, "search_space": space}, strategy]
    for measurement in planned(architectures=entries):
        read = source_from_dict(measurement.source.to_dict())
        assert read == measurement.source and read.to_dict() == measurement.source.to_dict()


def test_a_genotypes_own_number_of_nodes_counts() -> None:
    space = {"name": "darts", "channels": 4, "cells": 3, "nodes": 6}
    (found,) = planned(architectures=[{"sampled": 1, "search_space": space}])
    assert found.factors["nodes"] == 6 and found.factors["size"] == "4 channels, 3 cells, 6 nodes"


def test_two_measurements_that_could_not_be_told_apart_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'sampled-1' .* is there twice; give one of the entries a label"):
        planned(architectures=[{"sampled": 1}, {"sampled": 1, "seed": 2}])
    planned(architectures=[{"sampled": 1}, {"sampled": 1, "seed": 2, "label": "others"}])


def test_genotypes_of_a_study_are_read_as_people_have_them(tmp_path: Path) -> None:
    (genotype,) = random_architectures(1, seed=3).to_genotypes()
    for style in ("named", "log", "nested", "numpy", "nni"):
        text = STYLES[style](genotype)
        (tmp_path / "found.py").write_text(text)
        for given in (str(tmp_path / "found.py"), [text]):
            assert [m.source.text for m in planned(architectures=[{"genotypes": given}])] == [str(genotype)]
    with pytest.raises(PrivacyError, match=r"genotypes\.1: not a genotype: the brackets of Genotype\( are not closed"):
        planned(architectures=[{"genotypes": [str(genotype), str(genotype)[:90]]}])
    (tmp_path / "found.py").write_text(f"{genotype}\n{genotype}"[:-1])
    with pytest.raises(PrivacyError, match=r"found\.py, line 2: not a genotype"):
        planned(architectures=[{"genotypes": str(tmp_path / "found.py")}])


def test_missing_files_and_impossible_images_are_said_before_anything_runs(tmp_path: Any) -> None:
    with pytest.raises(PrivacyError, match=r"no\.txt"):
        planned(architectures=[{"genotypes": str(tmp_path / "no.txt")}])
    with pytest.raises(ConfigError, match="image_size"):
        planned(datasets=[{**DIGITS, "image_size": 6}], architectures=[{"networks": ["resnet"]}])


def test_widths_are_the_same_cells_with_other_channels() -> None:
    found = planned(architectures=[{"sampled": 2, "widths": [4, 8], "search_space": {"name": "darts", "cells": 3}}])
    told = [(m.factors["architecture"], m.factors["channels"], m.factors["size"].partition(",")[0]) for m in found]
    cells = ("sampled-1", "sampled-2")
    assert told == [(cell, width, f"{width} channels") for width in (4, 8) for cell in cells]
    assert [m.source.text for m in found[:2]] == [m.source.text for m in found[2:]]
    with pytest.raises(ConfigError, match="one is there twice"):
        planned(architectures=[{"sampled": 1, "widths": [4, 4]}])
    with pytest.raises(ConfigError, match="widths"):
        planned(architectures=[{"sampled": 1, "widths": [0]}])
