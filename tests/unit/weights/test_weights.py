"""Starting weights: from the cache, the network, a file or chance, and never one for another."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from covid_core import weights
from covid_core.backbones import Backbone, backbone_named
from covid_core.errors import WeightsUnavailable
from covid_core.specs import TrainingSpec

VGG = backbone_named("vgg16")
CONTENT = b"weights"


@pytest.fixture(autouse=True)
def keras_home(tmp_path, monkeypatch) -> Path:
    """An empty folder of Keras, and a network that nobody may use unless the test opens it."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(weights, "can_be_reached", lambda url: False)
    monkeypatch.setattr(weights, "download", lambda *arguments: pytest.fail("downloaded"))
    return tmp_path / "keras"


@pytest.fixture
def network(monkeypatch) -> list[str]:
    """A network that has every file; the addresses that were fetched."""
    fetched = []

    def download(url, target, md5, progress):
        assert md5 == VGG.weights_md5
        fetched.append(url)
        target.parent.mkdir(parents=True)
        target.write_bytes(CONTENT)

    monkeypatch.setattr(weights, "can_be_reached", lambda url: True)
    monkeypatch.setattr(weights, "download", download)
    return fetched


def spec(start: str) -> TrainingSpec:
    return TrainingSpec(dataset="images", classes=("a", "b"), backbone="vgg16", weights=start, image_size=64)


def cache(backbone: Backbone = VGG) -> Path:
    path = weights.cached_path(backbone, 64)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return path


def test_keras_home_says_where_weights_are_cached(keras_home):
    assert weights.cached_path(VGG, 64) == keras_home / "models" / VGG.weights_file


def test_without_keras_home_it_is_the_users_keras_folder(monkeypatch):
    monkeypatch.delenv("KERAS_HOME")
    assert weights.cache_folder() == Path.home() / ".keras/models"


def test_cached_weights_are_taken_without_a_network():
    path = cache()
    assert weights.is_cached(VGG, 64)
    assert weights.obtain(spec("imagenet"), VGG) == path


def test_weights_are_fetched_where_the_network_has_them(network):
    assert weights.obtain(spec("imagenet"), VGG).read_bytes() == CONTENT
    assert network == [VGG.weights_url(64)]


def test_imagenet_weights_that_cannot_be_had_are_refused_with_the_choices(keras_home):
    with pytest.raises(WeightsUnavailable) as refusal:
        weights.obtain(spec("imagenet"), VGG)
    for choice in ("$KERAS_HOME/models", VGG.weights_file, "weights=file:PATH", "weights=random"):
        assert choice in str(refusal.value)


def test_a_random_start_asks_for_no_file():
    cache()
    assert weights.obtain(spec("random"), VGG) is None


def test_a_file_is_taken_as_it_is(tmp_path):
    path = tmp_path / "mine.h5"
    path.write_bytes(CONTENT)
    assert weights.obtain(spec(f"file:{path}"), VGG) == path


@pytest.mark.parametrize("name", ["missing.h5", ""], ids=["missing", "folder"])
def test_a_file_that_is_not_there_is_refused_even_where_the_network_has_weights(network, tmp_path, name):
    with pytest.raises(WeightsUnavailable, match="There is no weights file"):
        weights.check(spec(f"file:{tmp_path / name}"), VGG)
    assert network == []


def test_the_baseline_has_no_weights_to_cache():
    assert not weights.is_cached(backbone_named("baseline_cnn"), 64)


def test_the_published_checksum_is_what_the_download_is_held_to(network, monkeypatch):
    other = replace(VGG, weights_md5=hashlib.md5(b"other", usedforsecurity=False).hexdigest())
    with pytest.raises(AssertionError):
        weights.obtain(spec("imagenet"), other)
