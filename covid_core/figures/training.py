"""Curves of one run while it learns."""

import pandas as pd
import plotly.graph_objects as go

from covid_core.figures.theme import NEUTRAL, RUN_COLOURS, settled

LABELS = {"accuracy": "Accuracy", "loss": "Loss"}
HEIGHT = 300
FEWEST_EPOCHS = 5  # width of the axis while there are fewer, so that the first points do not jump


def run_curves(history: pd.DataFrame, quantity: str, keep: str = "best") -> go.Figure:
    """``quantity`` ("accuracy" or "loss") of one run over its epochs, on the training and the validation images.

    Args:
        history: columns as ``runs.store.HISTORY_COLUMNS``, one row per finished epoch, in order; epochs of all stages
            are counted on. Not empty.
        quantity: which of the two.
        keep: which epoch's weights are kept, as the spec says: "best" or "last".

    Returns:
        Two lines; a ring where the kept weights come from and an upright line where a new stage begins.
    """
    scale, unit = (100, ".1f} %") if quantity == "accuracy" else (1, ".3f}")
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
            hovertemplate="epoch %{x}: %{y:" + unit + "<extra>" + name + "</extra>",
        )
    _mark_kept(figure, kept_epoch(history, keep), scale * history[f"val_{quantity}"])
    _mark_stages(figure, history["stage"].astype(str).tolist())
    whole = {"dtick": 1} if len(history) <= FEWEST_EPOCHS else {}  # else a plot this narrow marks 2 and 4 only
    figure.update_xaxes(title="Epoch", range=[0.5, max(FEWEST_EPOCHS, len(history)) + 0.5], tickformat="d", **whole)
    figure.update_yaxes(title=LABELS[quantity], ticksuffix=" %" if quantity == "accuracy" else "")
    return settled(figure, height=HEIGHT)


def kept_epoch(history: pd.DataFrame, keep: str = "best") -> int:
    """Row of the epoch whose weights are kept: the last, or the lowest validation loss of the last stage so far."""
    if keep == "last":
        return len(history) - 1
    last_stage = history["stage"] == history["stage"].iloc[-1]
    return int(history["val_loss"].where(last_stage).argmin())


def _mark_kept(figure: go.Figure, row: int, values: pd.Series) -> None:
    figure.add_scatter(
        x=[row + 1],
        y=[values.iloc[row]],
        name="Kept",
        mode="markers",
        marker={"symbol": "circle-open", "size": 13, "color": RUN_COLOURS[1], "line": {"width": 2.5}},
        hovertemplate="weights of epoch %{x} are kept<extra></extra>",
    )


def _mark_stages(figure: go.Figure, stages: list[str]) -> None:
    for row in range(1, len(stages)):
        if stages[row] != stages[row - 1]:
            figure.add_vline(
                x=row + 0.5,
                line={"color": NEUTRAL, "width": 1, "dash": "dash"},
                annotation={"text": stages[row], "font": {"color": NEUTRAL}, "xanchor": "left", "yanchor": "top"},
            )
