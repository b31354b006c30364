"""The command line as ``python -m nni_privacy``."""

from __future__ import annotations

import sys

from nni_privacy.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
