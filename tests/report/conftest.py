from __future__ import annotations

from pathlib import Path

import pytest

from .samples import make_run


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", failed=(5,))
