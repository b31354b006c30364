"""Run directories whose trials have models, without a training: the weights are as they were drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nni_privacy.auditing.model_record import GenotypeArchitecture, ModelRecord, model_file
from nni_privacy.cells.spaces import SPACES
from nni_privacy.runs.directory import RunDirectory
from nni_privacy.runs.records import TrialRecord

SIZES = {"channels": 4, "cells": 3, "in_channels": 1, "num_classes": 10}


def record_of(architecture: Any = None, **fields: Any) -> ModelRecord:
    """A record of a small network for digits; by default of a random one of the DARTS space."""
    if architecture is None:
        genotype = SPACES["darts"].sample(1, 0, {"nodes": 4})[0]
        architecture = GenotypeArchitecture(space="darts", genotype=str(genotype), sizes=SIZES)
    given = {"image_shape": (1, 8, 8), "image_type": "uint8", "num_classes": 10, "mean": (0.3,), "std": (0.4,)}
    given |= {"dataset": {"name": "digits"}, "recipe": {"epochs": 2, "dp": None}, "seed": 3}
    given |= {"attacks": ("black_box_partial", "loss_threshold"), "classes": tuple("0123456789")}
    return ModelRecord(architecture=architecture, **{**given, **fields})


def drawn_network(record: ModelRecord) -> nn.Module:
    """The network of a record with weights, means and variances that are all drawn."""
    torch.manual_seed(0)
    network = record.build()
    for name, value in network.state_dict().items():
        if value.ndim > 1:  # so that signals neither vanish nor explode
            nn.init.kaiming_normal_(value)
        elif name.endswith(("running_var", "weight")):
            value.uniform_(0.5, 1.5)
        elif value.is_floating_point():
            value.normal_(0.0, 0.2)
    return network.eval().to(memory_format=torch.channels_last)  # as training leaves it: the last bits depend on it


def made_run(
    folder: Path,
    trials: Mapping[str, tuple[float, float]],
    *,
    kept: Mapping[str, ModelRecord] | None = None,
    config: Mapping[str, Any] = {},
    **fields: Any,
) -> Path:
    """A run directory.

    Args:
        folder: a new one.
        trials: id to accuracy and AUC.
        kept: id to the record of its model; by default all trials have that of :func:`record_of`.
        config: what the configuration holds besides.
        **fields: of the trials' records.
    """
    run = RunDirectory(folder)
    search = {"search_space": {"name": "darts", **SIZES}, "strategy": {"name": "random"}, "keep": "front"}
    run.create({"name": "made", **search, **config}, {"seed": 3})
    for number, (trial, (accuracy, auc)) in enumerate(trials.items()):
        metrics = {"accuracy": accuracy, "mia_auc": auc, "mia_auc_low": auc - 0.05, "mia_auc_high": auc + 0.05}
        metrics |= {"mia_tpr_at_1pct_fpr": 0.02, "loss_threshold_mia_auc": 0.55}
        run.append(TrialRecord(trial, number, "succeeded", "G", metrics, 1.5, **fields))
    for trial, record in (dict.fromkeys(trials, record_of()) if kept is None else kept).items():
        run.models.save(trial, model_file(drawn_network(record), record))
    return folder
