"""What trial number 2,000 costs: a search whose trials report at once, its resumption and its report.

    python benchmarks/many_trials.py [--trials 2000] [--concurrency 2]

Prints the seconds a trial in the first and in the last quarter, the memory of the searching process and of NNI's
manager, the seconds from a resumption to the next new result, and the seconds and the size of the report.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from pathlib import Path

import nni
import psutil
from instant import report_at_once
from nni.nas.evaluator import FunctionalEvaluator

from nni_privacy.nni_runtime import PrivacyExperiment
from nni_privacy.report import write_report
from nni_privacy.runs.records import TrialRecord
from nni_privacy.search_spaces import DARTS
from nni_privacy.strategies import build_strategy


class Clock:
    """Takes down when results come, and the memory in MB of this process and of the manager."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.memory: list[tuple[float, float]] = []
        self.manager: int | None = None

    def __call__(self, record: TrialRecord) -> None:
        """Takes note of a result."""
        self.times.append(time.perf_counter())
        if self.manager is None:
            children = psutil.Process().children()
            self.manager = next(child.pid for child in children if "main.js" in " ".join(child.cmdline()))
        processes = psutil.Process(), psutil.Process(self.manager)
        self.memory.append(tuple(process.memory_info().rss / 1e6 for process in processes))  # type: ignore[arg-type]


def experiment(output: Path, clock: Clock, *, trials: int, concurrency: int) -> PrivacyExperiment:
    """A search in ``output``, new or to be resumed."""
    return PrivacyExperiment(
        DARTS(channels=2, cells=3, in_channels=1),
        FunctionalEvaluator(report_at_once),
        build_strategy("regularized_evolution", {"population_size": 50, "sample_size": 10}, seed=0),
        output=output,
        trials=trials,
        concurrency=concurrency,
        observers=[clock],
    )


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--port", type=int, default=8098)
    options = parser.parse_args()
    os.chdir(Path(__file__).parent)  # where trials find ``instant``
    nni.silence_stdout()
    logging.getLogger("nni").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        output, clock = Path(folder) / "run", Clock()
        search = experiment(output, clock, trials=options.trials, concurrency=options.concurrency)
        search.run(options.port)
        search.stop()
        quarter = options.trials // 4
        ends = {"first quarter": clock.times[:quarter], "last quarter": clock.times[-quarter:]}
        for name, times in ends.items():
            print(f"{name}: {(times[-1] - times[0]) / (len(times) - 1):.3f} s a trial")
        for name, (ours, nnis) in {"after 50": clock.memory[49], "at the end": clock.memory[-1]}.items():
            print(f"memory {name}: search {ours:.0f} MB, manager {nnis:.0f} MB")
        again, started = Clock(), time.perf_counter()
        search = experiment(output, again, trials=options.trials + 2, concurrency=options.concurrency)
        search.resume(options.port)
        print(f"resumed: {again.times[0] - started:.1f} s to the next result")
        search.stop()
        started = time.perf_counter()
        page = write_report(output)
        print(f"report: {time.perf_counter() - started:.1f} s, {page.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
