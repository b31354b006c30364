"""A fuzzing run over every kind of file that people bring: ``make fuzz``.

Files are spoiled at random and given to the public command or reader that takes them. Each is read, or refused by a
:class:`~nni_privacy.errors.PrivacyError` in one line, within ten seconds and a gigabyte, with nothing written before.
The same seed makes the same files. What is at fault is kept in a folder, with what it did. By hand:
``python tests/support/fuzz.py --minutes N``.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import io
import json
import logging
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import yaml
from fuzz_files import CONFIG, PATTERN, STUDY, genotype_texts, journal_text, picture, table_text, trials_text
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from mutations import spoiled_bytes, spoiled_text, spoiled_yaml

from nni_privacy.commands.main import main as command_line
from nni_privacy.errors import DataError, PrivacyError

SECONDS = 10
BYTES = 1 << 30
_MESSAGE = 2000
"""No line that refuses a file is longer."""


class HangError(BaseException):
    """A case took too long; no code catches it."""


@dataclass(frozen=True)
class Target:
    """A kind of file: how it is spoiled, its name, what reads it, and what first puts whole files beside it."""

    content: st.SearchStrategy[bytes]
    name: str
    read: Callable[[Path], object]
    beside: Callable[[Path], object] = Path.exists
    lines: int = 1
    """Lines that a refusal may have."""


@dataclass
class Fuzzer:
    """Runs cases and collects faults.

    Args:
        folder: an empty one.
        keep: where files that are at fault are kept.
    """

    folder: Path
    keep: Path | None = None
    cases: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    slowest: dict[str, float] = field(default_factory=dict)

    def case(self, kind: str, target: Target, content: bytes) -> None:
        """One file; a fault of each kind is kept once."""
        here = self.folder / "here"
        shutil.rmtree(here, ignore_errors=True)
        here.mkdir()
        path = here / target.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        target.beside(path)
        before, memory, start = set(here.rglob("*")), _peak(), time.monotonic()
        fault, refused = "", False
        try:
            with _limit(SECONDS), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                target.read(path)
        except PrivacyError as error:
            refused = True
            said = str(error)
            if said.count("\n") >= target.lines or not said or len(said) > _MESSAGE or "Traceback" in said:
                fault = f"a message of {said.count(chr(10)) + 1} lines, {len(said)} characters: {said[:200]!r}"
        except HangError as error:
            fault = f"longer than {SECONDS} s: {_where(error, -2)}"
        except (Exception, SystemExit) as error:
            fault = f"{type(error).__name__} at {_where(error, -1)}: {str(error)[:200]}"
        if refused and (new := set(here.rglob("*")) - before):
            fault = fault or f"written before the refusal: {', '.join(sorted(path.name for path in new))}"
        if _peak() - memory > BYTES:
            fault = fault or f"{(_peak() - memory) >> 20} MiB of memory"
        self.cases[kind] += 1
        self.refused[kind] += refused
        self.slowest[kind] = max(self.slowest.get(kind, 0.0), time.monotonic() - start)
        if fault:
            self._keep(kind, fault, path)

    def _keep(self, kind: str, fault: str, path: Path) -> None:
        key = f"{kind}: {re.sub('[0-9]+ ', '', fault.partition(': ')[0])}"
        if key not in self.faults:
            self.faults[key] = fault
            if self.keep is not None:
                self.keep.mkdir(parents=True, exist_ok=True)
                kept = self.keep / f"{len(self.faults)}-{kind.replace(' ', '-')}-{path.name}"
                shutil.copy(path, kept)
                kept.with_name(kept.name + ".why").write_text(f"{fault}\n", encoding="utf-8")

    def run(self, targets: Mapping[str, Target], *, number: int, examples: int) -> None:
        """As many examples of each kind, drawn from a seed."""
        for kind, target in targets.items():
            self._examples(kind, target, number, examples)

    def _examples(self, kind: str, target: Target, number: int, examples: int) -> None:
        @seed(number)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(content=target.content)
        def spoil(content: bytes) -> None:
            self.case(kind, target, content)

        spoil()

    def summary(self) -> str:
        """A line for each kind of file, and one for each fault."""
        lines = [
            f"{kind:<22} {count:>7} files, {self.refused[kind]:>7} refused, slowest {self.slowest[kind]:.1f} s"
            for kind, count in self.cases.items()
        ]
        return "\n".join([*lines, *(f"FAULT {key.partition(': ')[0]}: {fault}" for key, fault in self.faults.items())])


def _where(error: BaseException, frame: int) -> str:
    """File and line of one of an error's frames."""
    found = traceback.extract_tb(error.__traceback__)[frame]
    return f"{Path(found.filename).name}:{found.lineno}"


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@contextmanager
def _limit(seconds: int) -> Iterator[None]:
    """Raises HangError in what takes longer; ends the process if even that is of no use."""

    def stop(*_: Any) -> None:
        raise HangError

    faulthandler.dump_traceback_later(6 * seconds, exit=True, file=sys.__stderr__)
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()


# --- what reads the files ---


def run(words: Sequence[str | Path]) -> None:
    """The command line; DataError with what it said if it refuses.

    Raises:
        AssertionError: if it does not keep what every command promises.
    """
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = command_line([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
    assert code in (0, 2), f"exit code {code}"
    if code:
        assert not out.getvalue(), "printed before the refusal"
        assert err.getvalue().startswith("nni-privacy"), f"said {err.getvalue()[:200]!r}"
        raise DataError(err.getvalue().removesuffix("\n"))


def apply(path: Path) -> None:
    run(["patterns", "apply", "demotion-reduction", "--budget", "4", path])


def predict(path: Path) -> None:
    run(["surrogate", "predict", path])


def fit(path: Path) -> None:
    run(["surrogate", "fit", path, "--model", "ridge", "--output", path.parent / "fitted.npz"])


def show(path: Path) -> None:
    run(["patterns", "show", path])


def genotypes_beside(path: Path) -> None:
    (path.parent / "genotypes.txt").write_text(genotype_texts()[0], encoding="utf-8")


def predict_with(path: Path) -> None:
    run(["surrogate", "predict", "--surrogate", path, path.parent / "genotypes.txt"])


def load_npz(path: Path) -> None:
    from nni_privacy.data.registry import load_dataset

    load_dataset("npz", path=str(path))


def pictures_beside(path: Path) -> None:
    """Two classes of two whole pictures, the spoiled one among the first."""
    for number, name in enumerate("abab"):
        (path.parents[1] / name).mkdir(exist_ok=True)
        (path.parents[1] / name / f"whole{number}.png").write_bytes(picture("PNG"))


def load_pictures(path: Path) -> None:
    from nni_privacy.data.registry import load_dataset

    load_dataset("imagefolder", root=str(path.parents[1]), image_size=8)


def records_beside(path: Path) -> None:
    """A network's weights, members and non-members."""
    import torch
    from audited_model import build

    torch.save(build().state_dict(), path.with_name("whole.pt"))
    for name, value in (("members", 1), ("nonmembers", 2)):
        images = np.full((4, 1, 8, 8), value, np.uint8)
        np.savez(path.with_name(f"{name}.npz"), images=images, labels=np.zeros(4, np.int64))


def audit_with(option: str) -> Callable[[Path], None]:
    """An audit up to its beginning, where one of its files is the spoiled one."""
    whole = {"--weights": "whole.pt", "--members": "members.npz", "--nonmembers": "nonmembers.npz"}

    def audit(path: Path) -> None:
        files = {name: path.with_name(file) for name, file in whole.items()} | {option: path}
        words = [word for pair in files.items() for word in pair]
        module = importlib.import_module("nni_privacy.auditing.audit")
        with patch.object(module, "audit", side_effect=DataError("the audit would begin here")):
            run(["audit", "--model", "audited_model:build", "--output", path.with_name("out"), *words])

    return audit


def read_answers(path: Path) -> None:
    from nni_privacy.auditing.prediction_files import read_predictions

    read_predictions(path)


def search(path: Path) -> None:
    from nni_privacy.commands.session import Session
    from nni_privacy.nni_runtime.probe import free_port

    with patch.object(Session, "run_to_end", return_value=True), patch.object(Session, "conclude", return_value=0):
        run(["search", path, "--output", path.parent / "run", "--port", str(free_port())])


def study(path: Path) -> None:
    from nni_privacy.studies.config import load_study

    load_study(path, data={"d": "y.npz"}).resolved()


def run_beside(path: Path) -> None:
    """The other files of a run directory."""
    files = {"trials.jsonl": trials_text(), "journal.jsonl": journal_text(), "environment.json": "{}"}
    for name, text in {**files, "config.yaml": yaml.safe_dump(CONFIG)}.items():
        if name != path.name:
            path.with_name(name).write_text(text, encoding="utf-8")


def measured_run(path: Path) -> None:
    """What reads a run's measurements."""
    from nni_privacy.runs.records import read_run
    from nni_privacy.surrogate import read_mia_data

    read_run(path.parent)
    read_mia_data(path.parent, minimum=1)


def resume(path: Path) -> None:
    """What a resumed run does before its manager starts."""
    from nni_privacy.runs.directory import RunDirectory
    from nni_privacy.runs.replay import Replay

    directory = RunDirectory(path.parent, resumable=True)
    finished = {record.trial for record in directory.records()}
    try:
        Replay(directory.journal, finished)
    except ValueError as error:  # as the experiment tells it
        raise DataError(str(error)) from None


# --- the files ---


def _texts(texts: Sequence[str]) -> st.SearchStrategy[bytes]:
    return st.sampled_from(texts).flatmap(spoiled_text)


def _bytes(*whole: bytes) -> st.SearchStrategy[bytes]:
    return st.sampled_from(whole).flatmap(spoiled_bytes)


def _arrays() -> bytes:
    file = io.BytesIO()
    images = np.arange(6 * 64, dtype=np.uint8).reshape(6, 1, 8, 8)
    np.savez(file, images=images, labels=np.arange(6) % 2)
    return file.getvalue()


def _answers() -> bytes:
    file = io.BytesIO()
    member = np.arange(50) % 2
    np.savez(file, logits=np.arange(150.0).reshape(50, 3), label=np.arange(50) % 3, member=member)
    return file.getvalue()


def answers_text(separator: str) -> str:
    """A table of answers."""
    rows = [["id", "label", "member", "p_0", "p_1"]]
    rows += [[str(one) for one in (at, at % 2, at % 3 % 2, at / 60, 1 - at / 60)] for at in range(60)]
    return "".join(separator.join(row) + "\n" for row in rows)


def _weights() -> bytes:
    import torch
    from audited_model import build

    file = io.BytesIO()
    torch.save(build().state_dict(), file)
    return file.getvalue()


def targets() -> dict[str, Target]:
    """Every kind of file by its name."""
    from nni_privacy.surrogate.base import SHIPPED

    tables = _texts([table_text(separator) for separator in ",;\t"])
    return {
        "genotypes": Target(_texts(genotype_texts()), "genotypes.py", apply),
        "genotypes, predicted": Target(_texts(genotype_texts()), "genotypes.txt", predict),
        "genotype table": Target(tables, "genotypes.csv", apply),
        "measured table": Target(tables, "measured.csv", fit),
        "npz": Target(_bytes(_arrays()), "data.npz", load_npz),
        "records": Target(_bytes(_arrays()), "records.npz", audit_with("--members"), records_beside),
        "answers": Target(_texts([answers_text(separator) for separator in ",;\t"]), "answers.csv", read_answers),
        "answers, npz": Target(_bytes(_answers()), "answers.npz", read_answers),
        "weights": Target(_bytes(_weights()), "weights.pt", audit_with("--weights"), records_beside, lines=3),
        **{
            f"image {kind}": Target(_bytes(picture(kind)), f"a/spoiled.{kind.lower()}", load_pictures, pictures_beside)
            for kind in ("PNG", "JPEG", "TIFF", "BMP", "PPM", "WEBP")
        },
        "pattern": Target(spoiled_yaml(PATTERN), "pattern.yaml", show),
        "surrogate": Target(_bytes(Path(str(SHIPPED)).read_bytes()), "surrogate.npz", predict_with, genotypes_beside),
        "configuration": Target(spoiled_yaml(CONFIG), "config.yaml", search),
        "study": Target(spoiled_yaml(STUDY), "study.yaml", study),
        "trials.jsonl": Target(_texts([trials_text()]), "trials.jsonl", measured_run, run_beside),
        "trials.jsonl, resumed": Target(_texts([trials_text()]), "trials.jsonl", resume, run_beside),
        "journal.jsonl": Target(_texts([journal_text()]), "journal.jsonl", resume, run_beside),
    }


def main() -> int:
    """Fuzzes for some minutes; 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="how long (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the files (default: 0)")
    parser.add_argument("--only", default="", help="kinds of files whose name has this in it")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-faults"), help="folder for files at fault")
    options = parser.parse_args()
    keep, end, number = options.keep.absolute(), time.monotonic() + 60 * options.minutes, options.seed
    chosen = {kind: target for kind, target in targets().items() if options.only in kind}
    logging.disable(logging.WARNING)
    for module in ("nni_runtime.experiment", "search_spaces", "strategies", "evaluator", "networks"):
        importlib.import_module(f"nni_privacy.{module}")  # takes seconds, which are no file's fault
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NNI_PRIVACY_CACHE"] = str(Path(folder) / "cache")
        fuzzer = Fuzzer(Path(folder), keep)
        while time.monotonic() < end and chosen:
            for kind, target in chosen.items():
                if time.monotonic() < end:
                    fuzzer.run({kind: target}, number=number, examples=20)
            number += 1
    print(fuzzer.summary())
    print(json.dumps({"files": sum(fuzzer.cases.values()), "faults": len(fuzzer.faults), "last seed": number - 1}))
    return int(bool(fuzzer.faults))


if __name__ == "__main__":
    sys.exit(main())
