"""The Compare page's view of how runs were trained: curves, hyper-parameters, and what they cost."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from covid_core.evaluation import comparison
from covid_core.evaluation.assessment import beats_majority
from covid_core.figures import evaluation as figures
from covid_core.reports import run_text, tables
from covid_core.runs import candidates
from pages.panels.compare.run_choice import few
from pages.shared import comparison_tables, shell
from pages.shared.run_cache import RunCandidate

LINES = 12  # runs in one figure; more lines cannot be told apart

LINES_MEAN = (
    "Strong lines: validation images that choose the epoch. Pale lines: training. Diamond: start of a new stage."
)


def learning_curves(order: Sequence[RunCandidate]) -> None:
    """Accuracy and loss over the epochs."""
    if all(one.run.history().empty for one in order):
        st.caption("No epochs: the predictions of these runs were imported.")
        return
    shown = few(list(order), LINES, "compare_learning")
    st.caption(LINES_MEAN)
    lines = figures.run_lines(one.number for one in shown)
    for quantity in ("accuracy", "loss"):

        def draw(quantity: str = quantity) -> go.Figure:
            return figures.learning_curves([(one.name, one.run.history()) for one in shown], quantity, lines)

        figure = shell.drawn(f"learning {quantity}", shown, draw)
        alt = f"{quantity.capitalize()} over the epochs of {len(shown)} runs"
        shell.chart(figure, f"curves-{quantity}", alt=alt, caption=LINES_MEAN)
    st.download_button(
        "Curves as CSV",
        lambda: tables.to_csv(pd.concat([one.run.history().assign(run=one.name) for one in order])),
        "curves.csv",
        "text/csv",
        icon=":material/download:",
    )


def hyperparameters(order: Sequence[RunCandidate]) -> None:
    """The course's second table."""
    table = tables.hyperparameters([one.name for one in order], [one.run.spec for one in order])
    table["Epochs"] = [run_text.epochs(one.run) for one in order]
    table["Images"] = [f"{one.run.dataset.name}, {run_text.version(shell.version_of(one.run))}" for one in order]
    if st.toggle("Show only what differs", key="compare_differs", help="Leave out columns in which all runs agree."):
        table = tables.only_what_differs(table, always=("Model", "Special strategy"))
    best = order[0].name if beats_majority(order[0].assessment) else ""
    config = {"Learning rate": st.column_config.NumberColumn(format="%g")}
    comparison_tables.show_table(table, "hyperparameters", "Hyper-parameters", best=best, config=config)


def cost(order: Sequence[RunCandidate]) -> None:
    """Accuracy against training time or time per image, and all costs as a table."""
    table = candidates.costs([one.run for one in order], [one.name for one in order])
    columns = {"seconds": "training_seconds", "milliseconds": "milliseconds_per_image"}
    axis = st.segmented_control(
        "Accuracy against",
        list(columns),
        format_func={"seconds": "Training time", "milliseconds": "Time per image"}.__getitem__,
        default="seconds",
        required=True,
        key="compare_cost",
    )
    points = comparison.performance_table(order).head(len(order))
    points = points.assign(number=[one.number for one in order], cost=table[columns[axis]])
    figure = figures.accuracy_against_cost(points, axis, order[0].assessment.majority["test"].value)
    alt = f"Test accuracy against {axis} for {len(order)} runs"
    shell.chart(figure, f"accuracy-against-{axis}", alt=alt, caption="Bars: 95 % intervals")
    unknown = points.loc[points["cost"].isna(), "name"]
    if len(unknown):
        st.caption(f"Not drawn, not recorded: {shell.plain(', '.join(unknown))}.")
    view = comparison_tables.cost_view(table)
    comparison_tables.show_table(view, "cost", "What the runs cost", config=comparison_tables.COST_CONFIG)
