"""Prints the options of all strategies as docs/strategies.md holds them: made from the code, compared by a test."""

from __future__ import annotations

from pydantic.fields import FieldInfo

from nni_privacy.strategies.registry import StrategyOptions, strategy_names, strategy_options


def options_table() -> str:
    """A heading and a table for each strategy."""
    return "\n".join(_section(name, strategy_options(name)) for name in strategy_names())


def _section(name: str, options: type[StrategyOptions]) -> str:
    rows = [_row(option, field) for option, field in options.model_fields.items()]
    return "\n".join([f"### {name}", "", "| option | default | meaning |", "|---|---|---|", *rows, ""])


def _row(name: str, field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    return f"| `{name}` | `{default!r}` | {(field.description or '').replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    print(options_table())
