"""A finished run's answers from made maps: one side or both. tests/test_training.py has real networks."""

from dataclasses import replace

import numpy as np
import pytest

from covid_core.evaluation.calibration import Calibration
from covid_core.images.codec import GreyImage
from covid_core.inference.assessment import assess, assess_all
from covid_core.inference.heatmap import cam, to_unit
from covid_core.inference.network import BATCH, Head, softmax
from covid_core.inference.predictor import Predictor

SIDE = 6
HEAD = Head("mean", (np.array([[1.0, -1.0], [2.0, 0.5]], np.float32),), (np.array([0.1, 0.0], np.float32),))


class MadeTrunk:
    """Two channels: the image's left half alone, and the whole image. Notes how many images it is given at once."""

    def __init__(self):
        self.calls: list[int] = []

    def maps(self, images: np.ndarray) -> list[np.ndarray]:
        self.calls.append(len(images))
        grey = images.astype(np.float32) / 255
        left = grey * (np.arange(SIDE) < SIDE // 2)
        return [np.stack([left, grey], axis=3)]


def predictor(both_sides: bool, **more) -> tuple[Predictor, MadeTrunk]:
    trunk = MadeTrunk()
    return Predictor(("a", "b"), SIDE, trunk, HEAD, both_sides, **more), trunk


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE)).astype(np.uint8)


def one_side(squares: np.ndarray) -> np.ndarray:
    return HEAD.logits(HEAD.features(MadeTrunk().maps(squares)))


def test_logits_of_one_side_are_the_heads():
    answering, trunk = predictor(both_sides=False)
    assert np.allclose(answering.logits(images(3)), one_side(images(3)))
    assert trunk.calls == [3]


def test_logits_of_both_sides_are_the_mean_of_a_image_and_its_mirror_image():
    answering, trunk = predictor(both_sides=True)
    plain, mirrored = one_side(images(3)), one_side(images(3)[:, :, ::-1])
    assert not np.allclose(plain, mirrored)
    assert np.allclose(answering.logits(images(3)), (plain + mirrored) / 2)
    assert trunk.calls == [3, 3]


def test_both_sides_answer_alike_for_a_image_and_its_mirror_image():
    answering, _ = predictor(both_sides=True)
    assert np.allclose(answering.logits(images(2)), answering.logits(images(2)[:, :, ::-1]), atol=1e-6)


@pytest.mark.parametrize("both_sides", [False, True])
def test_many_images_go_through_in_batches_and_come_back_in_their_order(both_sides):
    answering, trunk = predictor(both_sides)
    many = images(2 * BATCH + 1)
    alone = np.concatenate([answering.logits(image[None]) for image in many])
    trunk.calls.clear()
    assert np.allclose(answering.logits(many), alone, atol=1e-6)
    assert max(trunk.calls) == BATCH


@pytest.mark.parametrize("both_sides", [False, True])
def test_a_heat_map_comes_with_the_scores_of_its_image(both_sides):
    answering, _ = predictor(both_sides)
    image = GreyImage(images(1)[0], "L")
    found = assess(answering, image)
    heat = found.heat(found.predicted, (12, 18))
    assert np.allclose(found.scores, softmax(answering.logits(images(1)))[0])
    assert heat.shape == (12, 18)
    assert 0 <= heat.min() <= heat.max() == 1


def test_a_heat_map_of_one_side_is_grad_cam():
    answering, _ = predictor(both_sides=False)
    heat = answering.heat_map(GreyImage(images(1)[0], "L"), "a", (SIDE, SIDE))
    assert np.allclose(heat, to_unit(cam(HEAD, MadeTrunk().maps(images(1)), 0, SIDE, SIDE)))


def test_a_heat_map_of_both_sides_lies_over_the_image_as_it_is():
    """The mirror image's map is turned back: a bright spot at the edge stays on its side."""
    image = np.zeros((SIDE, SIDE), np.uint8)
    image[2, SIDE - 1] = 255
    answering, _ = predictor(both_sides=True)
    heat = answering.heat_map(GreyImage(image, "L"), "a", (SIDE, SIDE))
    assert np.unravel_index(heat.argmax(), heat.shape) == (2, SIDE - 1)
    assert heat[2, 0] == pytest.approx(0, abs=1e-6)


def test_heat_maps_of_a_image_and_its_mirror_image_mirror_each_other():
    answering, _ = predictor(both_sides=True)
    image = images(1)[0]
    heat, turned = (answering.heat_map(GreyImage(f, "L"), "a", (SIDE, SIDE)) for f in (image, image[:, ::-1].copy()))
    assert np.allclose(heat, turned[:, ::-1], atol=1e-5)


def test_the_answer_and_maps_for_all_classes_come_from_one_pass():
    answering, trunk = predictor(both_sides=True)
    image = GreyImage(images(1)[0], "L")
    trunk.calls.clear()
    found = assess(answering, image)
    maps = {label: found.heat(label, (12, 18)) for label in ("b", "a")}
    assert trunk.calls == [1, 1]
    assert all(np.array_equal(maps[label], answering.heat_map(image, label, (12, 18))) for label in maps)
    assert np.array_equal(found.logits, assess_all(answering, [image])[0].logits)
    assert np.array_equal(maps[found.predicted], answering.heat_map(image, "", (12, 18)))


@pytest.mark.parametrize("both_sides", [False, True])
def test_the_mean_of_some_images_is_against_itself_nothing_special(both_sides):
    """Evidence against the mean of the images adds up to nothing over these images."""
    answering, _ = predictor(both_sides)
    (evidence,) = answering.evidence(images(5), [0] * 5, (SIDE, SIDE), [lambda head: head])
    assert evidence.shape == (5, SIDE, SIDE)
    assert np.abs(evidence).max() > 0.1
    assert np.allclose(evidence.sum(axis=0), 0, atol=1e-5)


@pytest.mark.parametrize("both_sides", [False, True])
def test_a_run_that_keeps_the_usual_image_shows_what_differs_from_it(both_sides):
    usual = predictor(both_sides)[0].mean_maps(images(5))
    assert usual[0].shape == (1 + both_sides, SIDE, SIDE, 2)
    trunk = MadeTrunk()
    answering = Predictor(("a", "b"), SIDE, trunk, replace(HEAD, usual=usual), both_sides)
    image = images(5)[0]
    (evidence,) = answering.evidence(images(5), [0] * 5, (SIDE, SIDE), [lambda head: head])
    assert np.allclose(answering.heat_map(GreyImage(image, "L"), "a", (SIDE, SIDE)), to_unit(evidence[0]), atol=1e-5)
    assert answering.head.usual and not predictor(both_sides)[0].head.usual


WARM = Calibration(temperature=2.5, images=300)


def test_probabilities_are_the_softmax_of_the_logits_divided_by_the_temperature():
    answering, _ = predictor(both_sides=False, calibration=WARM)
    found = assess(answering, GreyImage(images(1)[0], "L"))
    assert np.allclose(found.probabilities, softmax(one_side(images(1)) / 2.5)[0])
    assert np.allclose(found.scores, softmax(one_side(images(1)))[0])
    assert (found.numbers is found.probabilities, found.scale) == (True, "probability")
    assert found.by_class(found.probabilities)["b"] == pytest.approx(found.probabilities[1])


def test_without_a_temperature_there_are_scores_only():
    answering, _ = predictor(both_sides=False)
    found = assess(answering, GreyImage(images(1)[0], "L"))
    assert found.probabilities is None
    assert found.scale == "score"
    np.testing.assert_array_equal(found.numbers, found.scores)
    assert found.calibration.note == "No temperature has been fitted."


@pytest.mark.parametrize("temperature", [0.1, 1.0, 19.0])
def test_a_temperature_changes_no_answer(temperature):
    answering, _ = predictor(both_sides=False, calibration=Calibration(temperature=temperature, images=300))
    for found in assess_all(answering, [GreyImage(image, "L") for image in images(20)]):
        assert found.predicted == found.classes[int(found.probabilities.argmax())]


def test_a_temperature_changes_no_heat_map():
    image = GreyImage(images(1)[0], "L")
    maps = [predictor(True, calibration=one)[0].heat_map(image, "a", (12, 18)) for one in (WARM, Calibration())]
    assert np.array_equal(*maps)
