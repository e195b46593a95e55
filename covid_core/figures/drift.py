"""One measure of a batch of images against that of the training images."""

import numpy as np
import plotly.graph_objects as go

from covid_core.figures.theme import RUN_COLOURS, literal, settled
from covid_core.formatting import share
from covid_core.inference.drift.profile import MEASURES, NETWORK, Profile, Traits, columns

BINS = 24
ENDS = (0.005, 0.995)  # of both together; values beyond stand in the outermost bars
HEIGHT = 220  # pixels


def measures(aspect: str, profile: Profile, batch: Traits) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """What an aspect is drawn by: title, values of the training images and of the batch; of the network's space the
    direction in which their means differ most."""
    if aspect == NETWORK:
        trained, new = profile.training.coordinates, batch.coordinates
        place = int(np.abs(new.mean(axis=0) - trained.mean(axis=0)).argmax())
        return [(f"Direction {place + 1} of the network's space", trained[:, place], new[:, place])]
    rows = list(MEASURES.values())
    return [
        (
            f"{rows[place].title} ({rows[place].unit})" if rows[place].unit else rows[place].title,
            rows[place].shown(profile.training.values[:, place]),
            rows[place].shown(batch.values[:, place]),
        )
        for place in columns(aspect)
    ]


def histogram(title: str, training: np.ndarray, batch: np.ndarray) -> go.Figure:
    """Shares of the training images as bars, and of the batch as a stepped line over the same bins."""
    low, high = np.quantile(np.concatenate([training, batch]), ENDS)
    width = max(high - low, 1e-3 * max(1.0, abs(float(low))))
    edges = np.linspace(low, low + width, BINS + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    figure = go.Figure()
    for name, values in (("Training images", training), ("Batch", batch)):
        shares = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
        text = [share(one, 0) for one in shares]
        about = {"x": middles, "y": 100 * shares, "name": literal(name), "text": text}
        hover = "%{text}<extra>%{fullData.name}</extra>"
        if name == "Batch":
            line = {"color": RUN_COLOURS[1], "width": 2, "shape": "hvh"}
            figure.add_scatter(**about, mode="lines", line=line, hovertemplate=hover)
        else:
            figure.add_bar(**about, marker_color=RUN_COLOURS[0], opacity=0.6, textposition="none", hovertemplate=hover)
    figure.update_layout(bargap=0)
    figure.update_xaxes(title=literal(title))
    figure.update_yaxes(ticksuffix=" %", rangemode="tozero")
    return settled(figure, height=HEIGHT)
