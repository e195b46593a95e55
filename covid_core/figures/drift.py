"""One measure of a batch of images against that of the training images."""

import numpy as np
import plotly.graph_objects as go

from covid_core.figures.theme import RUN_COLOURS, literal, settled
from covid_core.formatting import share
from covid_core.inference.drift.profile import MEASURES, NETWORK, Profile, Traits, columns

BINS, FEW_BINS = 24, 12
MANY = 60  # images of a batch from which BINS bins are filled
ENDS = (0.005, 0.995)  # of both together; values beyond stand in the outermost bars
HEIGHT = 220  # pixels


def measures(aspect: str, profile: Profile, batch: Traits) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """What an aspect is drawn by: title, values of the training images and of the batch, the measure whose means differ
    most first; of the network's space the direction of which that holds."""
    if aspect == NETWORK:
        trained, new = profile.training.coordinates, batch.coordinates
        place = int(np.abs(new.mean(axis=0) - trained.mean(axis=0)).argmax())
        return [(f"Direction {place + 1} of the network's space", trained[:, place], new[:, place])]
    rows = list(MEASURES.values())
    apart = np.abs(batch.values.mean(axis=0) - profile.training.values.mean(axis=0)) / profile.scales
    return [
        (
            f"{rows[place].title} ({rows[place].unit})" if rows[place].unit else rows[place].title,
            rows[place].shown(profile.training.values[:, place]),
            rows[place].shown(batch.values[:, place]),
        )
        for place in sorted(columns(aspect), key=lambda place: -apart[place])
    ]


def histogram(title: str, training: np.ndarray, weights: np.ndarray, batch: np.ndarray) -> go.Figure:
    """Shares of the training images with weights (n,) as bars, and of the batch as a stepped line over the same
    bins."""
    low, high = np.quantile(np.concatenate([training, batch]), ENDS)
    width = max(high - low, 1e-3 * max(1.0, abs(float(low))))
    edges = np.linspace(low, low + width, 1 + (BINS if len(batch) >= MANY else FEW_BINS))
    usual, new = (
        100 * np.histogram(np.clip(values, edges[0], edges[-1]), edges, weights=of_each)[0] / of_each.sum()
        for values, of_each in ((training, weights), (batch, np.ones(len(batch))))
    )
    hover = {"hovertemplate": "%{text}<extra>%{fullData.name}</extra>"}
    figure = go.Figure()
    figure.add_bar(
        x=(edges[1:] + edges[:-1]) / 2,
        y=usual,
        name="Training images",
        text=[share(one / 100, 0) for one in usual],
        marker_color=RUN_COLOURS[0],
        opacity=0.6,
        textposition="none",
        **hover,
    )
    figure.add_scatter(
        x=edges,
        y=[*new, new[-1]],  # a step ends at the next edge
        name="Batch",
        text=[share(one / 100, 0) for one in (*new, new[-1])],
        mode="lines",
        line={"color": RUN_COLOURS[1], "width": 2, "shape": "hv"},
        **hover,
    )
    figure.update_layout(bargap=0)
    figure.update_xaxes(title=literal(title))
    figure.update_yaxes(ticksuffix=" %", rangemode="tozero")
    return settled(figure, height=HEIGHT)
