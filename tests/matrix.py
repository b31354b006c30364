"""Which Pythons and which torch nni-privacy works with: each tried in an environment of its own, written as a table.

Run by hand, after ``make dist``, where several Pythons are; for each of them and each torch an environment is made, the
wheel installed as a user would, ``doctor`` asked, two architectures searched, and the fast tests run::

    python tests/matrix.py                                                 # all: hours, and 10 GB at a time
    python tests/matrix.py --python 3.13 --torch newest --tests nni_runtime root
    python tests/matrix.py --work matrix/                                  # kept: ends and goes on where it was ended

The rows of what was tried replace those in the table of docs/installation.md; what there is no Python for is said there
as untried. pip is asked as it is configured (``PIP_INDEX_URL``, ``PIP_EXTRA_INDEX_URL``, ``PIP_CACHE_DIR``).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "installation.md"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
NEWEST = "newest"
TORCHES = ("2.6", NEWEST)
ROOMS = (*sorted({path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}), "root")
"""Folders of tests, and those in none."""
HEADER = "| Python | torch | NumPy | installation | `doctor` | two trials | fast tests | tried on |"
ROOM_ON_DISK = 12 << 30
UNTRIED, NOT_RUN = "untried", "–"
SEARCH = """\
name: matrix
seed: 1
dataset: {name: digits, limit: 400}
search_space: {name: darts, channels: 4, cells: 3}
pattern: {name: demotion, cells: reduction, budget: 4}
strategy: {name: random}
evaluator: {recipe: {epochs: 3}, attacks: [black_box_partial, loss_threshold]}
trials: 2
concurrency: 2
"""


@dataclass
class Row:
    """What came of one Python with one torch; a result is a word of praise or what went wrong.

    Attributes:
        python: the version that was asked for, then the one that was there.
        torch: likewise; ``newest`` stays beside what it was.
        tests: room -> how many passed, failed, were skipped.
        digest: of the wheel; the results of another one do not count.
    """

    python: str
    torch: str
    numpy: str = NOT_RUN
    install: str = NOT_RUN
    doctor: str = NOT_RUN
    search: str = NOT_RUN
    tests: dict[str, dict[str, int]] = field(default_factory=dict)
    date: str = NOT_RUN
    digest: str = ""

    def line(self) -> str:
        """The row as the table has it."""
        cells = (self.python, self.torch, self.numpy, self.install, self.doctor, self.search, self.told_tests())
        return "| " + " | ".join(cell.replace("|", "/") for cell in (*cells, self.date)) + " |"

    def told_tests(self) -> str:
        """How many passed, and in which rooms if not in all."""
        if not self.tests:
            return NOT_RUN
        words = ("failed", "error", "errors", "passed", "skipped")
        sums = {word: sum(counts.get(word, 0) for counts in self.tests.values()) for word in words}
        told = ", ".join(f"{count:,} {word}" for word, count in sums.items() if count)
        rooms = ", ".join(f"`{room}`" for room in sorted(self.tests))
        return told if set(self.tests) == set(ROOMS) else f"{told} ({rooms})"


def key(line: str) -> tuple[str, str]:
    """What a row of the table is of: the Python as 3.12, and the torch that was asked for."""
    python, torch = (cell.strip() for cell in line.split("|")[1:3])
    return ".".join(python.split(".")[:2]), NEWEST if NEWEST in torch else ".".join(torch.split(".")[:2])


def put_into(page: str, lines: Sequence[str]) -> str:
    """The text of a page with ``lines`` in its table: those of the same Python and torch replaced, others kept.

    A row that says untried replaces none.

    Raises:
        ValueError: when the page has no such table.
    """
    before, found, after = page.partition(HEADER + "\n")
    if not found:
        raise ValueError(f"no table with the header {HEADER!r}")
    ruler, *rest = after.splitlines()
    count = next((index for index, line in enumerate(rest) if not line.startswith("|")), len(rest))
    rows = {key(line): line for line in rest[:count]}
    for line in lines:
        if UNTRIED not in line or key(line) not in rows:
            rows[key(line)] = line
    ordered = sorted(rows, key=lambda of: (int(of[0].partition(".")[2]), of[1] == NEWEST, of[1]))
    return before + "\n".join([HEADER, ruler, *(rows[of] for of in ordered), *rest[count:]]) + "\n"


def find_python(wanted: str) -> Path | None:
    """The interpreter at the path ``wanted``, or one of this version that starts."""
    if os.sep in wanted:
        return Path(wanted)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python"))
    places = [Path(sys.executable)]
    if found := shutil.which(f"python{wanted}"):
        places.append(Path(found))
    places += sorted(pyenv.glob(f"{wanted}.*/bin/python")) + sorted(uv.glob(f"cpython-{wanted}.*/bin/python"))
    return next((place for place in places if version_of(place) == wanted), None)


def version_of(python: Path) -> str | None:
    """The version of an interpreter as 3.12; None where it does not start."""
    asked = [str(python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


class Trial:
    """One Python with one torch: its environment and what came of it, both in ``work``.

    Args:
        python: the interpreter that the environment is made with.
        torch: the version of torch, or ``newest``.
        wheel: what is installed.
        work: the folder of environments; a state of the same wheel that is there is gone on with.
    """

    def __init__(self, python: Path, version: str, torch: str, *, wheel: Path, work: Path) -> None:
        self.python, self.asked, self.wheel = python, torch, wheel
        self.folder = work / f"{version}-torch-{torch}"
        self.folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        self.row = Row(version, torch, digest=digest)
        self._state = self.folder / "state.json"
        if self._state.is_file() and (kept := Row(**json.loads(self._state.read_text()))).digest == digest:
            self.row = kept

    def run(self, steps: Sequence[str], rooms: Sequence[str]) -> Row:
        """Takes those of ``steps`` that have not been taken; none after an installation that failed."""
        for step in steps:
            if step != "install" and self.row.install != "ok":
                break
            if step == "tests" or getattr(self.row, step) == NOT_RUN:
                STEPS[step](self, rooms)
                self.save()
        return self.row

    def save(self) -> None:
        self.row.date = time.strftime("%Y-%m-%d")
        self._state.write_text(json.dumps(asdict(self.row)))

    def install(self, rooms: Sequence[str]) -> None:
        """The wheel and a torch into an empty environment; in that of another wheel only the wheel is replaced."""
        bin_folder = self.folder / "venv" / "bin"
        if not bin_folder.is_dir() and self._fails([self.python, "-m", "venv", str(self.folder / "venv")]):
            self.row.install = "no environment"
            return
        pip = [bin_folder / "python", "-m", "pip", "--quiet"]
        fault = self._fails([*pip, "install", self.wheel, *self._torch()])
        fault = fault or self._fails([*pip, "install", "--no-deps", "--force-reinstall", self.wheel])
        fault = fault or self._fails([*pip, "check"])
        self.row.install = f"failed: {fault}" if fault else "ok"
        for name, version in self._versions().items():
            setattr(self.row, name, version)

    def doctor(self, rooms: Sequence[str]) -> None:
        words = [self.folder / "venv/bin/nni-privacy", "doctor"]
        fault = self._fails(words, sign=r"^MISSING .*", HOME=str(self.folder))
        self.row.doctor = f"failed: {fault}" if fault else "ok"

    def search(self, rooms: Sequence[str]) -> None:
        (self.folder / "search.yaml").write_text(SEARCH)
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        words = [self.folder / "venv/bin/nni-privacy", "search", "search.yaml", "--output", "run", "--port", port]
        fault = self._fails([*words, "--exit-when-done"], HOME=str(self.folder))
        trials = self.folder / "run" / "trials.jsonl"
        lines = trials.read_text(encoding="utf-8").splitlines() if trials.is_file() else []
        statuses = [json.loads(line)["status"] for line in lines]
        fault = fault or ("" if statuses == ["succeeded"] * 2 else f"trials ended as {statuses}")
        self.row.search = f"failed: {fault}" if fault else "ok"

    def tests(self, rooms: Sequence[str]) -> None:
        """The fast tests of the repository against the installed wheel, room by room; those with a result stay."""
        left = [room for room in rooms if room not in self.row.tests]
        pip = [self.folder / "venv/bin/python", "-m", "pip", "--quiet", "install"]
        if left and (fault := self._fails([*pip, f"{self.wheel}[test]", *self._torch()])):
            self.row.tests = {room: {"errors": 1} for room in left}
            print(f"the tests' packages: {fault}")
            return
        for room in left:
            # Not `python -m pytest`, nor in the repository: its folders would be found before the wheel.
            words = [self.folder / "venv/bin/pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
            paths = [str(path) for path in (ROOT / "tests").glob("test_*.py")]
            self._run([*words, *(sorted(paths) if room == "root" else [ROOT / "tests" / room])], folder=self.folder)
            self.row.tests[room] = counts_of(self.log.read_text(encoding="utf-8", errors="replace"))
            print(f"    {room}: {self.row.tests[room]}", flush=True)
            self.save()

    @property
    def log(self) -> Path:
        """What the last command printed; all commands are in ``log.txt`` beside it."""
        return self.folder / "last.txt"

    def _torch(self) -> list[str]:
        return ["torch"] if self.asked == NEWEST else [f"torch=={self.asked}.*"]

    def _versions(self) -> dict[str, str]:
        program = (
            "import json, platform; from importlib.metadata import version; "
            "print(json.dumps([platform.python_version(), version('torch'), version('numpy')]))"
        )
        if self._fails([self.folder / "venv/bin/python", "-c", program]):
            return {}
        python, torch, numpy = json.loads(self.log.read_text().splitlines()[-1])
        return {"python": python, "torch": f"{torch} ({NEWEST})" if self.asked == NEWEST else torch, "numpy": numpy}

    def _fails(self, words: Sequence[object], *, sign: str = r"\S.*", **variables: str) -> str:
        """Runs a command; nothing when it went well, else the last line that has the ``sign`` of a fault."""
        if self._run(words, folder=self.folder, **variables) == 0:
            return ""
        lines = re.findall(sign, self.log.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        return " ".join(lines[-1].split())[:200] if lines else "no word"

    def _run(self, words: Sequence[object], *, folder: Path, **variables: str) -> int:
        told = " ".join(str(word) for word in words)
        print(f"  {told[:150]}", flush=True)
        path = f"{self.folder / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "NNI_PRIVACY_CACHE": str(self.folder / "cache"), **variables}
        with self.log.open("w") as log:
            command = [str(word) for word in words]
            ended = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log, check=False)
        with (self.folder / "log.txt").open("a") as log:
            log.write(f"$ {told}\n{self.log.read_text(encoding='utf-8', errors='replace')}\n")
        return ended.returncode


STEPS: dict[str, Callable[[Trial, Sequence[str]], None]] = {
    "install": Trial.install,
    "doctor": Trial.doctor,
    "search": Trial.search,
    "tests": Trial.tests,
}


def counts_of(log: str) -> dict[str, int]:
    """The counts of pytest's last line: ``{"passed": 12, "skipped": 1}``; one error where there is none."""
    summary = next((line for line in reversed(log.splitlines()) if re.search(r" in [\d.]+s", line)), "")
    found = {word: int(count) for count, word in re.findall(r"(\d+) (\w+)", summary.partition(" in ")[0])}
    return found or {"errors": 1}


def tried(options: argparse.Namespace, work: Path) -> Iterator[Row]:
    """A row for each Python and torch, as soon as it is known."""
    for wanted in options.python:
        python = find_python(wanted)
        version = version_of(python) if python else None
        for torch in options.torch:
            if python is None or version is None:
                print(f"{wanted}: no such Python here")
                yield Row(wanted, torch, install=f"{UNTRIED}: no Python {wanted} where this was made")
                continue
            print(f"{version} ({python}), torch {torch}", flush=True)
            free = shutil.disk_usage(work).free
            if free < ROOM_ON_DISK and not (work / f"{version}-torch-{torch}").is_dir():
                raise SystemExit(f"--work {work}: {free >> 30} GB are free, an environment wants {ROOM_ON_DISK >> 30}")
            trial = Trial(python, version, torch, wheel=options.wheel, work=work)
            try:
                yield trial.run(options.steps, options.tests)
            finally:
                if not options.work:
                    shutil.rmtree(trial.folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Tries, prints and writes the table; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="+", default=PYTHONS, help="versions, or paths of interpreters")
    parser.add_argument("--torch", nargs="+", default=TORCHES, help="versions like 2.6, or newest")
    parser.add_argument("--steps", nargs="+", default=tuple(STEPS), choices=STEPS)
    parser.add_argument("--tests", nargs="+", default=ROOMS, choices=ROOMS, metavar="ROOM", help=" ".join(ROOMS))
    parser.add_argument("--wheel", type=Path, help="default: the newest of dist/")
    parser.add_argument("--work", type=Path, help="where environments and results are kept; default: nowhere")
    parser.add_argument("--page", type=Path, default=PAGE, help="whose table gets the rows")
    options = parser.parse_args(arguments)
    if options.wheel is None:
        wheels = sorted((ROOT / "dist").glob("*.whl"), key=lambda path: path.stat().st_mtime)
        if not wheels:
            parser.error("dist/ has no wheel: make dist, or name one with --wheel")
        options.wheel = wheels[-1]
    options.wheel = options.wheel.resolve()
    lines = []
    with nullcontext(options.work) if options.work else tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        work = Path(folder).resolve()
        work.mkdir(parents=True, exist_ok=True)
        for row in tried(options, work):
            lines.append(row.line())
            options.page.write_text(put_into(options.page.read_text(encoding="utf-8"), lines), encoding="utf-8")
            print(lines[-1], flush=True)
    print(f"{options.page}: {len(lines)} rows of {platform.system()} on {platform.machine()}")
    return int(any(re.search(r"\d failed|failed:|error", line) for line in lines))


if __name__ == "__main__":
    sys.exit(main())
