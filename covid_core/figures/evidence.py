"""Figures of what a model reads: covered images, lungs in the frames of others, and where its heat lies.

Every function takes audits as ``audit.model.model_audit`` keeps them: plain values, None where something is undefined.
What a kept audit lacks is not drawn.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from covid_core.audit.model import evidence
from covid_core.figures.theme import LUNG, NEUTRAL, NO_LUNG, literal, run_style, settled
from covid_core.formatting import interval, plural, share

Found = Mapping[str, Any]
NOTHING, LUNGS_GONE, FRAME_GONE, DETAIL_GONE = "nothing covered", "lungs gone", "frame gone", "detail gone"
COLOURS = {NOTHING: NEUTRAL, LUNGS_GONE: NO_LUNG, FRAME_GONE: LUNG, DETAIL_GONE: "#0072B2"}
DESTROYS = {  # by the name of the cover, in the order in which they are drawn
    "as they are": NOTHING,
    "without the lungs": LUNGS_GONE,
    "border only": LUNGS_GONE,
    "tags covered": FRAME_GONE,
    "centre only": FRAME_GONE,
    "lungs only": FRAME_GONE,
    "low-pass": DETAIL_GONE,
}
FRAME, LUNGS = "the frame", "the lungs"
FOLLOWED = {FRAME: NO_LUNG, LUNGS: LUNG}
ROW = 44  # pixels per bar, its name above it
NAME_ROW, NARROW_ROW = 34, 11  # pixels per name, and per run below it, of a figure of several runs
BASE = 130  # pixels of axes and legend


def in_order(found: Found) -> list[Found]:
    """The covers of an audit that were measured, in the order of what they destroy."""
    measured = [row for row in found.get("covers", ()) if row.get("accuracy")]
    return sorted(measured, key=lambda row: list(DESTROYS).index(row["name"]))


def covers(found: Found) -> go.Figure:
    """Accuracy as the images are and under each cover, with 95 % intervals; dotted: the largest class of these
    images."""
    rows = in_order(found)
    figure = go.Figure()
    for kind, colour in COLOURS.items():
        places = [place for place, row in enumerate(rows) if DESTROYS[row["name"]] == kind]
        if places:
            _add_bars(figure, places, [rows[place]["accuracy"] for place in places], kind, colour)
    for place, row in enumerate(rows):
        _name_above(figure, place, f"{row['name']} <b>{share(row['accuracy']['value'])}</b>")
    largest = found.get("largest")
    if largest and rows:
        _add_line(figure, largest["share"], "dot", f"always {literal(largest['label'])} {share(largest['share'])}")
    figure.update_xaxes(title="Test images answered rightly", tickformat=".0%", range=[0, 1.02])
    _rows_from_top(figure, len(rows))
    return settled(figure, height=BASE + ROW * len(rows))


def effects(found: Found) -> go.Figure:
    """How many answers the frame alone turns and how many the lungs, with 95 % intervals and the limits of the rule."""
    given = found.get("effects") or {}
    figure = go.Figure()
    for place, (name, key) in enumerate(((FRAME, "frame"), (LUNGS, "lungs"))):
        if given.get(key):
            _add_bars(figure, [place], [given[key]], name, FOLLOWED[name], showlegend=False)
            _name_above(figure, place, f"turned by {name} alone <b>{share(given[key]['value'])}</b>")
    if given:
        _add_line(figure, evidence.FRAME_FROM, "dot", f"limit of the frame {share(evidence.FRAME_FROM, 0)}")
        _add_line(figure, evidence.LUNGS_FROM, "dash", f"of the lungs {share(evidence.LUNGS_FROM, 0)}")
    lowest = min([0.0, *(one["low"] for one in given.values() if one.get("low") is not None)])
    figure.update_xaxes(title="Answers that follow it", tickformat=".0%", range=[lowest - 0.02, 1.02])
    _rows_from_top(figure, 2)
    return settled(figure, height=BASE + ROW * 2)


def heat(found: Found) -> go.Figure:
    """The share of the heat maps' heat inside the lungs, with its interval, beside the lungs' share of the picture."""
    given = found.get("heat") or {}
    figure = go.Figure()
    if given.get("share") is not None:
        value = {"value": given["share"], "low": given["low"], "high": given["high"]}
        _add_bars(figure, [0], [value], "heat inside the lungs", FOLLOWED[LUNGS], showlegend=False)
        _name_above(figure, 0, f"heat inside the lungs <b>{share(given['share'])}</b>")
        _add_line(figure, given["chance"], "dot", f"chance: the lungs fill {share(given['chance'])}")
    figure.update_xaxes(title="Share of the heat", tickformat=".0%", range=[0, 1.02])
    _rows_from_top(figure, 2)
    return settled(figure, height=BASE + 2 * ROW)  # as tall as its neighbour of two bars


def effects_of_runs(names: Sequence[str], found: Sequence[Found]) -> go.Figure:
    """Runs below each other: how many answers follow the frame and how many the lungs, with 95 % intervals."""
    figure = go.Figure()
    for name, key, shift in ((FRAME, "frame", -0.14), (LUNGS, "lungs", 0.14)):
        rows = [(place, one["effects"][key]) for place, one in enumerate(found) if one.get("effects")]
        if rows:
            symbol = {"color": FOLLOWED[name], "size": 10, "symbol": "diamond" if name == FRAME else "circle"}
            _add_points(figure, [(place + shift, value) for place, value in rows], f"follow {name}", symbol, names)
    if any(one.get("effects") for one in found):
        _add_line(figure, evidence.FRAME_FROM, "dot", f"limit of the frame {share(evidence.FRAME_FROM, 0)}")
        _add_line(figure, evidence.LUNGS_FROM, "dash", f"of the lungs {share(evidence.LUNGS_FROM, 0)}")
    for place, name in enumerate(names):
        told = "" if found[place].get("effects") else ": cannot say"
        _name_above(figure, place - 0.12, f"{literal(name)}{told}")
    figure.update_xaxes(title="Answers that follow it", tickformat=".0%", range=[-0.15, 1.02])
    _rows_from_top(figure, len(names))
    return settled(figure, height=BASE + 56 * len(names))


def covers_of_runs(names: Sequence[str], found: Sequence[Found]) -> go.Figure:
    """Accuracy under each cover, run beside run: a row for each cover, a mark for each run. Dotted: always the largest
    class, where that is the same for all of these runs."""
    figure = go.Figure()
    rows = [name for name in DESTROYS if any(name == row["name"] for one in found for row in in_order(one))]
    step = 0.6 / max(1, len(names))
    for number, (name, one) in enumerate(zip(names, found, strict=True)):
        known = {row["name"]: row["accuracy"] for row in in_order(one)}
        places = [(rows.index(cover) - 0.12 + number * step, known[cover]) for cover in rows if cover in known]
        marker = {"color": run_style(number)["color"], "size": 9}
        _add_points(figure, places, literal(name), marker, [])
    for place, cover in enumerate(rows):
        _name_above(figure, place - 0.08, f"{cover} ({DESTROYS[cover]})")
    largest = {(one["largest"]["label"], one["largest"]["share"]) for one in found if one.get("largest")}
    if len(largest) == 1:
        ((label, images),) = largest
        _add_line(figure, images, "dot", f"always {literal(label)} {share(images)}")
    figure.update_xaxes(title="Test images answered rightly", tickformat=".0%", range=[0, 1.02])
    _rows_from_top(figure, len(rows))
    return settled(figure, height=BASE + (NAME_ROW + NARROW_ROW * len(names)) * len(rows))


# Words


def covers_in_words(found: Found) -> str:
    """Alternative text of ``covers``: every figure in it."""
    told = [
        f"{row['name']} {_in_words(row['accuracy'])} of {plural(row['images'], 'image')}" for row in in_order(found)
    ]
    largest = found.get("largest")
    line = f"; always {largest['label']} {share(largest['share'])}" if largest else ""
    return f"Test images answered rightly: {', '.join(told) or 'nothing measured'}{line}."


def effects_in_words(found: Found) -> str:
    """Alternative text of ``effects``."""
    given = found.get("effects")
    if not given:
        return "What the answers follow is not known."
    return f"Answers turned by the frame alone {_in_words(given['frame'])}, by the lungs {_in_words(given['lungs'])}."


# Marks


def _in_words(value: Found) -> str:
    return interval(value["value"], value["low"], value["high"])


def _error(values: Sequence[Found]) -> dict[str, Any]:
    return {
        "type": "data",
        "array": [one["high"] - one["value"] for one in values],
        "arrayminus": [one["value"] - one["low"] for one in values],
        "color": NEUTRAL,
    }


def _add_bars(
    figure: go.Figure, places: Sequence[float], values: Sequence[Found], name: str, colour: str, **look: Any
) -> None:
    figure.add_bar(
        y=places,
        x=[one["value"] for one in values],
        width=0.36,
        error_x=_error(values),
        name=name,
        orientation="h",
        marker={"color": colour},
        **look,
        hovertext=[f"{name}: {_in_words(one)}" for one in values],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _add_points(
    figure: go.Figure, rows: Sequence[tuple[float, Found]], name: str, marker: dict[str, Any], names: Sequence[str]
) -> None:
    """Dots with intervals; ``names`` by whole place are said when hovering."""
    values = [value for _, value in rows]
    whose = [f"{literal(names[round(place)])}: " if names else "" for place, _ in rows]
    figure.add_scatter(
        y=[place for place, _ in rows],
        x=[one["value"] for one in values],
        mode="markers",
        error_x={**_error(values), "thickness": 1.5},
        name=name,
        marker=marker,
        hovertext=[f"{who}{name} {_in_words(one)}" for who, one in zip(whose, values, strict=True)],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _name_above(figure: go.Figure, place: float, text: str) -> None:
    """A row's name above its mark, since names are as wide as a phone."""
    above = {"x": 0, "y": place - 0.2, "xanchor": "left", "yanchor": "bottom", "showarrow": False}
    figure.add_annotation(text=text, **above)


def _add_line(figure: go.Figure, at: float, dash: str, name: str) -> None:
    """A line over the whole height, named in the legend."""
    line = {"color": NEUTRAL, "dash": dash, "width": 1.5}
    figure.add_vline(at, line=line)
    figure.add_scatter(x=[None], y=[None], mode="lines", line=line, name=name)


def _rows_from_top(figure: go.Figure, rows: int) -> None:
    figure.update_yaxes(visible=False, range=[max(1, rows) - 0.5, -0.75])
