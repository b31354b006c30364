import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from planted_signals import CLASSES, SHADOWS, VIEWS, planted_signals

from nni_privacy.attacks import ShadowSignals, TargetSignals
from nni_privacy.errors import AuditError


def test_available_names_what_is_there():
    full = planted_signals(gap=0.0, n=20)
    everything = {"logits", "gradients", "view_logits", "distances", "shadows", "black_box_shadow", "white_box_shadow"}
    everything |= {"outsider", "loss_trace"}
    assert full.available == everything
    assert dataclasses.replace(full, features=None).available == everything - {"gradients"}
    explicit = dataclasses.replace(full, features=None, gradients=np.zeros((40, 8), dtype=np.float32))
    assert explicit.available == everything and explicit.gradient_shape == (CLASSES, 2)
    odd = dataclasses.replace(explicit, gradients=np.zeros((40, 7), dtype=np.float32))
    assert odd.gradient_shape == (1, 7) and odd.weight_gradients([1, 2]).shape == (2, 1, 7)
    with pytest.raises(AuditError, match="neither features nor gradients"):
        dataclasses.replace(full, features=None).weight_gradients([0])


def test_a_perfectly_fitted_record_keeps_its_gradient():
    signals = TargetSignals.from_logits(
        np.array([[60.0, 0.0]]), [0], [True], features=np.ones((1, 3), dtype=np.float32)
    )
    np.testing.assert_allclose(signals.weight_gradients([0])[0], np.outer([-1, 1], np.ones(3)) * np.exp(-60), rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": np.zeros((39, 3), np.float32)}, r"features: shape \(39, 3\), expected \(40, any\)"),
        ({"features": np.full((40, 3), np.nan, np.float32)}, "features: there are NaN"),
        ({"features": np.zeros((40, 0), np.float32)}, "no values"),
        ({"features": np.zeros((40, 3), int)}, "expected floats"),
        ({"view_logits": np.zeros((40, 2, CLASSES + 1), np.float32)}, "view_logits"),
        ({"distances": np.zeros(39)}, "distances"),
        ({"distances": np.full(40, -1.0)}, "negative"),
        ({"distances": np.full(40, np.inf)}, "infinite"),
        ({"distances": ["far"] * 40}, "numbers"),
        ({"loss_trace": np.ones((3, 39), np.float32)}, r"loss_trace: shape \(3, 39\), expected \(any, 40\)"),
        ({"loss_trace": np.full((3, 40), -1.0)}, "loss_trace: there are negative"),
        (
            {"outsider": ShadowSignals(np.zeros((3, 1, 1, CLASSES), np.float32), np.zeros((3, 1), bool))},
            "outsider: logits",
        ),
        ({"shadows": ShadowSignals(np.zeros((3, 2, 1, CLASSES), np.float32), np.zeros((3, 2), bool))}, "shadows"),
        ({"black_box_shadow": TargetSignals.from_logits(np.zeros((2, 3)), [0, 1], [True, False])}, "3 classes"),
    ],
)
def test_extras_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(AuditError, match=message):
        dataclasses.replace(planted_signals(gap=0.0, n=20), **changes)


def test_distances_may_be_missing_for_some_records():
    distances = np.r_[np.nan, np.ones(39)]
    assert np.isnan(dataclasses.replace(planted_signals(gap=0.0, n=20), distances=distances).distances[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits": np.zeros((4, 2, CLASSES), np.float32)}, "shadow logits"),
        ({"logits": np.full((40, SHADOWS, VIEWS, CLASSES), np.inf, np.float32)}, "infinite"),
        ({"keep": np.zeros((40, SHADOWS), int)}, "expected booleans"),
        ({"keep": np.zeros((40, 1), bool)}, "keep"),
        ({"population_labels": None}, "lacks population_labels"),
        ({"population_labels": np.full(100, CLASSES)}, "labels run from"),
        ({"target_population_logits": np.zeros((100, 1, CLASSES), np.float32)}, "target_population_logits"),
        ({"population_keep": np.zeros((99, SHADOWS), bool)}, "population_keep"),
    ],
)
def test_shadows_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(AuditError, match=message):
        dataclasses.replace(planted_signals(gap=0.0, n=20).shadows, **changes)


def test_shadows_know_their_sizes():
    shadows = planted_signals(gap=0.0, n=20).shadows
    assert (len(shadows), shadows.shadows, shadows.views, shadows.has_population) == (40, SHADOWS, VIEWS, True)


def test_attacks_on_arrays_need_no_torch():
    code = (
        "import sys; import numpy as np; from nni_privacy.attacks import *; "
        "from planted_signals import planted_signals; signals = planted_signals(gap=1.0, n=20); "
        "[get_attack(name)(signals) for name in ('loss_threshold', 'lira', 'rmia')]; "
        "sys.exit('torch' in sys.modules)"
    )
    folder = Path(__file__).resolve().parents[1] / "support"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=folder)
