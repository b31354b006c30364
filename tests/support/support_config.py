"""The smallest configuration, and changes of it."""

from __future__ import annotations

import copy
from typing import Any

BASE: dict[str, Any] = {
    "name": "quickstart",
    "dataset": {"name": "digits"},
    "search_space": {"name": "darts", "channels": 8, "cells": 5},
    "pattern": {"name": "demotion", "cells": "reduction", "budget": 4},
    "strategy": {"name": "regularized_evolution", "population_size": 6, "sample_size": 3},
    "evaluator": {"recipe": {"epochs": 30}, "attacks": ["black_box_partial"]},
    "trials": 12,
    "concurrency": 2,
}


def changed(path: str, value: Any) -> dict[str, Any]:
    content = copy.deepcopy(BASE)
    *sections, last = path.split(".")
    target = content
    for section in sections:
        target = target[section]
    target[last] = value
    return content
