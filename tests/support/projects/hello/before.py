from digits_project import DigitNet, train_model
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.experiment import NasExperiment
from nni.nas.strategy import Random

evaluator = FunctionalEvaluator(train_model)
experiment = NasExperiment(DigitNet(), evaluator, Random(seed=3))
experiment.config.max_trial_number = 2
experiment.config.trial_concurrency = 2

if __name__ == "__main__":
    experiment.run(port=8080)
    experiment.stop()
