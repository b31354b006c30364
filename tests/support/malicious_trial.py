"""A trial of hyper-parameters that says, besides its result, what runs code where it is read as NNI reads it."""

import json
import os
from pathlib import Path

import nni
import requests
from attacker import THINGS, metric

chosen = nni.get_next_parameter()["x"]
chosen_id = int(os.environ["NNI_TRIAL_SEQ_ID"])
channel, me = os.environ["NNI_TRIAL_COMMAND_CHANNEL"], os.environ["NNI_TRIAL_JOB_ID"]
for kind, make in THINGS.items():
    thing = make(Path(os.environ["TEST_WORK"], f"pwned-{kind}"))
    assert requests.put(channel, json=metric(thing, me, number=chosen_id), timeout=20).status_code == 200
own = {"parameter_id": 0, "trial_job_id": me, "type": "FINAL", "sequence": 0, "value": "999"}
broken = '{"default": 0.5, "mia_auc": {"__fraction__": 1, "numerator": 1, "denominator": 0}}'
nonsense = (
    {**own, "parameter_id": 1 - chosen_id},  # for another trial
    {key: own[key] for key in own if key != "parameter_id"},
    {**own, "type": "REQUEST_PARAMETER"},
    {**own, "parameter_id": chosen_id, "value": broken},
    {**own, "parameter_id": chosen_id, "value": "nonsense"},
)
for said in nonsense if "TEST_NONSENSE" in os.environ else ():  # a tuner as published ends at it
    assert requests.put(channel, json={"type": "metric", "metric": json.dumps(said)}, timeout=20).ok
nni.report_final_result({"default": 0.9, "mia_auc": 0.61, "ran": str(chosen)})
