"""What every command says of itself: examples that it takes, in lines that fit, at once and without anything heavy."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest

from nni_privacy.commands import main as program


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and all below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


PARSERS = {parser.prog: parser for parser in parsers(program._parser())}


def test_every_command_is_there() -> None:
    assert {"nni-privacy init", "nni-privacy list", "nni-privacy surrogate fit", "nni-privacy patterns show"} <= set(
        PARSERS
    )


@pytest.mark.parametrize("name", PARSERS)
def test_help_has_examples_that_are_taken_and_lines_that_fit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    text = PARSERS[name].format_help()
    assert max(map(len, text.splitlines())) <= 100
    _, found, examples = text.partition("examples:\n")
    assert found
    lines = [line for line in examples.replace("\\\n", " ").splitlines() if line.startswith("  ")]
    assert lines
    for line in lines:
        program_name, *words = shlex.split(line.partition(" < ")[0])
        assert program_name == "nni-privacy"
        options = program._parser().parse_args(words)
        assert callable(options.run)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['nni-privacy', '--help']\n"
        "from nni_privacy.commands.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'nni', 'pydantic', 'rich', 'argcomplete', 'sklearn', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stderr.strip() == "[]" and "examples:" in answer.stdout


def test_a_shell_that_asks_is_answered_by_argcomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[argparse.ArgumentParser] = []
    monkeypatch.setitem(sys.modules, "argcomplete", SimpleNamespace(autocomplete=asked.append))  # type: ignore[arg-type]
    with pytest.raises(SystemExit):
        program.main(["--version"])
    assert asked == []
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    with pytest.raises(SystemExit):
        program.main(["--version"])
    assert [parser.prog for parser in asked] == ["nni-privacy"]


def test_without_argcomplete_nothing_breaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing: ModuleType | None = None
    monkeypatch.setitem(sys.modules, "argcomplete", missing)  # type: ignore[arg-type]
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    with pytest.raises(SystemExit) as ended:
        program.main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out.startswith("nni-privacy ")
