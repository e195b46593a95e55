"""Outlines of a data set's images: each is drawn once, kept beside the pixels, and drawn again only where it is
gone."""

import dataclasses

import numpy as np
import pytest
from made_data import lung_mask, made_database, made_dataset
from made_segmenters import LIMITS

from covid_core import cache
from covid_core.data.dataset import decide, delete_dataset
from covid_core.data.decisions import LEAVE_OUT, Decision
from covid_core.data.masks import OWN, TRAINED, Origin
from covid_core.data.pixels import SUMMARY_SIZE, open_pixels
from covid_core.errors import NoRoom, Stopped
from covid_core.inference import lungs
from covid_core.inference.lungs import Lungs

ORIGIN = Origin(TRAINED, "Made images")
ROWS = np.arange(6)


class Network:
    """A network that finds two lungs in images of an even number of greys, and nothing in the others."""

    def __init__(self):
        self.shown = 0

    def run(self, batch: np.ndarray) -> list[np.ndarray]:
        self.shown += len(batch)
        usual = np.where(lung_mask(SUMMARY_SIZE) > 0, 0.99, 0.01)
        return [np.stack([usual * has_lungs(image) for image in batch]).astype(np.float32)]


def has_lungs(image: np.ndarray) -> bool:
    return int(image.sum()) % 2 == 0


@pytest.fixture
def images(tmp_path):
    return made_dataset(tmp_path, counts={"COVID": 3, "Normal": 3})


def outlined(images, network, rows=ROWS, **more):
    return lungs.outlined_images(*images, rows, Lungs(network, SUMMARY_SIZE, 0.5, LIMITS, ORIGIN, "one"), **more)


def test_a_image_is_outlined_once_whether_or_not_it_has_lungs(images):
    network = Network()
    masks, known = outlined(images, network)
    workspace, dataset = images
    expected = [has_lungs(np.asarray(image)) for image in open_pixels(workspace, dataset, SUMMARY_SIZE)]
    assert known.tolist() == expected
    assert len(set(expected)) == 2
    assert masks[known].mean() == pytest.approx((lung_mask(SUMMARY_SIZE) > 0).mean(), abs=0.02)
    again, known_again = outlined(images, network)
    assert network.shown == len(ROWS)
    np.testing.assert_array_equal(again, masks)
    np.testing.assert_array_equal(known_again, known)


def test_images_in_another_order_and_after_a_decision_keep_their_outlines(images):
    workspace, dataset = images
    masks, _ = outlined(images, Network())
    now = decide(workspace, dataset.id, [Decision(LEAVE_OUT, dataset.images["image_id"].iloc[1])], "Somebody")
    network = Network()
    some, _ = outlined((workspace, now), network, np.array([4, 1]))
    assert not network.shown
    np.testing.assert_array_equal(some, masks[[5, 2]])


@pytest.mark.parametrize("left", [0, 200])
def test_outlines_that_are_torn_are_drawn_again(images, left):
    masks, _ = outlined(images, Network())
    (path,) = images[0].pixels.glob("*lungs*")
    path.write_bytes(path.read_bytes()[:left])
    np.testing.assert_array_equal(outlined(images, Network())[0], masks)


def test_what_was_outlined_before_a_stop_is_kept(tmp_path):
    images = made_dataset(tmp_path, counts={"COVID": 30})

    def stopped(share, _message):
        if share > 0.5:
            raise Stopped("Stopped by the user.")

    network = Network()
    with pytest.raises(Stopped):
        outlined(images, network, np.arange(30), progress=stopped)
    assert 0 < network.shown < 30
    outlined(images, network, np.arange(30))
    assert network.shown < 30 + 10  # the few that were under way at the stop are outlined again


def test_a_full_cache_takes_no_outline_from_whoever_asked_and_hides_no_stop(images, monkeypatch):
    outlined(images, Network(), ROWS[:2])

    def full(*_given, **_more):
        raise NoRoom("There is no room.")

    monkeypatch.setattr(cache, "make_room", full)
    assert outlined(images, Network())[1].any()


def test_another_segmenter_draws_its_own(images):
    outlined(images, Network())
    network = Network()
    lungs.outlined_images(*images, ROWS, Lungs(network, SUMMARY_SIZE, 0.5, LIMITS, ORIGIN, "two"))
    assert network.shown == len(ROWS)


def test_outlines_that_another_version_of_the_program_drew_are_not_taken(images, monkeypatch):
    outlined(images, Network())
    monkeypatch.setattr(lungs, "FORMAT", lungs.FORMAT + 1)
    network = Network()
    outlined(images, network)
    assert network.shown == len(ROWS)


def test_outlines_go_with_the_data_set(images):
    workspace, dataset = images
    outlined(images, Network())
    delete_dataset(workspace, dataset.id)
    assert not list(workspace.pixels.glob("*lungs*"))


def test_a_data_set_with_masks_is_not_outlined(tmp_path):
    workspace, dataset = made_database(tmp_path, counts={"COVID": 3, "Normal": 3})
    found = lungs.of_images(workspace, dataset, ROWS)
    assert found.available.all() and found.origin == Origin(OWN)
    assert not list(workspace.pixels.glob("*lungs*"))


def test_masks_and_outlines_are_not_mixed_where_only_some_images_have_a_mask(tmp_path, monkeypatch):
    """Also of images of which none has a mask: the same rule for a few images as for all."""
    workspace, dataset = made_database(tmp_path, counts={"COVID": 3, "Normal": 3})
    lacking = dataset.images["mask_path"].where(dataset.images["label"] == "COVID", "")
    some = dataclasses.replace(dataset, images=dataset.images.assign(mask_path=lacking))
    network = Network()
    segmenter = Lungs(network, SUMMARY_SIZE, 0.5, LIMITS, ORIGIN, "one")
    monkeypatch.setattr(lungs, "serving", lambda *_given: segmenter)
    found = lungs.of_images(workspace, some, ROWS)
    assert found.available.tolist() == (dataset.images["label"] == "COVID").tolist()
    assert found.origin == Origin(OWN)
    none = lungs.of_images(workspace, some, np.flatnonzero(lacking == ""))
    assert not none.available.any() and none.reason == "no usable mask"
    assert not network.shown


def test_outlines_come_at_the_size_that_is_asked_for(images, monkeypatch):
    segmenter = Lungs(Network(), SUMMARY_SIZE, 0.5, LIMITS, ORIGIN, "one")
    monkeypatch.setattr(lungs, "serving", lambda *_given: segmenter)
    found = lungs.of_images(*images, ROWS, size=48)
    assert found.masks.shape == (6, 48, 48)
    np.testing.assert_array_equal(found.available, outlined(images, Network())[1])
    assert found.masks[found.available].mean() == pytest.approx((lung_mask(48) > 0).mean(), abs=0.03)
    assert found.origin == ORIGIN
