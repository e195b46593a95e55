"""Heat maps: where they are hot, and how they lie over a film. tests/test_nets.py compares them with a tape."""

import numpy as np
import pytest

from covid_core.inference.head import FLATTEN, MEAN, MEAN_MAX, Head
from covid_core.inference.heatmap import COLOURS, cam, coloured, grad_cam, overlaid, to_unit


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
