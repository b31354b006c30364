"""docs/attacks.md has a row for every attack."""

from __future__ import annotations

import re
from pathlib import Path

from nni_privacy.attacks import attack_names

PAGE = Path(__file__).resolve().parents[1] / "docs" / "attacks.md"


def test_every_attack_is_in_the_table() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("\n## The attacks\n")[2].partition("\n\nThe paper's")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \| ", table, re.MULTILINE)) == sorted(attack_names())
