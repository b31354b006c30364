"""The table of kinds of records and of models, each audited end to end; and what cannot be, in one line."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import any_models
import numpy as np
import pytest
import torch
from any_models import CLASSES, LENGTH, VOCABULARY, WIDTH
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler, TensorDataset

from nni_privacy import Recipe, audit
from nni_privacy.auditing.audit import AuditReport
from nni_privacy.auditing.forward import extract_signals
from nni_privacy.auditing.options import Effort
from nni_privacy.auditing.records import RecordsWarning
from nni_privacy.auditing.shadows import ModelSpec, ShadowOptions
from nni_privacy.data import Inputs, Normalizer
from nni_privacy.errors import AuditError, PrivacyError
from nni_privacy.training.fit import fit, seed_everything

N = 30
DRAWN = torch.Generator().manual_seed(0)
TABLE = torch.randn(4 * N, WIDTH, generator=DRAWN)
IDS = torch.randint(0, VOCABULARY, (4 * N,), generator=DRAWN)
TOKENS = torch.randint(0, VOCABULARY, (4 * N, LENGTH), generator=DRAWN)
MASK = torch.rand(4 * N, LENGTH, generator=DRAWN) < 0.8
SERIES = torch.randn(4 * N, 2, 7, generator=DRAWN)
IMAGES = torch.randint(0, 256, (4 * N, 3, 32, 32), generator=DRAWN, dtype=torch.uint8)
LABELS = torch.arange(4 * N) % CLASSES
BINARY = torch.arange(4 * N) % 2
QUICK = ("loss_threshold", "gap", "lira", "rmia")
LEARNING = ("black_box_partial", "white_box_partial", "white_box_shadow")
MOVING = ("label_only", "black_box_shadow")


@dataclass(frozen=True)
class Kind:
    """A row of the table: a model, its records, and what it answers, asked without us."""

    build: str
    inputs: Any
    ask: Callable[[Any, Any], Tensor] = lambda model, x: model(x)
    labels: Tensor = LABELS
    outputs: str = "logits"
    wrap: Callable[[nn.Module], Any] = lambda model: model
    attacks: tuple[str, ...] = QUICK
    tolerance: float = 1e-6
    needs: str = "torch"


def scripted(model: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(model)


def exported(model: nn.Module) -> torch.export.ExportedProgram:
    return torch.export.export(model.eval(), (TABLE[:8],), dynamic_shapes=({0: torch.export.Dim("batch")},))


KINDS = {
    "table": Kind("mlp", TABLE, attacks=(*QUICK, *LEARNING, *MOVING)),
    "series": Kind("series", SERIES, attacks=(*QUICK, *MOVING)),
    "tokens, LSTM": Kind("TokenLSTM", TOKENS),
    "tokens of 32 bits": Kind("TokenLSTM", TOKENS.int().numpy(), lambda model, x: model(torch.from_numpy(x))),
    "transformers": Kind(
        "transformer",
        {"input_ids": TOKENS, "attention_mask": torch.ones_like(TOKENS)},
        lambda model, x: model(**x).logits,
        needs="transformers",
    ),
    "object with logits, by name": Kind(
        "Masked", {"attention_mask": MASK, "input_ids": TOKENS}, lambda model, x: model(**x).logits
    ),
    "two inputs": Kind("TwoInputs", (TABLE, IDS), lambda model, x: model(*x)),
    "mapping": Kind("TwoInputs", {"ids": IDS, "table": TABLE}, lambda model, x: model(**x)),
    "dictionary in and out": Kind("OfDictionary", {"table": TABLE, "ids": IDS}, lambda model, x: model(x)["logits"]),
    "one logit": Kind("OneLogit", TABLE, labels=BINARY),
    "one logit in a column": Kind("one_column", TABLE, labels=BINARY),
    "probabilities": Kind("probabilities", TABLE, outputs="probabilities"),
    "one probability": Kind("one_probability", TABLE, labels=BINARY, outputs="probabilities"),
    "float16": Kind("half_mlp", TABLE, lambda model, x: model(x.half()), tolerance=2e-3),
    "bfloat16": Kind("bfloat16_mlp", TABLE, lambda model, x: model(x.bfloat16()), tolerance=2e-2),
    "float64": Kind("double_mlp", TABLE, lambda model, x: model(x.double())),
    "TorchScript": Kind("mlp", TABLE, wrap=scripted, attacks=(*QUICK, "label_only")),
    "frozen TorchScript": Kind("mlp", TABLE, wrap=lambda model: torch.jit.freeze(scripted(model.eval()))),
    "exported program": Kind("mlp", TABLE, lambda model, x: model.module()(x), wrap=exported),
    "timm": Kind("images", IMAGES, lambda model, x: model(x / 255), attacks=("loss_threshold", "lira"),
                 tolerance=1e-4),
}  # fmt: skip


def part(values: Any, rows: slice) -> Any:
    if isinstance(values, dict):
        return {name: value[rows] for name, value in values.items()}
    return tuple(value[rows] for value in values) if isinstance(values, tuple) else values[rows]


def side(kind: Kind, number: int) -> tuple[Any, Tensor]:
    rows = slice(number * N, (number + 1) * N)
    return part(kind.inputs, rows), kind.labels[rows]


def shadows(kind: Kind, **options: Any) -> ShadowOptions:
    recipe = Recipe(epochs=1, batch_size=30)
    spec = ModelSpec(f"any_models:{kind.build}")
    train, test = side(kind, 2), side(kind, 3)
    return ShadowOptions(recipe=recipe, model=spec, count=4, train=train, test=test, **({"cache": False} | options))


def built(kind: Kind) -> Any:
    pytest.importorskip(kind.needs, reason=f"{kind.needs} is not installed")
    seed_everything(0)
    return kind.wrap(getattr(any_models, kind.build)().eval())


def attacked(kind: Kind, model: Any, **options: Any) -> AuditReport:
    effort = Effort(boundary_records=4, boundary_queries=20)
    options = {"attacks": kind.attacks, "effort": effort, "outputs": kind.outputs, "shadow": shadows(kind)} | options
    return audit(model, side(kind, 0), side(kind, 1), device="cpu", **options)


def probabilities_of(kind: Kind, answers: Tensor) -> Tensor:
    """What the answers say of each class, by the textbook."""
    answers = answers.double().reshape(len(answers), -1)
    if kind.outputs == "logits":
        answers = answers.softmax(1) if answers.shape[1] > 1 else answers.sigmoid()
    return answers if answers.shape[1] > 1 else torch.cat([1 - answers, answers], dim=1)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_audited_end_to_end(name: str) -> None:
    kind = KINDS[name]
    model = built(kind)
    report = attacked(kind, model)
    with torch.no_grad():
        expected = probabilities_of(kind, kind.ask(model, part(kind.inputs, slice(2 * N)))).numpy()
    assert np.allclose(report.signals.posteriors, expected, atol=kind.tolerance)
    assert report.signals.num_classes == (2 if kind.labels is BINARY else CLASSES)
    assert list(report.attacks) == list(kind.attacks)
    for attack in report.attacks.values():
        assert np.isfinite(attack.scores).all() and 0 <= attack.metrics["mia_auc"] <= 1
    references = report.signals.shadows
    assert references is not None and references.logits.shape[1:] == (4, references.views, expected.shape[1])
    assert references.views == 1
    assert references.target_population_logits is not None and len(references.target_population_logits) == 2 * N


@pytest.mark.parametrize("name", ["tokens, LSTM", "two inputs", "mapping", "dictionary in and out", "one logit",
                                  "probabilities", "one probability"])  # fmt: skip
def test_gradients_are_those_of_autograd(name: str) -> None:
    kind = KINDS[name]
    model = built(kind)
    inputs, labels = part(kind.inputs, slice(8)), kind.labels[:8]
    asked = {"device": "cpu", "gradients": True, "outputs": kind.outputs}
    found = extract_signals(model, inputs, labels, np.arange(8) < 4, **asked).weight_gradients(np.arange(4))
    weight = [value for value in model.parameters() if value.ndim == 2][-1]
    for row in range(4):
        answers = kind.ask(model, part(kind.inputs, slice(row, row + 1))).reshape(1, -1)
        truth = kind.labels[row : row + 1]
        if kind.labels is BINARY:
            shares = answers if kind.outputs == "probabilities" else answers.sigmoid()
            loss = nn.functional.binary_cross_entropy(shares[0], truth.float())
        elif kind.outputs == "probabilities":
            loss = -answers[0, truth].log().sum()
        else:
            loss = nn.functional.cross_entropy(answers, truth)
        (expected,) = torch.autograd.grad(loss, weight)
        # One logit is the difference of two: class 1's gradient is that of its weight.
        gradient = found[row].reshape(-1)[-expected.numel() :]
        np.testing.assert_allclose(gradient, expected.flatten(), atol=1e-5)


@dataclass
class Items(Dataset):
    """A data set of dictionaries, as the transformers library has them."""

    rows: range
    seen: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, Any]:
        self.seen.append(place)
        row = self.rows[place]
        return {"table": TABLE[row].numpy(), "ids": int(IDS[row]), "labels": int(LABELS[row])}


def loaded(rows: range) -> dict[str, Any]:
    table, ids, labels = (values[rows.start : rows.stop] for values in (TABLE, IDS, LABELS))
    tensors = TensorDataset(table, ids, labels)
    return {
        "data set of tensors": tensors,
        "data set of dictionaries": Items(rows),
        "shuffled loader": DataLoader(tensors, batch_size=7, shuffle=True),
        "loader of dictionaries": DataLoader(Items(rows), batch_size=7, shuffle=True),
        "mapping with labels": {"ids": ids, "table": table, "label": labels},
        "arrays": ((table.numpy(), ids.numpy()), labels.numpy()),
        "lists": ([table, ids], labels.tolist()),
        "inputs": (Inputs((table, ids)), labels),
    }


@pytest.mark.parametrize("way", list(loaded(range(N))))
def test_records_come_in_whatever_holds_them_in_their_order(way: str) -> None:
    kind = KINDS["two inputs"]
    model = built(kind)
    expected = attacked(kind, model, attacks="loss_threshold").signals
    sides = [loaded(range(start, start + N))[way] for start in (0, N)]
    found = audit(model, *sides, attacks="loss_threshold", device="cpu").signals
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-6)


def test_a_loader_of_a_part_gives_that_part() -> None:
    model, data = built(KINDS["table"]), TensorDataset(TABLE, LABELS)
    sides = [DataLoader(data, 8, sampler=SubsetRandomSampler(range(start, start + 20))) for start in (0, N)]
    signals = audit(model, *sides, attacks="loss_threshold", device="cpu").signals
    assert len(signals) == 40 and sorted(signals.labels[:20]) == sorted(LABELS[:20].tolist())


def test_a_table_is_normalised_by_its_columns_and_shadows_by_their_own() -> None:
    kind = KINDS["table"]
    table = TABLE * torch.tensor([1.0, 10, 100, 1000, 0]) + 5
    scaled, model = Kind("mlp", table, attacks=("rmia",)), built(kind)
    normalize = Normalizer.fit(table[:N])
    assert np.allclose(normalize.mean, table[:N].double().mean(0), rtol=1e-6) and normalize.std[-1] == 1
    found = attacked(scaled, model, normalize=normalize).signals
    with torch.no_grad():
        expected = model((table[: 2 * N] - torch.tensor(normalize.mean)) / torch.tensor(normalize.std))
    np.testing.assert_allclose(found.logits, expected, atol=1e-5)
    assert found.shadows is not None and np.abs(found.shadows.logits).max() < 50


def test_several_inputs_go_through_a_function_of_ones_own() -> None:
    kind = KINDS["mapping"]
    model = built(kind)

    def halved(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**batch, "table": batch["table"] / 2}

    found = attacked(kind, model, attacks="gap", shadow=None, normalize=halved).signals
    with torch.no_grad():
        expected = model(TABLE[: 2 * N] / 2, IDS[: 2 * N])
    np.testing.assert_allclose(found.logits, expected, atol=1e-6)


def test_records_that_both_sides_have_are_counted_in_all_their_parts() -> None:
    model = built(KINDS["two inputs"])
    first, second = ((TABLE[:N], IDS[:N]), LABELS[:N]), ((TABLE[:N], (IDS[:N] + 1) % VOCABULARY), LABELS[:N])
    assert audit(model, first, second, attacks="gap", device="cpu").shared == 0
    with pytest.raises(AuditError, match=rf"share {N} records"):
        audit(model, first, first, attacks="gap", device="cpu")


def test_a_leak_that_is_planted_in_a_table_is_found() -> None:
    """Labels are noise: a network that was trained on them has learned its members."""
    generator = torch.Generator().manual_seed(1)
    table, labels = torch.randn(320, WIDTH, generator=generator), torch.randint(0, 3, (320,), generator=generator)
    recipe = Recipe(epochs=60, batch_size=32, learning_rate=0.1)
    members, others = ((table[rows], labels[rows]) for rows in (slice(160), slice(160, None)))
    seed_everything(0)
    model = any_models.wide_mlp()
    fit(model, *members, recipe=recipe, seed=0, device="cpu")
    shadow = ShadowOptions(recipe=recipe, model=ModelSpec("any_models:wide_mlp"), count=4, cache=False)
    report = audit(model, members, others, attacks=["lira", "rmia", "loss_threshold"], shadow=shadow, device="cpu")
    for name, attack in report.attacks.items():
        assert attack.metrics["mia_auc_low"] > 0.6, name
    null = audit(model, others, (table[160:] + 0.01, labels[160:]), attacks="loss_threshold", device="cpu")
    assert null.metrics()["mia_auc_low"] < 0.5 < null.metrics()["mia_auc_high"]


class Returning(nn.Module):
    """Answers a table by a function of it."""

    def __init__(self, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, table: Tensor) -> Any:
        return self.answer(table)


def of_table(model: Any, **options: Any) -> Callable[[], AuditReport]:
    return lambda: audit(model, (TABLE[:N], LABELS[:N]), (TABLE[N : 2 * N], LABELS[N : 2 * N]), **options)


def of(build: str, first: Any, second: Any, *, labels: Tensor = LABELS, **options: Any) -> Callable[[], AuditReport]:
    pairs = (first, labels[:N]), (second, labels[N : 2 * N])
    return lambda: audit(getattr(any_models, build)(), *pairs, **({"attacks": "gap"} | options))


HALVES = slice(N), slice(N, 2 * N)
TOKEN_SIDES, TABLE_SIDES = [TOKENS[rows] for rows in HALVES], [TABLE[rows] for rows in HALVES]
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a list": (of_table(Returning(lambda x: [x, x])), "returned a list, expected one tensor of logits"),
    "a dictionary without logits": (of_table(Returning(lambda x: {"out": x})), "returned a dict with 'out', expected"),
    "answers of tokens": (of_table(Returning(lambda x: x[:, None])), r"shape \(60, 1, 5\) for 60 records"),
    "classes": (of_table(Returning(lambda x: x.argmax(1))), r"returned torch.int64 of shape \(60, 1\)"),
    "NaN": (of_table(Returning(lambda x: x / 0 * 0)), "logits of 60 of 60 records are NaN or infinite"),
    "labels out of range": (of("mlp", *TABLE_SIDES, labels=LABELS + 1), "labels run from 1 to 3, .* classes 0..2"),
    "labels beyond two": (of("OneLogit", *TABLE_SIDES), "labels run from 0 to 2, .* classes 0..1"),
    "no probabilities": (of_table(Returning(lambda x: x), outputs="probabilities"), "outputs: 'probabilities', but"),
    "unknown outputs": (of_table(Returning(lambda x: x), outputs="probability"), "did you mean 'probabilities'"),
    "an estimator": (of_table(SimpleNamespace()), "model is a SimpleNamespace, expected a torch.nn.Module"),
    "ids for numbers": (of("mlp", *TOKEN_SIDES), r"fails on torch.int64 records \(60, 6\): .*; integers are ids here"),
    "numbers for ids": (of("TokenLSTM", *TABLE_SIDES), r"fails on torch.float32 records \(60, 5\): RuntimeError: "),
    "ids beyond the vocabulary": (of("TokenLSTM", TOKENS[:N] + 9, TOKENS[N : 2 * N]), "IndexError: index out of range"),
    "too few inputs": (of("TwoInputs", *TABLE_SIDES), r"takes \(table: .*, ids: .*\), but is given torch.float32"),
    "too many": (
        of("TokenLSTM", (TOKENS[:N], IDS[:N], IDS[:N]), (TOKENS[N : 2 * N], IDS[N : 2 * N], IDS[N : 2 * N])),
        r"fails on records \(0: torch.int64 \(60, 6\), 1: torch.int64 \(60,\), .*TypeError",
    ),
    "other names": (
        of("TwoInputs", {"table": TABLE[:N], "id": IDS[:N]}, {"table": TABLE[N : 2 * N], "id": IDS[N : 2 * N]}),
        r"takes \(table: .*, ids: .*\), but is given records \(table: .*, id: ",
    ),
    "lengths": (of("TwoInputs", (TABLE[:N], IDS[:9]), (TABLE[:N], IDS[:N])), "members: .*same first dimension"),
    "lengths of labels": (of("mlp", TABLE[:9], TABLE[:N]), r"members: records \(9, 5\), labels \(30,\)"),
    "columns": (of("mlp", TABLE[:N], TABLE[:N, :4]), "records of members and nonmembers differ in shape or type"),
    "names on one side": (
        of("TwoInputs", {"table": TABLE[:N], "ids": IDS[:N]}, (TABLE[:N], IDS[:N])),
        "differ in shape or type",
    ),
    "ragged": (of("TokenLSTM", [[1, 2], [3]], TOKENS[:N]), "members: expected tensors or arrays of numbers, all"),
    "text": (of("TwoInputs", {"table": TABLE[:N], "ids": ["a"] * N}, TABLE[:N]), "members: expected tensors or arrays"),
    "sparse": (of("mlp", TABLE[:N].to_sparse(), TABLE[:N]), "members: expected dense tensors"),
    "NaN in one input": (of("TwoInputs", (TABLE[:N] / 0, IDS[:N]), TABLE[:N]), "members: values of '0' contain NaN"),
    "no labels": (lambda: audit(any_models.mlp(), {"table": TABLE}, {}), "members: found table: expected inputs and"),
    "no records": (lambda: audit(any_models.mlp(), DataLoader([]), {}), "members: there are no records"),
    "items that are no numbers": (
        lambda: audit(any_models.mlp(), DataLoader([({1}, 0)]), {}),
        "members: the records cannot be loaded: TypeError",
    ),
    "views of a table": (
        of("mlp", *TABLE_SIDES, attacks=["label_only_augmentation"]),
        r"'label_only_augmentation' needs images \(n, C, H, W\), which it augments; these are torch.float32 records",
    ),
    "distances of tokens": (of("TokenLSTM", *TOKEN_SIDES, attacks="label_only"), "'label_only' needs one tensor of"),
    "a small CNN for tokens": (
        of("TokenLSTM", *TOKEN_SIDES, attacks="black_box_shadow"),
        "'black_box_shadow' needs one tensor of floats",
    ),
    "no factory": (
        of_table(any_models.mlp(), attacks="lira", shadow=ShadowOptions(recipe=Recipe(), cache=False)),
        "a Sequential cannot be built again from itself: give its factory",
    ),
    "layers of TorchScript": (
        of_table(scripted(any_models.mlp()), attacks="white_box_partial"),
        "TorchScript and exported programs do not",
    ),
    "augmentation of a table": (
        of_table(
            any_models.mlp(),
            attacks="rmia",
            shadow=ShadowOptions(
                recipe=Recipe(epochs=1, augmentation=True), model=ModelSpec("any_models:mlp"), cache=False
            ),
        ),
        r"augmentation needs images \(n, C, H, W\), found torch.float32 records",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore::nni_privacy.auditing.records.RecordsWarning")
def test_what_cannot_be_audited_is_told_in_one_line(case: str) -> None:
    run, message = REFUSED[case]
    with pytest.raises(PrivacyError, match=message) as caught:
        run()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("build", ["probabilities", "one_probability"])
def test_answers_that_look_like_probabilities_are_told(build: str) -> None:
    labels = BINARY if build == "one_probability" else LABELS
    with pytest.warns(RecordsWarning, match="look like probabilities.* say outputs='probabilities'"):
        of(build, *TABLE_SIDES, labels=labels)()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of(build, *TABLE_SIDES, labels=labels, outputs="probabilities")()
        of("mlp", *TABLE_SIDES)()


@pytest.mark.slow  # fresh interpreters
@pytest.mark.parametrize("name", ["mapping", "object with logits, by name", "one probability"])
def test_workers_train_the_same_shadows_and_the_cache_knows_them(name: str, tmp_path: Any) -> None:
    kind = KINDS[name]
    model = built(kind)
    here = attacked(kind, model, attacks="lira").signals.shadows
    for _ in range(2):
        there = attacked(kind, model, attacks="lira", shadow=shadows(kind, workers=1, cache=str(tmp_path)))
        np.testing.assert_array_equal(there.signals.shadows.logits, here.logits)
    assert len(list(tmp_path.glob("*.npz"))) == 4
