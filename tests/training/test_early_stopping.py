"""Early stopping of a training, and who then is a member."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nni
import numpy as np
import pytest
import torch
from bare_loop import bare_loop, network, same, sgd
from nni.nas.space import SimplifiedModelSpace
from shadows.support_shadows import TINY, pool, references
from torch import Tensor, nn
from torch.nn import functional

from nni_privacy import PrivacyEvaluator
from nni_privacy.auditing.shadows import keep_matrix, spec_for
from nni_privacy.auditing.shadows.plan import ShadowTask
from nni_privacy.auditing.shadows.references import stack_records
from nni_privacy.auditing.shadows.shadow import train_shadow
from nni_privacy.data import Normalizer, load_dataset
from nni_privacy.errors import ConfigError
from nni_privacy.rng import isolated, stream_seed
from nni_privacy.search_spaces import DARTS
from nni_privacy.training.early_stopping import Patience, held_out
from nni_privacy.training.fit import fit, predict_logits, seed_everything
from nni_privacy.training.recipe import Recipe

SEED = 7
STOPPING = {"epochs": 12, "batch_size": 32, "learning_rate": 0.2, "schedule": "constant"}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def digits() -> Any:
    return load_dataset("digits", limit=150)


@pytest.mark.parametrize(("count", "share", "number"), [(150, 0.1, 15), (10, 0.01, 1), (4, 0.9, 2), (2, 0.5, 0)])
def test_so_many_records_are_held_out(count: int, share: float, number: int) -> None:
    recipe = Recipe.from_mapping({"stop_early": {"patience": 1, "share": share}})
    held = held_out(recipe, count, seed=3)
    assert held.sum() == number and (held == held_out(recipe, count, seed=3)).all()
    assert not held_out(Recipe(), count, seed=3).any()


def test_the_best_of_so_many_epochs_without_gain_is_kept() -> None:
    model = nn.Linear(1, 1, bias=False)
    patience = Patience(model, 2)
    stops = []
    for epoch, loss in enumerate([3.0, 1.0, 2.0, 0.5, float("nan"), 0.5, 0.1], start=1):
        with torch.no_grad():
            model.weight.fill_(epoch)
        stops.append(patience.note(epoch, loss))
    assert stops == [False, False, False, False, False, True, False]
    patience.restore()
    assert model.weight.item() == 7 and patience.best_epoch == 7


def test_it_stops_where_a_bare_loop_on_the_other_records_would(digits: Any) -> None:
    """The loss on the held-out records after each epoch, and the weights of the best, of a loop of our own."""
    held = held_out(Recipe.from_mapping({"stop_early": {"patience": 2}}), 150, seed=SEED)
    rest = type(digits)("rest", digits.images[~held], digits.labels[~held], 10)
    expected, states, losses = network(), [], []

    def looked_at(epoch: int, model: nn.Module) -> None:
        if epoch:
            model.eval()
            with torch.no_grad():
                logits = model(digits.images[held].float() / 255).double()
            losses.append(functional.cross_entropy(logits, digits.labels[held]).item())
            states.append({name: value.clone() for name, value in model.state_dict().items()})
            model.train()

    bare_loop(expected, rest, epochs=13, optimizer=sgd(expected, lr=0.2), before_epoch=looked_at)
    model = network()
    recipe = Recipe.from_mapping({**STOPPING, "stop_early": {"patience": 2}})
    result = fit(model, digits.images, digits.labels, recipe=recipe, seed=SEED, device="cpu")
    best = next(
        (n for n in range(12) if losses[n] == min(losses[: n + 1]) and min([*losses[n + 1 : n + 3], 9]) >= losses[n]), 0
    )
    assert result.best_epoch == best + 1 and len(result.losses) == min(12, best + 3) < 12
    expected.load_state_dict(states[best])
    assert same(model, expected)


def test_held_out_records_are_never_trained_on(digits: Any) -> None:
    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 10)
            self.seen: set[bytes] = set()

        def forward(self, images: Tensor) -> Tensor:
            if self.training:
                self.seen |= {image.contiguous().numpy().tobytes() for image in images}
            return self.linear(images.flatten(1))

    recipe = Recipe.from_mapping({"epochs": 3, "stop_early": {"patience": 3, "share": 0.3}})
    model = Spy()
    fit(model, digits.images, digits.labels, recipe=recipe, seed=SEED, device="cpu")
    held = held_out(recipe, 150, seed=SEED)
    rows = [(image.float() / 255).numpy().tobytes() for image in digits.images]
    assert model.seen == {row for row, out in zip(rows, held, strict=True) if not out}
    model = Spy()
    given = digits.images[held], digits.labels[held]
    rest = digits.images[~held], digits.labels[~held]
    fit(model, *rest, recipe=recipe, seed=SEED, device="cpu", validation=given)
    assert model.seen == {row for row, out in zip(rows, held, strict=True) if not out}


def test_what_is_held_out_is_no_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a trial: audit, counts and scores are of the records that were trained on, and of non-members."""
    monkeypatch.setenv("NNI_OUTPUT_DIR", str(tmp_path))
    monkeypatch.setattr(nni, "report_intermediate_result", lambda metrics: None)
    recipe = {"epochs": 2, "stop_early": {"patience": 1, "share": 0.2}, "optimizer": "adam", "learning_rate": 0.001}
    evaluator = PrivacyEvaluator("digits", recipe=recipe, attacks=("loss_threshold",), seed=5, canaries=40)
    space = SimplifiedModelSpace.from_model(DARTS(channels=4, cells=3, in_channels=1), evaluator)
    model = space.random(random_state=np.random.RandomState(0))
    with evaluator.mock_runtime(model):
        metrics = dict(model.execute())
    data, split = evaluator.load_data()
    held = held_out(evaluator.recipe, 449, seed=5)
    kept = split.target_train[~held]
    assert json.loads(metrics["data"])["split"]["target_train"] == len(kept) == 359
    with np.load(tmp_path / "scores.npz") as scores:
        assert (scores["record_index"] == np.concatenate([kept, split.target_test])).all()
        assert scores["canary_included"].sum() > 5
    from nni_privacy.commands.audit_target import _own_records

    record = evaluator.model_record(model.executable_model(), data, Normalizer((0.0,), (1.0,)), text="")
    members, labels = _own_records(record)["members"]
    assert torch.equal(members, data.images[kept]) and torch.equal(labels, data.labels[kept])


def test_shadows_are_trained_on_all_their_records_and_look_at_others(tmp_path: Path) -> None:
    recipe = Recipe.from_mapping({"epochs": 4, "batch_size": 32, "stop_early": {"patience": 1, "share": 0.2}})
    found = references(count=2, cache=tmp_path, recipe=recipe)
    images, labels = pool()
    keep = keep_matrix(len(labels), 2, seed=3)
    np.testing.assert_array_equal(found.keep, keep)
    rows = np.flatnonzero(keep[:, 0])
    data, seed = stack_records([pool()]), stream_seed(3, 0)
    task = ShadowTask(number=0, model=spec_for(TINY), model_digest="x", recipe=recipe, data=data.digest, training=rows,
                      queries=np.arange(120), seed=seed, device="cpu")  # fmt: skip
    others = task.validation(120)
    assert others is not None and len(others) == 12 and not set(others.tolist()) & set(rows.tolist())
    normalize = Normalizer.fit(images[rows])
    with isolated():
        seed_everything(seed)
        model = TINY.build()
        fit(model, images[rows], labels[rows], recipe=recipe, seed=seed, device="cpu", normalize=normalize,
            validation=(images[others], labels[others]))  # fmt: skip
        expected = predict_logits(model, images, device="cpu", normalize=normalize)
    np.testing.assert_array_equal(found.logits[:, 0, 0], expected)
    np.testing.assert_array_equal(train_shadow(task, data)["logits"][:, 0], expected)


def test_attacks_that_compare_epochs_want_all_of_them() -> None:
    with pytest.raises(ConfigError, match=r"recipe.stop_early: attack 'lt_iqr' compares epochs, which may never come"):
        PrivacyEvaluator("digits", recipe={"stop_early": {"patience": 3}}, attacks=("lt_iqr",))
