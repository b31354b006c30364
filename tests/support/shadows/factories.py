"""Models for the tests of shadows; worker processes import them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from torch import nn


class Tiny(nn.Module):
    """A perceptron on 8x8 digits. Tests make it slow and have its trainings counted, through the environment."""

    def __init__(self, hidden=8, dropout=0.1):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.classifier = nn.Linear(hidden, 10)
        self.met = False

    def forward(self, images):
        if self.training and not self.met:
            self.met = True
            if "SHADOW_TEST_LOG" in os.environ:
                with Path(os.environ["SHADOW_TEST_LOG"]).open("a") as log:
                    log.write(f"{os.getpid()}\n")
            time.sleep(float(os.environ.get("SHADOW_TEST_SLEEP", "0")))
        return self.classifier(self.body(images))


def tiny(**arguments):
    print("factories may print")
    return Tiny(**arguments)


class Killed(Tiny):
    """Ends its process as the kernel does when there is no memory left."""

    def forward(self, images):
        if self.training:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)


class Exiting(Tiny):
    def forward(self, images):
        if self.training:
            os.write(2, b"the library said goodbye\n")
            os._exit(7)
        return super().forward(images)


class Raising(Tiny):
    def forward(self, images):
        raise ValueError("this layer does not like digits")


class OutOfMemory(Tiny):
    def forward(self, images):
        raise MemoryError


class Applied(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def extra_repr(self):
        return repr(self.function)

    def get_extra_state(self):
        return {"version": 1}

    def set_extra_state(self, state):
        pass


def with_function():
    return nn.Sequential(nn.Flatten(), Applied(lambda x: x), nn.Linear(64, 10))


def failing():
    raise KeyError("weights.pth")


def not_a_model():
    return 3
