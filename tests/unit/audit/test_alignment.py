"""Small affine maps of many images at once."""

import numpy as np

from covid_core.audit.duplicates.search import moved

LINE = np.linspace(-1, 1, 5, dtype=np.float32)
X, Y = (grid.ravel() for grid in np.meshgrid(LINE, LINE))
IMAGE = np.arange(25, dtype=np.float32).reshape(1, 5, 5)


def test_no_map_leaves_a_image_as_it_is():
    to, there = moved(IMAGE, np.zeros((1, 6), np.float32), X, Y)
    assert (there.reshape(5, 5) == IMAGE[0]).all()
    assert (to[0, 0] == X).all()


def test_a_shift_by_half_a_pixel_is_the_mean_of_two_and_the_border_is_drawn_on():
    shift = np.zeros((1, 6), np.float32)
    shift[0, 2] = 0.25  # half of a pixel of 0.5
    _, there = moved(IMAGE, shift, X, Y)
    assert there.reshape(5, 5)[0].tolist() == [0.5, 1.5, 2.5, 3.5, 4.0]


def test_each_image_has_its_own_map():
    maps = np.zeros((2, 6), np.float32)
    maps[1, 5] = 0.5  # a pixel down
    _, there = moved(np.concatenate([IMAGE, IMAGE]), maps, X, Y)
    assert there[:, 0].tolist() == [0.0, 5.0]
