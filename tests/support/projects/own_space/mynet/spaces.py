"""A space as a project has it: NNI's layers, arguments of its own, nothing of nni-privacy."""

import nni
from nni.mutable import ensure_frozen
from nni.nas.nn.pytorch import LayerChoice, ModelSpace, MutableLinear
from torch import nn


class Stack(ModelSpace):
    """Convolutions that are chosen, then a hidden layer whose width is."""

    def __init__(self, num_classes, in_channels=1, channels=8, layers=2, activations=("relu", "tanh")):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.layers = nn.Sequential(*(self.layer(number, channels) for number in range(layers)))
        kinds = {"relu": nn.ReLU, "tanh": nn.Tanh}
        self.activation = LayerChoice({name: kinds[name]() for name in activations}, label="activation")
        width = nni.choice("width", [16, 32])
        self.hidden = MutableLinear(channels, width)
        self.classifier = MutableLinear(width, num_classes)
        self.pool = ensure_frozen(self.add_mutable(nni.choice("pool", ["mean", "max"])))

    @staticmethod
    def layer(number, channels):
        kinds = {
            "conv": nn.Conv2d(channels, channels, 3, padding=1),
            "average": nn.AvgPool2d(3, 1, 1),
            "skip": nn.Identity(),
        }
        return LayerChoice(kinds, label=f"layer{number}")

    def forward(self, images):
        features = self.layers(self.stem(images))
        pooled = features.mean((2, 3)) if self.pool == "mean" else features.amax((2, 3))
        return self.classifier(self.activation(self.hidden(pooled)))


class Detailed(Stack):
    """A space whose network answers a mapping."""

    def __init__(self, num_classes, answer="logits"):
        super().__init__(num_classes)
        self.answer = answer

    def forward(self, images):
        return {"pooled": images.mean((2, 3)), self.answer: super().forward(images)}


class Nothing(ModelSpace):
    """A space without a choice."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)


class Wrong(ModelSpace):
    """A space whose network answers something else."""

    def __init__(self):
        super().__init__()
        self.layer = LayerChoice([nn.AvgPool2d(8), nn.MaxPool2d(8)], label="layer")

    def forward(self, images):
        return self.layer(images)


class Broken(ModelSpace):
    """A space that cannot be built."""

    def __init__(self, width=1):
        super().__init__()
        self.layer = nn.Linear(width, "ten")
