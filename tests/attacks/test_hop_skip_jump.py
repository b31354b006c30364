import importlib.util

import numpy as np
import pytest
import torch

from nni_privacy.attacks.hop_skip_jump import boundary_distances, label_predictor
from nni_privacy.errors import AuditError

SHAPE = (1, 4, 4)
SIZE = 16
RADIUS = 0.9


class Counted:
    """A classifier that counts what it is asked, and remembers the range of what it saw and the largest batch."""

    def __init__(self, classify):
        self.classify, self.count, self.low, self.high, self.largest = classify, 0, np.inf, -np.inf, 0

    def __call__(self, images):
        assert images.shape[1:] == SHAPE and images.dtype == torch.float32
        self.count += len(images)
        self.largest = max(self.largest, len(images))
        self.low, self.high = min(self.low, float(images.min())), max(self.high, float(images.max()))
        return self.classify(images.flatten(1).double())


def normal_vector(seed=0):
    vector = torch.randn(SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return vector / vector.norm()


def half_space(seed=0):
    """Class 1 where w.(x - 1/2) > 0: the boundary passes through the middle of the box."""
    return Counted(lambda points: ((points - 0.5) @ normal_vector(seed) > 0).long())


def linear_distances(images, seed=0):
    return ((images.flatten(1).double() - 0.5) @ normal_vector(seed)).abs().numpy()


def ball():
    """Class 1 outside of a ball around the middle of the box."""
    return Counted(lambda points: ((points - 0.5).norm(dim=1) > RADIUS).long())


def near_the_middle(n=40, seed=1, spread=0.5):
    """Images whose nearest boundary point lies well inside the box."""
    noise = torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return 0.5 + spread * (noise - 0.5)


def labels_of(predict, images):
    labels = predict(images)
    predict.count = 0
    return labels


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_flat_boundary_is_found_to_a_few_percent_and_never_below(seed):
    predict, images = half_space(seed), near_the_middle()
    labels, truth = labels_of(predict, images), linear_distances(images, seed)
    for queries, largest in ((500, 1.04), (1000, 1.02)):
        result = boundary_distances(predict, images, labels, queries=queries, seed=seed)
        assert result.found.all() and (result.distances >= truth - 1e-6).all()
        assert (result.distances <= largest * truth).all()


def test_a_curved_boundary_is_found_from_inside_and_outside():
    predict, images = ball(), near_the_middle(60, spread=1.0)
    images[30:] = (0.5 + 1.9 * (images[30:] - 0.5)).clamp(0, 1)
    labels = labels_of(predict, images)
    assert 0 < labels.sum() < 60
    result = boundary_distances(predict, images, labels, queries=1000)
    radii = (images.flatten(1).double() - 0.5).norm(dim=1).numpy()
    truth = np.abs(radii - RADIUS)
    outside = labels.numpy() == 1
    assert (result.distances >= truth - 1e-6).all()
    # From outside the foot of the perpendicular is in the box; from inside the ray may leave the box.
    assert np.median(result.distances[outside] / truth[outside]) < 1.02
    assert np.median(result.distances[~outside] / truth[~outside]) < 1.1


def test_images_that_are_classified_wrong_have_distance_zero_and_take_one_query():
    predict, images = half_space(), near_the_middle()
    labels = labels_of(predict, images)
    labels[::4] = 1 - labels[::4]
    result = boundary_distances(predict, images, labels, queries=200)
    assert (result.distances[::4] == 0).all() and (result.queries[::4] == 1).all()
    assert torch.equal(result.adversarial[::4], images[::4])
    right = np.arange(40) % 4 != 0
    assert (result.distances[right] > 0).all() and (result.queries[right] > 150).all()


@pytest.mark.parametrize("queries", [1, 2, 5, 17, 40, 41, 77, 150, 400])
def test_the_budget_is_kept_and_every_query_counted(queries):
    predict, images = half_space(), near_the_middle(25)
    labels = labels_of(predict, images)
    result = boundary_distances(predict, images, labels, queries=queries, pool=near_the_middle(9, seed=5))
    assert predict.count == result.total_queries == result.queries.sum() + 9 and result.pool_queries == 9
    assert result.queries.max() <= queries and (result.queries >= max(1, queries - 30)).all()


def test_more_queries_do_not_give_larger_distances():
    predict, images = half_space(), near_the_middle(30)
    labels = labels_of(predict, images)
    mean = [boundary_distances(predict, images, labels, queries=queries).distances.mean() for queries in (1, 30, 200)]
    assert mean[0] > mean[1] > mean[2]


def test_distances_belong_to_adversarial_images_within_the_box():
    predict, images = ball(), near_the_middle(40, spread=1.0)
    images[0], images[1] = 0.0, 1.0
    labels = labels_of(predict, images)
    result = boundary_distances(predict, images, labels, queries=300)
    assert predict.low >= 0 and predict.high <= 1
    assert (predict(result.adversarial) != labels).all()
    differences = (result.adversarial.double() - images.double()).flatten(1).norm(dim=1)
    np.testing.assert_allclose(result.distances, differences.numpy(), rtol=1e-12)


def test_another_box_only_changes_the_unit():
    images, scale, shift = near_the_middle(20), 255.0, -10.0
    predict = half_space()
    labels = labels_of(predict, images)
    scaled = Counted(lambda points: predict.classify((points - shift) / scale))
    plain = boundary_distances(predict, images, labels, queries=300)
    other = boundary_distances(scaled, images * scale + shift, labels, queries=300, low=shift, high=shift + scale)
    np.testing.assert_allclose(other.distances / scale, plain.distances, rtol=0.02)
    assert scaled.low >= shift and scaled.high <= shift + scale


def test_same_seed_same_numbers_and_chunks_do_not_matter():
    predict, images = ball(), near_the_middle(30, spread=1.0)
    labels = labels_of(predict, images)
    first = boundary_distances(predict, images, labels, queries=200, seed=3)
    state = torch.get_rng_state()
    again = boundary_distances(predict, images, labels, queries=200, seed=3)
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(first.distances, again.distances) and np.array_equal(first.queries, again.queries)
    other = boundary_distances(predict, images, labels, queries=200, seed=4)
    assert not np.array_equal(first.distances, other.distances)
    for batch_size in (1, 7, 64):
        predict.largest = 0
        chunked = boundary_distances(predict, images, labels, queries=200, seed=3, batch_size=batch_size)
        assert predict.largest <= batch_size and np.array_equal(chunked.queries, first.queries)
        np.testing.assert_allclose(chunked.distances, first.distances, rtol=1e-5)


def test_one_at_a_time_gives_what_all_at_once_gives():
    predict, images, pool = half_space(), near_the_middle(12), near_the_middle(60, seed=9)
    labels = labels_of(predict, images)
    together = boundary_distances(predict, images, labels, queries=300, pool=pool)
    alone = [
        boundary_distances(predict, images[i : i + 1], labels[i : i + 1], queries=300, pool=pool).distances[0]
        for i in range(12)
    ]
    np.testing.assert_allclose(alone, together.distances, rtol=0.03)


def test_without_another_class_among_the_images_the_search_starts_from_noise():
    predict = half_space()
    images = near_the_middle(40)
    images = images[predict(images) == 1]
    labels = labels_of(predict, images)
    result = boundary_distances(predict, images, labels, queries=500)
    assert predict.count == result.queries.sum() and result.queries.max() <= 500
    assert result.found.all() and np.median(result.distances / linear_distances(images)) < 1.03


def test_a_classifier_with_one_answer_has_no_boundary():
    predict, images = Counted(lambda points: torch.zeros(len(points), dtype=torch.int64)), near_the_middle(5)
    result = boundary_distances(predict, images, torch.zeros(5, dtype=torch.int64), queries=50)
    assert not result.found.any() and (result.queries == 50).all() and predict.count == 250
    assert np.isfinite(result.distances).all() and (result.distances >= 0.5 * SIZE**0.5).all()


def test_records_beyond_one_block_of_candidates_are_attacked():
    predict, images = half_space(), near_the_middle(300)
    result = boundary_distances(predict, images, labels_of(predict, images), queries=120)
    assert np.median(result.distances / linear_distances(images)) < 1.1


def test_the_predictor_of_a_model_normalises_and_keeps_its_mode():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIZE, 3), torch.nn.BatchNorm1d(3)).train()
    images = near_the_middle(8)
    predict = label_predictor(model, normalize=lambda batch: batch * 2 - 1)
    answer = predict(images)
    assert all(module.training for module in model.modules())
    with torch.no_grad():
        assert torch.equal(answer, model.eval()(images * 2 - 1).argmax(1))
    with pytest.raises(AuditError, match="one tensor of logits"):
        label_predictor(torch.nn.Identity())(images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": near_the_middle(4).double()}, "float64"),
        ({"images": near_the_middle(4) + 1}, "outside of the box"),
        ({"images": near_the_middle(4) * torch.nan}, "or NaN"),
        ({"images": near_the_middle(4)[:0], "labels": torch.zeros(0, dtype=torch.int64)}, "n >= 1"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, r"expected integers \(4,\)"),
        ({"labels": torch.zeros(4)}, "float32"),
        ({"queries": 0}, "queries 0"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"seed": -1}, "seed -1"),
        ({"low": 1.0}, "low < high"),
        ({"pool": torch.zeros(2, 1, 3, 3)}, "pool's images"),
        ({"predict": lambda images: torch.zeros(len(images), 2)}, "one integer for each"),
    ],
)
def test_bad_input_is_refused(changes, message):
    good = {"predict": half_space(), "images": near_the_middle(4), "labels": torch.zeros(4, dtype=torch.int64)}
    options = {**good, **changes}
    with pytest.raises(AuditError, match=message):
        boundary_distances(options.pop("predict"), options.pop("images"), options.pop("labels"), **options)


class Floats(torch.nn.Module):
    """The toolbox computes in float64 under numpy 2."""

    def forward(self, images):
        return images.float()


@pytest.mark.skipif(importlib.util.find_spec("art") is None, reason="adversarial-robustness-toolbox is not installed")
def test_at_fewer_queries_distances_are_not_larger_than_those_of_the_toolbox():
    from art.attacks.evasion import HopSkipJump
    from art.estimators.classification import PyTorchClassifier

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(SIZE, 32), torch.nn.Tanh(), torch.nn.Linear(32, 4)
    ).eval()
    with torch.no_grad():
        net[1].weight *= 4
        net[3].weight *= 4
    images = near_the_middle(60, spread=1.0)
    predict = label_predictor(net)
    labels = predict(images)
    assert len(labels.unique()) > 1
    ours = boundary_distances(predict, images, labels, queries=400)
    in_floats = torch.nn.Sequential(Floats(), net)
    classifier = PyTorchClassifier(
        in_floats, torch.nn.CrossEntropyLoss(), SHAPE, 4, clip_values=(0.0, 1.0), device_type="cpu"
    )
    np.random.seed(0)  # noqa: NPY002 - the toolbox draws from the global generator
    adversarial = HopSkipJump(classifier, norm=2, max_iter=5, verbose=False).generate(images.numpy())  # 890 queries
    theirs = np.linalg.norm((adversarial - images.numpy()).reshape(60, -1), axis=1)
    started = theirs > 0  # where uniform noise gives it no start, it returns the image itself
    assert started.sum() > 30 and np.median(ours.distances[started] / theirs[started]) <= 1.05
