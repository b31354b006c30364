"""A stranger's project: a space of NNI that its Lightning Classification trains, on data that ``nni.trace`` wraps."""

import nni
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset


@nni.trace
class Digits(TensorDataset):
    def __init__(self, train):
        data = load_digits()
        images = torch.tensor(data.images[:, None] / 16, dtype=torch.float32)
        rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:800]
        rows = rows[:400] if train else rows[400:]
        super().__init__(images[rows], torch.tensor(data.target)[rows])


class LittleNet(ModelSpace):
    def __init__(self, hidden=64):
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.BatchNorm2d(1)
        self.act = LayerChoice([nn.ReLU(), nn.Tanh(), nn.Sigmoid()], label="act")
        self.layers = nn.ModuleList([nn.Linear(64, hidden), nn.Linear(hidden, 10)])

    def forward(self, x):
        return self.layers[1](self.act(self.layers[0](self.norm(x).flatten(1))))


def classification(**options):
    return Classification(
        train_dataloaders=DataLoader(Digits(train=True), batch_size=32, shuffle=True),
        val_dataloaders=DataLoader(Digits(train=False), batch_size=100),
        max_epochs=4,
        num_classes=10,
        learning_rate=0.01,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
        accelerator="cpu",
        **options,
    )
