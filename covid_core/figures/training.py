"""Curves of one run while it learns."""

import pandas as pd
import plotly.graph_objects as go

from covid_core.figures.theme import NEUTRAL, RUN_COLOURS, settled
from covid_core.formatting import number, share

HEIGHT = 300
FEW_EPOCHS = 5  # up to here each epoch has its mark on the axis, which has room for as many from the beginning


def run_curves(history: pd.DataFrame, quantity: str, chosen: str = "best") -> go.Figure:
    """``quantity`` ("accuracy" or "loss") of one run over its epochs, on the training and the validation images.

    ``history`` has columns as ``runs.store.HISTORY_COLUMNS``, one row per finished epoch, in order, of all stages, and
    is not empty. ``chosen`` says which epoch's weights the model gets, as in the spec ("best" or "last"): that one has
    a ring, and an upright line stands where a new stage begins.
    """
    scale, written = (100, share) if quantity == "accuracy" else (1, number)
    epochs = list(range(1, len(history) + 1))
    figure = go.Figure()
    for column, name, line in (
        (quantity, "Training images", {"color": NEUTRAL, "width": 2, "dash": "dot"}),
        (f"val_{quantity}", "Validation images", {"color": RUN_COLOURS[0], "width": 2.5}),
    ):
        figure.add_scatter(
            x=epochs,
            y=scale * history[column],
            name=name,
            mode="lines+markers",
            line=line,
            marker={"size": 5},
            text=history[column].map(written),
            hovertemplate="epoch %{x}: %{text}<extra>" + name + "</extra>",
        )
    _mark_weights(figure, weights_epoch(history, chosen), scale * history[f"val_{quantity}"])
    _mark_stages(figure, history["stage"].astype(str).tolist())
    epoch_axes(figure, quantity, len(history))
    figure.update_xaxes(range=[0.5, max(FEW_EPOCHS, len(history)) + 0.5])
    return settled(figure, height=HEIGHT)


def epoch_axes(figure: go.Figure, quantity: str, epochs: int) -> None:
    """The axes of "accuracy" or "loss" over so many epochs."""
    whole = {"dtick": 1} if epochs <= FEW_EPOCHS else {}  # by itself the axis marks fractions, or 2 and 4 only
    figure.update_xaxes(title="Epoch", tickformat="d", **whole)
    figure.update_yaxes(title=quantity.capitalize(), ticksuffix=" %" if quantity == "accuracy" else "")


def weights_epoch(history: pd.DataFrame, chosen: str = "best") -> int:
    """Row of the epoch whose weights the model gets: the last, or that of the last stage's lowest validation loss."""
    if chosen == "last":
        return len(history) - 1
    last_stage = history["stage"] == history["stage"].iloc[-1]
    return int(history["val_loss"].where(last_stage).argmin())


def _mark_weights(figure: go.Figure, row: int, values: pd.Series) -> None:
    figure.add_scatter(
        x=[row + 1],
        y=[values.iloc[row]],
        name="Weights used",
        mode="markers",
        marker={"symbol": "circle-open", "size": 13, "color": RUN_COLOURS[1], "line": {"width": 2.5}},
        hovertemplate="the model has the weights of epoch %{x}<extra></extra>",
    )


def _mark_stages(figure: go.Figure, stages: list[str]) -> None:
    for row in range(1, len(stages)):
        if stages[row] != stages[row - 1]:
            figure.add_vline(
                x=row + 0.5,
                line={"color": NEUTRAL, "width": 1, "dash": "dash"},
                annotation={"text": stages[row], "font": {"color": NEUTRAL}, "xanchor": "left", "yanchor": "top"},
            )
