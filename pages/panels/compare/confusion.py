"""The Compare page's confusion matrices, and the images of every cell where the cell is."""

import functools
from collections.abc import Sequence

import streamlit as st

from covid_core.evaluation import image_selection
from covid_core.figures import evaluation as figures
from covid_core.reports import comparison_text
from pages.panels.compare import clicks, image_browser
from pages.panels.compare.run_choice import few
from pages.shared import model_audit_panel, shell
from pages.shared.run_cache import RunCandidate

MATRICES = 6  # confusion matrices side by side at once


def show(order: Sequence[RunCandidate]) -> None:
    """A matrix per run; the images of the cell that was clicked last stand under its matrix."""
    st.caption(
        "Rows: label. Columns: predicted class. Shares are of the row. A cell opens its images below its matrix."
    )
    shown = few(list(order), MATRICES, "compare_matrices")
    with st.grid(3, min_column_width=330):
        for one in shown:
            with st.container():
                reached = comparison_text.in_words(one.assessment.test)
                badge = model_audit_panel.badge(model_audit_panel.of(one.run))
                st.markdown(f"**{shell.plain(one.name)}**  \n{reached} {badge}")
                draw = functools.partial(figures.confusion_matrix, one.assessment.tested.confusion)
                figure = shell.drawn("confusion", one.run, draw)
                clicks.chart(figure, f"confusion-{one.id}", "cell", one.id, f"Confusion matrix of {one.name}")
                _cell_images(one, order)


def _cell_images(one: RunCandidate, order: Sequence[RunCandidate]) -> None:
    """The images of the cell that was clicked last, if that was one of this run."""
    identifier, cell = clicks.picked("cell") or ("", ())
    if identifier != one.id:
        return
    label, predicted = (one.assessment.classes[place] for place in cell)
    st.markdown(f"**{shell.plain(label)} predicted {shell.plain(predicted)}**")
    selection = image_browser.answers(order)
    rows = image_selection.in_cell(selection, image_browser.position_of(order, one.id), label, predicted)
    image_browser.images_of(selection, rows, order, "cell", image_browser.SHORT)
