"""``trials.jsonl`` followed while it grows is what a reader of the whole file sees, however it was written."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_privacy.errors import DataError
from nni_privacy.runs.following import TrialFollower
from nni_privacy.runs.records import read_trials


def line(trial: str, **fields: Any) -> bytes:
    return json.dumps({"trial": trial, "status": "succeeded", **fields}).encode() + b"\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trials.jsonl"


PIECES = st.one_of(
    st.builds(lambda trial, sequence: line(trial, sequence=sequence), st.sampled_from("abc"), st.integers(0, 9)),
    st.sampled_from(
        [b"\n", b"\r\n", b"\r", b"\x00\x00", b"\xff", b"\xef\xbb\xbf", b"{}", b"[1]\n", b'{"trial": 3}\n', b"no JSON\n"]
    ),
    st.binary(max_size=8),
)


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(PIECES, max_size=8), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_read_piece_by_piece_it_is_what_it_is_when_read_whole(pieces: list[bytes], cuts: list[int]) -> None:
    content = b"".join(pieces)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trials.jsonl"
        follower = TrialFollower(path)
        seen: dict[str, Any] = {}
        done = 0
        for cut in [*sorted(min(cut, len(content)) for cut in cuts), len(content)]:
            with path.open("ab") as file:
                file.write(content[done:cut])
            done = cut
            news = follower.look()
            seen = {name: seen[name] for name in seen if not (news.reset or name in news.gone)}
            seen |= {name: follower.trials[name] for name in news.changed}
            whole, _ = read_trials(path)
            assert list(follower.trials.values()) == list(whole)
            if news.reset:
                seen = dict(follower.trials)
            assert seen == {record.trial: record for record in whole}


def test_what_was_read_is_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(line("a") + line("b"))
    follower = TrialFollower(path)
    assert follower.look().changed == {"a", "b"}
    first = follower.trials["a"]
    with path.open("ab") as file:
        file.write(line("c"))
    news = follower.look()
    assert news.changed == {"c"} and not news.reset and follower.trials["a"] is first
    monkeypatch.setattr(Path, "read_bytes", None)
    assert not follower.look()


def test_a_torn_line_waits_until_it_is_whole(path: Path) -> None:
    whole = line("a", sequence=1)
    path.write_bytes(whole[:20])
    follower = TrialFollower(path)
    follower.look()
    assert dict(follower.trials) == {}
    with path.open("ab") as file:
        file.write(whole[20:])
    assert follower.look().changed == {"a"} and follower.spoiled == 0


def test_the_last_line_of_a_trial_wins(path: Path) -> None:
    path.write_bytes(line("a", sequence=0))
    follower = TrialFollower(path)
    follower.look()
    with path.open("ab") as file:
        file.write(line("a", sequence=0, seconds=2.0))
    assert follower.look().changed == {"a"} and follower.trials["a"].seconds == 2.0


@pytest.mark.parametrize("how", ["replaced", "cut", "mended in place", "grown in the middle"])
def test_a_file_that_has_become_another_is_read_anew(path: Path, how: str) -> None:
    path.write_bytes(line("a", sequence=0) + line("b", sequence=1))
    follower = TrialFollower(path)
    follower.look()
    if how == "replaced":
        other = path.with_name("other")
        other.write_bytes(line("a", sequence=0) + line("b", sequence=1) + line("c"))
        other.replace(path)
    elif how == "cut":
        os.truncate(path, len(line("a", sequence=0)))
    elif how == "mended in place":
        path.write_bytes(line("a", sequence=7) + line("b", sequence=1))
    else:
        path.write_bytes(line("a", sequence=0, error="more") + line("b", sequence=1))
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))
    assert follower.look().reset
    assert tuple(follower.trials.values()) == read_trials(path)[0]


def test_a_file_that_is_gone_or_comes_later_has_no_trials(path: Path) -> None:
    follower = TrialFollower(path)
    assert not follower.look()
    path.write_bytes(line("a"))
    assert follower.look().changed == {"a"}
    path.unlink()
    assert follower.look().reset and dict(follower.trials) == {}


def test_a_pipe_is_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    assert not TrialFollower(path).look()


def test_utf_16_is_read_as_a_whole(path: Path) -> None:
    path.write_bytes(line("a").decode().encode("utf-16"))
    follower = TrialFollower(path)
    assert follower.look().changed == {"a"}
    path.write_bytes((line("a") + line("b")).decode().encode("utf-16"))
    assert follower.look() and set(follower.trials) == {"a", "b"}


def test_a_file_that_cannot_be_read_is_told_by_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(line("a"))

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"trials\.jsonl: cannot be read"):
        TrialFollower(path).look()
