"""An ordinary NNI experiment whose trials are audited; the web UI shows mia_auc beside the default metric.

python experiments/ordinary_nni/run.py [--trials 4] [--port 8080]
"""

import argparse
import sys
import threading
from pathlib import Path

from nni.experiment import Experiment

from nni_privacy import nni_runtime

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--trials", type=int, default=4)
parser.add_argument("--port", type=int, default=8080)
parser.add_argument("--exit-when-done", action="store_true")
options = parser.parse_args()

nni_runtime.install()  # the repaired manager: right pairing, 127.0.0.1 only, mia_auc as a column
experiment = Experiment("local")
experiment.config.experiment_name = "ordinary"
experiment.config.trial_command = f"{sys.executable} trial.py"
experiment.config.trial_code_directory = Path(__file__).parent
experiment.config.search_space = {
    "hidden": {"_type": "choice", "_value": [16, 64, 256]},
    "epochs": {"_type": "choice", "_value": [10, 40, 160]},
}
experiment.config.tuner.name = "Random"
experiment.config.max_trial_number = options.trials
experiment.config.trial_concurrency = 2
experiment.run(options.port)
for trial in experiment.list_trial_jobs():
    print(trial.trialJobId, trial.status, trial.finalMetricData[0].data if trial.finalMetricData else None)
try:
    if not options.exit_when_done:
        print(f"the web UI stays up at http://127.0.0.1:{options.port} until Ctrl-C")
        threading.Event().wait()
except KeyboardInterrupt:
    pass
finally:
    experiment.stop()
