"""Gates of commands: conditions on metrics under which a command fails, and their verdict as JUnit XML.

A pipeline asks for them by ``--fail-if "mia_auc_low > 0.6"`` and reads the exit code, or the file of ``--junit``.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from nni_privacy.analysis.conditions import Condition
from nni_privacy.commands.options import ExitCode
from nni_privacy.errors import ConfigError, DataError, nearest
from nni_privacy.files import atomic_write

__all__ = ["Gate", "Judgement", "add_gate", "audit_metrics", "junit_xml"]

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not know."""


def add_gate(command: argparse.ArgumentParser) -> None:
    """Adds ``--fail-if`` and ``--junit``, which :meth:`Gate.of` takes as ``fail_if`` and ``junit``."""
    command.add_argument(
        "--fail-if",
        action="append",
        default=[],
        metavar="CONDITION",
        help=f'exit with {int(ExitCode.GATE)} if it holds, as "mia_auc_low > 0.6"; may be given several times',
    )
    command.add_argument("--junit", type=Path, metavar="FILE", help="write what --fail-if found as JUnit XML")


def audit_metrics(attacks: Sequence[str], further: Collection[str] = ()) -> list[str]:
    """The names by which a gate knows the metrics of these attacks, the primary one first, and ``further`` ones.

    All attacks' carry the attack as a prefix; the primary one's have their plain names, too.
    """
    from nni_privacy.strategies.objectives import ATTACK_METRICS

    return [*ATTACK_METRICS, *(f"{attack}_{metric}" for attack in attacks for metric in ATTACK_METRICS), *further]


@dataclass(frozen=True)
class Judgement:
    """One condition on one model.

    Attributes:
        subject: what was measured.
        condition: under which the command fails.
        value: of the metric; None if there is no finite number.
    """

    subject: str
    condition: Condition
    value: float | None

    @property
    def failed(self) -> bool:
        """Whether the condition holds, or cannot be judged: a gate that nobody can look through is closed."""
        return self.value is None or bool(self.condition.holds({self.condition.metric: self.value}))

    def __str__(self) -> str:
        if self.value is None:
            found = "there is no number to judge it by (not resolvable, or not measured)"
        else:
            off = self.value - self.condition.bound
            found = f"it is {self.value:.6g}, {f'{abs(off):.2g} ' if off else ''}{_WHERE[(off > 0) - (off < 0)]}"
        return f"{self.condition}: {found} ({self.subject})"


_WHERE = {1: "above", 0: "on the bound", -1: "below"}


@dataclass(frozen=True)
class Gate:
    """Conditions under which a command fails, and where it writes what came of them.

    Attributes:
        conditions: none: the gate is open.
        junit: the file of the verdict.
    """

    conditions: tuple[Condition, ...] = ()
    junit: Path | None = None

    @classmethod
    def of(cls, fail_if: Sequence[str], junit: Path | None, *, known: Collection[str]) -> Gate:
        """The gate of a command's options, to be made before anything is measured.

        Args:
            fail_if: conditions as they were written.
            junit: the file of the verdict.
            known: names of the metrics that there will be.

        Raises:
            ConfigError: if a text is no condition, a metric is unknown, or the file cannot be written.
        """
        conditions = []
        for text in fail_if:
            try:
                condition = Condition.parse(text)
            except ConfigError as error:
                raise ConfigError(f"--fail-if: {error}") from None
            if condition.metric not in known:
                raise ConfigError(f"--fail-if: unknown metric {condition.metric!r}: {nearest(condition.metric, known)}")
            conditions.append(condition)
        if junit is not None:
            if not conditions:
                raise ConfigError(f"--junit: {junit}: there is no --fail-if whose verdict it could hold")
            _check_writable(junit)
        return cls(tuple(conditions), junit)

    def judge(self, measured: Mapping[str, Mapping[str, Any]], *, command: str) -> ExitCode:
        """Judges what was measured, says each condition that fails in a line, and writes the file.

        Args:
            measured: the metrics of each model by the model's name.
            command: whose verdict it is, for the file.

        Returns:
            :attr:`ExitCode.DONE`, or :attr:`ExitCode.GATE` if a condition holds or cannot be judged.

        Raises:
            DataError: if the file cannot be written.
        """
        found = self.judgements(measured)
        for one in found:
            if one.failed:
                print(f"nni-privacy: failed: {one}", file=sys.stderr, flush=True)
        if self.junit is not None:
            try:
                self.junit.absolute().parent.mkdir(parents=True, exist_ok=True)
                atomic_write(self.junit.absolute(), junit_xml(found, suite=f"nni-privacy {command}"))
            except OSError as error:
                raise DataError(f"--junit: {self.junit}: {error.strerror or type(error).__name__}") from None
        return ExitCode.GATE if any(one.failed for one in found) else ExitCode.DONE

    def judgements(self, measured: Mapping[str, Mapping[str, Any]]) -> tuple[Judgement, ...]:
        """Every condition on every model, model by model; arguments as :meth:`judge`."""
        return tuple(
            Judgement(subject, one, None if one.holds(metrics) is None else float(metrics[one.metric]))
            for subject, metrics in measured.items()
            for one in self.conditions
        )


def _check_writable(path: Path) -> None:
    target = path.absolute()
    parent = next(folder for folder in target.parents if folder.exists())
    if target.is_dir() or not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ConfigError(f"--junit: {path}: not a file that can be written")


def junit_xml(judgements: Sequence[Judgement], *, suite: str) -> bytes:
    """What came of a gate as JUnit XML: one test case a condition and model.

    A condition that holds is a ``failure``, one that cannot be judged an ``error``.
    """
    failures = sum(one.failed and one.value is not None for one in judgements)
    errors = sum(one.value is None for one in judgements)
    counts = {"tests": str(len(judgements)), "failures": str(failures), "errors": str(errors)}
    root = ET.Element("testsuites", counts)
    cases = ET.SubElement(root, "testsuite", {"name": _xml(suite), **counts})
    for one in judgements:
        names = {"classname": _xml(one.subject), "name": f"not {one.condition}"}
        case = ET.SubElement(cases, "testcase", names)
        if one.failed:
            kind = "error" if one.value is None else "failure"
            ET.SubElement(case, kind, {"message": _xml(str(one)), "type": "fail-if"})
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
