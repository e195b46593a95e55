"""Figures of what is in a data set: colours, scales, and names that stay letters."""

import numpy as np
import pandas as pd
import pytest

from covid_core.data import summary
from covid_core.figures import data as figures
from covid_core.figures.theme import class_colours

COURSE = {"COVID": 3616, "Normal": 10192, "Viral Pneumonia": 1345}
COLOURS = list(class_colours(COURSE).values())


def test_class_bars_carry_count_and_share_in_the_colour_of_the_class():
    bars = figures.class_bars(summary.class_table(COURSE)).data[0]

    assert list(bars.marker.color) == COLOURS
    assert bars.text[1] == "10,192 (67.3 %)"


def test_class_names_are_drawn_letter_by_letter():
    bars = figures.class_bars(summary.class_table({"<b>A</b>": 1, "B": 2})).data[0]

    assert bars.y[0] == "&lt;b&gt;A&lt;/b&gt;"


def test_weight_bars_mark_the_weight_of_a_balanced_class():
    figure = figures.weight_bars(summary.class_weights(COURSE))

    assert figure.data[0].text[2] == "3.755"
    assert figure.layout.shapes[0].x0 == 1


@pytest.mark.parametrize(
    ("way", "totals"),
    [("undersample", [3616, 10192, 1345]), ("oversample", [10192, 10192, 10192])],
)
def test_resampling_bars_show_what_is_lost_or_repeated_beside_what_is_there(way, totals):
    figure = figures.resampling_bars(summary.resampling_table(COURSE), way)

    assert (np.array(figure.data[0].x) + np.array(figure.data[1].x)).tolist() == totals


def test_the_bin_of_black_margins_does_not_flatten_the_histogram():
    shares = np.full((1, 256), 0.5 / 255)
    shares[0, 0] = 0.5

    figure = figures.intensity_lines(shares, ["A"])

    assert figure.layout.yaxis.range[1] < 1


def test_mean_images_of_all_classes_share_the_whole_grey_scale():
    figure = figures.class_pictures(np.zeros((3, 4, 4)), ["A", "B", "C"], "mean")

    assert len(figure.data) == 3
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 255)


def test_more_than_three_classes_go_on_in_the_next_row():
    figure = figures.class_pictures(np.zeros((4, 4, 4)), ["A", "B", "C", "D"], "mean")

    assert figure.layout.yaxis4.domain[1] < figure.layout.yaxis.domain[0]


def test_every_picture_is_square_by_its_own_axis():
    figure = figures.class_pictures(np.zeros((3, 4, 4)), ["A", "B", "C"], "mean")

    assert [figure.layout[f"yaxis{n}"].scaleanchor for n in ("", 2, 3)] == ["x", "x2", "x3"]


def test_no_difference_is_the_middle_of_the_difference_scale():
    figure = figures.difference_pictures({("A", "B"): np.array([[-30.0, 20.0]])})

    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-30, 30)


def test_a_difference_of_noise_does_not_fill_the_scale():
    figure = figures.difference_pictures({("A", "B"): np.full((2, 2), 0.4)})

    assert figure.layout.coloraxis.cmax == figures.LEAST_RANGE


def test_boxes_are_drawn_from_percentiles_without_the_images():
    table = pd.DataFrame(
        [("A", 9, 5.0, 1.0, 3.0, 5.0, 7.0, 9.0)],
        columns=["label", "images", "mean", "p5", "p25", "median", "p75", "p95"],
    )

    box = figures.exposure_boxes(table, "Brightness").data[0]

    assert (box.lowerfence[0], box.q1[0], box.median[0], box.q3[0], box.upperfence[0]) == (1, 3, 5, 7, 9)


def test_dots_of_sizes_grow_with_the_images_they_stand_for():
    table = pd.DataFrame({"width": [64, 80], "height": [64, 64], "label": ["A", "A"], "images": [100, 25]})

    sizes = figures.size_dots(table).data[0].marker.size

    assert list(sizes) == [40, 20]


def test_many_sources_end_in_one_bar_for_the_rest_and_one_for_the_unknown():
    images = pd.DataFrame({"source": [f"site {n:02}" for n in range(20)] + [""], "label": ["A"] * 21})

    figure = figures.source_bars(summary.source_table(images, ["A"]))

    assert [note.text for note in figure.layout.annotations[-2:]] == ["8 other sources", summary.UNKNOWN_SOURCE]
    assert sum(figure.data[0].x) == 21


def test_the_parts_of_a_split_differ_in_colour_and_stand_in_the_legend_in_the_order_of_the_bars():
    counts = pd.DataFrame({"train": [7, 5], "validation": [2, 1], "test": [2, 1]}, index=["A", "B"])
    figure = figures.part_bars(counts)
    assert [bars.name for bars in figure.data] == ["Train", "Validation", "Test"]
    assert len({bars.marker.color for bars in figure.data}) == 3 and figure.layout.legend.traceorder == "normal"
    assert not {bars.marker.color for bars in figure.data} & set(COLOURS)


def test_long_class_names_leave_room_for_their_bars_and_stay_apart():
    names = {"x" * 100 + end: 5 for end in ("a" * 60, "b" + "a" * 60, "c")}
    bars = figures.class_bars(summary.class_table(names)).data[0]
    assert max(map(len, bars.y)) <= 32 and len(set(bars.y)) == 3


def test_sources_that_look_alike_when_shortened_keep_their_own_bars():
    long = ["https://example.org/" + "a" * 60 + end for end in ("b" * 30, "b" * 29 + "c" + "b" * 30)]
    images = pd.DataFrame({"source": long, "label": ["A", "A"]})

    figure = figures.source_bars(summary.source_table(images, ["A"]))

    assert len(set(figure.data[0].y)) == 2
