from digits_lightning import LittleNet, classification
from nni.nas.experiment import NasExperiment
from nni.nas.strategy import GridSearch

evaluator = classification()
experiment = NasExperiment(LittleNet(), evaluator, GridSearch(shuffle=False))
experiment.config.max_trial_number = 2
experiment.config.trial_concurrency = 2

if __name__ == "__main__":
    experiment.run(port=8080)
    experiment.stop()
