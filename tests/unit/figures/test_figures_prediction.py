"""The bars of one image: every run with what its numbers are."""

from covid_core.figures.prediction import score_bars


def test_each_bar_says_under_the_runs_name_what_its_numbers_are():
    figure = score_bars(
        {"A": {"x": 0.9, "y": 0.1}, "B <b>": {"x": 0.2, "y": 0.8}}, ["x", "y"], {"A": "probability", "B <b>": "score"}
    )
    names = list(figure.data[0].y)
    assert [name.rpartition("<br>")[2] for name in names] == ["score", "probability"]
    assert "<b>" not in names[0]
    assert [tuple(bar.x) for bar in figure.data] == [(0.2, 0.9), (0.8, 0.1)]
