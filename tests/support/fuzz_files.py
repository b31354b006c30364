"""Whole files of every kind that the fuzzing run spoils."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from genotype_styles import NASBENCH201_STYLES, STYLES
from PIL import Image

from nni_privacy import patterns
from nni_privacy.cells.codes import random_architectures
from nni_privacy.cells.nasbench201 import random_cells

PATTERN: dict[str, Any] = yaml.safe_load(
    (Path(patterns.__file__).parent / "shipped" / "demotion-reduction.yaml").read_text(encoding="utf-8")
)
CONFIG: dict[str, Any] = {
    "name": "small",
    "seed": 1,
    "dataset": {"name": "digits"},
    "search_space": {"name": "darts", "channels": 4, "cells": 3, "nodes": 4},
    "pattern": {"name": "demotion", "cells": "reduction", "budget": 2},
    "strategy": {"name": "regularized_evolution", "population_size": 6, "sample_size": 3},
    "evaluator": {"recipe": {"epochs": 1, "batch_size": 64}, "attacks": ["loss_threshold"], "device": "cpu"},
    "trials": 4,
    "concurrency": 1,
}
STUDY: dict[str, Any] = {
    "name": "study",
    "seeds": [0, 1],
    "datasets": [{"name": "digits", "limit": 200, "label": "d"}],
    "search_space": {"name": "darts", "channels": 4, "cells": 3, "nodes": 4},
    "architectures": [
        {"networks": ["resnet"], "stem": "small"},
        {"sampled": 2, "variants": ["original", {"pattern": ["demotion"], "cells": "dual", "budget": [2]}]},
    ],
    "defences": ["none", {"augmentation": True}],
    "evaluator": {"recipe": {"epochs": 1}, "attacks": ["loss_threshold"]},
}


@cache
def genotype_texts() -> tuple[str, ...]:
    """A file in every style, plain ones first; one of both spaces."""
    found = random_architectures(len(STYLES), seed=0).to_genotypes()
    cells = random_cells(len(NASBENCH201_STYLES), seed=0)
    texts = [write(genotype) for write, genotype in zip(STYLES.values(), found, strict=True)]
    texts += [write(cell) for write, cell in zip(NASBENCH201_STYLES.values(), cells, strict=True)]
    return (*texts, "\n".join(map(str, [*found[:3], *cells[:2]])))


@cache
def table_text(separator: str) -> str:
    """60 measured architectures."""
    rows = [f'"{genotype}"{separator}0.{60 + number}' for number, genotype in enumerate(_architectures(39))]
    rows += [f'"{genotype}"{separator}0.7' for genotype in _architectures(60)[39:]]
    return "\n".join([f"genotype{separator}mia_auc", *rows, ""])


@cache
def _architectures(count: int) -> list[Any]:
    return list(random_architectures(60, seed=1).to_genotypes())[:count]


@cache
def trials_text() -> str:
    """Three finished trials and a failed one."""
    rows: list[dict[str, Any]] = [
        {"trial": f"t{number}", "sequence": number, "status": "succeeded", "architecture": str(genotype),
         "metrics": {"default": 0.9, "accuracy": 0.9, "mia_auc": 0.6, "mia_auc_low": None}, "seconds": 3.5}
        for number, genotype in enumerate(_architectures(3))
    ]  # fmt: skip
    rows.append({"trial": "t3", "sequence": 3, "status": "failed", "architecture": "", "metrics": {}, "error": "boom"})
    return "".join(json.dumps(row) + "\n" for row in rows)


@cache
def journal_text() -> str:
    """The journal of these trials."""
    rows: list[dict[str, Any]] = []
    for number, genotype in enumerate(_architectures(4)):
        rows.append({"proposed": number, "sample": genotype.to_sample()})
        rows.append({"ended": number, "trial": f"t{number}", "trained": number < 3, "value": {"default": 0.9}})
        rows.append({"delivered": number, "polls": 1})
    rows.insert(6, {"kept": 4})
    return "".join(json.dumps(row) + "\n" for row in rows)


@cache
def picture(kind: str) -> bytes:
    """An image file of one of Pillow's formats."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)).save(file, kind)
    return file.getvalue()
