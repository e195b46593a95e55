"""Outlines from score maps, what is no pair of lungs, and whose outline is given. No network runs here."""

import numpy as np
import pytest
from made_data import lung_mask, made_database, made_dataset
from made_segmenters import LIMITS, made_segmenter

from covid_core import files
from covid_core.data.masks import BUILT_IN, OWN, TRAINED, Origin
from covid_core.errors import RunDamaged, RunError
from covid_core.evaluation import overlap
from covid_core.images.codec import GreyImage, read_image
from covid_core.inference import lungs
from covid_core.inference.lungs import Lungs, Shape
from covid_core.reports import evidence_text
from covid_core.runs import segmenters
from covid_core.synthetic.phantom import image_at

SIZE = 64
ORIGIN = Origin(TRAINED, "Made images")


class Told:
    """A network that always answers the same score map."""

    def __init__(self, scores: np.ndarray):
        self._scores = scores.astype(np.float32)

    def run(self, batch: np.ndarray) -> list[np.ndarray]:
        return [np.repeat(self._scores[None], len(batch), axis=0)]


def two_lungs() -> np.ndarray:
    return np.where(lung_mask(SIZE) > 0, 0.99, 0.01)


def outline_of(scores: np.ndarray, shape: tuple[int, int] = (SIZE, SIZE)) -> lungs.LungOutline:
    image = GreyImage(np.arange(np.prod(shape), dtype=np.uint8).reshape(shape), "L")
    return Lungs(Told(scores), SIZE, 0.5, LIMITS, ORIGIN).outline(image)


def without(scores: np.ndarray, *places: tuple[slice, slice]) -> np.ndarray:
    changed = scores.copy()
    for place in places:
        changed[place] = 0.01
    return changed


LEFT, RIGHT = (slice(None), slice(0, SIZE // 2)), (slice(None), slice(SIZE // 2, None))


@pytest.mark.parametrize("shape", [(SIZE, SIZE), (200, 150), (40, 48)], ids=str)
def test_an_outline_has_the_images_size_and_tells_whose_it_is(shape):
    found = outline_of(two_lungs(), shape)
    assert found.mask.shape == shape
    assert found.mask.dtype == bool
    assert found.mask.mean() == pytest.approx((lung_mask(SIZE) > 0).mean(), abs=0.03)
    assert found.origin == ORIGIN


def test_specks_and_a_third_patch_are_no_lungs():
    scores = two_lungs()
    scores[0:4, 30:34] = 0.99
    assert (outline_of(scores).mask == (lung_mask(SIZE) > 0)).all()


def test_holes_are_filled():
    scores = without(two_lungs(), (slice(20, 26), slice(12, 18)))
    assert (outline_of(scores).mask == (lung_mask(SIZE) > 0)).all()


def test_a_thin_bridge_between_the_lungs_is_cut():
    scores = two_lungs()
    scores[30, :] = 0.99
    assert outline_of(scores).mask is not None


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (np.full((SIZE, SIZE), 0.01), ""),
        (np.full((SIZE, SIZE), 0.99), "area"),
        (without(two_lungs(), LEFT, (slice(0, 10), slice(None))), "balance"),
        (two_lungs().T, "tilt"),
        (np.where(two_lungs() > 0.5, 0.7, 0.01), "unsure"),
        (np.where(np.indices((SIZE, SIZE))[1] % 32 < 16, 0.99, 0.01), "cut"),
    ],
    ids=["nothing", "everything", "one lung", "lying", "unsure", "cut"],
)
def test_what_is_no_pair_of_lungs_gets_a_reason_and_no_mask(scores, reason):
    found = outline_of(scores)
    assert found.mask is None
    assert found.refusal.figure == reason


def test_a_ragged_outline_is_refused():
    teeth = np.indices((SIZE, SIZE))[0] % 8 < 4
    scores = np.where((lung_mask(SIZE) > 0) & (teeth | (np.indices((SIZE, SIZE))[1] % 32 < 14)), 0.99, 0.01)
    assert outline_of(scores).refusal.figure == "ragged"


def test_the_figures_of_two_squares_by_hand():
    mask = np.zeros((20, 20), bool)
    mask[5:15, 1:9] = mask[5:15, 11:19] = True
    scores = np.where(mask, 0.95, 0.5)
    shape = lungs.shape_of(mask, scores)
    assert shape.area == 160 / 400
    assert shape.balance == 1
    assert shape.tilt == 0
    assert shape.ragged == pytest.approx(64 / (2 * np.sqrt(2 * np.pi * 160)))
    assert shape.unsure == 240 / 160
    assert shape.cut == 0
    mask[:, :] = False
    assert lungs.shape_of(mask, scores) is None


def test_limits_are_those_of_validation_outlines_with_a_margin():
    shapes = [Shape(area, balance, 4.0, 1.2, 0.2, 0.0) for area, balance in ((0.25, 0.8), (0.40, 0.9))] * 50
    found = lungs.limits_of(shapes)
    assert found["area"] == pytest.approx((0.25 / 1.5, 0.6))
    assert found["balance"] == pytest.approx((0.64, 1.0))
    assert found["tilt"] == pytest.approx((0, 5))
    assert found["unsure"] == pytest.approx((0, 0.3))


def test_without_outlines_there_are_no_limits():
    with pytest.raises(RunError, match="found no lungs"):
        lungs.limits_of([])


# Whose outline


def test_a_network_that_was_changed_is_not_used(workspace):
    made = made_segmenter(workspace)
    made.network_path.write_bytes(b"another network")
    with pytest.raises(RunDamaged, match=r"lungs\.tflite is missing or was changed"):
        lungs.serving(workspace)


def test_the_data_sets_own_mask_goes_before_an_outline(workspace, tmp_path):
    _, dataset = made_database(tmp_path, workspace)
    image, opened = read_image(dataset.path_of(0)), Lungs(Told(two_lungs()), SIZE, 0.5, LIMITS, ORIGIN)
    image_id = dataset.images["image_id"].iat[0]
    own = lungs.outline_of(workspace, image, dataset.id, image_id, opened)
    assert own.mask is not None and own.origin == Origin(OWN)
    assert lungs.outline_of(workspace, image, dataset.id, opened=opened).origin == ORIGIN


def test_with_neither_mask_nor_segmenter_the_built_in_one_outlines(workspace, tmp_path):
    _, dataset = made_dataset(tmp_path, workspace)
    found = lungs.outline_of(workspace, read_image(dataset.path_of(0)), dataset.id, dataset.images["image_id"].iat[0])
    assert found.origin.kind == BUILT_IN


def test_the_built_in_segmenter_outlines_drawn_images_that_it_has_not_seen(workspace):
    """Its own Dice on drawn images of validation seeds is 0.95; images as a data set has them are easier."""
    opened = lungs.serving(workspace)
    drawn = [image_at(index, 24, seed=99, size=256) for index in range(24)]
    found = [opened.outline(GreyImage(one.pixels, "L")).mask for one in drawn]
    assert all(mask is not None for mask in found)
    assert overlap.dice(np.stack(found), np.stack([one.lung_mask > 0 for one in drawn])).mean() > 0.93


@pytest.mark.parametrize("kind", ["noise", "ramp", "disc", "empty"])
def test_the_built_in_segmenter_outlines_nothing_else(workspace, kind):
    pictures = {
        "noise": np.random.default_rng(0).integers(0, 256, (160, 160)),
        "ramp": np.tile(np.linspace(0, 255, 160), (160, 1)),
        "disc": np.where(np.hypot(*np.indices((160, 160)) - 80) < 60, 200, 30),
        "empty": np.zeros((160, 160)),
    }
    outline = lungs.serving(workspace).outline(GreyImage(pictures[kind].astype(np.uint8), "L"))
    assert outline.mask is None and outline.refusal


def test_the_built_in_segmenter_is_whole_small_and_good_enough_on_real_images():
    built_in = segmenters.built_in()
    assert files.sha256_of(built_in.network_path) == built_in.record.network_sha256
    assert built_in.network_path.stat().st_size < 1_000_000
    assert built_in.origin.dice.value >= evidence_text.RELIABLE
