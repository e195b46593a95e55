"""The prediction of one or more runs for one image."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from covid_core.figures.theme import SHARE_TICKS, class_colours, literal, settled
from covid_core.formatting import probability

ROW_HEIGHT = 46  # pixels per bar, so that one run and eight runs read alike


def score_bars(
    scores: Mapping[str, Mapping[str, float]], classes: Sequence[str], scales: Mapping[str, str]
) -> go.Figure:
    """Scores or probabilities of one image as stacked bars, one per run; the parts of a bar add up to 100 %.

    ``scores`` maps a run's name to its number per class, ``scales`` to what these are; it stands under the name.
    """
    figure = go.Figure()
    names = list(scores)[::-1]  # Plotly draws the first category at the bottom
    shown = [f"{literal(name)}<br>{scales[name]}" for name in names]
    for label, colour in class_colours(classes).items():
        values = [scores[name].get(label, 0.0) for name in names]
        figure.add_bar(
            x=values,
            y=shown,
            orientation="h",
            name=literal(label),
            marker_color=colour,
            text=[probability(value) if value > 0.16 else "" for value in values],
            textposition="inside",
            textangle=0,
            insidetextanchor="middle",
            textfont={"color": "#111418"},
            hovertext=[probability(value) for value in values],
            hovertemplate="%{y}<br>" + literal(label) + ": %{hovertext}<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.35)
    figure.update_layout(legend_traceorder="normal")
    figure.update_xaxes(range=[0, 1], showgrid=False, **SHARE_TICKS)
    figure.update_yaxes(showticklabels=len(names) > 1)
    return settled(figure, height=110 + ROW_HEIGHT * len(names))
