"""What README and docs print can be used as it stands: configurations are valid, commands and programs run.

A page's blocks run one after another in one folder, as a reader would have them, beside the files that the pages speak
of. Searches, which take minutes to hours, are checked by ``--dry-run``; of studies, whose data would be downloaded, and
of runs that go on, the words of the command are.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import yaml
from bench.planted_bench import write_planted
from made_run import made_run
from PIL import Image
from support_search import free_port

from nni_privacy.config import parse_config
from nni_privacy.patterns import load_pattern
from nni_privacy.schema import validated
from nni_privacy.studies.config import StudyConfig

ROOT = Path(__file__).resolve().parents[1]
SUPPORT = Path(__file__).resolve().parent / "support"
WHOLE = "extending"  # its examples are put to use in test_docs_extending.py
PAGES = {path.stem: path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if path.stem != WHOLE}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\w+\.\w+)\n")
QUICK = ("patterns", "networks", "report")
NNI_RUNS = ".run(port="
SEARCH: dict[str, Any] = {
    "name": "x",
    "dataset": {"name": "digits"},
    "search_space": {"name": "darts"},
    "strategy": {"name": "random"},
    "trials": 1,
}
STUDY: dict[str, Any] = {
    "name": "x",
    "datasets": [{"name": "digits"}],
    "search_space": {"name": "darts"},
    "architectures": [{"sampled": 1, "seed": 0}],
}
OF_A_STUDY = {"datasets", "architectures", "defences", "contours", "snapshots"}
TIMEOUT = 600
PARSE = """
import sys
from pathlib import Path
from nni_privacy.commands import main
options = vars(main._parser().parse_args())
assert "config" not in options or Path(options["config"]).is_file()
"""


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and content of a page's blocks."""
    return BLOCK.findall(PAGES[page].read_text(encoding="utf-8"))


def programs(page: str) -> list[tuple[str, str]]:
    return [(language, text) for language, text in blocks(page) if language in ("sh", "python")]


CONFIGURATIONS = [(page, text) for page in PAGES for language, text in blocks(page) if language == "yaml"]
PROGRAMS = [
    pytest.param(page, marks=() if page in QUICK else pytest.mark.slow, id=page) for page in PAGES if programs(page)
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages speak of, in which the commands are found."""
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    table = pandas.read_csv(SUPPORT / "measured_sample.csv")
    table["mia_auc"] = 0.81 + 2 * (table["mia_auc"] - 0.81)  # enough of either side of an extraction's thresholds
    table.to_csv(tmp_path / "measured.csv", index=False)
    (tmp_path / "genotypes.txt").write_text("\n".join(table["genotype"][:10]), encoding="utf-8")
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(40):
            pixels = np.random.default_rng(number).integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    pixels = np.random.default_rng(0).integers(0, 255, (4000, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "cifar10.npz", x=pixels, y=np.arange(4000) % 10)
    trial = {"trial": "a", "metrics": {"accuracy": 0.9, "mia_auc": 0.6}}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "trials.jsonl").write_text(f"{json.dumps(trial)}\n", encoding="utf-8")
    commands = tmp_path / "bin"
    commands.mkdir()
    module = f"exec {sys.executable} -m nni_privacy"
    parse = f"exec {sys.executable} -c {shlex.quote(PARSE)}"
    for name, words in {
        "nni-privacy": f'case "$*" in *--resume*|measure*|bench*|view*|confirm*|*runs/release*) {parse} "$@";; '
        f'search*) {module} "$@" --dry-run;; *) {module} "$@";; esac',
        "make": f'exec {shutil.which("make")} -C {ROOT} --dry-run "$@"',
        "pip": 'test "$1" = install',
    }.items():
        (commands / name).write_text(f"#!/bin/sh\n{words}\n", encoding="utf-8")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_language_and_none_is_indented(page: str) -> None:
    assert {language for language, _ in blocks(page)} <= {"sh", "python", "yaml", "text"}
    prose = BLOCK.sub("", PAGES[page].read_text(encoding="utf-8"))
    assert not re.findall(r"(?:\A|\n\n)    \S.*", prose)


@pytest.mark.parametrize(("page", "text"), CONFIGURATIONS, ids=[page for page, _ in CONFIGURATIONS])
def test_every_configuration_is_valid(page: str, text: str, folder: Path) -> None:
    content = yaml.safe_load(text)
    if "edges" in content:
        (folder / "pattern.yaml").write_text(text, encoding="utf-8")
        assert len(load_pattern("pattern.yaml")) == len(content["edges"])
    elif OF_A_STUDY & set(content):
        validated(StudyConfig, {**STUDY, **content})
    else:
        parse_config({**SEARCH, **content})


@pytest.mark.parametrize("page", PROGRAMS)
def test_every_command_and_program_runs(page: str, folder: Path) -> None:
    if page == "export":
        made_run(folder / "runs" / "mine", {"aBcDe": (0.9, 0.6)})
    if page == "bench":
        write_planted(folder / "table")
    for language, text in blocks(page):
        file = FILE.match(text)
        if file is not None:
            (folder / file[1]).write_text(text, encoding="utf-8")
        elif language in ("sh", "python") and NNI_RUNS not in text:
            run(language, text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "text"), [(page, text) for page in PAGES for _, text in programs(page) if NNI_RUNS in text]
)
def test_every_experiment_runs(page: str, text: str, folder: Path) -> None:
    run("python", text.replace("port=8080", f"port={free_port()}"))


def run(language: str, text: str) -> None:
    words = ["bash", "-euo", "pipefail", "-c", text] if language == "sh" else [sys.executable, "-c", text]
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
