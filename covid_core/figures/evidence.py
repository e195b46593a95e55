"""Figures of the evidence check: covered images, lungs in the frames of others, and where the heat lies.

Every function takes audits as ``audit.model.model_audit`` stores them: plain values, None where something is undefined.
What a stored audit lacks is not drawn.
"""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import plotly.graph_objects as go

from covid_core.audit.model import evidence, occlusions
from covid_core.audit.model.occlusions import DETAIL_GONE, FRAME_GONE, LUNGS_GONE, NOTHING
from covid_core.figures.theme import (
    LUNG,
    NEUTRAL,
    NO_LUNG,
    SHARE_TICKS,
    add_interval_bars,
    add_line,
    error_bar,
    literal,
    name_above,
    run_marker,
    settled,
)
from covid_core.formatting import interval, plural, share

Record = Mapping[str, Any]
COLOURS = {NOTHING: NEUTRAL, LUNGS_GONE: NO_LUNG, FRAME_GONE: LUNG, DETAIL_GONE: "#0072B2"}
GONE = {occlusions.AS_THEY_ARE: NOTHING, **{cover.name: cover.gone for cover in occlusions.COVERS}}  # in order
FRAME, LUNGS = "the frame", "the lungs"
FOLLOWED = {FRAME: NO_LUNG, LUNGS: LUNG}
ROW = 44  # pixels per bar, its name above it
NAME_ROW, NARROW_ROW = 34, 11  # pixels per name, and per run below it, of a figure of several runs
BASE = 130  # pixels of axes and legend


def in_order(audit: Record) -> list[Record]:
    """The covers of an audit that were measured, in the order of what they destroy."""
    measured = [row for row in audit.get("covers", ()) if row.get("accuracy")]
    return sorted(measured, key=lambda row: list(GONE).index(row["name"]))


def covers(audit: Record) -> go.Figure:
    """Accuracy as the images are and under each cover, with 95 % intervals; dotted: the majority baseline."""
    figure, rows = go.Figure(), in_order(audit)
    for kind, colour in COLOURS.items():
        places = [place for place, row in enumerate(rows) if GONE[row["name"]] == kind]
        if places:
            _add_bars(figure, places, [rows[place]["accuracy"] for place in places], kind, colour)
    for place, row in enumerate(rows):
        name_above(figure, place - 0.2, f"{row['name']} <b>{share(row['accuracy']['value'])}</b>")
    if rows:
        _add_majority(figure, [audit], len(rows))
    return _finished(figure, "Accuracy on test images", len(rows), ROW * len(rows))


def effects(audit: Record) -> go.Figure:
    """Share of predictions that the frame alone changes, and the lungs, with 95 % intervals and the rule's limits."""
    measured = audit.get("effects") or {}
    figure = go.Figure()
    for place, (name, key) in enumerate(((FRAME, "frame"), (LUNGS, "lungs"))):
        if measured.get(key):
            _add_bars(figure, [place], [measured[key]], name, FOLLOWED[name], showlegend=False)
            name_above(figure, place - 0.2, f"changed by {name} alone <b>{share(measured[key]['value'])}</b>")
    if measured:
        _add_limits(figure, 2)
    lowest = min([0.0, *(one["low"] for one in measured.values() if one.get("low") is not None)])
    return _finished(figure, "Share of predictions that follow it", 2, ROW * 2, lowest - 0.02)


def heat(audit: Record) -> go.Figure:
    """The share of the heat maps' heat inside the lungs, with its interval, beside the lungs' share of the picture."""
    measured = audit.get("heat") or {}
    figure = go.Figure()
    if measured.get("share") is not None:
        value = {**measured, "value": measured["share"]}
        _add_bars(figure, [0], [value], "heat inside the lungs", FOLLOWED[LUNGS], showlegend=False)
        name_above(figure, -0.2, f"heat inside the lungs <b>{share(measured['share'])}</b>")
        add_line(figure, measured["chance"], "dot", f"chance: the lungs fill {share(measured['chance'])}", 1)
    return _finished(figure, "Share of the heat", 2, ROW * 2)  # as tall as its neighbour of two bars


def effects_of_runs(names: Sequence[str], audits: Sequence[Record]) -> go.Figure:
    """Runs below each other: share of predictions that follow the frame, and the lungs, with 95 % intervals."""
    figure = go.Figure()
    measured = {place: one["effects"] for place, one in enumerate(audits) if one.get("effects")}
    if measured:
        for name, key, shift, symbol in ((FRAME, "frame", -0.14, "diamond"), (LUNGS, "lungs", 0.14, "circle")):
            marker = {"color": FOLLOWED[name], "size": 10, "symbol": symbol}
            values = [effects[key] for effects in measured.values()]
            hover = [f"{literal(names[at])}: follow {name} {_in_words(measured[at][key])}" for at in measured]
            _add_points(figure, [place + shift for place in measured], values, f"follow {name}", marker, hover)
        _add_limits(figure)
    for place, name in enumerate(names):
        name_above(figure, place - 0.32, f"{literal(name)}{'' if place in measured else ': inconclusive'}")
    return _finished(figure, "Share of predictions that follow it", len(names), 56 * len(names), -0.15)


def covers_of_runs(names: Sequence[str], audits: Sequence[Record], numbers: Sequence[int]) -> go.Figure:
    """Accuracy under each cover, run beside run: a row for each cover, a mark for each run. Dotted: the majority
    baseline, where that is the same for all of these runs. ``numbers`` are the runs', and give their colours."""
    figure = go.Figure()
    accuracies = [{row["name"]: row["accuracy"] for row in in_order(one)} for one in audits]
    rows = [name for name in GONE if any(name in one for one in accuracies)]
    step = 0.6 / max(1, len(names))
    for place, (name, one, number) in enumerate(zip(map(literal, names), accuracies, numbers, strict=True)):
        places = [rows.index(cover) - 0.12 + place * step for cover in one]
        hover = [f"{name} {_in_words(value)}" for value in one.values()]
        _add_points(figure, places, list(one.values()), name, {**run_marker(number), "size": 9}, hover)
    for place, cover in enumerate(rows):
        name_above(figure, place - 0.28, f"{cover} ({GONE[cover]})")
    _add_majority(figure, audits)
    height = (NAME_ROW + NARROW_ROW * len(names)) * len(rows)
    return _finished(figure, "Accuracy on test images", len(rows), height)


# Words


def covers_in_words(audit: Record) -> str:
    """Alternative text of ``covers``: every figure in it."""
    texts = [
        f"{row['name']} {_in_words(row['accuracy'])} of {plural(row['images'], 'image')}" for row in in_order(audit)
    ]
    largest = audit.get("largest")
    line = f"; majority baseline ({largest['label']}) {share(largest['share'])}" if largest else ""
    return f"Accuracy on test images: {', '.join(texts) or 'nothing measured'}{line}."


def effects_in_words(audit: Record) -> str:
    """Alternative text of ``effects``."""
    measured = audit.get("effects")
    if not measured:
        return "The effects of frame and lungs were not measured."
    frame, lungs = _in_words(measured["frame"]), _in_words(measured["lungs"])
    return f"Predictions changed by the frame alone {frame}, by the lungs alone {lungs}."


# Marks


_bounds = itemgetter("value", "low", "high")  # of a stored measure


def _in_words(value: Record) -> str:
    return interval(*_bounds(value))


def _add_bars(
    figure: go.Figure, places: Sequence[float], values: Sequence[Record], name: str, colour: str, **options: Any
) -> None:
    hover = [f"{name}: {_in_words(one)}" for one in values]
    add_interval_bars(figure, places, [_bounds(one) for one in values], name, colour, hover, **options)


def _add_majority(figure: go.Figure, audits: Sequence[Record], bars: int = 0) -> None:
    """The majority baseline, where audits have one and the same."""
    largest = {(one["largest"]["label"], one["largest"]["share"]) for one in audits if one.get("largest")}
    if len(largest) == 1:
        ((label, of_images),) = largest
        add_line(figure, of_images, "dot", f"majority baseline ({literal(label)}) {share(of_images)}", bars)


def _add_limits(figure: go.Figure, bars: int = 0) -> None:
    """The limits of the rule that makes the verdict."""
    add_line(figure, evidence.FRAME_FROM, "dot", f"limit of the frame {share(evidence.FRAME_FROM, 0)}", bars)
    add_line(figure, evidence.LUNGS_FROM, "dash", f"of the lungs {share(evidence.LUNGS_FROM, 0)}", bars)


def _add_points(
    figure: go.Figure,
    places: Sequence[float],
    values: Sequence[Record],
    name: str,
    marker: dict[str, Any],
    hover: Sequence[str],
) -> None:
    """Dots with intervals, and a text for each when hovering."""
    figure.add_scatter(
        y=places,
        x=[one["value"] for one in values],
        mode="markers",
        error_x=error_bar(map(_bounds, values), color=NEUTRAL, thickness=1.5),
        name=name,
        marker=marker,
        hovertext=hover,
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _finished(figure: go.Figure, title: str, rows: int, height: int, lowest: float = 0) -> go.Figure:
    """Rows from the top, and an axis of shares."""
    figure.update_xaxes(title=title, range=[lowest, 1.02], **SHARE_TICKS)
    figure.update_yaxes(visible=False, range=[max(1, rows) - 0.5, -0.75])
    return settled(figure, height=BASE + height)
