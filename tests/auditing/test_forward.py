import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from nni_privacy.attacks import get_attack
from nni_privacy.auditing.forward import extract_signals, view_images
from nni_privacy.auditing.options import MAX_VIEWS
from nni_privacy.cells.darts import Genotype
from nni_privacy.errors import AuditError, ConfigError
from nni_privacy.search_spaces.network import CellNetwork
from nni_privacy.training.fit import predict_logits

GENOTYPE = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), "
    "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)
N = 24


class Small(nn.Module):
    """Convolution, batch norm, dropout, and whatever makes the logits."""

    def __init__(self, *head):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5))
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Sequential(*head)

    def forward(self, images):
        return self.head(self.pool(self.body(images)))


class FullyConvolutional(nn.Module):
    """No linear layer at all."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 6, 3)
        self.head = nn.Conv2d(6, 10, 1)

    def forward(self, images):
        return self.head(self.body(images).relu()).mean(dim=(2, 3))


class Wrapped(nn.Module):
    """A model in a model, as NNI's spaces are."""

    def __init__(self, inner, temperature=None):
        super().__init__()
        self.inner, self.temperature = inner, temperature

    def forward(self, images):
        logits = self.inner(images)
        return logits if self.temperature is None else logits.div_(self.temperature)


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (N, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return images, torch.randint(0, 10, (N,), generator=generator), np.arange(N) < N // 2


def autograd(model, weight, images, labels):
    """Gradients of each record's loss by itself, with plain autograd."""
    model.eval()
    parts = []
    for image, label in zip(images.float() / 255, labels, strict=True):
        loss = functional.cross_entropy(model(image[None]), label[None])
        parts.append(torch.autograd.grad(loss, [weight])[0].flatten())
    return torch.stack(parts).numpy()


LINEAR = {
    "cell network": lambda: CellNetwork(Genotype.parse(GENOTYPE), channels=2, cells=3),
    "wrapped": lambda: Wrapped(Small(nn.Linear(24, 10))),
    "without bias": lambda: Small(nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 10, bias=False)),
    "torchvision": lambda: torchvision.models.resnet18(num_classes=10),
    "identity after it": lambda: Small(nn.Linear(24, 10), nn.Identity(), nn.Dropout()),
}
OTHERS = {
    "fully convolutional": (FullyConvolutional, lambda model: model.head.weight),
    "temperature": (lambda: Wrapped(Small(nn.Linear(24, 10)), 3.0), lambda model: model.inner.head[0].weight),
    "norm after it": (lambda: Small(nn.Linear(24, 10), nn.LayerNorm(10)), lambda model: model.head[0].weight),
}


def classifier_of(model):
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1]


@pytest.mark.parametrize("name", LINEAR)
def test_closed_form_gradients_equal_autograds(name, data):
    images, labels, member = data
    torch.manual_seed(0)
    model = LINEAR[name]()
    classifier = classifier_of(model)
    with torch.no_grad():
        classifier.weight.mul_(20)  # confident: some records are fitted almost perfectly, some badly
    signals = extract_signals(model, images, labels, member, batch_size=7, device="cpu", gradients=True)
    assert signals.features.shape == (N, classifier.in_features) and signals.gradients is None
    assert signals.gradient_shape == (10, classifier.in_features)
    found = signals.weight_gradients(slice(None))
    assert found.dtype == np.float32 and found.shape == (N, 10, classifier.in_features)
    expected = autograd(model, classifier.weight, images, labels)
    np.testing.assert_allclose(found.reshape(N, -1), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(signals.weight_gradients([3, 5]), found[[3, 5]])


@pytest.mark.parametrize("name", OTHERS)
def test_models_without_a_linear_classifier_get_explicit_gradients(name, data):
    images, labels, member = data
    torch.manual_seed(0)
    build, weight = OTHERS[name]
    model = build()
    signals = extract_signals(model, images, labels, member, batch_size=7, device="cpu", gradients=True)
    assert signals.features is None and "gradients" in signals.available
    expected = autograd(model, weight(model), images, labels)
    np.testing.assert_allclose(signals.gradients, expected, rtol=1e-4, atol=1e-5)
    assert np.isfinite(get_attack("white_box_partial")(signals).scores).all()


def test_gradients_that_cannot_be_vectorised_are_taken_one_by_one(data):
    class Branching(FullyConvolutional):
        def forward(self, images):
            hidden = self.body(images)
            return self.head(hidden if hidden.detach().sum().item() > 0 else -hidden).mean(dim=(2, 3))

    images, labels, member = data
    model = Branching()
    signals = extract_signals(model, images, labels, member, batch_size=1, device="cpu", gradients=True)
    np.testing.assert_allclose(
        signals.gradients, autograd(model, model.head.weight, images, labels), rtol=1e-4, atol=1e-5
    )


def test_one_forward_pass_gives_logits_and_features(data):
    images, labels, member = data
    model, calls = Small(nn.Linear(24, 10)), []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    signals = extract_signals(model, images, labels, member, batch_size=8, device="cpu", gradients=True)
    assert len(calls) == 3
    np.testing.assert_array_equal(signals.logits, predict_logits(model, images, batch_size=8, device="cpu"))
    np.testing.assert_array_equal(signals.is_member, member)
    assert extract_signals(model, images, labels, member, device="cpu").available == {"logits"}


def test_modes_hooks_and_gradients_of_the_model_are_left_as_they_were(data):
    images, labels, member = data
    for model in (Small(nn.Linear(24, 10)), FullyConvolutional()):
        model.train()
        model.body.eval()
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        extract_signals(model, images, labels, member, device="cpu", gradients=True, views=2)
        assert model.training and not model.body.training
        assert not any(module._forward_hooks for module in model.modules())
        assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
        assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_arrays_and_a_normaliser_are_taken(data):
    images, labels, member = data
    model = Small(nn.Linear(24, 10))
    plain = extract_signals(model, images, labels, member, device="cpu", gradients=True)
    for kind in (torch.uint8, torch.int32):
        again = extract_signals(
            model, images.numpy(), labels.to(kind).numpy(), member, device="cpu", gradients=True,
            normalize=lambda batch: batch.float() / 255,
        )  # fmt: skip
        np.testing.assert_array_equal(again.features, plain.features)


def test_views_are_mirrored_and_shifted_and_the_first_is_the_plain_image(data):
    images, labels, member = data
    for picture in (images, images.float()):
        views = [view_images(picture, view) for view in range(MAX_VIEWS)]
        assert torch.equal(views[0], picture) and torch.equal(views[1], picture.flip(-1))
        assert torch.equal(views[2][..., 1:], picture[..., :-1]) and torch.equal(views[2][..., 0], picture[..., 1])
        assert torch.equal(views[3], views[2].flip(-1))
        assert torch.equal(views[8][..., :-1, :], picture[..., 1:, :])
        assert len({view.numpy().tobytes() for view in views}) == MAX_VIEWS
    model = Small(nn.Linear(24, 10))
    signals = extract_signals(model, images, labels, member, device="cpu", views=3)
    assert signals.view_logits.shape == (N, 3, 10)
    for view in range(3):
        expected = predict_logits(model, view_images(images, view), device="cpu")
        np.testing.assert_array_equal(signals.view_logits[:, view], expected)


def test_bad_input_is_refused_with_its_reason(data):
    images, labels, member = data
    model = Small(nn.Linear(24, 10))

    def extract(net=model, truth=labels, flags=member, pictures=images, **options):
        return extract_signals(net, pictures, truth, flags, device="cpu", **options)

    with pytest.raises(AuditError, match="labels run from"):
        extract(truth=labels + 5)
    with pytest.raises(AuditError, match="24 images, labels"):
        extract(truth=labels[1:])
    with pytest.raises(AuditError, match="0 images"):
        extract(pictures=images[:0], truth=labels[:0])
    with pytest.raises(AuditError, match="expected one entry"):
        extract(flags=member[1:])
    with pytest.raises(AuditError, match="expected integers"):
        extract(truth=labels.float())
    broken = Small(nn.Linear(24, 10))
    broken.head[0].bias.data[:] = torch.nan
    with pytest.raises(AuditError, match="NaN or infinite"):
        extract(broken, gradients=True)

    class Pair(Small):
        def forward(self, images):
            return super().forward(images), images

    with pytest.raises(AuditError, match="returned a tuple"):
        extract(Pair(nn.Linear(24, 10)))
    for options, message in (
        ({"views": 0}, "views: 0"),
        ({"views": 19}, "equal to 18"),
        ({"batch_size": 0}, "batch"),
    ):
        with pytest.raises(ConfigError, match=message):
            extract(**options)


def test_gradients_too_large_for_memory_or_absent_are_refused(data, monkeypatch):
    images, labels, member = data
    monkeypatch.setattr("nni_privacy.auditing.forward.MAX_GRADIENT_BYTES", 1000)
    with pytest.raises(AuditError, match="audit fewer records"):
        extract_signals(FullyConvolutional(), images, labels, member, device="cpu", gradients=True)
    bare = nn.Sequential(nn.AdaptiveAvgPool2d((1, 10)), nn.Flatten(), nn.Unflatten(1, (3, 10)))

    class Bare(nn.Module):
        def forward(self, images):
            return bare(images).mean(1)

    with pytest.raises(AuditError, match="no layer with a weight matrix"):
        extract_signals(Bare(), images, labels, member, device="cpu", gradients=True)
