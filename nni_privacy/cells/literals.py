"""Literals in the text of a genotype: calls found among other text, and walked as a syntax tree, never evaluated."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nni_privacy.errors import GenotypeError, nearest

__all__ = ["FORM", "brackets", "call_spans", "genotype_fields", "literal", "parse_literal", "quoted", "shown"]

FORM = "Genotype(normal=[...], normal_concat=[...], reduce=[...], reduce_concat=[...])"

_FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")
_ALIASES: Mapping[str, str] = {"reduction": "reduce", "reduction_concat": "reduce_concat"}

_CALL = re.compile(r"(?<!\w)(?:(class|def)\s+)?Genotype\s*(\()")
_BRACKET = re.compile(r"[()\[\]{}]|\n|\\n|#(?!\d)")
_CLOSERS: Mapping[str, str] = {")": "(", "]": "[", "}": "{"}
_COMMENTS: Mapping[str, bool] = {"#": True, "\n": False, "\\n": False}
"""What begins a comment, and what ends it: in a quoted text a line's end is written out."""
_LONGEST = 100_000
"""No genotype has a longer text; the syntax tree of a huge one would take gigabytes."""

_SHORTEST = 60
"""No genotype in brackets has a shorter text."""
_DEEPEST = 1000
_SHOWN = 80

_NUMBERS = {"int", "int8", "int16", "int32", "int64", "int_", "intp", "uint8", "tensor", "str", "str_"}
_LISTS = {"list", "tuple", "array", "asarray", "tensor"}
_RANGES = {"range", "arange"}
_NAMES: Mapping[str, Any] = {"true": True, "false": False, **dict.fromkeys(("null", "nan", "NaN", "inf", "Infinity"))}
_HOPELESS = (SyntaxError, ValueError, MemoryError, RecursionError)


def brackets(text: str) -> dict[int, int]:
    """Where each bracket that may hold a genotype opens, to where it closes; comments inside of brackets count not."""
    closed: dict[int, int] = {}
    open_: list[int] = []
    comment = False
    for found in _BRACKET.finditer(text):
        sign, at = found[0], found.start()
        if sign in _COMMENTS:
            comment = _COMMENTS[sign] and bool(open_)
        elif comment:
            continue
        elif sign not in _CLOSERS:
            open_.append(at)
            del open_[:-_DEEPEST]
        elif open_ and text[open_[-1]] == _CLOSERS[sign]:
            opened = open_.pop()
            if at - opened >= _SHORTEST or text.startswith("Genotype", max(opened - 8, 0)):
                closed[opened] = at
    return closed


def call_spans(text: str, closed: Mapping[int, int] | None = None) -> Iterator[tuple[int, int]]:
    """Beginning and end of every call ``Genotype(...)``; definitions of that name are none.

    An end of -1 means that its brackets are not closed.
    """
    closed = brackets(text) if closed is None else closed
    for found in _CALL.finditer(text):
        if not found[1]:
            yield found.start(), closed.get(found.start(2), -2) + 1


def genotype_fields(text: str) -> dict[str, Any]:
    """The fields of the one call ``Genotype(...)`` in a text, as plain data: ``normal``, ``reduce``, ``..._concat``.

    Raises:
        GenotypeError: if there is not exactly one such call, or it is not made of literals.
    """
    spans = list(call_spans(text))
    if not spans:
        raise GenotypeError(f"not a genotype: not of the form {FORM}: {quoted(text)}")
    if len(spans) > 1:
        raise GenotypeError(f"{len(spans)} genotypes where one is expected")
    begin, end = spans[0]
    if end < 0:
        raise GenotypeError("not a genotype: the brackets of Genotype( are not closed")
    call = _tree(text[begin:end])
    if not isinstance(call, ast.Call) or len(call.args) > len(_FIELDS):
        raise GenotypeError(f"not of the form {FORM}")
    fields: dict[str, Any] = {}
    named = [(keyword.arg, keyword.value) for keyword in call.keywords]
    for given, value in [*zip(_FIELDS, call.args, strict=False), *named]:
        name = _ALIASES.get(str(given), str(given))
        if name not in _FIELDS or name in fields:
            problem = "given twice" if name in fields else f"unknown in a genotype; {nearest(name, _FIELDS)}"
            raise GenotypeError(f"field {given!r}: {problem}")
        fields[name] = literal(name, value)
    return fields


def parse_literal(text: str) -> Any:
    """A dictionary, list or tuple as plain data.

    Raises:
        GenotypeError: if it is made of anything else than literals.
    """
    return literal("literal", _tree(text))


def _tree(text: str) -> ast.expr:
    """The syntax tree of an expression, also of one that was quoted inside a string."""
    if len(text) > _LONGEST:
        raise GenotypeError(f"not a genotype: {len(text):,} characters; no genotype has more than {_LONGEST:,}")
    escaped = text.replace("\\n", "\n").replace("\\t", " ").replace('""', '"')
    problem = ""
    for candidate in (text, re.sub(r"""\\+(['"])""", r"\1", escaped)):
        try:
            return ast.parse(candidate.strip(), mode="eval").body
        except _HOPELESS as error:
            problem = problem or (error.msg if isinstance(error, SyntaxError) else "nested too deeply")
    raise GenotypeError(f"not a genotype: {problem}")


def literal(name: str, node: ast.expr) -> Any:
    """The value of a literal; numbers as numpy and torch print them, ranges and arrays are read as plain ones.

    Args:
        name: of the field, for the message.
        node: of the syntax tree.

    Raises:
        GenotypeError: if it is anything else.
    """
    try:
        return _READERS[type(node)](name, node)
    except (KeyError, RecursionError):
        raise _unread(name, node) from None


def _unread(name: str, node: ast.expr) -> GenotypeError:
    try:
        found = ast.unparse(node)
    except RecursionError:
        found = "what is nested too deeply"
    return GenotypeError(f"{name}: {quoted(found)} is not a plain list")


def _mapping(name: str, node: Any) -> dict[Any, Any]:
    pairs = [(literal(name, key), value) for key, value in zip(node.keys, node.values, strict=True) if key is not None]
    if any(isinstance(key, list | tuple | dict) for key, _ in pairs):
        raise _unread(name, node)
    return {key: literal(name, value) for key, value in pairs}


def _named(name: str, node: Any) -> Any:
    return _NAMES[node.id]


def _negative(name: str, node: Any) -> Any:
    value = literal(name, node.operand)
    if not isinstance(node.op, ast.USub) or type(value) not in (int, float):
        raise _unread(name, node)
    return -value


def _call(name: str, node: Any) -> Any:
    """``np.int64(1)``, ``tensor(1, device='cuda:0')``, ``range(2, 6)``, ``array([2, 3])``."""
    kind = getattr(node.func, "attr", getattr(node.func, "id", ""))
    values = [literal(name, argument) for argument in node.args]
    if kind in _RANGES and 1 <= len(values) <= 2 and all(type(value) is int and 0 <= value < 1000 for value in values):
        return range(*values)
    if len(values) == 1:
        value = values[0]
        if kind in _LISTS and isinstance(value, list | tuple | range):
            return list(value)
        if kind in _NUMBERS and isinstance(value, int | str) and not isinstance(value, bool):
            return value
    raise _unread(name, node)


_READERS: Mapping[type, Callable[[str, Any], Any]] = {
    ast.Constant: lambda _, node: node.value,
    ast.List: lambda name, node: [literal(name, item) for item in node.elts],
    ast.Tuple: lambda name, node: tuple(literal(name, item) for item in node.elts),
    ast.Dict: _mapping,
    ast.Name: _named,
    ast.UnaryOp: _negative,
    ast.Call: _call,
}


def quoted(text: str) -> str:
    """A text in quotes where it is short; of a longer one its length, as half a text says nothing."""
    text = " ".join(text.split())
    return repr(text) if len(text) <= _SHOWN else f"a text of {len(text):,} characters"


def shown(value: Any) -> str:
    """A value as Python writes it where that is short; else its type."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"a {type(value).__name__} of {len(text):,} characters"
