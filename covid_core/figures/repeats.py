"""The figure of studies of repeats: every run a point, with mean and SD."""

import textwrap
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from covid_core.evaluation.repeats import Spread
from covid_core.figures.theme import NEUTRAL, class_colours, literal, majority_line, settled
from covid_core.formatting import points, share

ROW = 64  # pixels per study
WRAP = 22  # letters of a name in a row of the axis
ABOVE = 0.28  # rows between the points of a study and the mark of its mean
LARGEST_GAP = 0.06  # rows between seeds of one fold, which would else hide each other


def repeated_runs(
    runs: pd.DataFrame, summaries: Sequence[Spread], label: str, majority: float | None = None
) -> go.Figure:
    """One row per study: its runs as points, above them a diamond at the mean with one SD to either side.

    Thin lines join runs of equal fold, seed and test images in neighbouring studies. ``runs`` is the
    ``repeats_tables.run_table`` of one measure, a share in [0, 1]; ``summaries`` are those of the studies, in the order
    in which they first stand there. The mean of the majority baselines is drawn as a line.
    """
    names = list(dict.fromkeys(runs["study"]))
    colours = class_colours(names)  # by name: the same whichever other studies are drawn
    figure = go.Figure()
    rows = [_placed(runs[runs["study"] == name], row) for row, name in enumerate(names)]
    for upper, lower in zip(rows, rows[1:], strict=False):
        figure.add_trace(_joined(upper, lower))
    for row, (name, summary) in enumerate(zip(names, summaries, strict=True)):
        colour = colours[name]
        figure.add_trace(_points(rows[row], name, colour))
        if summary.count:
            figure.add_trace(_mean(summary, name, row, colour))
    if majority is not None:
        figure.add_vline(100 * majority, annotation_position="top right", **majority_line(majority))
    figure.update_xaxes(title=label, ticksuffix=" %")
    ticks = {"tickvals": list(range(len(names))), "ticktext": [_wrapped(name) for name in names]}
    figure.update_yaxes(**ticks, range=[len(names) - 0.5, -0.6], showgrid=False, zeroline=False)
    return settled(figure, height=110 + ROW * len(names), showlegend=False)


def _placed(runs: pd.DataFrame, row: int) -> pd.DataFrame:
    """The runs with their height: seeds a little apart, so that equal ones stay visible."""
    order = runs["seed"].rank(method="dense") - 1
    gap = min(LARGEST_GAP, 0.2 / max(1.0, order.max() or 1.0)) if len(runs) else 0
    return runs.assign(height=row + gap * (order - order.mean()))


def _joined(upper: pd.DataFrame, lower: pd.DataFrame) -> go.Scatter:
    pairs = upper.merge(lower, on=["fold", "seed", "images"], suffixes=("", "_lower"))
    x = [end for a, b in zip(pairs["value"], pairs["value_lower"], strict=True) for end in (100 * a, 100 * b, None)]
    y = [end for a, b in zip(pairs["height"], pairs["height_lower"], strict=True) for end in (a, b, None)]
    return go.Scatter(x=x, y=y, mode="lines", line={"color": NEUTRAL, "width": 1}, opacity=0.4, hoverinfo="skip")


def _points(runs: pd.DataFrame, name: str, colour: str) -> go.Scatter:
    return go.Scatter(
        x=100 * runs["value"],
        y=runs["height"],
        customdata=[f"{literal(run)}: {share(value)}" for run, value in zip(runs["run"], runs["value"], strict=True)],
        mode="markers",
        marker={"size": 9, "color": colour, "opacity": 0.75},
        name=literal(name),
        hovertemplate="%{customdata}<extra></extra>",
    )


def _mean(summary: Spread, name: str, row: int, colour: str) -> go.Scatter:
    bar = {"type": "data", "array": [100 * summary.spread], "color": colour, "thickness": 2, "width": 5}
    words = f"mean {share(summary.mean)}, SD {points(summary.spread)}, {summary.count} runs"
    return go.Scatter(
        x=[100 * summary.mean],
        y=[row - ABOVE],
        error_x=bar if summary.count > 1 else None,
        mode="markers",
        marker={"size": 12, "symbol": "diamond", "color": colour, "line": {"color": NEUTRAL, "width": 1}},
        name=literal(name),
        hovertemplate=f"{words}<extra>{literal(name)}</extra>",
    )


def _wrapped(name: str) -> str:
    """A long name on several lines."""
    return "<br>".join(textwrap.wrap(literal(name), WRAP, break_long_words=False, break_on_hyphens=False))
