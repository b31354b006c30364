"""The commands ``nni-privacy patterns list | show | apply``; ``extract`` has a file of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nni_privacy.commands.extract import add_extract
from nni_privacy.commands.options import add_command, add_plugins
from nni_privacy.errors import PatternError
from nni_privacy.plugins import import_plugins

if TYPE_CHECKING:
    from nni_privacy.patterns import CellPattern, Cells, EdgeEvidence

__all__ = ["add_patterns"]


def add_patterns(commands: Any) -> None:
    """Adds the command to a parser's ``commands``."""
    patterns = add_command(
        commands,
        "patterns",
        "list, show, apply and extract cell patterns",
        "patterns list",
        "patterns show demotion-reduction",
        "patterns apply demotion-reduction --budget 4 genotypes.txt",
    )
    actions = patterns.add_subparsers(required=True, metavar="ACTION", title="actions")
    add_extract(actions)
    listed = add_command(actions, "list", "the patterns that ship with the package", "patterns list")
    listed.set_defaults(run=run_list)
    show = add_command(
        actions,
        "show",
        "one pattern, edge by edge",
        "patterns show demotion-reduction",
        "patterns show demotion --cells dual",
    )
    apply = add_command(
        actions,
        "apply",
        "write a pattern's first edges into genotypes, one a line",
        "patterns apply demotion-reduction --budget 4 genotypes.txt",
        "patterns apply mine/demotion-normal.yaml - < genotypes.txt",
    )
    add_plugins(apply)
    for action, run in ((show, run_show), (apply, run_apply)):
        action.add_argument("name", metavar="NAME", help="a shipped pattern, a family such as demotion, or a YAML file")
        action.add_argument(
            "--cells", choices=("normal", "reduction", "dual"), help="which cells, where NAME is a family"
        )
        action.set_defaults(run=run)
    apply.add_argument("--budget", metavar="M", type=int, default=4, help="number of edges (default: 4)")
    apply.add_argument(
        "file",
        metavar="FILE",
        help="any text with Genotype(...) or |op~0|+..., or CSV with a column genotype; - is stdin",
    )


def run_list() -> int:
    """Prints the shipped patterns, one per line."""
    from nni_privacy.patterns import list_patterns

    for pattern in list_patterns():
        print(f"{pattern.name:<26} {pattern.cell:<10} {len(pattern)} edges  {pattern.source}")
    return 0


def run_show(name: str, *, cells: Cells | None) -> int:
    """Prints the edges of a pattern in their order, where it comes from, and what speaks for it.

    Raises:
        PrivacyError: if there is no such pattern.
    """
    from nni_privacy.patterns import CellPattern, load_pattern
    from nni_privacy.patterns.library import warn_unsupported

    pattern = load_pattern(name, cells=cells)
    print(pattern.name)
    for part in [pattern] if isinstance(pattern, CellPattern) else [pattern.normal, pattern.reduction]:
        for line in _told(part):
            print(f"  {part.cell:<10} {line}".rstrip())
    warn_unsupported(pattern)
    return 0


def _told(part: CellPattern) -> Iterator[str]:
    evidence = [_evidence(one) for one in part.evidence] or [""] * len(part)
    for position, (edge, told) in enumerate(zip(part.edges, evidence, strict=True), start=1):
        yield f"{position}. {edge.source} -> {edge.target}  {edge.op:<14} {told}"
    yield f"objective: {part.objective}; source: {part.source or 'not told'}"
    if part.effect:
        effects = ", ".join(f"{count}: {change:+.4f}" for count, change in part.effect.items())
        yield f"predicted change of the AUC by the first edges: {effects}"


def _evidence(one: EdgeEvidence) -> str:
    """What speaks for an edge, of what was measured."""
    interval = "" if one.importance_low is None else f" [{one.importance_low:+.4f}, {one.importance_high or 0:+.4f}]"
    facts = [f"importance {one.importance:+.4f}{interval}"] if one.importance is not None else []
    facts += [f"found again in {one.stability:.0%} of resamples"] if one.stability is not None else []
    facts += [f"{one.support} architectures"] if one.support is not None else []
    return ", ".join(facts)


def run_apply(name: str, file: str, *, cells: Cells | None, budget: int, plugins: Sequence[str] = ()) -> int:
    """Prints the genotypes of ``file`` with the first ``budget`` edges of a pattern in them, one per line.

    Raises:
        PrivacyError: if the pattern or a genotype is not valid; nothing has been printed then.
    """
    from nni_privacy.cells.genotypes import locate_genotypes
    from nni_privacy.patterns import load_pattern
    from nni_privacy.patterns.library import warn_unsupported

    import_plugins(plugins)
    pattern = load_pattern(name, cells=cells).first(budget)
    # All lines are read before the first is written: bad input leaves no half a result.
    lines = []
    for found in locate_genotypes(file):
        try:
            lines.append(str(pattern.apply(found.genotype)))
        except PatternError as error:
            raise PatternError(f"{found.where}: {error}") from None
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
    warn_unsupported(pattern)
    return 0
