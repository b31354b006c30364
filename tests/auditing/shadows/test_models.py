import importlib
import sys

import pytest
import torch
from shadows.factories import Tiny, tiny
from torch import nn

from nni_privacy.auditing.shadows import CallableModel, ModelSpec, SmallCNN, spec_for
from nni_privacy.auditing.shadows.models import fingerprint
from nni_privacy.cells.darts import Genotype
from nni_privacy.errors import ConfigError
from nni_privacy.search_spaces import DARTS, NasBench201, NasBench201Network
from nni_privacy.search_spaces.network import CellNetwork
from nni_privacy.training.fit import fit, predict_logits
from nni_privacy.training.recipe import Recipe

SMALL = {"channels": 2, "cells": 3, "in_channels": 1, "num_classes": 7}


def small_darts():
    return DARTS(nodes=2, **SMALL)


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 32), (3, 64), (1, 28), (3, 9)])
def test_the_small_cnn_takes_every_size_of_image(channels, size):
    model = SmallCNN(in_channels=channels, num_classes=5, image_size=(size, size))
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(nn.Conv2d) == 3 and kinds.count(nn.MaxPool2d) == 2
    assert [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)] == [32, 64, 128]
    images = torch.randint(0, 256, (20, channels, size, size), dtype=torch.uint8)
    labels = torch.arange(20) % 5
    result = fit(model, images, labels, recipe=Recipe(epochs=2, batch_size=10), seed=0, device="cpu")
    assert result.losses[-1] < 5
    assert predict_logits(model, images, device="cpu").shape == (20, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": (3, 8)}, "image_size: 3"),
        ({"num_classes": 1}, "num_classes"),
        ({"in_channels": 0}, "in_cha"),
    ],
)
def test_the_small_cnn_says_what_it_cannot_do(change, message):
    with pytest.raises(ConfigError, match=message):
        SmallCNN(**{"in_channels": 1, "num_classes": 10, "image_size": (8, 8), **change})


def test_a_darts_network_is_built_again_with_all_its_options():
    space = small_darts()
    for network in (space, space.network):
        spec = spec_for(network)
        twin = spec.build()
        assert type(twin) is CellNetwork and twin.genotype == space.genotype
        shapes = {name: value.shape for name, value in twin.state_dict().items()}
        assert shapes == {name: value.shape for name, value in space.network.state_dict().items()}
        assert spec.arguments == {"genotype": str(space.genotype), **SMALL}
    assert isinstance(Genotype.parse(spec.arguments["genotype"]), Genotype)


def test_a_nasbench201_network_is_built_again_with_all_its_options():
    space = NasBench201(**{**SMALL, "cells": 2})
    frozen = space.freeze({**space.genotype.to_sample(), "edge_1_2": "none"})
    for network in (frozen, frozen.network):
        spec = spec_for(network)
        assert spec.arguments == {"genotype": str(frozen.genotype), **SMALL, "cells": 2}
        twin = spec.build()
        assert type(twin) is NasBench201Network and str(twin) == str(frozen.network)
        assert fingerprint(spec) != fingerprint(spec_for(space))


def test_any_frozen_nni_space_is_built_again():
    space = small_darts()
    sample = {label: choice.default() for label, choice in DARTS.choices(2).items()}
    frozen = space.freeze(sample)
    path = f"{DARTS.__module__}:{DARTS.__qualname__}"
    arguments = {"space": path, "arguments": dict(frozen.trace_kwargs), "sample": sample}
    twin = ModelSpec("nni_privacy.auditing.shadows.models:frozen_space", arguments).build()
    assert str(twin) == str(frozen) and twin.genotype == frozen.genotype
    assert spec_for(frozen).arguments["genotype"] == str(frozen.genotype)


def test_networks_that_cannot_be_built_again_are_refused():
    changed = small_darts().network
    changed.classifier = nn.Sequential(nn.Dropout(0.1), nn.Linear(changed.classifier.in_features, 7))
    changed.classifier.out_features = 7
    for model in (changed, Tiny(), nn.Linear(3, 2)):
        with pytest.raises(ConfigError, match="give its factory"):
            spec_for(model)


def test_a_factory_that_can_be_imported_becomes_a_spec_and_any_other_stays_here():
    assert spec_for(tiny, hidden=4) == ModelSpec("shadows.factories:tiny", {"hidden": 4})
    assert spec_for("shadows.factories:Tiny") == ModelSpec("shadows.factories:Tiny")
    local = spec_for(lambda: Tiny())
    assert isinstance(local, CallableModel) and local.fingerprint is None
    assert spec_for(local) is local
    with pytest.raises(ConfigError, match="callable without arguments"):
        spec_for(lambda hidden: Tiny(hidden), hidden=3)


def test_a_class_or_function_that_can_be_imported_is_its_path():
    assert ModelSpec(Tiny, {"hidden": 4}) == ModelSpec("shadows.factories:Tiny", {"hidden": 4})
    assert ModelSpec(tiny).factory == "shadows.factories:tiny"


def test_one_that_cannot_is_built_here_and_not_remembered():
    class Typed(Tiny):
        """As in a notebook."""

    spec = ModelSpec(Typed, {"hidden": 4})
    assert isinstance(spec.build(), Typed)
    source = spec_for(spec)
    assert isinstance(source, CallableModel) and fingerprint(spec) is None
    assert isinstance(source.build(), Typed)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (lambda: ModelSpec(Tiny()), r"a Tiny that is there already: give its class, ModelSpec\(Tiny\)"),
        (lambda: ModelSpec(3), "model factory is 3: expected 'package.module:callable', or a class or function"),
        (lambda: spec_for(Tiny()), r"shadow=ShadowOptions\(model=ModelSpec\('module:factory'\)\).*docs/auditing.md"),
        (lambda: ModelSpec("nowhere"), "expected 'package.module:callable'"),
        (lambda: ModelSpec("shadows.factories:tiny", {"a": object()}), "plain JSON"),
        (lambda: ModelSpec("not_there_at_all:f").build(), "cannot be imported: No module named 'not_there_at_all'"),
        (lambda: ModelSpec("shadows.factories:nope").build(), "cannot be imported: .*nope"),
        (lambda: ModelSpec("shadows.factories:__doc__").build(), "expected a callable"),
        (lambda: ModelSpec("shadows.factories:failing").build(), "failing failed: KeyError: 'weights.pth'"),
        (lambda: ModelSpec("shadows.factories:tiny", {"width": 3}).build(), "unexpected keyword argument 'width'"),
        (lambda: ModelSpec("shadows.factories:not_a_model").build(), "returned a int, expected a torch.nn.Module"),
    ],
)
def test_a_bad_factory_is_one_clear_line(spec, message):
    with pytest.raises(ConfigError, match=message) as caught:
        spec()
    assert "\n" not in str(caught.value)


def test_the_fingerprint_follows_layers_initial_weights_and_code_but_nothing_else(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "a_users_network.py"
    code = "from torch import nn\ndef make(p=0.1):\n    return nn.Sequential(nn.Dropout(p), nn.Linear(4, 2))\n"
    module.write_text(code)
    before = torch.random.get_rng_state()
    first = fingerprint(ModelSpec("a_users_network:make"))
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(99)
    assert fingerprint(ModelSpec("a_users_network:make")) == first
    assert fingerprint(ModelSpec("a_users_network:make", {"p": 0.2})) != first
    module.write_text(code.replace("return", "z = 1\n    return"))
    importlib.invalidate_caches()
    sys.modules.pop("a_users_network")
    assert fingerprint(ModelSpec("a_users_network:make")) != first
    sys.modules.pop("a_users_network")


def test_the_fingerprint_of_a_model_with_functions_in_its_text_is_stable():
    spec = ModelSpec("shadows.factories:with_function")
    assert " at 0x" in str(spec.build())
    assert fingerprint(spec) == fingerprint(spec)


def test_a_callables_fingerprint_is_the_callers():
    assert fingerprint(CallableModel(Tiny)) is None
    assert fingerprint(CallableModel(Tiny, fingerprint="v1")) == "v1"
