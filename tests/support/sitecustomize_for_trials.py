"""Copied as sitecustomize.py into a folder of its own: trials start late, or die, before they ask for parameters."""

import os
import time

_sequence = os.environ.get("NNI_TRIAL_SEQ_ID")
if _sequence is not None:
    if _sequence in os.environ.get("TEST_CRASH", "").split(","):
        os._exit(3)
    if int(_sequence) % 2 == 0:
        # Even ones late: of each two that start together, the second asks first.
        time.sleep(float(os.environ.get("TEST_DELAY", "0")))
