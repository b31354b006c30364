"""docs/data.md lists the data sets and options of the code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from nni_privacy.data import dataset_names, registry, sources

PAGE = Path(__file__).resolve().parents[1] / "docs" / "data.md"


def test_the_table_names_every_data_set_and_its_options():
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition("<!-- data sets: begin -->")[2].partition("<!-- data sets: end -->")[0]
    rows = [re.findall("`([a-z0-9_]+)`", line) for line in table.splitlines() if line.startswith("| `")]
    shipped = [name for name in dataset_names() if hasattr(sources, f"load_{name}")]
    assert [row[0] for row in rows] == shipped
    for name, *options in rows:
        parameters = inspect.signature(getattr(sources, f"load_{name}")).parameters
        assert options == [option for option in parameters if option not in registry.COMMON_OPTIONS]
