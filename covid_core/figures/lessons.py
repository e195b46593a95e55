"""Figures of the lessons: what a class has predicted."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from covid_core.figures.theme import RUN_COLOURS, settled
from covid_core.formatting import plural, share

WIDTH = 10  # per cent of a bar
EDGES = np.arange(0, 100 + WIDTH, WIDTH)


def prediction_histogram(percents: Sequence[float], outcome: float | None = None) -> go.Figure:
    """How many predictions lie in each bar of ten per cent; a line at the outcome, in per cent, where it is known."""
    counts, _ = np.histogram(percents, EDGES)
    texts = [_bar(place, number) for place, number in enumerate(counts)]
    figure = go.Figure(
        go.Bar(
            x=EDGES[:-1] + WIDTH / 2,
            y=counts,
            text=[str(number) if number else "" for number in counts],
            textposition="outside",
            cliponaxis=False,
            marker={"color": RUN_COLOURS[0], "line": {"width": 0}},
            hovertext=texts,
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    if outcome is not None:
        figure.add_vline(x=outcome, line={"color": RUN_COLOURS[1], "width": 3}, annotation_text=share(outcome / 100))
    figure.update_layout(bargap=0.06, showlegend=False)
    figure.update_xaxes(title="Prediction", ticksuffix=" %", range=[0, 100], dtick=WIDTH, showgrid=False)
    figure.update_yaxes(title="Predictions", range=[0, 1.2 * max(1, *counts)], dtick=max(1, int(max(counts)) // 5))
    return settled(figure, 320)


def _bar(place: int, number: int) -> str:
    return f"{plural(int(number), 'prediction')} of {EDGES[place]} to {EDGES[place + 1]} %"


def prediction_histogram_in_words(percents: Sequence[float], outcome: float | None = None) -> str:
    """Alternative text of ``prediction_histogram``."""
    counts, _ = np.histogram(percents, EDGES)
    bars = ", ".join(_bar(place, number) for place, number in enumerate(counts) if number)
    came_out = "" if outcome is None else f" The outcome is {share(outcome / 100)}."
    return f"Histogram of the class's predictions: {bars or 'none yet'}.{came_out}"
