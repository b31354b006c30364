"""A tuner of the project's own: halves the learning rate from trial to trial."""

from nni.tuner import Tuner


class Halves(Tuner):
    def __init__(self, optimize_mode):
        self.sign = {"maximize": 1, "minimize": -1}[optimize_mode]
        self.rate, self.results = 0.1, {}

    def update_search_space(self, search_space):
        self.units = search_space["units"]["_value"]

    def generate_parameters(self, parameter_id, **kwargs):
        self.rate /= 2
        return {"units": self.units[parameter_id % len(self.units)], "learning_rate": self.rate, "batch_size": 64}

    def receive_trial_result(self, parameter_id, parameters, value, **kwargs):
        self.results[parameter_id] = self.sign * (value["default"] if isinstance(value, dict) else value)
