"""A trained run's heat maps against those of its own shuffled weights. On lesions that are known: tests/soak."""

import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from trained_runs import dataset_of

from covid_core.audit.model import heatmap_sanity
from covid_core.audit.model.randomisation_test import DEPENDS, UNKNOWN
from covid_core.audit.model.randomised_network import shuffled_content, shuffled_head, shuffled_network
from covid_core.data.dataset import Dataset
from covid_core.errors import RunDamaged, Stopped
from covid_core.inference.network import Head, LiteNetwork
from covid_core.inference.predictor import Predictor, trunk_path_of
from covid_core.reports import evidence_text
from covid_core.runs import store
from covid_core.runs.store import Run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(place, copy_of_trained) -> Run:
    return copy_of_trained(place)


@pytest.fixture(scope="module")
def phantom(place, trained) -> Dataset:
    return dataset_of(place, trained)


@pytest.fixture
def run(place, trained) -> Iterator[Run]:
    """The trained run, without a check of an earlier test."""
    shutil.rmtree(trained.path / "audits", ignore_errors=True)
    yield store.open_run(place, trained.id)


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def never(_share: float, _text: str) -> None:
    raise AssertionError("The check was made again.")


# Shuffled weights


def test_a_shuffled_network_has_the_same_weights_elsewhere(place, run):
    path = trunk_path_of(place, run)
    plain, shuffled = (
        np.frombuffer(content, np.uint8) for content in (path.read_bytes(), shuffled_content(path, rng()))
    )
    assert plain.size == shuffled.size
    changed = np.flatnonzero(plain != shuffled)
    kernels = 4 * (3 * 3 * 32 + 3 * 3 * 32 * 64)  # bytes of the two convolutions
    assert 0.5 * kernels < changed.size <= kernels
    assert shuffled_content(path, rng()) == shuffled.tobytes()


def test_a_shuffled_network_answers_otherwise_and_as_large(place, run):
    path, images = trunk_path_of(place, run), np.random.default_rng(0).integers(0, 256, (4, 32, 32, 1), np.uint8)
    (plain,), (shuffled,) = LiteNetwork(path).run(images), shuffled_network(path, rng()).run(images)
    assert plain.shape == shuffled.shape
    assert np.isfinite(shuffled).all() and shuffled.std() > 0
    assert np.abs(np.corrcoef(plain.ravel(), shuffled.ravel())[0, 1]) < 0.9


def test_a_shuffled_head_keeps_the_sizes_of_its_weights_and_its_biases():
    weights = (np.arange(1, 13, dtype=np.float32).reshape(4, 3), np.arange(1, 7, dtype=np.float32).reshape(3, 2))
    head = Head("mean", weights, (np.ones(3, np.float32), np.zeros(2, np.float32)))
    shuffled = shuffled_head(head, rng())
    for before, after in zip(head.weights, shuffled.weights, strict=True):
        assert np.array_equal(np.sort(np.abs(after), axis=None), np.sort(before, axis=None))
        assert (after < 0).any() and (after > 0).any() and after.dtype == np.float32
    assert shuffled.biases is head.biases


def test_a_file_that_is_no_network_cannot_be_shuffled(tmp_path):
    for content in (b"", b"image" * 100, b"imageTFL3"):
        (tmp_path / "trunk.tflite").write_bytes(content)
        with pytest.raises(RunDamaged, match="trunk.tflite"):
            shuffled_content(tmp_path / "trunk.tflite", rng())


# The check


def test_maps_of_a_trained_run_depend_on_its_weights(place, run):
    found = heatmap_sanity.of(place, run)
    assert found.verdict == DEPENDS
    assert (found.images, found.shuffles) == (heatmap_sanity.IMAGES, heatmap_sanity.SHUFFLES)
    assert found.whole.defined == found.head.defined == 1
    assert found.whole.correlation != found.head.correlation  # another network, not only another head


def test_a_check_is_made_once_and_kept_with_the_run(place, run):
    assert heatmap_sanity.stored(run) is None
    made = heatmap_sanity.of(place, run)
    assert heatmap_sanity.stored(run) == made
    assert heatmap_sanity.of(place, run, never) == made


def test_a_run_that_was_trained_further_is_checked_again(place, run):
    heatmap_sanity.of(place, run)
    run.write_audit(heatmap_sanity.AUDIT, {**run.audit(heatmap_sanity.AUDIT), "head_sha256": "of another head"})
    assert heatmap_sanity.stored(run) is None


def test_a_check_can_be_stopped_and_nothing_is_kept(place, run):
    def stop(share: float, _text: str) -> None:
        if share > 0.3:
            raise Stopped("Stopped by the user.")

    with pytest.raises(Stopped):
        heatmap_sanity.of(place, run, stop)
    assert heatmap_sanity.stored(run) is None


def test_without_the_images_the_check_says_so_and_is_not_kept(place, run, phantom):
    hidden = phantom.folder.with_name("hidden")
    phantom.folder.rename(hidden)
    try:
        found = heatmap_sanity.of(place, run)
    finally:
        hidden.rename(phantom.folder)
    assert found.verdict == UNKNOWN
    assert "the images that it needs cannot be read" in evidence_text.map_check(found)
    assert heatmap_sanity.stored(run) is None


def test_a_check_of_an_earlier_version_is_made_again(place, run):
    made = heatmap_sanity.of(place, run)
    record = run.audit(heatmap_sanity.AUDIT)
    del record["version"]
    run.write_audit(heatmap_sanity.AUDIT, record)
    assert heatmap_sanity.stored(run) is None
    assert heatmap_sanity.of(place, run) == made


def test_a_check_with_a_figure_that_is_no_longer_made_is_read(place, run):
    made = heatmap_sanity.of(place, run)
    record = run.audit(heatmap_sanity.AUDIT)
    record["whole"]["structure"] = 0.5
    run.write_audit(heatmap_sanity.AUDIT, record)
    assert heatmap_sanity.stored(run) == made


@pytest.mark.parametrize("damage", ["torn", "no figures"])
def test_a_damaged_check_is_refused(run, damage):
    found = {"version": heatmap_sanity.VERSION, "head_sha256": run.result["head_sha256"], "whole": {}}
    run.write_audit(heatmap_sanity.AUDIT, found)
    if damage == "torn":
        (run.path / "audits" / f"{heatmap_sanity.AUDIT}.json").write_bytes(b"{")
    with pytest.raises(RunDamaged):
        heatmap_sanity.stored(run)


# What a new run knows of the usual image


def test_a_published_run_knows_the_mean_maps_of_its_training_images(place, run):
    (usual,) = Head.load(run.head_path).usual
    assert usual.shape == (1, 6, 6, 64)
    assert usual.any()
    assert Predictor.open(place, run).head.usual
