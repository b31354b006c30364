"""A stranger's project: a convolutional space of NNI, and a function that trains a network of it."""

import nni
import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace, MutableConv2d, MutableDropout, MutableLinear
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 6


def digits(train):
    data = load_digits()
    images = torch.tensor(data.images[:, None] / 16, dtype=torch.float32)
    rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:800]
    rows = rows[:400] if train else rows[400:]
    return TensorDataset(images[rows], torch.tensor(data.target)[rows])


def train_set():
    return digits(train=True)


def test_set():
    return digits(train=False)


class DigitNet(ModelSpace):
    def __init__(self):
        super().__init__()
        width = nni.choice("width", [8, 16])
        self.conv = MutableConv2d(1, width, 3, padding=1)
        self.act = LayerChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, label="act")
        self.dropout = MutableDropout(nni.choice("dropout", [0.0, 0.25]))
        self.fc = MutableLinear(width * 16, 10)

    def forward(self, x):
        x = functional.max_pool2d(self.act(self.conv(x)), 2)
        return self.fc(self.dropout(x.flatten(1)))


def accuracy_of(model, loader):
    model.eval()
    with torch.no_grad():
        right = sum(int((model(x).argmax(1) == y).sum()) for x, y in loader)
    return right / len(loader.dataset)


def train_model(model, learning_rate=0.01):
    torch.manual_seed(1)
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    train_loader = DataLoader(digits(train=True), batch_size=32, shuffle=True)
    test_loader = DataLoader(digits(train=False), batch_size=64)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for _ in range(EPOCHS):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        accuracy = accuracy_of(model, test_loader)
        nni.report_intermediate_result(accuracy)
    nni.report_final_result(accuracy)
