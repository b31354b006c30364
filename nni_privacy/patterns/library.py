"""Where patterns come from: the YAML files that ship with the package and those of the user."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from nni_privacy.cells.darts import CELL_TYPES
from nni_privacy.errors import PatternError, nearest
from nni_privacy.files import read_yaml
from nni_privacy.patterns.pattern import CellPattern, DualPattern, Pattern

__all__ = ["Cells", "list_patterns", "load_pattern", "read_pattern", "warn_unsupported", "write_pattern"]

Cells = Literal["normal", "reduction", "dual"]

_SHIPPED = Path(__file__).with_name("shipped")
_SUFFIXES = (".yaml", ".yml")


def list_patterns() -> list[CellPattern]:
    """The patterns that ship with the package, ordered by name."""
    return [read_pattern(path) for path in sorted(_SHIPPED.glob("*.yaml"))]


def load_pattern(name: str | Path, *, cells: Cells | None = None) -> Pattern:
    """A pattern by name or from a user's file.

    Args:
        name: a shipped pattern (``"demotion-reduction"``), a family of them (``"demotion"``, with ``cells``), the path
            of a YAML file, or the common beginning of two such paths (``"mine/demotion"`` for
            ``mine/demotion-normal.yaml`` and ``mine/demotion-reduction.yaml``, with ``cells``).
        cells: ``normal``, ``reduction`` or ``dual`` (both); by default what the named pattern is for.

    Raises:
        PatternError: if there is no such pattern, its file is not a legal pattern, or it is not for ``cells``.
    """
    if cells is not None and cells not in get_args(Cells):
        raise PatternError(f"cells: {cells!r} is unknown; allowed are {', '.join(get_args(Cells))}")
    path = _find(str(name))
    if path is not None:
        pattern = read_pattern(path)
        if cells is not None and cells != pattern.cell:
            raise PatternError(f"cells: pattern {str(name)!r} is for the {pattern.cell} cell, not for {cells!r}")
        return pattern
    family = {cell_type: _find(f"{name}-{cell_type}") for cell_type in CELL_TYPES}
    if not any(family.values()):
        shipped = [path.stem for path in _SHIPPED.glob("*.yaml")]
        known = {*shipped, *(stem.rpartition("-")[0] for stem in shipped)}
        raise PatternError(f"unknown pattern {str(name)!r}; {nearest(str(name), known)}, or the path of a YAML file")
    if cells is None:
        raise PatternError(f"cells: pattern {str(name)!r} needs one of {', '.join(get_args(Cells))}")
    parts = {}
    for cell_type in CELL_TYPES if cells == "dual" else (cells,):
        part = family[cell_type]
        if part is None:
            raise PatternError(f"cells: pattern {str(name)!r} has nothing for the {cell_type} cell")
        parts[cell_type] = read_pattern(part)
    return DualPattern(**parts) if cells == "dual" else parts[cells]


def read_pattern(path: str | Path) -> CellPattern:
    """Reads one pattern file.

    Raises:
        PatternError: if the file cannot be read or is not a legal pattern; the message names the file and the field.
    """
    content = read_yaml(path, error=PatternError)
    try:
        pattern = CellPattern.from_mapping(content)
    except PatternError as error:
        raise PatternError(f"{path}: {error}") from None
    if not pattern.edges:
        raise PatternError(f"{path}: edges: []; a pattern has at least one")
    return pattern


def write_pattern(pattern: CellPattern, path: str | Path) -> None:
    """Writes ``pattern`` so that :func:`read_pattern` gives it back."""
    content: dict[str, Any] = {
        "name": pattern.name,
        "cell": pattern.cell,
        "objective": pattern.objective,
        "source": pattern.source,
        **({} if pattern.supported is None else {"supported": pattern.supported}),
        "edges": [[edge.source, edge.target, edge.op] for edge in pattern.edges],
    }
    if pattern.evidence:
        content["evidence"] = [
            {key: value for key, value in entry.to_dict().items() if value is not None} for entry in pattern.evidence
        ]
    if pattern.effect:
        content["effect"] = dict(pattern.effect)
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=120)
    Path(path).write_text(text, encoding="utf-8")


def warn_unsupported(pattern: Pattern) -> None:
    """A line on standard error for a pattern whose own evidence is not for it."""
    for name in pattern.unsupported:
        print(f"nni-privacy: warning: pattern {name} is not supported by its own evidence", file=sys.stderr)


def _find(name: str) -> Path | None:
    """The file of a single pattern: a path that exists, with or without its ending, or a shipped name."""
    if any(name.endswith(suffix) for suffix in _SUFFIXES):
        return Path(name)
    candidates = [Path(name + suffix) for suffix in _SUFFIXES]
    if "/" not in name and "\\" not in name:
        candidates.insert(0, _SHIPPED / f"{name}.yaml")
    try:
        return next((path for path in candidates if path.is_file()), None)
    except (OSError, ValueError):
        return None
