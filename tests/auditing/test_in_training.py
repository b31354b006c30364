"""Audits that go along with a training: where records come from, what an epoch and the end tell, and no trace of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Subset, SubsetRandomSampler, TensorDataset

from nni_privacy import AuditCallback, audit
from nni_privacy.auditing.in_training import AttackSettings, TrainingAudit, monitored_records, shadow_options
from nni_privacy.auditing.loader_watch import LoaderWatch
from nni_privacy.auditing.shadows import ModelSpec, ShadowOptions
from nni_privacy.auditing.sources import read_records
from nni_privacy.errors import AuditError, ConfigError

COUNT = 200


def records(seed: int, count: int = COUNT) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(count, 6, generator=generator), torch.randint(3, (count,), generator=generator))


class Remembering(Dataset):
    """Which records it was asked for."""

    def __init__(self) -> None:
        self.inner, self.asked = records(0), set()

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> Any:
        self.asked.add(index)
        return self.inner[index]


class Rows:
    """What Hugging Face's data sets look like: a length, and a mapping for each record."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> dict[str, Any]:
        inputs, label = records(0)[index]
        return {"values": inputs, "label": label}


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))


def fitted(epochs: int = 30) -> nn.Module:
    model, (inputs, labels) = mlp(), records(0).tensors
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(epochs):
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model


def states() -> tuple[Any, ...]:
    generators = np.random.get_state(legacy=True)  # noqa: NPY002 - the global one is meant
    return random.getstate(), generators[1].tobytes(), torch.get_rng_state().numpy().tobytes()


SOURCES = {
    "pair": lambda: records(0).tensors,
    "data set": lambda: records(0),
    "shuffled loader": lambda: DataLoader(records(0), batch_size=7, shuffle=True),
    "function": lambda: lambda: DataLoader(records(0), batch_size=7),
    "rows": Rows,
    "loader of rows": lambda: DataLoader(Rows(), batch_size=16, shuffle=True),
    "list of loaders": lambda: [DataLoader(Subset(records(0), range(a, a + 100)), batch_size=9) for a in (0, 100)],
}


@pytest.mark.parametrize("name", SOURCES)
def test_records_are_read_from_wherever_they_are_in_their_order(name: str) -> None:
    before, (inputs, labels) = states(), records(0).tensors
    found = read_records("members", SOURCES[name](), scaled=True)
    assert torch.equal(found.inputs.tensors[0], inputs) and torch.equal(found.labels, labels)
    assert found.places.tolist() == list(range(COUNT)) and states() == before
    some = read_records("members", SOURCES[name](), scaled=True, limit=30, seed=4)
    assert torch.equal(some.inputs.tensors[0], inputs[some.places]) and torch.equal(some.labels, labels[some.places])
    assert len(set(some.places)) == 30 and states() == before


def test_of_a_limited_data_set_only_what_is_drawn_is_loaded() -> None:
    for wrap in (lambda data: data, lambda data: DataLoader(data, batch_size=8, shuffle=True)):
        data = Remembering()
        found = read_records("members", wrap(data), scaled=True, limit=25, seed=1)
        assert data.asked == set(found.places.tolist()) and len(found) == 25


def test_a_loader_with_generators_of_its_own_goes_on_as_if_it_had_not_been_read() -> None:
    def loader() -> DataLoader:
        sampler = SubsetRandomSampler(range(50, 120), generator=torch.Generator().manual_seed(1))
        return DataLoader(records(0), batch_size=5, sampler=sampler, generator=torch.Generator().manual_seed(2))

    read = loader()
    found = read_records("members", read, scaled=True)
    assert sorted(map(tuple, found.inputs.tensors[0].tolist())) == sorted(map(tuple, records(0)[50:120][0].tolist()))
    for (ours, _), (theirs, _) in zip(read, loader(), strict=True):
        assert torch.equal(ours, theirs)


def test_loaders_are_told_apart_by_what_happens_to_the_weights() -> None:
    model, (train, test) = mlp(), (records(0), records(1))
    watch = LoaderWatch(lambda: [parameter.sum().item() for parameter in model.parameters()])

    def step(loader: DataLoader, *, learn: bool) -> Iterator[None]:
        for inputs, labels in loader:
            loss = functional.cross_entropy(model(inputs), labels)
            if learn:
                model.zero_grad()
                loss.backward()
                for parameter in model.parameters():
                    parameter.data -= 0.01 * parameter.grad
            yield

    with watch.watching():
        next(iter(DataLoader(train)))  # a look at the first record is no training
        assert watch.found("members") is None
        for _ in range(2):
            learning = step(DataLoader(train, batch_size=50, shuffle=True), learn=True)
            next(learning)
            assert [found.dataset for found in watch.found("members") or []] == [train]  # in the middle of an epoch
            for _ in step(DataLoader(test, batch_size=50), learn=False):
                pass
            list(learning)
            list(step(DataLoader(train, batch_size=10), learn=False))  # the accuracy on the training data
    assert [found.dataset for found in watch.found("members") or []] == [train]
    assert [found.dataset for found in watch.found("nonmembers") or []] == [test]
    assert len(list(DataLoader(train, batch_size=50))) == 4 and len(watch.found("members") or []) == 1


def test_an_epochs_auc_is_that_of_the_losses_and_leaves_the_model_as_it_was() -> None:
    model, (members, others) = fitted(), (records(0), records(1))
    watching = TrainingAudit(members, others, AttackSettings(monitored=COUNT))
    model.train()
    model[1].eval()
    before, modes = states(), [module.training for module in model.modules()]
    auc = watching.after_epoch(model)
    assert states() == before and [module.training for module in model.modules()] == modes
    model.eval()
    with torch.no_grad():
        losses = [
            functional.cross_entropy(model(side[:][0]), side[:][1], reduction="none") for side in (members, others)
        ]
    truth = roc_auc_score(np.repeat([1, 0], COUNT), -torch.cat(losses).numpy())
    assert auc == pytest.approx(truth, abs=1e-4) and truth > 0.6


@pytest.mark.parametrize("attacks", [["loss_threshold"], ["white_box_partial", "gap", "black_box_partial"]])
def test_its_end_is_the_audit_of_the_same_records(attacks: list[str]) -> None:
    model, (members, others) = fitted(), (records(0), records(1))
    before = states()
    report = TrainingAudit(DataLoader(members, 9, shuffle=True), others, AttackSettings(attacks=tuple(attacks))).finish(
        model
    )
    assert report.metrics() == audit(model, members.tensors, others.tensors, attacks=attacks).metrics()
    assert states() == before
    limited = TrainingAudit(members, others, AttackSettings(limit=50)).finish(model)
    assert len(limited.signals) == 100 and limited.record_index.max() > 50


def test_losses_of_epochs_make_a_trace() -> None:
    model, (members, others) = mlp(), (records(0), records(1))
    watching = TrainingAudit(members, others, AttackSettings(attacks=("lt_iqr",), monitored=0))
    losses = []
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(8):
        model.train()
        optimizer.zero_grad()
        functional.cross_entropy(model(members[:][0]), members[:][1]).backward()
        optimizer.step()
        assert watching.after_epoch(model) is None
        model.eval()
        with torch.no_grad():
            sides = [
                functional.cross_entropy(model(one[:][0]), one[:][1], reduction="none") for one in (members, others)
            ]
        losses.append(torch.cat(sides).numpy())
    trace = np.stack([losses[1], losses[3], losses[5]])  # four epochs of eight, the last being the audit's own
    told = audit(model, members.tensors, others.tensors, attacks="lt_iqr", loss_trace=trace)
    assert watching.finish(model).metrics()["mia_auc"] == pytest.approx(told.metrics()["mia_auc"], abs=1e-4)


def test_shadow_models_are_trained_where_they_are_told_of() -> None:
    model, (members, others) = fitted(), (records(0), records(1))
    told = {"recipe": {"epochs": 2}, "count": 2, "cache": False, "train": DataLoader(records(2), 10)}
    shadow = shadow_options({**told, "model": mlp})
    found = TrainingAudit(members, others, AttackSettings(attacks=("rmia",))).finish(model, shadow=shadow)
    options = ShadowOptions(**{**told, "train": records(2).tensors}, model=ModelSpec(mlp))
    by_hand = audit(model, members.tensors, others.tensors, attacks="rmia", shadow=options)
    assert found.metrics() == by_hand.metrics()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attacks": ["los_threshold"]}, "did you mean 'loss_threshold'"),
        ({"attacks": []}, "attacks"),
        ({"attacks": ["gap", "gap"]}, "named twice"),
        ({"limit": 3}, "limit: 3"),
        ({"monitored": -1}, "monitored: -1"),
        ({"monitor": 1}, "unknown key 'monitor': did you mean 'monitored'?"),
        ({"attacks": ["lira"]}, "'lira' needs shadow models: give shadow="),
        ({"attacks": ["lira"], "shadow": {"recipe": {}, "count": 1}}, "shadow.count: 1"),
        ({"shadow": {"count": 4}}, "shadow.recipe: missing"),
        ({"outputs": "scores"}, "outputs: 'scores'"),
    ],
)
def test_a_mistake_is_told_in_one_line_before_anything_is_trained(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        AuditCallback(**options)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("members", "others", "said"),
    [
        (records(0), records(0, 100), "share 0 records"),
        (records(0, 10), records(1), "10 members and 200 non-members"),
        (torch.ones(3), records(1), "members is a Tensor"),
        (
            records(0),
            [DataLoader(records(1)), DataLoader(TensorDataset(torch.ones(3, 2), torch.ones(3).long()))],
            "differ",
        ),
    ],
)
def test_records_that_cannot_be_audited_are_refused(members: Any, others: Any, said: str) -> None:
    if "share" in said:
        others, said = Subset(members, range(30)), "share 30 records (of 200 and 30)"
    with pytest.raises(AuditError) as error:
        TrainingAudit(members, others, AttackSettings())
    assert said in str(error.value) and "\n" not in str(error.value)


def test_an_epoch_is_measured_on_a_quarter_within_limits() -> None:
    assert [monitored_records(count) for count in (20, 1000, 100_000)] == [128, 250, 1024]


class Plain(pl.LightningModule):
    """A LightningModule as anybody writes one."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.net(inputs)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.02)


def train(*callbacks: Any, train: Any = None, val: Any = None, **options: Any) -> tuple[Plain, pl.Trainer]:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = pl.Trainer(max_epochs=5, accelerator="cpu", callbacks=list(callbacks), **{**quiet, **options})
    module = Plain()
    torch.manual_seed(7)
    trainer.fit(module, train or DataLoader(records(0), 20, shuffle=True), val or DataLoader(records(1), 50))
    return module, trainer


class Curve(pl.Callback):
    """What other callbacks see of each epoch."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch:
            self.seen.append(float(trainer.callback_metrics["loss_threshold_mia_auc"]))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_callback_audits_what_lightning_trains_and_changes_nothing_of_it() -> None:
    without, _ = train()
    callback, curve = AuditCallback(attacks=["loss_threshold", "black_box_partial"]), Curve()
    module, trainer = train(callback, curve)
    for ours, theirs in zip(module.parameters(), without.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    told = audit(without, records(0).tensors, records(1).tensors, attacks=["loss_threshold", "black_box_partial"])
    assert callback.report is not None and callback.report.metrics() == told.metrics()
    assert float(trainer.callback_metrics["mia_auc"]) == pytest.approx(told.metrics()["mia_auc"])
    assert len(curve.seen) == 4 and len(set(curve.seen)) > 1
    late = AuditCallback(attacks=["loss_threshold", "black_box_partial"])
    rarely, _ = train(late, check_val_every_n_epoch=4, num_sanity_val_steps=0)  # what is validated is known only then
    again = audit(rarely, records(0).tensors, records(1).tensors, attacks=["loss_threshold", "black_box_partial"])
    assert late.report is not None and late.report.metrics() == again.metrics()
    inside = AuditCallback(records(0), lambda: records(1), network="net", attacks="loss_threshold")
    train(inside)
    assert inside.report is not None and inside.report.metrics()["mia_auc"] == told.metrics()["mia_auc"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_training_that_cannot_be_audited_ends_before_it_begins() -> None:
    callback = AuditCallback(nonmembers=DataLoader(records(0), 20))
    with pytest.raises(AuditError, match="share 200"):
        train(callback)
    with pytest.raises(ConfigError, match="nonmembers: the trainer has no validation loader: give nonmembers="):
        train(AuditCallback(), limit_val_batches=0)
    with pytest.raises(ConfigError, match=r"network: 'nett'; Plain has no torch\.nn\.Module"):
        train(AuditCallback(network="nett"))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_batches_that_a_trainer_leaves_out_are_told(caplog: pytest.LogCaptureFixture) -> None:
    train(AuditCallback(), limit_train_batches=0.5)
    assert "unsure members: by limit_train_batches=0.5" in caplog.text
    caplog.clear()
    train(AuditCallback(members=records(0)), limit_train_batches=0.5)
    assert "unsure members" not in caplog.text
