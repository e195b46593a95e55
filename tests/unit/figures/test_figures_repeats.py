"""The figure of studies of repeats: points, means, and lines between runs that were tested on the same images."""

import pandas as pd
import pytest

from covid_core.evaluation.repeats import Spread
from covid_core.figures.repeats import repeated_runs

ROWS = [
    ("A", "A, fold 1", 0, 0, "f0", "accuracy", 0.8),
    ("A", "A, fold 2", 1, 0, "f1", "accuracy", 0.9),
    ("<b>B</b>", "B, fold 1", 0, 0, "f0", "accuracy", 0.7),
    ("<b>B</b>", "B, fold 2", 1, 0, "other", "accuracy", 0.6),
]
RUNS = pd.DataFrame(ROWS, columns=["study", "run", "fold", "seed", "images", "measure", "value"])
SPREADS = [Spread(0.85, 0.07, 0.8, 0.9, 2), Spread(0.65, 0.07, 0.6, 0.7, 2)]


def marks(figure, symbol=None):
    return [trace for trace in figure.data if trace.mode == "markers" and trace.marker.symbol == symbol]


def test_every_run_is_a_point_and_every_study_has_its_mean_and_spread():
    figure = repeated_runs(RUNS, SPREADS, "Test accuracy", 0.45)
    assert [list(trace.x) for trace in marks(figure)] == [pytest.approx([80, 90]), pytest.approx([70, 60])]
    assert [trace.x[0] for trace in marks(figure, "diamond")] == [85, 65]
    assert marks(figure, "diamond")[0].error_x.array[0] == pytest.approx(7)
    assert figure.layout.shapes[0].x0 == 45


def test_lines_join_only_runs_of_the_same_test_images():
    (line,) = [trace for trace in repeated_runs(RUNS, SPREADS, "x").data if trace.mode == "lines"]
    assert list(line.x) == [pytest.approx(80), pytest.approx(70), None]


def test_seeds_of_a_study_lie_apart():
    seeds = RUNS[RUNS["study"] == "A"].assign(fold=0, seed=[0, 1], value=0.8)
    (points,) = marks(repeated_runs(seeds, SPREADS[:1], "x"))
    assert points.y[0] != points.y[1]


def test_one_run_has_a_mean_without_a_bar():
    figure = repeated_runs(RUNS.head(1), [Spread(0.8, float("nan"), 0.8, 0.8, 1)], "x")
    assert marks(figure, "diamond")[0].error_x.array is None


def test_names_are_shown_letter_by_letter_and_long_ones_are_wrapped():
    long = RUNS.replace("A", "A name of more letters than a row has")
    ticks = repeated_runs(long, SPREADS, "x").layout.yaxis.ticktext
    assert "<br>" in ticks[0]
    assert ticks[1] == "&lt;b&gt;B&lt;/b&gt;"
