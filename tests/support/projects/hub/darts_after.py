from hub_training import train_model
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.experiment import NasExperiment
from nni.nas.hub.pytorch import DARTS
from nni.nas.strategy import RegularizedEvolution

from nni_privacy import AuditedEvaluator, nni_runtime

nni_runtime.install()
evaluator = AuditedEvaluator(FunctionalEvaluator(train_model), attacks="loss_threshold")
strategy = RegularizedEvolution(population_size=2, sample_size=2, seed=1)
experiment = NasExperiment(DARTS(width=4, num_cells=3), evaluator, strategy)
experiment.config.max_trial_number = 2
experiment.config.trial_concurrency = 2

if __name__ == "__main__":
    experiment.run(port=8080)
    experiment.stop()
