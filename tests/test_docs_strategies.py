"""docs/strategies.md says what the code does: names, classes, options and defaults."""

from __future__ import annotations

from pathlib import Path

from strategy_options import options_table

from nni_privacy.strategies.registry import ONE_SHOT, strategy_names
from nni_privacy.strategies.scores import SCORES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "strategies.md"


def test_the_options_are_those_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    found = text.partition("<!-- options: begin -->\n")[2].partition("<!-- options: end -->")[0]
    assert found.strip() == options_table().strip(), "print them anew: python tests/support/strategy_options.py"


def test_every_strategy_is_in_the_tables() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in strategy_names():
        assert f"\n| `{name}` | " in text
    for name, place in ONE_SHOT.items():
        assert f"\n| `{name}` | `{place.split('.')[1]}`" in text


def test_every_score_of_a_filter_is_in_the_table() -> None:
    rows = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    told = {row[1].strip(): row[4].strip() for row in rows if len(row) == 6}
    for name, score in SCORES.items():
        assert told[f"`{name}`"] == f"{score.drawn:,}"
