"""What the live page costs a search of 2,000 trials: seconds until it is told, and CPU of manager and search.

    python benchmarks/live.py RUN [--trials 2000] [--seconds 60] [--every 5]

RUN is the run directory of a small finished search, whose trials are repeated with other cells and numbers. A process
serves the run as a search does, NNI's repaired manager stands in front of it, a client asks both addresses every two
seconds as an open page does, and every five seconds a trial ends. The CPU times are those of the two processes
meanwhile, less what they take when nobody looks. The goals are 1 s for the first answer, and 5% of a core for each
process; exits with 1 if one is missed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from nni_privacy.nni_runtime import make_overlay
from nni_privacy.nni_runtime.patches.access import TOKEN_HEADER, TOKEN_VARIABLE
from nni_privacy.nni_runtime.patches.live import LIVE_VARIABLE
from nni_privacy.nni_runtime.probe import lone_manager

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from many_trials import make_many, many_rows

POLL_SECONDS = 2.0
FIRST_GOAL, CORE_GOAL = 1.0, 0.05
SERVE = """
import sys
from pathlib import Path
from nni_privacy.live.library import Library
from nni_privacy.live.serving import SocketServer
folder = Path(sys.argv[1])
server = SocketServer(Library([folder], nni=folder))
print(server.address, flush=True)
sys.stdin.read()
server.close()
"""


class Page:
    """An open page, which asks the manager at ``port``."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._headers, self.cursor = port, {TOKEN_HEADER: token}, ""

    def get(self, path: str) -> tuple[bytes, float]:
        """An answer, and how long it took."""
        begun = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection.request("GET", path, headers=self._headers)
        content = connection.getresponse().read()
        connection.close()
        return content, time.perf_counter() - begun

    def poll(self) -> tuple[int, int, float]:
        """Rows that are new, bytes, seconds."""
        content, seconds = self.get(f"/privacy/api/runs/0?after={self.cursor}")
        told = json.loads(content)
        self.cursor = told["cursor"]
        self.get("/privacy/api/index")
        return len(told["rows"]), len(content), seconds


@contextmanager
def served(folder: Path) -> Iterator[tuple[int, str, list[psutil.Process]]]:
    """The manager's port, its token, and the processes of manager and search."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None and server.stdin is not None
    token = secrets.token_urlsafe(32)
    try:
        variables = {TOKEN_VARIABLE: token, LIVE_VARIABLE: server.stdout.readline().strip()}
        with lone_manager(make_overlay(), environment=variables) as port:
            children = psutil.Process().children()
            manager = next(child for child in children if "main.js" in " ".join(child.cmdline()))
            yield port, token, [manager, psutil.Process(server.pid)]
    finally:
        server.stdin.close()
        server.wait(30)


def cpu(processes: list[psutil.Process]) -> list[float]:
    """CPU seconds of each process so far."""
    return [sum(process.cpu_times()[:2]) for process in processes]


def shares(processes: list[psutil.Process], seconds: float, page: Page | None, grow: Iterator[None]) -> list[float]:
    """Share of a core that each process takes while trials end, and a page looks or none does."""
    begun, before, polls = time.monotonic(), cpu(processes), 0
    while (now := time.monotonic() - begun) < seconds:
        if page is not None and now >= polls * POLL_SECONDS:
            page.poll()
            polls += 1
        next(grow)
        time.sleep(0.05)
    return [(after - start) / (time.monotonic() - begun) for start, after in zip(before, cpu(processes), strict=True)]


def growing(path: Path, rows: Iterator[dict[str, object]], every: float) -> Iterator[None]:
    """Adds a trial to a file every so many seconds, when it is asked."""
    last = time.monotonic()
    while True:
        if time.monotonic() - last >= every:
            last = time.monotonic()
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(next(rows)) + "\n")
        yield


def main() -> int:
    """Prints the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds from one trial's end to the next")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = make_many(options.run, Path(place) / "run", options.trials)
        known = [json.loads(line) for line in (folder / "trials.jsonl").read_text(encoding="utf-8").splitlines()]
        more = (
            {**row, "trial": f"more{at}", "sequence": options.trials + at}
            for at, row in enumerate(many_rows(known, 999))
        )
        grow = growing(folder / "trials.jsonl", more, options.every)
        with served(folder) as (port, token, processes):
            idle = shares(processes, options.seconds / 2, None, grow)
            page = Page(port, token)
            start = cpu(processes)
            rows, size, first = page.poll()
            spent = sum(cpu(processes)) - sum(start)
            print(f"first answer: {rows:,} trials, {size / 1e6:.1f} MB, {first:.2f} s ({spent:.2f} s of CPU time)")
            seen = Page(port, token)
            _, _, second = seen.poll()
            while seen.poll()[0]:  # whether trials have the pattern's edges comes bit by bit
                pass
            _, little, quick = seen.poll()
            print(f"second page: {second:.2f} s; nothing new: {quick * 1000:.0f} ms, {little:,} bytes")
            busy = shares(processes, options.seconds, page, grow)
            for name, share, before, process in zip(("manager", "search"), busy, idle, processes, strict=True):
                memory = process.memory_info().rss / 1e6
                print(f"{name}: {share:.1%} of a core with a page open, {before:.1%} without; {memory:.0f} MB")
    costs = [share - before for share, before in zip(busy, idle, strict=True)]
    return int(first > FIRST_GOAL or max(costs) > CORE_GOAL)


if __name__ == "__main__":
    sys.exit(main())
