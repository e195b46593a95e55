"""The Compare page's view of scores as probabilities: reliability, temperature, thresholds, prevalence."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from covid_core.errors import DataError
from covid_core.evaluation import calibration, image_selection
from covid_core.evaluation.calibration import Bin, Calibration
from covid_core.evaluation.measures import BINS, CLASS_MEASURES
from covid_core.figures import evaluation as figures
from covid_core.formatting import decimals, number, share
from covid_core.reports import run_text
from covid_core.reports.comparison_text import in_words
from covid_core.runs import temperature_scaling
from covid_core.runs.store import Run
from pages.panels.compare import clicks, image_browser
from pages.shared import comparison_tables, run_cache, shell
from pages.shared.run_cache import RunCandidate

BIN = "bin"  # what is clicked here
MOST_FITS = 256  # runs; about 5 KB each
AIMS = {name: CLASS_MEASURES[name].title for name in calibration.AIMS}
DEFAULT_PREVALENCE = 2.0  # per cent: a ward is not a balanced test set


def show(order: Sequence[RunCandidate]) -> None:
    """One run's scores, before and after its temperature, and what a threshold makes of them."""
    position = comparison_tables.pick_run(order, "compare_calibrated")
    name, run = order[position].name, order[position].run
    fitted, diagrams = _calibrated(run)
    if not fitted.is_defined:
        st.info(shell.plain(fitted.note), icon=":material/help:")
        return
    st.markdown(_in_words(name, run, fitted))
    left, right = st.columns([5, 6], gap="medium")
    with left:
        figure = shell.drawn("reliability", run, lambda: figures.reliability(diagrams, figures.run_lines(range(2))))
        alt = f"Reliability of the scores of {name}, before and after"
        clicks.chart(figure, f"reliability-{run.id}", BIN, run.id, alt)
        st.caption("A point opens its images below.")
    with right:
        _bins_table(diagrams)
    _bin_images(position, fitted, order)
    _operating_point(run)


@st.cache_resource(max_entries=MOST_FITS, show_spinner=False, hash_funcs=run_cache.BY_FILES)
def _calibrated(run: Run) -> tuple[Calibration, list[tuple[str, list[Bin]]]]:
    """The run's calibration and its two diagrams on the test part; none without a temperature."""
    names = (image_browser.SCORES, image_browser.CALIBRATED)
    return temperature_scaling.of(run), list(zip(names, temperature_scaling.diagrams(run).values(), strict=False))


def _bin_images(position: int, fitted: Calibration, order: Sequence[RunCandidate]) -> None:
    """The images of the bin that was clicked, on the scale of its curve."""
    clicked = clicks.picked(BIN)
    if clicked is None or clicked[0] != order[position].id:
        return
    scale, number = clicked[1]
    predictions = image_browser.answers(order)
    if scale:
        predictions = image_browser.on_calibrated_scale(predictions, position, order[position].run, fitted.temperature)
    st.subheader(f"{shell.plain(predictions.runs[position])}: {image_browser.ranges_in_words(BINS)[number]}")
    image_browser.images_of(predictions, image_selection.in_bin(predictions, position, number), order, BIN)


def _in_words(name: str, run: Run, fitted: Calibration) -> str:
    sure = "too high" if fitted.temperature > 1 else "too low"
    before, after = fitted.expected_calibration_error_before, fitted.expected_calibration_error_after
    return (
        f"**{shell.plain(name)}: temperature {decimals(fitted.temperature, 2)}**, fitted on "
        f"{run_text.calibration_images(run, fitted)}. Its scores are {sure}. On the test images the "
        f"calibration error changes from {share(before)} to {share(after)}. The log loss changes from "
        f"{number(fitted.log_loss_before)} to {number(fitted.log_loss_after)}. No predicted class changes."
    )


def _bins_table(diagrams: Sequence[tuple[str, Sequence[Bin]]]) -> None:
    scores = image_browser.ranges_in_words(BINS)
    rows = [
        {"Score": scores[one.number], "Scale": name, "Correct": in_words(one.right), "Images": one.right.n}
        for name, bins in zip(("before", "calibrated"), (bins for _, bins in diagrams), strict=True)
        for one in bins
    ]
    caption = "Bins of the reliability diagram"
    comparison_tables.show_table(pd.DataFrame(rows), "reliability-bins", caption, pinned="Score")


def _operating_point(run: Run) -> None:
    """A threshold for one class, chosen on validation, its price on test, and what it means at another prevalence."""
    which = "validation images that calibrate" if run.is_halved else "validation images"
    st.markdown(f"**Operating point.** Chosen on the {which}, reported on the test images.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        label = st.selectbox("Class", run.classes, key="compare_point_class", width=240)
        aim = st.segmented_control(
            "At least this",
            list(AIMS),
            format_func=AIMS.__getitem__,
            default="sensitivity",
            required=True,
            key="point_aim",
        )
        wanted = st.number_input(
            "Per cent", 50.0, 100.0, 100 * calibration.USUAL_AIM, 0.5, key="point_wanted", width=120
        )
    try:
        point = calibration.operating_point(temperature_scaling.table(run), label, aim, wanted / 100)
    except DataError as error:
        st.info(shell.plain(error), icon=":material/help:")
        return
    st.caption(f"An image is predicted {shell.plain(label)} from a score of {number(point.threshold)}.")
    images = point.test["sensitivity"].n / max(1, point.test["sensitivity"].n + point.test["specificity"].n)
    prevalence = st.slider(
        f"Prevalence of {shell.plain(label)} where it is used (%)",
        0.1,
        99.9,
        DEFAULT_PREVALENCE,
        0.1,
        format="%.1f",
        key="point_prevalence",
        help=f"In this test part it is {share(images)}. PPV and NPV depend on it; sensitivity and specificity do not.",
    )
    there = calibration.at_prevalence(point.test["sensitivity"], point.test["specificity"], prevalence / 100)
    rows = {
        "Validation": point.validation,
        "Test": point.test,
        f"Test, at {share(prevalence / 100)} of the class": {**point.test, **there},
    }
    view = pd.DataFrame(
        [
            {"Images": images, **{CLASS_MEASURES[name].title: in_words(value) for name, value in values.items()}}
            for images, values in rows.items()
        ]
    )
    comparison_tables.show_table(view, "operating-point", "Operating point", pinned="Images")
