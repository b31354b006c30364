from hub_training import train_model
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.experiment import NasExperiment
from nni.nas.hub.pytorch import NasBench201
from nni.nas.strategy import Random

from nni_privacy import AuditedEvaluator, nni_runtime
from nni_privacy.strategies import FixedPattern

nni_runtime.install()
strategy = FixedPattern(Random(seed=2), "demotion-normal", budget=2)
evaluator = AuditedEvaluator(FunctionalEvaluator(train_model), attacks="loss_threshold")
experiment = NasExperiment(NasBench201(stem_out_channels=4, num_modules_per_stack=1), evaluator, strategy)
experiment.config.max_trial_number = 2
experiment.config.trial_concurrency = 2

if __name__ == "__main__":
    experiment.run(port=8080)
    experiment.stop()
