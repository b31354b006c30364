"""What an audit takes as images: levels of any integers, floats as they are, and both sides scaled alike."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audited_model
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nni_privacy import Recipe, audit
from nni_privacy.auditing.audit import AuditReport
from nni_privacy.auditing.records import RecordsWarning
from nni_privacy.auditing.shadows import ModelSpec, ShadowOptions
from nni_privacy.commands.main import main
from nni_privacy.data import Normalizer, load_dataset, to_float
from nni_privacy.errors import AuditError

N = 100
DIGITS = load_dataset("digits")
LEVELS, LABELS = DIGITS.images[: 2 * N], DIGITS.labels[: 2 * N]
FLOATS = LEVELS.float() / 255


def attack(first: Any, second: Any, **options: Any) -> AuditReport:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    pairs = (first, LABELS[:N]), (second, LABELS[N:])
    return audit(model, *pairs, attacks="loss_threshold", device="cpu", **options)


def attack_both(scale: Callable[[Tensor], Any], **options: Any) -> AuditReport:
    return attack(scale(LEVELS[:N]), scale(LEVELS[N:]), **options)


def silent(run: Callable[[], AuditReport]) -> AuditReport:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return run()


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", ">i2"])
@pytest.mark.parametrize("normalised", [False, True])
def test_levels_of_any_integers_are_scaled_as_uint8_is(dtype: str, normalised: bool) -> None:
    levels = (LEVELS // 3).numpy()  # so that they fit into int8
    normalize = Normalizer.fit(torch.from_numpy(levels)) if normalised else None
    sides = [(levels.astype(kind)[:N], levels.astype(kind)[N:]) for kind in ("uint8", dtype)]
    first, second = (silent(lambda side=side: attack(*side, normalize=normalize)) for side in sides)
    assert np.array_equal(first.signals.logits, second.signals.logits)


def test_a_normaliser_of_integers_is_that_of_their_levels() -> None:
    one, other = Normalizer.fit(LEVELS.long()), Normalizer.fit(LEVELS)
    assert one.mean == pytest.approx(other.mean, rel=1e-6) and one.std == pytest.approx(other.std, rel=1e-6)
    assert torch.equal(to_float(LEVELS.short()), FLOATS)


def test_a_callable_of_ones_own_gets_integers_as_they_are() -> None:
    seen = []

    def centred(batch: Tensor) -> Tensor:
        seen.append(batch.dtype)
        return (batch - 128).float() / 64

    found = silent(lambda: attack_both(lambda levels: levels.long() * 3, normalize=centred))
    assert set(seen) == {torch.int64} and found.signals.logits.shape == (2 * N, 10)


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (
            lambda levels: levels.short() - 1,
            "members: images of int16 run from -1 to 254; allowed are integers in 0..255",
        ),
        (lambda levels: levels.long() * 257, "members: images of int64 run from 0 to 65535; allowed are"),
        (lambda levels: (levels > 99).long(), "members: images of int64 are 0 and 1 only"),
        (lambda levels: levels * 1j, "members: images are torch.complex64"),
    ],
)
def test_integers_without_a_scale_are_refused(scale: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(AuditError) as caught:
        attack_both(scale)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_floats_of_every_size_are_taken() -> None:
    sizes = [silent(lambda size=size: attack(FLOATS[:N].to(size), FLOATS[N:].float()))
             for size in (torch.float32, torch.float64)]  # fmt: skip
    assert np.array_equal(sizes[0].signals.logits, sizes[1].signals.logits)
    truth = silent(lambda: attack_both(lambda levels: levels > 99))
    assert np.array_equal(truth.signals.logits, attack_both(lambda levels: (levels > 99).float()).signals.logits)


def shifted(mean: float, deviation: float) -> Callable[[Tensor], Tensor]:
    return lambda levels: (levels.float() / 255 - mean) / deviation


SCALES: dict[str, Callable[[Tensor], Tensor]] = {
    "0..1": shifted(0, 1),
    "0..255": shifted(0, 1 / 255),
    "normalised": shifted(0.5, 0.29),
    "-1..1": shifted(0.5, 0.5),
    "centred": shifted(0.5, 1),
}


@pytest.mark.parametrize("first", SCALES)
@pytest.mark.parametrize("second", SCALES)
def test_sides_that_are_scaled_in_two_ways_do_not_pass_without_a_word(first: str, second: str) -> None:
    sides = SCALES[first](LEVELS[:N]), SCALES[second](LEVELS[N:])
    if first == second == "0..1":
        silent(lambda: attack(*sides))
    elif first == second:
        with pytest.warns(RecordsWarning, match=r"members' images run from .* beyond 0\.\.1") as told:
            attack(*sides)
        assert len(told) == 1
    elif "0..1" in (first, second) or "0..255" in (first, second):
        with pytest.raises(AuditError, match=r"members' images run from .* scaled in two ways"):
            attack(*sides)
    else:
        with pytest.warns(RecordsWarning, match="scaled alike, and from one source"):
            attack(*sides)


def test_levels_that_were_cut_to_0_and_1_on_one_side_are_refused() -> None:
    with pytest.raises(AuditError, match="scaled in two ways"):
        attack(LEVELS[:N], FLOATS[N:].numpy().astype(np.uint8))


def test_samples_of_one_kind_pass_silently_even_if_they_are_small() -> None:
    for seed in range(50):
        rows = torch.from_numpy(np.random.default_rng(seed).permutation(len(LEVELS))[:40])
        torch.manual_seed(0)
        sides = [(FLOATS[part], LABELS[part]) for part in rows.split(20)]
        silent(lambda sides=sides: audit(audited_model.build(), *sides, attacks="gap", device="cpu"))


def test_records_of_shadow_models_are_checked_too() -> None:
    spec, recipe = ModelSpec("audited_model:build"), Recipe(epochs=1)
    more = DIGITS.images[2 * N : 3 * N], DIGITS.labels[2 * N : 3 * N]
    sides = (LEVELS[:N].short(), LABELS[:N]), (LEVELS[N:].short(), LABELS[N:])
    for images, message in ((more[0].long(), None), (more[0] // 255, "shadow train' from 0 to 0.00392")):
        part = (images, more[1])
        shadow = ShadowOptions(recipe=recipe, model=spec, train=part, test=part, cache=False)
        if message is None:
            audit(audited_model.build(), *sides, attacks="black_box_shadow", shadow=shadow, device="cpu")
        else:
            with pytest.raises(AuditError, match=message):
                audit(audited_model.build(), *sides, attacks="black_box_shadow", shadow=shadow, device="cpu")


def test_the_command_line_says_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(audited_model.build().state_dict(), tmp_path / "w.pt")
    words = ["audit", "--model", "audited_model:build", "--weights", tmp_path / "w.pt", "--attacks", "loss_threshold"]
    for name, rows in (("members", slice(0, N)), ("nonmembers", slice(N, None))):
        np.savez(tmp_path / f"{name}.npz", x=SCALES["normalised"](LEVELS[rows]).numpy(), y=LABELS[rows].numpy())
        words += [f"--{name}", tmp_path / f"{name}.npz"]
    assert main([str(word) for word in (*words, "--output", tmp_path / "out")]) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("nni-privacy: members' images run from -1.72 to 1.72 (mean")
    np.savez(tmp_path / "members.npz", x=FLOATS[:N].numpy() * 255, y=LABELS[:N].numpy())
    assert main([str(word) for word in (*words, "--output", tmp_path / "other")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "scaled in two ways" in said[0] and not (tmp_path / "other").exists()
