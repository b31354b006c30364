"""Models that all trials share: what they are, that nothing of a trial is in them, and that they are trained once."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shadows.support_shadows import QUICK, pool
from torch import nn

from nni_privacy.attacks import TargetSignals
from nni_privacy.auditing.collect import SignalRequest, gather_signals
from nni_privacy.auditing.forward import extract_signals
from nni_privacy.auditing.options import Effort, MeasuringOptions, ShadowSettings
from nni_privacy.auditing.shadows import ModelSpec, ShadowOptions
from nni_privacy.auditing.shadows.shared import _OUTSIDER_STREAM, shared_reference
from nni_privacy.data import Normalizer
from nni_privacy.errors import AuditError, ConfigError
from nni_privacy.rng import stream_seed
from nni_privacy.search_spaces.nasbench201_network import NasBench201Network
from nni_privacy.training.fit import fit, seed_everything

SKIPS = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"
POOLS = "|avg_pool_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
SIZES = {"channels": 2, "cells": 1, "in_channels": 1, "num_classes": 10}


def network(genotype: str = POOLS) -> nn.Module:
    seed_everything(1)
    return NasBench201Network.of(genotype=genotype, **SIZES)


def request(model: nn.Module, cache: Path | bool, **options: Any) -> SignalRequest:
    images, labels = pool()
    trace = options.pop("loss_trace", None)
    return SignalRequest(
        model=model, images=images[:80], labels=labels[:80], is_member=np.arange(80) < 40, normalize=None,
        normalization="own", device=torch.device("cpu"), batch_size=32, seed=3, effort=Effort(views=1),
        loss_trace=trace,
        shadow=ShadowOptions(
            recipe=QUICK, count=4, train=(images[80:100], labels[80:100]), test=(images[100:], labels[100:]),
            cache=cache if cache is False else str(cache), **options,
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("small_cnn", {"in_channels": 1, "num_classes": 10, "image_size": [8, 8]}),
        ("resnet", {"name": "resnet", "in_channels": 1, "num_classes": 10, "image_size": 8}),
        (SKIPS, {"genotype": SKIPS, **SIZES}),
    ],
)
def test_a_reference_is_built_for_the_trials_data(reference: str, expected: dict[str, Any]) -> None:
    spec = shared_reference(reference, pool()[0], like=network(), num_classes=10)
    assert spec.arguments == expected
    assert spec.build()(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_what_cannot_be_built_is_told_in_a_line() -> None:
    with pytest.raises(ConfigError, match=r"shadow.reference: .* of another search space"):
        shared_reference("Genotype(" + DARTS, torch.zeros(4, 1, 8, 8), like=network(), num_classes=10)
    with pytest.raises(ConfigError, match="'resnet' takes square images; these are 8 x 9"):
        shared_reference("resnet", torch.zeros(4, 1, 8, 9), like=network(), num_classes=10)
    with pytest.raises(ConfigError, match=r"shadow.reference: 'smal_cnn'; .* did you mean 'small_cnn'"):
        ShadowSettings(reference="smal_cnn")
    with pytest.raises(ConfigError, match=r"shadow.reference: .*nor_conv_9x9"):
        ShadowSettings(reference="|nor_conv_9x9~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    with pytest.raises(ConfigError, match=r"shadow.cache: false; trials share .* shadow.reference"):
        MeasuringOptions.from_mapping({"shadow": {"reference": "small_cnn", "cache": False}})
    with pytest.raises(ConfigError, match=r"recipe.epochs: 1; attack 'lt_iqr' compares 2 epochs"):
        MeasuringOptions.from_mapping({"attacks": ["lt_iqr"], "recipe": {"epochs": 1}})


DARTS = (
    "normal=[('skip_connect', 0), ('skip_connect', 1), ('skip_connect', 0), ('skip_connect', 1), ('skip_connect', 0), "
    "('skip_connect', 1), ('skip_connect', 0), ('skip_connect', 1)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('skip_connect', 0), ('skip_connect', 1), ('skip_connect', 0), ('skip_connect', 1), ('skip_connect', 0), "
    "('skip_connect', 1), ('skip_connect', 0), ('skip_connect', 1)], reduce_concat=[2, 3, 4, 5])"
)


def test_two_architectures_share_the_pool_and_a_target_of_that_architecture_finds_its_own_in_it(tmp_path: Path) -> None:
    found = [
        gather_signals(request(network(one), tmp_path, reference=SKIPS), requires={"shadows"}) for one in (POOLS, SKIPS)
    ]
    assert len(list(tmp_path.glob("*.npz"))) == 4
    own = gather_signals(request(network(SKIPS), tmp_path), requires={"shadows"})
    assert len(list(tmp_path.glob("*.npz"))) == 4
    for name in ("logits", "keep", "population_logits"):
        first, second, third = (getattr(one.shadows, name) for one in (*found, own))
        assert np.array_equal(first, second) and np.array_equal(first, third)
    answers = [one.shadows.target_population_logits for one in found]
    assert not np.array_equal(*answers)  # the targets' own


def test_the_twin_of_the_papers_attack_stays_the_targets_own(tmp_path: Path) -> None:
    signals = [
        gather_signals(request(network(), tmp_path / name, **options), requires={"white_box_shadow"})
        for name, options in (("a", {}), ("b", {"reference": "small_cnn"}))
    ]
    assert np.array_equal(*(one.white_box_shadow.logits for one in signals))


def test_the_outsider_is_trained_on_the_attackers_own_and_asked_about_the_rest(tmp_path: Path) -> None:
    images, labels = pool()
    asked = request(network(), tmp_path)
    outsider = gather_signals(asked, requires={"outsider"}).outsider
    assert outsider is not None and not outsider.keep.any()
    source = ModelSpec("nni_privacy.auditing.shadows.small_cnn:SmallCNN",
                       {"in_channels": 1, "num_classes": 10, "image_size": [8, 8]})  # fmt: skip
    own = images[80:100], labels[80:100]
    normalize = Normalizer.fit(own[0])
    seed = stream_seed(3, _OUTSIDER_STREAM)
    seed_everything(seed)
    model = source.build()
    fit(model, *own, recipe=QUICK, seed=seed, device="cpu", normalize=normalize)
    rows = torch.cat([torch.arange(80), torch.arange(100, 120)])
    expected = extract_signals(
        model, images[rows], labels[rows], np.zeros(100, bool), device="cpu", normalize=normalize
    )
    np.testing.assert_array_equal(outsider.logits[:, 0, 0], expected.logits[:80])
    np.testing.assert_array_equal(outsider.population_logits[:, 0, 0], expected.logits[80:])
    np.testing.assert_array_equal(outsider.population_labels, labels[100:])
    target = extract_signals(asked.model, images[100:], labels[100:], np.zeros(20, bool), device="cpu")
    np.testing.assert_allclose(outsider.target_population_logits[:, 0], target.logits, rtol=1e-5, atol=1e-6)
    gather_signals(request(network(SKIPS), tmp_path), requires={"outsider"})
    assert len(list(tmp_path.glob("*.npz"))) == 1


def test_a_trace_is_completed_by_the_trained_models_losses(tmp_path: Path) -> None:
    before = np.ones((2, 80), np.float32)
    signals: TargetSignals = gather_signals(request(network(), tmp_path, loss_trace=before), requires={"loss_trace"})
    np.testing.assert_allclose(signals.loss_trace, np.vstack([before, signals.losses]), rtol=1e-6)
    with pytest.raises(AuditError, match="need losses from the training, which trials record"):
        gather_signals(request(network(), tmp_path), requires={"loss_trace"})
    with pytest.raises(AuditError, match=r"loss_trace: shape \(2, 79\), expected \(epochs, 80\)"):
        gather_signals(request(network(), tmp_path, loss_trace=before[:, 1:]), requires={"loss_trace"})


@pytest.mark.slow
def test_a_search_with_two_trials_at_a_time_that_is_killed_trains_the_pool_once(tmp_path: Path) -> None:
    """Warm trials, two at a time; killed while the pool is in the making; resumed."""
    import support_search
    from support_search import SMALL, Search, wait_for

    cache = tmp_path / "cache"
    settings = {
        **{key: value for key, value in SMALL.items() if key != "pattern"},
        "search_space": {"name": "nasbench201", "channels": 2, "cells": 1},
        "trials": 3,
        "evaluator": {
            "recipe": {"epochs": 2},
            "attacks": ["lira", "bavaria", "quantile", "lt_iqr", "loss_trajectory"],
            "shadow": {"count": 12, "reference": "resnet", "cache": str(cache)},
        },
    }

    def pooled() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in cache.glob("*.npz")}

    first = Search(tmp_path, settings, "--exit-when-done")
    try:
        wait_for(lambda: len(pooled()) >= 3, "three shared models", support_search.TIMEOUT)
        first.process.send_signal(signal.SIGKILL)
        first.wait()
    finally:
        first.stop(signal.SIGKILL)
    before = pooled()
    second = Search(tmp_path, settings, "--exit-when-done", "--resume")
    try:
        assert second.wait() == 0, second.text
    finally:
        second.stop(signal.SIGKILL)
    after = pooled()
    assert len(after) == 12 + 1  # the references, and the outsider
    assert {name: after[name] for name in before} == before
    assert not list(cache.glob("*.lock"))
    done = [trial for trial in second.trials if trial["status"] == "succeeded"]
    assert len(done) == 3 and len({trial["architecture"] for trial in done}) == 3
    for trial in done:
        assert {f"{name}_mia_auc" for name in ("bavaria", "quantile", "lt_iqr", "loss_trajectory")} <= set(
            trial["metrics"]
        )
