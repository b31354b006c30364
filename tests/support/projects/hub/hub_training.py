"""A stranger's project: a function that trains a network of a space of NNI's hub on digits of three channels."""

import nni
import torch
from sklearn.datasets import load_digits
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 12


def digits(train):
    data = load_digits()
    images = torch.tensor(data.images[:, None] / 16, dtype=torch.float32).repeat(1, 3, 1, 1)
    rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))[:600]
    rows = rows[:300] if train else rows[300:]
    return TensorDataset(images[rows], torch.tensor(data.target)[rows])


def train_model(model):
    torch.manual_seed(0)
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    train, test = DataLoader(digits(train=True), batch_size=50), DataLoader(digits(train=False), batch_size=300)
    accuracy = 0.0
    for _ in range(EPOCHS):
        model.train()
        for images, labels in train:
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            accuracy = sum(float((model(x).argmax(1) == y).float().mean()) for x, y in test)
        nni.report_intermediate_result(accuracy)
    nni.report_final_result(accuracy)
