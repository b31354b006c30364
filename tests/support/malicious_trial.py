"""A trial of hyper-parameters that says, besides its result, what runs code where it is read as NNI reads it."""

import os
from pathlib import Path

import nni
import requests
from attacker import THINGS, metric

chosen = nni.get_next_parameter()["x"]
channel, me = os.environ["NNI_TRIAL_COMMAND_CHANNEL"], os.environ["NNI_TRIAL_JOB_ID"]
for kind, make in THINGS.items():
    thing = make(Path(os.environ["TEST_WORK"], f"pwned-{kind}"))
    assert requests.put(channel, json=metric(thing, me), timeout=20).status_code == 200
nni.report_final_result({"default": 0.9, "mia_auc": 0.61, "ran": str(chosen)})
