"""Takes the README's picture of the web UI of a running search.

python docs/screenshot.py [--port 8080] docs/images/web_ui.png
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from support_browser import open_browser  # noqa: E402

SIZE = (1500, 1060)
SECONDS_TO_DRAW = 4


def main() -> None:
    """Opens the page of all trials and saves what it looks like."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--tab", default="", help="the graph to open, e.g. Hyper-parameter")
    options = parser.parse_args()
    click = "[...document.querySelectorAll('[role=tab]')].find(tab => tab.innerText.includes(arguments[0])).click()"
    with tempfile.TemporaryDirectory() as folder, open_browser(Path(folder) / "profile") as driver:
        driver.set_window_size(*SIZE)
        driver.get(f"http://127.0.0.1:{options.port}/detail")
        time.sleep(SECONDS_TO_DRAW)
        if options.tab:
            driver.execute_script(click, options.tab)
            time.sleep(SECONDS_TO_DRAW)
        if not driver.save_screenshot(str(options.picture)):
            sys.exit(f"cannot write {options.picture}")


if __name__ == "__main__":
    main()
