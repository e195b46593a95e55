"""The Compare page's view of how a run's scores are spread over the test images, and the images of every bar."""

from collections.abc import Sequence

import streamlit as st

from covid_core.evaluation import image_selection
from covid_core.figures import evaluation as figures
from covid_core.formatting import count
from pages.panels.compare import clicks, image_browser
from pages.shared import comparison_tables, shell
from pages.shared.run_cache import RunCandidate

BAR = "bar"  # what is clicked here


def show(order: Sequence[RunCandidate]) -> None:
    """One run's score of one class, label by label; a bar opens its images."""
    predictions = image_browser.answers(order)
    with st.container(horizontal=True):
        run = comparison_tables.pick_run(order, "compare_scored_run")
        scored = st.selectbox("Score of", predictions.classes, key="compare_scored", width=240)
    counts = image_selection.score_counts(predictions, run, scored)
    st.caption(
        f"{shell.plain(scored)} images belong at the right, all others at the left. An image on the wrong side is an "
        "error of the run or of the label. A bar opens its images."
    )
    figure = shell.drawn(f"scores of {scored}", order[run].run, lambda: figures.score_histogram(counts, scored))
    alt = f"Test images by the score of {scored} that {predictions.runs[run]} gives them, label by label"
    clicks.chart(figure, f"score-histogram-{order[run].id}-{scored}", BAR, (order[run].id, scored), alt)
    unscored = len(predictions.labels) - int(counts.to_numpy().sum())
    if unscored:
        st.caption(f"In no bar, because the score is not a number: {count(unscored)}.")
    _bar_images(order, (order[run].id, scored))


def _bar_images(order: Sequence[RunCandidate], shown: tuple[str, str]) -> None:
    """The images of the bar that was clicked in the histogram that is shown."""
    clicked = clicks.picked(BAR)
    if clicked is None or clicked[0] != shown:
        return
    (identifier, scored), (place, bar) = clicked
    predictions, position = image_browser.answers(order), image_browser.position_of(order, identifier)
    label = predictions.classes[place]
    ranges = image_browser.ranges_in_words(image_selection.BARS)
    st.subheader(f"{shell.plain(label)}: score of {shell.plain(scored)} {ranges[bar]}")
    image_browser.images_of(predictions, image_selection.in_bar(predictions, position, scored, label, bar), order, BAR)
