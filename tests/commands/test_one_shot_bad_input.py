"""One-shot searches with wrong input: refused in one line, with exit code 2, before anything is written or started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from nni_privacy.commands.main import main
from nni_privacy.config import parse_config
from nni_privacy.nni_runtime.experiment import PrivacyExperiment

BASE: dict[str, Any] = {
    "name": "tiny",
    "dataset": {"name": "digits", "limit": 400},
    "search_space": {"name": "darts", "channels": 4, "cells": 3},
    "strategy": {"name": "gdas", "epochs": 1, "batch_size": 16, "top_k": 2},
    "evaluator": {"recipe": {"epochs": 1}},
}
ALGORITHM = {"name": "gdas", "epochs": 1}


@pytest.fixture
def refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Runs `nni-privacy search` on a changed configuration; returns the one line that it is refused with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PrivacyExperiment, "run", lambda *_: pytest.fail("the search was started"))

    def run(**changes: Any) -> str:
        (tmp_path / "search.yaml").write_text(yaml.safe_dump(BASE | changes))
        before = sorted(tmp_path.rglob("*"))
        code = main(["search", "search.yaml", "--output", "run", "--port", "18091", "--exit-when-done"])
        out, err = capfd.readouterr()
        assert (code, out) == (2, "")
        assert err.count("\n") == 1 and "Traceback" not in err
        assert sorted(tmp_path.rglob("*")) == before
        return err

    return run


def test_a_pattern_that_does_not_fit_the_space(refuse: Any, tmp_path: Path) -> None:
    edges = {"name": "deep", "cell": "reduction", "objective": "demotion", "edges": [[3, 5, "avg_pool_3x3"]]}
    (tmp_path / "deep.yaml").write_text(yaml.safe_dump(edges))
    space = {"name": "darts", "channels": 4, "cells": 3, "nodes": 2}
    line = refuse(search_space=space, pattern={"name": "deep.yaml", "budget": 1})
    assert "none of the pattern's edges fits the space" in line


def test_a_space_with_no_choice_left(refuse: Any, tmp_path: Path) -> None:
    for cell in ("normal", "reduction"):
        edges = [[source, 2, "avg_pool_3x3"] for source in (0, 1)]
        pattern = {"name": f"all-{cell}", "cell": cell, "objective": "demotion", "edges": edges}
        (tmp_path / f"all-{cell}.yaml").write_text(yaml.safe_dump(pattern))
    space = {"name": "darts", "channels": 4, "cells": 3, "nodes": 1}
    path = str(tmp_path / "all")
    line = refuse(search_space=space, pattern={"name": path, "cells": "dual", "budget": 2})
    assert "no choice left to search" in line


def test_a_batch_larger_than_the_half(refuse: Any) -> None:
    # 400 records: 100 of them are target-train, 50 a half.
    line = refuse(strategy=ALGORITHM | {"batch_size": 51})
    assert "batch_size: 51" in line and "has 50" in line


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (ALGORITHM | {"temprature": 3.0}, "strategy.temprature: unknown key; did you mean 'temperature'"),
        (ALGORITHM | {"epochs": 0}, "strategy.epochs: 0"),
        ({"name": "darts_v1", "epoch": 3}, "strategy.epoch: unknown key; did you mean 'epochs'"),
        ({"name": "gads"}, "unknown strategy 'gads'; did you mean 'gdas'"),
    ],
)
def test_an_unknown_option(refuse: Any, strategy: dict[str, Any], message: str) -> None:
    assert message in refuse(strategy=strategy, trials=1)


def test_trials_other_than_top_k(refuse: Any) -> None:
    assert "trials: 3, but strategy.top_k is 2" in refuse(trials=3)


@pytest.mark.parametrize(("trials", "top_k", "wanted"), [(None, None, 1), (None, 3, 3), (4, None, 4), (2, 2, 2)])
def test_trials_and_top_k_follow_each_other(trials: int | None, top_k: int | None, wanted: int) -> None:
    strategy = ALGORITHM | ({} if top_k is None else {"top_k": top_k})
    config = parse_config(BASE | {"strategy": strategy} | ({} if trials is None else {"trials": trials}))
    assert (config.trials, config.strategy.options["top_k"]) == (wanted, wanted)
