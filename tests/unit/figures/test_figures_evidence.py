"""Figures of what models read: every figure drawn, in the order of what is destroyed, and nothing where it lacks."""

import plotly.graph_objects as go
import pytest
from made_audits import IN_CORNER, IN_LUNGS, images, predictor

from covid_core.audit.model import evidence, model_audit
from covid_core.figures import evidence as figures
from covid_core.formatting import share

ORDER = [
    "as they are",
    "without the lungs",
    "border only",
    "tags covered",
    "centre only",
    "lungs only",
    "low-pass",
]


@pytest.fixture(scope="module")
def audit() -> dict:
    return model_audit.audited(predictor(IN_CORNER), images())


@pytest.fixture(scope="module")
def blind() -> dict:
    """An audit without any lung mask, of an earlier version."""
    return {**model_audit.audited(predictor(IN_CORNER), images(with_lungs=False)), "effects": None}


def drawn(figure: go.Figure) -> dict[float, float]:
    """Value by place of every bar or mark."""
    return {
        y: x
        for trace in figure.data
        if trace.x is not None and trace.x[0] is not None
        for y, x in zip(trace.y, trace.x, strict=True)
    }


def texts(figure: go.Figure) -> str:
    return "\n".join(note.text for note in figure.layout.annotations)


def test_covers_are_drawn_in_the_order_of_what_they_destroy(audit):
    assert [row["name"] for row in figures.in_order(audit)] == ORDER
    by_name = {row["name"]: row["accuracy"]["value"] for row in audit["covers"]}
    assert drawn(figures.covers(audit)) == {place: by_name[name] for place, name in enumerate(ORDER)}


def test_the_largest_class_is_a_line_with_its_share(audit):
    figure = figures.covers(audit)
    assert {line.x0 for line in figure.layout.shapes} == {0.5}
    assert "majority baseline (ill) 50.0 %" in [trace.name for trace in figure.data]


def test_an_audit_of_an_earlier_version_is_drawn_without_that_line(audit):
    older = {name: value for name, value in audit.items() if name != "largest"}
    assert not figures.covers(older).layout.shapes


def test_intervals_are_those_of_the_audit(audit):
    (bar,) = [trace for trace in figures.effects(audit).data if trace.name == figures.FRAME]
    frame = audit["effects"]["frame"]
    assert bar.x[0] == frame["value"]
    assert bar.x[0] + bar.error_x.array[0] == pytest.approx(frame["high"])
    assert bar.x[0] - bar.error_x.arrayminus[0] == pytest.approx(frame["low"])


def test_the_limits_of_the_rule_are_lines(audit):
    lines = figures.effects(audit).layout.shapes
    assert {line.x0 for line in lines} == {evidence.FRAME_FROM, evidence.LUNGS_FROM}
    assert {(line.y0, line.y1) for line in lines} == {(-0.2, 0.42), (0.8, 1.42)}, "across the bars, not their names"


def test_heat_is_drawn_beside_chance(audit):
    figure = figures.heat(audit)
    assert drawn(figure) == {0: audit["heat"]["share"]}
    assert [line.x0 for line in figure.layout.shapes] == [audit["heat"]["chance"]]


def test_without_masks_only_what_was_measured_is_drawn(blind):
    assert list(drawn(figures.covers(blind))) == list(range(5))
    assert not drawn(figures.effects(blind)) and not drawn(figures.heat(blind))


def test_several_runs_stand_below_each_other_and_one_without_effects_says_so(audit, blind):
    figure = figures.effects_of_runs(["<b>A", "B"], [audit, blind])
    assert "&lt;b&gt;A" in texts(figure) and "B: inconclusive" in texts(figure)
    assert sorted(drawn(figure).values()) == sorted(audit["effects"][key]["value"] for key in ("frame", "lungs"))


def test_covers_of_several_runs_share_their_rows(audit):
    other = model_audit.audited(predictor(IN_LUNGS), images())
    figure = figures.covers_of_runs(["A", "B"], [audit, other], [0, 1])
    assert [trace.name for trace in figure.data] == ["A", "B", "majority baseline (ill) 50.0 %"]
    assert [list(trace.x) for trace in figure.data[:2]] == [
        [row["accuracy"]["value"] for row in figures.in_order(one)] for one in (audit, other)
    ]


def test_alternative_texts_hold_every_figure(audit, blind):
    told = figures.covers_in_words(audit)
    assert all(share(row["accuracy"]["value"]) in told for row in audit["covers"])
    assert "majority baseline (ill) 50.0 %" in told
    assert share(audit["effects"]["frame"]["value"]) in figures.effects_in_words(audit)
    assert figures.effects_in_words(blind) == "The effects of frame and lungs were not measured."
