"""The training images nearest to an image, and the distance that is usual: against brute force, on made features."""

import numpy as np
import pytest

from covid_core.inference.reference import BY, PER_DIRECTION, WIDTH, Neighbourhood, Space

TRAINING, VALIDATION = np.arange(400), np.arange(400, 520)
IDS = np.array([f"image-{number}" for number in TRAINING], dtype=object)
LABELS = np.array([("a", "b")[number % 2] for number in TRAINING], dtype=object)


def made(width: int = 200, seed: int = 0) -> np.ndarray:
    """Features (560, width) that vary along a tenth of the directions, and hardly along the others."""
    rng = np.random.default_rng(seed)
    strength = np.where(np.arange(width) < width // 10, 3.0, 0.2)
    return (5 + rng.normal(size=(560, width)) * strength).astype(np.float32)


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return made()


@pytest.fixture(scope="module")
def fitted(features) -> Neighbourhood:
    return Neighbourhood.fit(features.__getitem__, TRAINING, VALIDATION, IDS, LABELS)


def test_neighbours_are_the_nearest_by_brute_force(features, fitted):
    wanted = fitted.space.coordinates(features[520:])
    positions, distances = fitted.nearest(features[520:], 6)
    for image, found, apart in zip(wanted, positions, distances, strict=True):
        all_of_them = np.linalg.norm(fitted.coordinates.astype(np.float64) - image, axis=1)
        assert apart == pytest.approx(np.sort(all_of_them)[:6], abs=1e-4)
        assert all_of_them[found] == pytest.approx(apart, abs=1e-4)


def test_a_training_image_is_its_own_neighbour_at_distance_0(features, fitted):
    positions, distances = fitted.nearest(features[:50], 1)
    assert positions[:, 0].tolist() == list(range(50))
    assert distances.max() < 0.01


def test_the_usual_distance_is_1(features, fitted):
    among = fitted.distances(features[VALIDATION])
    assert np.median(among) == pytest.approx(1, abs=0.01)


def test_one_odd_training_image_vouches_for_nothing():
    features = made()
    features[7] += 100
    found = Neighbourhood.fit(features.__getitem__, TRAINING, VALIDATION, IDS, LABELS)
    assert found.nearest(features[7:8], 1)[1][0, 0] < 0.01
    assert found.distances(features[7:8])[0] > found.limit.value


def test_what_varies_in_no_direction_of_the_training_images_is_far(features, fitted):
    """A photograph moves where no two images differ: along directions that are not kept."""
    odd = features[520:530].copy()
    odd[:, -100:] += np.random.default_rng(0).choice([-3, 3], 100)
    apart = fitted.distances(odd)
    assert (apart > 2 * fitted.limit.value).all()


def test_further_images_stay_within_the_limit(features, fitted):
    apart = fitted.distances(features[520:])
    assert (apart <= fitted.limit.value).mean() >= 0.9


def test_the_scale_of_features_does_not_matter(features, fitted):
    times = Neighbourhood.fit(lambda at: 50 * features[at], TRAINING, VALIDATION, IDS, LABELS)
    apart = [one.distances(scale * features[520:]) for one, scale in ((fitted, 1), (times, 50))]
    assert np.allclose(*apart, atol=0.01)


@pytest.mark.parametrize("width", [1, 2, 64, 300])
def test_coordinates_are_few_whatever_the_network_gives(width):
    features = made(width)
    space = Space.fit(features.__getitem__, TRAINING)
    assert space.coordinates(features[:3]).shape == (
        3,
        1 + max(1, min(WIDTH, width // 2, len(TRAINING) // PER_DIRECTION)),
    )
    assert np.isfinite(space.coordinates(features)).all()


def test_features_that_never_vary_are_no_error():
    constant = np.ones((560, 30), np.float32)
    found = Neighbourhood.fit(constant.__getitem__, TRAINING, VALIDATION, IDS, LABELS)
    assert found.distances(constant[:2]).tolist() == [0, 0]
    assert np.isfinite(found.space.coordinates(constant[:1] + 1e6)).all()


def test_features_are_taken_a_block_at_a_time(features, monkeypatch):
    whole = Space.fit(features.__getitem__, TRAINING)
    monkeypatch.setattr("covid_core.inference.reference.BLOCK", 37)
    sizes = []

    def some(at: np.ndarray) -> np.ndarray:
        sizes.append(len(at))
        return features[at]

    in_blocks = Space.fit(some, TRAINING)
    assert max(sizes) == 37
    apart = [
        np.linalg.norm(one.coordinates(features[:1]) - one.coordinates(features[1:2])) for one in (whole, in_blocks)
    ]
    assert apart[0] == pytest.approx(apart[1], rel=0.01)


def test_fewer_training_images_than_neighbours_are_all_neighbours(features):
    found = Neighbourhood.fit(features.__getitem__, TRAINING[:3], VALIDATION, IDS[:3], LABELS[:3])
    positions, distances = found.nearest(features[520:521], BY)
    assert sorted(positions[0].tolist()) == [0, 1, 2]
    assert (np.diff(distances[0]) >= 0).all()


def test_few_training_images_do_not_share_their_nearest():
    """What the directions do not reach must not decide: all new images would be nearest the same few."""
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(400, 300)) / (1 + np.arange(300))).astype(np.float32)
    few = Neighbourhood.fit(features.__getitem__, np.arange(150), np.arange(150, 200), IDS[:150], LABELS[:150])
    positions, _ = few.nearest(features[200:], 6)
    assert np.bincount(positions.ravel()).max() < len(positions) / 2


def test_without_validation_images_there_is_no_limit(features):
    found = Neighbourhood.fit(features.__getitem__, TRAINING, VALIDATION[:0], IDS, LABELS)
    assert not found.limit.is_defined
