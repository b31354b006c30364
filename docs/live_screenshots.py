"""Takes the README's pictures of the live page, as ``nni-privacy view DIR --no-token`` serves it while a run goes on.

python docs/live_screenshots.py [--port 8121] [--run 0] docs/images
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from support_browser import open_browser  # noqa: E402

SIZE = {"width": 1400, "height": 1130, "deviceScaleFactor": 1, "mobile": False}
PICTURES = {"live_page.png": ("light", ""), "live_trial.png": ("dark", "&trial={trial}")}
"""File, colour scheme, and what the address says besides the run."""

DRAWN = """const panel = document.querySelector('#panel[open]');
return panel ? [...panel.querySelectorAll('.cell img')].some(one => one.complete)
    : document.querySelector('.trials td') !== null"""
SECONDS_TO_DRAW = 3


def main() -> None:
    """Opens the page in either scheme, and saves what it looks like."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8121)
    parser.add_argument("--run", default="0", help="the run's key, as the address shows it")
    options = parser.parse_args()
    address = f"http://127.0.0.1:{options.port}/"
    with urllib.request.urlopen(f"{address}api/runs/{options.run}") as answer:  # noqa: S310 - of this machine
        trial = json.load(answer)["front"][0]
    for name, (scheme, more) in PICTURES.items():
        with tempfile.TemporaryDirectory() as folder, open_browser(Path(folder) / "profile") as driver:
            save(driver, f"{address}#run={options.run}{more.format(trial=trial)}", scheme, options.folder / name)


def save(driver: Any, address: str, scheme: str, picture: Path) -> None:
    """One picture."""
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", SIZE)
    wanted = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
    driver.get(address)
    while not driver.execute_script(DRAWN):
        time.sleep(0.2)
    time.sleep(SECONDS_TO_DRAW)
    if not driver.save_screenshot(str(picture)):
        sys.exit(f"cannot write {picture}")


if __name__ == "__main__":
    main()
