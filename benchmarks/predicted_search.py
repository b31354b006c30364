"""How long a search on predicted AUC takes: the whole command, from its start to the report, in a process of its own.

python benchmarks/predicted_search.py [--architectures 10000] [--pattern demotion-reduction]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Prints what the command prints, and wall seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", type=int, default=10_000)
    parser.add_argument("--pattern", default="demotion-reduction")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "nni_privacy.commands.main",
            "surrogate",
            "search",
            "--output",
            str(Path(folder) / "out"),
        ]
        command += ["--count", str(options.architectures), "--pattern", options.pattern]
        started = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - started
    print(f"{options.architectures} architectures, without and with {options.pattern}: {seconds:.1f} s in all")


if __name__ == "__main__":
    main()
