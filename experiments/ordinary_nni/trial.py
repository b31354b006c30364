"""A trial of an ordinary NNI experiment (no NAS) that reports what an attack learns next to its accuracy."""

import nni
import torch
from sklearn.datasets import load_digits
from torch import nn

from nni_privacy import audit

parameters = {"hidden": 64, "epochs": 40, "learning_rate": 0.1} | (nni.get_next_parameter() or {})

digits = load_digits()
images = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
labels = torch.tensor(digits.target)
order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
members, others = order[:600], order[600:1200]

torch.manual_seed(0)
model = nn.Sequential(nn.Flatten(), nn.Linear(64, parameters["hidden"]), nn.ReLU(), nn.Linear(parameters["hidden"], 10))
optimizer = torch.optim.SGD(model.parameters(), lr=parameters["learning_rate"], momentum=0.9)
for _ in range(parameters["epochs"]):
    for batch in members.split(32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()

with torch.no_grad():
    accuracy = (model(images[others]).argmax(1) == labels[others]).float().mean().item()
report = audit(
    model, (images[members], labels[members]), (images[others], labels[others]), attacks=["white_box_partial"]
)
nni.report_final_result({"default": accuracy, **report.metrics()})
