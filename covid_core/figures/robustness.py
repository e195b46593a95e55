"""Robustness curves of runs: small multiples, a panel for each change, a line for each run in its own colour."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from covid_core.figures.theme import error_bar, literal, run_marker, run_style, settled
from covid_core.formatting import interval, share
from covid_core.inference.robustness import CHANGES, Robustness

COLUMNS = 2
TICKS = (0, 25, 50, 75, 100)
PANEL = 150  # pixels of height; with its title and ticks 70 more
GAP = 70
LEGEND_ROW = 20
MOST_BARS = 3  # runs up to which intervals are drawn; with more they stand in the hover text
APART = 0.08  # strengths between the marks of two runs whose intervals are drawn


def curves(runs: Sequence[tuple[str, int, Robustness]], measure: str) -> go.Figure:
    """A measure of runs (name, number, curve) against the strength of each change, 95 % intervals with few runs.

    Strengths are evenly spaced, whatever their amounts, which are the ticks.
    """
    rows = -(-len(CHANGES) // COLUMNS)
    titles = [f"{change.title} ({change.unit})" if change.unit else change.title for change in CHANGES.values()]
    legend = LEGEND_ROW * -(-len(runs) // COLUMNS) * (len(runs) > 1)
    height = rows * (PANEL + GAP) + legend
    spacing = {"vertical_spacing": GAP / height, "horizontal_spacing": 0.07}
    figure = make_subplots(rows, COLUMNS, subplot_titles=titles, shared_yaxes=True, **spacing)
    for place, (key, change) in enumerate(CHANGES.items()):
        cell = {"row": place // COLUMNS + 1, "col": place % COLUMNS + 1}
        for at, (name, number, curve) in enumerate(runs):
            points = [curve.unchanged, *curve.changes[key]]
            values = [(one.value, one.low, one.high) for one in (point.measures[measure] for point in points)]
            amounts = ["unchanged", *(change.in_words.format(point.amount) for point in points[1:])]
            is_few = len(runs) <= MOST_BARS
            figure.add_scatter(
                x=[strength + is_few * APART * (at - (len(runs) - 1) / 2) for strength in range(len(points))],
                y=[100 * value for value, _, _ in values],
                error_y=error_bar(values, 100, thickness=1, width=2) if is_few else None,
                mode="lines+markers",
                line={**run_style(number), "width": 2},
                marker={**run_marker(number), "size": 6},
                name=literal(name),
                legendgroup=str(at),
                showlegend=place == 0 and len(runs) > 1,
                text=[f"{amount}: {interval(*bounds)}" for amount, bounds in zip(amounts, values, strict=True)],
                hovertemplate="%{text}<extra>%{fullData.name}</extra>",
                **cell,
            )
        ticks = ["0" if change.unit else "–", *(f"{amount:g}" for amount in change.amounts)]
        figure.update_xaxes(tickvals=list(range(len(ticks))), ticktext=ticks, zeroline=False, **cell)
    figure.update_yaxes(range=[-2, 102], tickvals=TICKS, ticktext=[share(tick / 100, 0) for tick in TICKS])
    figure.update_annotations(font_size=13)
    settled(figure, height=height)
    figure.update_layout(legend={"y": 1 + 36 / height}, margin={"t": 36 + legend})
    return figure
