"""Figures carry the numbers they were given, the classes' colours, and names letter by letter."""

import numpy as np
import pandas as pd
import pytest
from made_runs import COURSE_SIZES, all_parts, history

from covid_core.evaluation import calibration, metrics
from covid_core.evaluation.assessment import assess
from covid_core.evaluation.comparison import Candidate, ranking
from covid_core.figures import evaluation as figures
from covid_core.figures.theme import RUN_COLOURS, class_colours

COUNTS = pd.DataFrame([[8, 2], [1, 3]], index=["A", "B"], columns=["A", "B"])
GIVEN = metrics.answers(all_parts(COURSE_SIZES, skill=1.5), "test")
BARS = pd.DataFrame({"COVID": [0, 3, 90, 0], "Normal": [40, 0, 1, 0]})
COSTS = pd.DataFrame(
    {
        "name": ["slow", "quick"],
        "number": [0, 1],
        "cost": [130.0, 2.0],
        "test": [0.9, 0.8],
        "test_low": [0.85, 0.7],
        "test_high": [0.93, 0.86],
    }
)


def test_confusion_cells_show_the_count_and_its_share_of_the_row():
    texts = [note.text for note in figures.confusion_matrix(COUNTS).layout.annotations]
    assert texts == ["8<br>80.0 %", "2<br>20.0 %", "1<br>25.0 %", "3<br>75.0 %"]


def test_a_cells_text_stands_in_its_cell_whatever_the_classes_are_called():
    """Plotly takes the name "1" of a category for the category in place 1."""
    notes = figures.confusion_matrix(COUNTS.set_axis(["1", "2"]).set_axis(["1", "2"], axis=1)).layout.annotations
    assert [(note.y, note.x) for note in notes] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_class_without_images_has_counts_but_no_shares():
    texts = [note.text for note in figures.confusion_matrix(COUNTS.mul([1, 0], axis=0)).layout.annotations]
    assert texts[2:] == ["0<br>–", "0<br>–"]


def test_every_confusion_cell_can_be_clicked_and_says_which_it_is():
    marks = figures.confusion_matrix(COUNTS).data[1]
    assert [list(cell) for cell in marks.customdata] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert list(zip(marks.y, marks.x, strict=True)) == [("A", "A"), ("A", "B"), ("B", "A"), ("B", "B")]
    assert marks.hovertext[1] == "2 images of A, predicted B (20.0 %)"
    assert marks.hoverinfo != "skip"  # a mark that hovering skips reports no clicks


def test_every_pair_can_be_clicked_and_no_run_is_paired_with_itself():
    tables = {name: all_parts({"train": 9, "validation": 9, "test": 30}, skill) for skill, name in enumerate("abc")}
    order = [Candidate(name, name, assess(table, "1"), (), "s") for name, table in tables.items()]
    found = ranking(order)
    figure = figures.pair_matrix(["first", "third"], found.pairs, [0, 2])
    assert [list(cell) for cell in figure.data[1].customdata] == [[0, 1], [1, 0]]
    assert figure.data[1].hovertext[0].startswith("first minus third")
    assert list(figure.layout.yaxis.range) == [1.5, -0.5]


def test_a_point_of_the_reliability_diagram_says_its_scale_and_its_bin():
    bins = calibration.reliability(GIVEN)
    figure = figures.reliability([("Scores", bins), ("After", bins[1:])], figures.run_lines(range(2)))
    assert [list(mark) for mark in figure.data[2].customdata] == [[1, one.number] for one in bins[1:]]
    assert [one.number for one in bins] == sorted({int(one.low * 15 + 0.5) for one in bins})


def test_a_score_histogram_has_a_row_per_label_in_its_colour():
    figure = figures.score_histogram(BARS, "COVID")
    drawn, unseen = figure.data[0], figure.data[3]
    assert list(drawn.y) == [0, 3, 90, 0]
    assert drawn.marker.color == class_colours(["COVID"])["COVID"]
    assert [list(mark) for mark in unseen.customdata] == [[1, 0], [1, 2]]
    assert unseen.hovertext[1] == "1 image of Normal: score of COVID 50 to 75 %"
    assert unseen.x == (12.5, 62.5)


def test_one_image_beside_many_can_be_clicked():
    unseen = figures.score_histogram(BARS, "COVID").data[1]
    assert len(set(unseen.y)) == 1
    assert unseen.y[0] >= 90


def test_the_numbers_of_a_score_histogram_stand_over_its_bars():
    texts = [note.text for note in figures.score_histogram(BARS, "COVID").layout.annotations]
    assert texts == ["3", "90", "<b>COVID</b>, 93 images", "40", "1", "<b>Normal</b>, 41 images"]


def test_a_score_histogram_without_images_can_be_drawn():
    assert figures.score_histogram(BARS * 0, "COVID").data[1].y == ()


def test_roc_curve_runs_from_corner_to_corner_in_per_cent():
    points = metrics.roc_points(GIVEN, "COVID")
    curve = figures.roc_curves([("COVID", points)], [{"color": class_colours(["COVID"])["COVID"]}]).data[1]
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 100, 100)
    assert curve.line.color == class_colours(["COVID"])["COVID"]


def test_an_undefined_curve_is_left_out_and_the_others_keep_their_colour():
    points = metrics.roc_points(GIVEN, "COVID")
    figure = figures.roc_curves([("none", points.head(0)), ("run", points)], figures.run_lines(range(2)))
    assert [trace.name for trace in figure.data] == ["Chance", "run"]
    assert figure.data[1].line.color == RUN_COLOURS[1]


def test_precision_recall_has_the_line_of_guessing_for_one_class():
    points = metrics.precision_recall_points(GIVEN, "COVID")
    figure = figures.precision_recall_curves([("run", points)], figures.run_lines([0]), prevalence=0.25)
    assert figure.layout.shapes[0].y0 == 25
    np.testing.assert_allclose(figure.data[0].y, 100 * points["ppv"])


@pytest.mark.parametrize("quantity", ["accuracy", "loss"])
def test_learning_curves_overlay_training_and_validation_of_every_run(quantity):
    figure = figures.learning_curves([("a", history(5)), ("b", history(3))], quantity, figures.run_lines([0, 1]))
    assert [len(trace.x) for trace in figure.data] == [5, 5, 3, 3]
    assert [trace.showlegend for trace in figure.data] == [False, None, False, None]


def test_a_new_stage_is_marked_with_a_diamond():
    validation = figures.learning_curves([("a", history(5, stages=[3]))], "loss", figures.run_lines([0])).data[1]
    assert validation.marker.symbol == ("circle", "circle", "circle", "diamond", "circle")


def test_a_run_without_epochs_draws_nothing():
    assert not figures.learning_curves([("a", history(0))], "loss", figures.run_lines([0])).data


def test_cost_is_logarithmic_with_intervals_and_the_majority_line():
    figure = figures.accuracy_against_cost(COSTS, "seconds", majority=0.6)
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.shapes[0].y0 == 60
    assert figure.data[0].error_y.array[0] == pytest.approx(3)
    assert figure.data[0].error_y.arrayminus[0] == pytest.approx(5)


def test_a_run_of_unknown_cost_is_left_out_of_the_cost_figure():
    figure = figures.accuracy_against_cost(COSTS.assign(cost=[np.nan, 2.0]), "milliseconds")
    assert [trace.name for trace in figure.data] == ["quick"]
    assert figure.data[0].marker.color == RUN_COLOURS[1]


def test_class_measures_leave_out_what_is_undefined():
    points = pd.DataFrame(
        {"run": ["r", "r"], "label": ["A", "B"], "value": [0.5, np.nan], "low": [0.4, np.nan], "high": [0.6, np.nan]}
    )
    figure = figures.class_measures(points, ["A", "B"], "Sensitivity")
    assert [list(trace.x) for trace in figure.data] == [[50], []]


def test_a_run_name_that_looks_like_a_tag_is_shown_letter_by_letter():
    figure = figures.learning_curves([("<b>x</b>", history(2))], "loss", figures.run_lines([0]))
    assert figure.data[1].name == "&lt;b&gt;x&lt;/b&gt;"


def test_a_pair_matrix_names_each_run_once_and_counts_it_across():
    tables = {name: all_parts({"train": 9, "validation": 9, "test": 30}, skill) for skill, name in enumerate("ab")}
    found = ranking([Candidate(name, name, assess(table, "1"), (), "s") for name, table in tables.items()])
    figure = figures.pair_matrix(["MobileNetV2 fine-tuned, last 30 layers", "b"], found.pairs, [0, 1])
    assert list(figure.layout.yaxis.ticktext) == ["#1  MobileNetV2<br>fine-tuned, last<br>30 layers", "#2  b"]
    assert list(figure.data[0].x) == ["#1", "#2"]
    assert {note.y for note in figure.layout.annotations} == {0, 1}
    assert {note.font.color for note in figure.layout.annotations} == {"#000000"}, "the largest difference"


def test_runs_of_a_group_stand_together_before_its_band_and_keep_their_own_colours():
    points = pd.DataFrame(
        {
            "name": ["a", "b", "c"],
            "number": [4, 0, 2],
            "group": ["", "frozen", ""],
            "test": [0.9, 0.8, 0.7],
            "test_low": [0.8, 0.7, 0.6],
            "test_high": [0.95, 0.9, 0.8],
        }
    )
    figure = figures.accuracies(points, majority=0.5)
    assert list(figure.layout.yaxis.ticktext) == ["a", "c", "b"]
    assert [trace.marker.color for trace in figure.data[:3]] == [RUN_COLOURS[number] for number in (4, 2, 0)]
    assert (figure.layout.shapes[0].y0, figure.layout.shapes[0].y1, figure.data[3].name) == (1.5, 2.5, "frozen")
