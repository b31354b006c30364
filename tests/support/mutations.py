"""Hypothesis strategies that spoil valid files: plain data, its text, and the bytes of any file."""

from __future__ import annotations

import copy
import datetime
import re
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import strategies as st

NESTED: Any = []
for _ in range(60):
    NESTED = [NESTED]

ODD_VALUES = [
    None, True, -1, 0, 1, 10**30, -(10**30), 2**31, 2**63, 1.5, -0.0, float("nan"), float("inf"), 1e308, "", " ", "1",
    "yes", "../..", "/", "a/b", "\u202etxt", "é" * 300, "💥", "a\nb", "{}", "%s", "darts", "digits", "nan", "remote",
    [], {}, [None], [[]], {"": None}, {"name": None}, {"name": "digits"}, {1: 2}, {None: {}},
    ["black_box_partial"] * 40, NESTED, datetime.date(2026, 1, 1), b"\x00\xff", {"a", "b"}, list(range(500)),
    {"name": "darts", "channels": 10**12},
]  # fmt: skip
ODD_KEYS = ["", " ", "nme", "Name", "naïve", "💥", "__class__", "model_config", "self", "name", "a.b", "0"]

TAGS = [
    "!!python/object/apply:os.system ['touch pwned']",
    "!!python/name:os.system",
    "!!python/object/new:type {args: [x, [], {}]}",
    "!unknown 1",
    "!!binary not-base64",
    "!!timestamp 99999-99-99",
    "!!int abc",
    "!!float abc",
    "2026-99-99",
    "&a [*a]",
    "{? [a] : b}",
    "0x",
    "1:60:60",
    "<<: 1",
]
BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
)


def paths(content: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values inside plain data."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*here, key)
        yield from paths(value, (*here, key))


def _holder(content: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        content = content[key]
    return content


@st.composite
def spoiled_data(draw: st.DrawFn, base: dict[str, Any]) -> Any:
    """Plain data with one to three values deleted, renamed, replaced or buried."""
    content = copy.deepcopy(base)
    for _ in range(draw(st.integers(1, 3))):
        known = sorted(paths(content), key=repr)
        if not known:
            return content
        path = draw(st.sampled_from(known))
        holder, key = _holder(content, path), path[-1]
        act = draw(st.sampled_from(["replace", "replace", "delete", "rename", "add", "bury"]))
        if act == "delete":
            del holder[key]
        elif act == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(ODD_KEYS))] = holder.pop(key)
        elif act == "add" and isinstance(holder, dict):
            holder[draw(st.sampled_from(ODD_KEYS))] = draw(st.sampled_from(ODD_VALUES))
        elif act == "bury":
            holder[key] = {str(key): holder[key]} if draw(st.booleans()) else [holder[key]]
        else:
            holder[key] = copy.deepcopy(draw(st.sampled_from(ODD_VALUES)))
    return content


@st.composite
def spoiled_bytes(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file that was cut, or had bytes flipped, inserted or repeated, or is something else altogether."""
    act = draw(st.sampled_from(["cut", "flip", "insert", "repeat", "zeros", "garbage", "empty"]))
    at = draw(st.integers(0, max(len(whole) - 1, 0)))
    if act == "cut":
        return whole[:at]
    if act == "flip":
        spoiled = bytearray(whole)
        for _ in range(draw(st.integers(1, 20))):
            spoiled[draw(st.integers(0, len(whole) - 1))] = draw(st.integers(0, 255))
        return bytes(spoiled)
    if act == "insert":
        return whole[:at] + draw(st.binary(min_size=1, max_size=40)) + whole[at:]
    if act == "repeat":
        return whole[:at] + whole
    if act == "zeros":
        return whole[:at] + bytes(min(len(whole) - at, 64)) + whole[at + 64 :]
    return b"" if act == "empty" else draw(st.binary(max_size=300))


@st.composite
def spoiled_yaml(draw: st.DrawFn, base: dict[str, Any]) -> bytes:
    """A YAML file with spoiled data, tags, an anchor bomb, deep nesting, another encoding, or broken bytes."""
    act = draw(st.sampled_from(["data"] * 6 + ["tag", "tag", "bomb", "nesting", "encoding", "bytes", "bytes"]))
    text = yaml.safe_dump(draw(spoiled_data(base)) if act == "data" else base, sort_keys=False, allow_unicode=True)
    if act == "tag":
        lines = text.splitlines()
        at = draw(st.integers(0, len(lines) - 1))
        lines[at] = lines[at].partition(":")[0] + ": " + draw(st.sampled_from(TAGS))
        text = "\n".join(lines)
    elif act == "bomb":
        text = BOMB + "\n" + text + "\nlast: *a11" + draw(st.sampled_from(["", "\nname: *a11", "\ntrials: *a3"]))
    elif act == "nesting":
        depth = draw(st.sampled_from([20, 200, 50_000]))
        text += "\nevaluator: " + draw(st.sampled_from(["[" * depth + "]" * depth, "{a: " * depth, "[" * depth]))
    elif act == "encoding":
        return text.encode(draw(st.sampled_from(["utf-16", "utf-32", "utf-8-sig", "utf-7"])))
    content = text.encode("utf-8", errors="surrogatepass")
    return draw(spoiled_bytes(content)) if act == "bytes" else content


SPLICED = [
    "Genotype(", "Genotype()", ")", "]", "}", "('none', 0)", "|", "|none~0|", "+", "~", "np.int64(", "range(9999)", "#",
    "'", '"', "\\", "\\n", ",", ";", "\t", "\0", "\ufeff", "\u2028", "\x85", "\r", "💥", "\ud800", "NaN", "1e999", "-1",
    "9" * 400, "null", "{}", "[" * 300, "{" * 3000, "(" * 90, "x" * 5000, "{\"a\":" * 200, "genotype,mia_auc\n",
]  # fmt: skip
ENCODINGS = ["utf-16", "utf-32", "utf-8-sig", "utf-7", "cp500"]


@st.composite
def spoiled_text(draw: st.DrawFn, whole: str) -> bytes:
    """A text with lines or words moved, lost, doubled or spliced in; other line ends and encodings; broken bytes."""
    act = draw(st.sampled_from(["lines"] * 3 + ["words"] * 4 + ["ends", "encoding", "bytes", "bytes"]))
    if act == "bytes":
        return draw(spoiled_bytes(whole.encode()))
    if act == "encoding":
        return whole.encode(draw(st.sampled_from(ENCODINGS)), errors="replace")
    if act == "ends":
        return whole.replace("\n", draw(st.sampled_from(["\r\n", "\r", "\n\n", "", "\x0b", "\u2028"]))).encode()
    parts = whole.splitlines(keepends=True) if act == "lines" else re.split(r"(\W)", whole)
    for _ in range(draw(st.integers(1, 4))):
        at, other = (draw(st.integers(0, max(len(parts) - 1, 0))) for _ in range(2))
        piece = draw(st.sampled_from(["lose", "double", "swap", "splice", "splice", "cut"]))
        if piece == "lose":
            del parts[at : at + 1]
        elif piece == "double":
            parts[at:at] = parts[other : other + 3]
        elif piece == "swap" and parts:
            parts[at], parts[other] = parts[other], parts[at]
        elif piece == "cut":
            parts[at : at + 1] = [part[: len(part) // 2] for part in parts[at : at + 1]]
        else:
            parts.insert(at, draw(st.sampled_from(SPLICED)))
    return "".join(parts).encode("utf-8", errors="surrogatepass")
