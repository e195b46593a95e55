"""Many numbers brought to two: components as an exact decomposition gives them, neighbours that stay neighbours."""

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from covid_core.audit.embedding import projection
from covid_core.audit.embedding.projection import nearest_neighbours, principal_components, tsne


def islands(images: int = 150, islands: int = 3, width: int = 20, apart: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    """Images in islands far from each other: numbers (images, width), and which island each is of."""
    rng = np.random.default_rng(0)
    of = np.arange(images) % islands
    middles = rng.normal(0, apart, (islands, width))
    return (middles[of] + rng.normal(0, 1, (images, width))).astype(np.float32), of


def test_components_are_those_of_an_exact_decomposition():
    features, _ = islands()
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    _, lengths, _ = np.linalg.svd(standard, full_matrices=False)
    coordinates, shares, beyond = principal_components(features, 5)
    assert np.allclose(np.square(lengths[:5]) / np.square(lengths).sum(), shares, rtol=1e-3)
    whole = np.square(standard).sum(axis=1)
    assert np.allclose(np.square(coordinates).sum(axis=1) + np.square(beyond), whole, rtol=1e-3)


def test_features_on_disk_give_the_same_components_block_by_block(tmp_path, monkeypatch):
    features, _ = islands()
    table = np.memmap(tmp_path / "features", np.float32, "w+", shape=features.shape)
    table[:] = features
    whole = principal_components(features, 3)[0]
    monkeypatch.setattr(projection, "BLOCK", 40)
    blocks = principal_components(table, 3)[0]
    assert np.corrcoef(blocks[:, 0], whole[:, 0])[0, 1] > 0.999
    assert np.corrcoef(blocks[:, 1], whole[:, 1])[0, 1] > 0.999


def test_constant_features_count_for_nothing():
    features, _ = islands()
    with_constants = np.column_stack([features, np.full(len(features), 7.0), np.zeros(len(features))])
    assert np.allclose(principal_components(with_constants, 3)[0], principal_components(features, 3)[0], atol=1e-3)


def test_images_that_are_all_the_same_lie_on_one_spot():
    coordinates, _, beyond = principal_components(np.full((12, 5), 3.0), 4)
    assert not coordinates.any()
    assert not beyond.any()


def test_neighbours_are_exact_and_never_the_image_itself():
    features, _ = islands(40)
    apart = np.sqrt(np.square(features[:, None] - features).sum(axis=2))
    np.fill_diagonal(apart, np.inf)
    positions, distances = nearest_neighbours(features, 3)
    assert np.array_equal(positions, np.argsort(apart, axis=1)[:, :3])
    assert np.allclose(distances, np.sort(apart, axis=1)[:, :3], rtol=1e-4)


def test_of_few_images_all_others_are_neighbours():
    positions, distances = nearest_neighbours(np.array([[0.0], [1.0], [5.0]]), 10)
    assert positions.tolist() == [[1, 2], [0, 2], [1, 0]]
    assert distances.tolist() == [[1, 5], [1, 4], [4, 5]]


def test_islands_stay_islands():
    features, of = islands()
    positions, _ = nearest_neighbours(tsne(principal_components(features, 20)[0]), 10)
    assert (of[positions] == of[:, None]).mean() > 0.99


def test_neighbours_stay_neighbours():
    rng = np.random.default_rng(3)
    features = (rng.normal(size=(400, 6)) @ rng.normal(size=(6, 30))).astype(np.float32)
    assert trustworthiness(features, tsne(principal_components(features, 20)[0]), n_neighbors=10) > 0.92


def test_the_same_images_give_the_same_map():
    features, _ = islands(60)
    assert np.array_equal(tsne(features), tsne(features))


def test_progress_rises_and_ends_the_work_by_an_error():
    shares = []

    def stop(share: float, _message: str) -> None:
        shares.append(share)
        if share > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tsne(islands(60)[0], stop)
    assert shares == sorted(shares)
    assert shares[-1] < 0.35


@pytest.mark.parametrize("images", [2, 3, 4, 10])
def test_few_images_have_places_too(images):
    places = tsne(islands(images)[0])
    assert places.shape == (images, 2)
    assert np.isfinite(places).all()


def test_images_of_which_many_are_the_same_have_places_too():
    features = np.repeat(islands(10)[0], 12, axis=0)
    assert np.isfinite(tsne(features)).all()


def test_images_that_are_all_the_same_have_places_too():
    assert np.isfinite(tsne(np.zeros((12, 3), np.float32))).all()
