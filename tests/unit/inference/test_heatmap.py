"""Heat maps: where they are hot, and how they lie over an image. tests/test_nets.py compares them with a tape."""

import numpy as np
import pytest

from covid_core.inference.heatmap import (
    COLOURS,
    cam,
    coloured,
    overlaid,
    to_unit,
)
from covid_core.inference.network import FLATTEN, MEAN, MEAN_MAX, Head


def spot(row: int, column: int, side: int = 4) -> np.ndarray:
    """One map of one channel that is 1 in one cell: shape (1, side, side, 1)."""
    cells = np.zeros((1, side, side, 1), np.float32)
    cells[0, row, column, 0] = 1
    return cells


def unit_map(*given) -> np.ndarray:
    """The heat map as it is shown, of what ``cam`` takes."""
    return to_unit(cam(*given))


def head_of(pooling: str, *weights: list[float]) -> Head:
    """A head without inner layers: one row of weights per feature, one column per class."""
    table = np.array(weights, np.float32)
    return Head(pooling, (table,), (np.zeros(table.shape[1], np.float32),))


@pytest.mark.parametrize("pooling", [MEAN, MEAN_MAX, FLATTEN])
def test_the_hottest_place_is_where_the_map_speaks_for_the_class(pooling):
    count = {MEAN: 1, MEAN_MAX: 2, FLATTEN: 16}[pooling]
    heat = unit_map(head_of(pooling, *[[1.0, -1.0]] * count), [spot(1, 2)], 0, 4, 4)
    assert np.unravel_index(heat.argmax(), heat.shape) == (1, 2)
    assert heat.max() == 1


def test_evidence_against_a_class_is_cold():
    heat = unit_map(head_of(MEAN, [1.0, -1.0]), [spot(1, 2)], 1, 4, 4)
    assert not heat.any()


def test_a_map_has_the_images_size_and_range():
    heat = unit_map(head_of(MEAN, [1.0, -1.0]), [spot(1, 2)], 0, 60, 30)
    assert heat.shape == (30, 60)
    assert heat.dtype == np.float32
    assert 0 <= heat.min() < heat.max() == 1


def test_taps_of_different_size_are_added_as_densities():
    """A cell of the coarse map counts as much per area as one of the fine map, whatever their numbers of cells."""
    head = head_of(MEAN, [1.0, 0.0], [1.0, 0.0])
    heat = unit_map(head, [np.ones((1, 8, 8, 1), np.float32), spot(0, 0, side=2)], 0, 8, 8)
    assert heat[0, 0] == 1
    assert heat[7, 7] == pytest.approx(0.5)


def test_each_tap_has_its_own_weights():
    head = head_of(MEAN_MAX, [0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0])
    heat = unit_map(head, [spot(0, 0), spot(3, 3)], 0, 4, 4)
    assert heat[3, 3] == 1
    assert heat[0, 0] == 0


def test_evidence_before_the_cut_is_linear_in_the_class():
    """What speaks for one of two opposite classes speaks as much against the other."""
    head = head_of(MEAN, [2.0, -2.0])
    for_it, against = (cam(head, [spot(1, 2)], index, 4, 4) for index in (0, 1))
    assert for_it[1, 2] == 2
    assert np.array_equal(for_it, -against)


def test_what_speaks_for_all_classes_alike_speaks_for_none():
    head = head_of(MEAN, [3.0, 3.0], [2.0, -2.0])
    both = np.concatenate([spot(0, 0), spot(1, 2)], axis=3)
    assert np.array_equal(cam(head, [both], 0, 4, 4), cam(head_of(MEAN, [2.0, -2.0]), [spot(1, 2)], 0, 4, 4))


def test_maps_of_all_classes_add_up_to_nothing():
    rng = np.random.default_rng(0)
    head = Head(MEAN, tuple(rng.normal(size=shape) for shape in ((2, 5), (5, 3))), (np.zeros(5), np.zeros(3)))
    maps = [rng.random((1, 4, 4, 2))]
    assert np.allclose(sum(cam(head, maps, index, 4, 4) for index in range(3)), 0, atol=1e-6)


def test_a_flattened_map_does_not_hold_against_a_class_what_nobody_thought_of():
    """The third class is out of the question, so the place that speaks against it says little of the first."""
    weights = np.zeros((16, 3), np.float32)
    weights[5], weights[10] = (1, -1, 0), (0, 0, -9)
    maps = [spot(1, 1) + spot(2, 2)]
    with_three = cam(Head(FLATTEN, (weights,), (np.zeros(3, np.float32),)), maps, 0, 4, 4)
    with_two = cam(Head(FLATTEN, (weights[:, :2],), (np.zeros(2, np.float32),)), maps, 0, 4, 4)
    assert np.allclose(with_three, with_two, atol=0.01)


def test_what_the_usual_image_has_too_is_cold():
    """A corner that lights up on every image says nothing of this one."""
    head = head_of(MEAN, [1.0, -1.0])
    image, usual = spot(1, 2) + 5 * spot(3, 3), 5 * spot(3, 3)[0]
    assert np.unravel_index(unit_map(head, [image], 0, 4, 4).argmax(), (4, 4)) == (3, 3)
    heat = unit_map(head, [image], 0, 4, 4, [usual])
    assert np.unravel_index(heat.argmax(), (4, 4)) == (1, 2)
    assert heat[3, 3] == 0


def test_less_than_usual_of_what_speaks_against_a_class_speaks_for_it():
    heat = unit_map(head_of(MEAN, [1.0, -1.0]), [0 * spot(0, 0)], 1, 4, 4, [spot(2, 1)[0]])
    assert heat[2, 1] == 1


def test_evidence_against_the_usual_image_adds_up_to_the_difference_of_the_logits():
    """Exactly so for heads of one layer and two classes, on means or on flattened maps (linear SHAP). Of flattened maps
    it is the class's logit less the other's, of means the logit less the mean of both: half as much."""
    rng = np.random.default_rng(1)
    image, usual = rng.random((1, 4, 4, 3)), rng.random((1, 4, 4, 3))
    for pooling, width, cells, times in ((MEAN, 3, 16, 1), (FLATTEN, 48, 1, 2)):
        head = Head(pooling, (rng.normal(size=(width, 2)),), (rng.normal(size=2),)).centred
        logits = head.logits(head.features([image])) - head.logits(head.features([usual]))
        assert cam(head, [image], 0, 4, 4, [usual[0]]).sum() / cells == pytest.approx(times * logits[0, 0], abs=1e-5)


def test_a_flattening_head_knows_where_each_weight_belongs():
    weights = np.zeros((16, 2), np.float32)
    weights[5] = (1, -1)  # row 1, column 1
    heat = unit_map(Head(FLATTEN, (weights,), (np.zeros(2, np.float32),)), [np.ones((1, 4, 4, 1), np.float32)], 0, 4, 4)
    assert heat[1, 1] == 1
    assert heat.sum() == pytest.approx(1, abs=1e-3)


def test_the_two_sides_of_an_edge_in_a_flattened_map_cancel_each_other():
    """A strong pair, for and against, side by side is weaker than a field that speaks for the class all over."""
    weights = np.zeros((40, 40), np.float32)
    weights[5, 5], weights[5, 6], weights[25:32, 25:32] = 3, -3, 1
    head = Head(FLATTEN, (np.stack([weights.ravel(), -weights.ravel()], axis=1),), (np.zeros(2, np.float32),))
    heat = unit_map(head, [np.ones((1, 40, 40, 1), np.float32)], 0, 40, 40)
    assert np.unravel_index(heat.argmax(), heat.shape) == (28, 28)


# Colours


def test_a_heat_map_is_the_positive_evidence_as_a_share_of_its_peak():
    assert to_unit(np.array([[-1.0, 0.0, 2.0, 4.0]])).tolist() == [[0, 0, 0.5, 1]]
    assert to_unit(np.array([[-1.0, -2.0]])).tolist() == [[0, 0]]


def test_colours_run_from_dark_to_bright():
    colours = coloured(np.array([[0.0, 0.5, 1.0]]))
    assert colours.tolist() == [[COLOURS[0].tolist(), COLOURS[4].tolist(), COLOURS[-1].tolist()]]


def test_values_out_of_range_take_the_end_colours():
    assert np.array_equal(coloured(np.array([[-1.0, 2.0]])), coloured(np.array([[0.0, 1.0]])))


def test_cold_parts_of_a_image_stay_as_they_are():
    image = np.full((2, 2), 77, np.uint8)
    shown = overlaid(image, np.array([[0.0, 0.0], [0.0, 1.0]]), opacity=0.6)
    assert (shown[0] == 77).all()
    assert (shown[1, 1] != 77).any()


def test_without_opacity_the_image_is_shown_alone():
    image = np.full((2, 2), 77, np.uint8)
    assert (overlaid(image, np.ones((2, 2)), opacity=0) == 77).all()
