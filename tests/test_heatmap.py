"""Heat maps: where they are hot, and how they lie over a film. tests/test_nets.py compares them with a tape."""

import numpy as np
import pytest

from covid_core.inference.head import FLATTEN, MEAN, MEAN_MAX, Head
from covid_core.inference.heatmap import (
    COLOURS,
    LungShare,
    cam,
    coloured,
    grad_cam,
    overlaid,
    overlaid_signed,
    share_inside,
    share_over,
    to_unit,
)


def spot(row: int, column: int, side: int = 4) -> np.ndarray:
    """One map of one channel that is 1 in one cell: shape (1, side, side, 1)."""
    cells = np.zeros((1, side, side, 1), np.float32)
    cells[0, row, column, 0] = 1
    return cells


def head_of(pooling: str, *weights: list[float]) -> Head:
    """A head without inner layers: one row of weights per feature, one column per class."""
    table = np.array(weights, np.float32)
    return Head(pooling, (table,), (np.zeros(table.shape[1], np.float32),))


@pytest.mark.parametrize("pooling", [MEAN, MEAN_MAX, FLATTEN])
def test_the_hottest_place_is_where_the_map_speaks_for_the_class(pooling):
    count = {MEAN: 1, MEAN_MAX: 2, FLATTEN: 16}[pooling]
    heat = grad_cam(head_of(pooling, *[[1.0, -1.0]] * count), [spot(1, 2)], 0, 4, 4)
    assert np.unravel_index(heat.argmax(), heat.shape) == (1, 2)
    assert heat.max() == 1


def test_evidence_against_a_class_is_cold():
    heat = grad_cam(head_of(MEAN, [1.0, -1.0]), [spot(1, 2)], 1, 4, 4)
    assert not heat.any()


def test_a_map_has_the_films_size_and_range():
    heat = grad_cam(head_of(MEAN, [1.0, -1.0]), [spot(1, 2)], 0, width=60, height=30)
    assert heat.shape == (30, 60)
    assert heat.dtype == np.float32
    assert 0 <= heat.min() < heat.max() == 1


def test_taps_of_different_size_are_added_as_densities():
    """A cell of the coarse map counts as much per area as one of the fine map, whatever their numbers of cells."""
    head = head_of(MEAN, [1.0, 0.0], [1.0, 0.0])
    heat = grad_cam(head, [np.ones((1, 8, 8, 1), np.float32), spot(0, 0, side=2)], 0, 8, 8)
    assert heat[0, 0] == 1
    assert heat[7, 7] == pytest.approx(0.5)


def test_each_tap_has_its_own_weights():
    head = head_of(MEAN_MAX, [0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0])
    heat = grad_cam(head, [spot(0, 0), spot(3, 3)], 0, 4, 4)
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


def test_what_the_usual_film_has_too_is_cold():
    """A corner that lights up on every film says nothing of this one."""
    head = head_of(MEAN, [1.0, -1.0])
    film, usual = spot(1, 2) + 5 * spot(3, 3), 5 * spot(3, 3)[0]
    assert np.unravel_index(grad_cam(head, [film], 0, 4, 4).argmax(), (4, 4)) == (3, 3)
    heat = grad_cam(head, [film], 0, 4, 4, [usual])
    assert np.unravel_index(heat.argmax(), (4, 4)) == (1, 2)
    assert heat[3, 3] == 0


def test_less_than_usual_of_what_speaks_against_a_class_speaks_for_it():
    heat = grad_cam(head_of(MEAN, [1.0, -1.0]), [0 * spot(0, 0)], 1, 4, 4, [spot(2, 1)[0]])
    assert heat[2, 1] == 1


def test_evidence_against_the_usual_film_adds_up_to_the_difference_of_the_logits():
    """Exactly so for heads of one layer and two classes, on means or on flattened maps (linear SHAP). Of flattened maps
    it is the class's logit less the other's, of means the logit less the mean of both: half as much."""
    rng = np.random.default_rng(1)
    film, usual = rng.random((1, 4, 4, 3)), rng.random((1, 4, 4, 3))
    for pooling, width, cells, times in ((MEAN, 3, 16, 1), (FLATTEN, 48, 1, 2)):
        head = Head(pooling, (rng.normal(size=(width, 2)),), (rng.normal(size=2),)).centred
        logits = head.logits(head.features([film])) - head.logits(head.features([usual]))
        assert cam(head, [film], 0, 4, 4, [usual[0]]).sum() / cells == pytest.approx(times * logits[0, 0], abs=1e-5)


def test_a_flattening_head_knows_where_each_weight_belongs():
    weights = np.zeros((16, 2), np.float32)
    weights[5] = (1, -1)  # row 1, column 1
    heat = grad_cam(Head(FLATTEN, (weights,), (np.zeros(2, np.float32),)), [np.ones((1, 4, 4, 1), np.float32)], 0, 4, 4)
    assert heat[1, 1] == 1
    assert heat.sum() == pytest.approx(1, abs=1e-3)


def test_the_two_sides_of_an_edge_in_a_flattened_map_cancel_each_other():
    """A strong pair, for and against, side by side is weaker than a field that speaks for the class all over."""
    weights = np.zeros((40, 40), np.float32)
    weights[5, 5], weights[5, 6], weights[25:32, 25:32] = 3, -3, 1
    head = Head(FLATTEN, (np.stack([weights.ravel(), -weights.ravel()], axis=1),), (np.zeros(2, np.float32),))
    heat = grad_cam(head, [np.ones((1, 40, 40, 1), np.float32)], 0, 40, 40)
    assert np.unravel_index(heat.argmax(), heat.shape) == (28, 28)


# The share inside the lungs


def left_half(side: int = 4) -> np.ndarray:
    return np.repeat(np.arange(side)[None] < side // 2, side, axis=0)


def test_the_share_inside_the_lungs_is_held_against_their_area():
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0], heat[0, 3] = 3, 1
    found = share_inside(heat, left_half())
    assert (found.share, found.chance, found.ratio) == (0.75, 0.5, 1.5)
    assert found.in_words == "75 % of the heat lies inside the lungs, which fill 50 % of the picture: 1.5 times chance."


def test_a_map_that_is_the_same_everywhere_is_at_chance():
    assert share_inside(np.ones((4, 4)), left_half()).ratio == pytest.approx(1)


@pytest.mark.parametrize("side", [2, 3, 8, 64])
def test_a_mask_of_another_resolution_counts_each_place_as_much_as_it_is_lung(side):
    found = share_inside(np.ones((5, 7), np.float32), np.ones((side, side), bool))
    assert (found.share, found.chance) == (pytest.approx(1), pytest.approx(1))
    halves = share_inside(np.ones((8, 8), np.float32), left_half(2 * side))
    assert halves.share == halves.chance == pytest.approx(0.5, abs=0.05)


def test_evidence_against_a_class_is_no_heat():
    heat = np.array([[1.0, -9.0]])
    assert share_inside(heat, np.array([[True, False]])).share == 1


def test_without_heat_or_without_lungs_the_share_is_undefined_and_says_why():
    empty, blind = share_inside(np.zeros((4, 4)), left_half()), share_inside(np.ones((4, 4)), np.zeros((4, 4), bool))
    assert not empty.is_defined and not blind.is_defined
    assert np.isnan([empty.share, empty.ratio, blind.share, blind.chance]).all()
    assert empty.in_words == "The share inside the lungs cannot be told: the heat map is empty."
    assert "no lung is marked" in blind.in_words


def test_the_mean_share_of_many_films_has_an_interval_and_leaves_out_what_is_undefined():
    films = [LungShare(value, 0.25) for value in (0.4, 0.6) * 20] + [LungShare(np.nan, 0.3, "the heat map is empty")]
    found = share_over(films)
    assert found.share == pytest.approx(0.5)
    assert found.ratio == pytest.approx(2)
    assert 0.45 < found.low < 0.5 < found.high < 0.55
    assert (found.films, found.undefined) == (40, 1)
    assert "40 films" in found.in_words


def test_films_that_belong_together_widen_the_interval():
    films = [LungShare(value, 0.25) for value in (0.2,) * 20 + (0.8,) * 20]
    alone, together = share_over(films), share_over(films, np.arange(40) // 10)
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_no_film_with_a_share_is_told_as_none():
    found = share_over([LungShare(np.nan, np.nan, "no lung is marked on the film")])
    assert np.isnan([found.share, found.low, found.ratio]).all()
    assert found.in_words == "No film has both a heat map and lungs that are marked."


# Colours


def test_what_speaks_for_and_against_differ_in_colour_and_the_rest_stays_grey():
    film = np.full((1, 3), 100, np.uint8)
    red, grey, blue = overlaid_signed(film, np.array([[1.0, 0.0, -1.0]]), opacity=1)[0].tolist()
    assert red[0] > red[2] and blue[2] > blue[0]
    assert grey == [100, 100, 100]


def test_a_heat_map_is_the_positive_evidence_as_a_share_of_its_peak():
    assert to_unit(np.array([[-1.0, 0.0, 2.0, 4.0]])).tolist() == [[0, 0, 0.5, 1]]
    assert to_unit(np.array([[-1.0, -2.0]])).tolist() == [[0, 0]]


def test_colours_run_from_dark_to_bright():
    colours = coloured(np.array([[0.0, 0.5, 1.0]]))
    assert colours.tolist() == [[COLOURS[0].tolist(), COLOURS[4].tolist(), COLOURS[-1].tolist()]]


def test_values_out_of_range_take_the_end_colours():
    assert np.array_equal(coloured(np.array([[-1.0, 2.0]])), coloured(np.array([[0.0, 1.0]])))


def test_cold_parts_of_a_film_stay_as_they_are():
    film = np.full((2, 2), 77, np.uint8)
    shown = overlaid(film, np.array([[0.0, 0.0], [0.0, 1.0]]), opacity=0.6)
    assert (shown[0] == 77).all()
    assert (shown[1, 1] != 77).any()


def test_without_opacity_the_film_is_shown_alone():
    film = np.full((2, 2), 77, np.uint8)
    assert (overlaid(film, np.ones((2, 2)), opacity=0) == 77).all()
