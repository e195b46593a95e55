"""The images behind a figure: thumbnails with what every chosen run says of them, and one image with all heat maps."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from covid_core.data.dataset import Dataset
from covid_core.data.imports.importing import SUMMARY_SIZE
from covid_core.data.pixels import open_pixels
from covid_core.errors import CovidCoreError, DataError
from covid_core.evaluation import calibration, image_selection
from covid_core.evaluation.image_selection import ImageAnswers
from covid_core.evaluation.measures import BINS
from covid_core.formatting import count, decimals, plural, share
from covid_core.images.codec import fitted, jpeg_bytes, png_bytes
from covid_core.inference.heatmap import overlaid
from covid_core.reports.comparison_text import named
from covid_core.runs import temperature_scaling, test_set_access
from covid_core.runs.store import Run
from pages.shared import gallery, image_results, run_cache, shell, uploads
from pages.shared.run_cache import RunCandidate
from pages.shared.test_part import test_set_views

OPEN = "behind_open"  # in the session: the image whose name was just clicked
AT_ONCE = 18  # images of a page
SHORT = 8  # images of a page where two lists stand below each other
LONGEST_SHOWN = 512  # pixels of a picture in the dialog
OPACITY = 0.6  # of the hottest place of a heat map
MOST_RUNS = 6  # whose heat maps stand beside an image at once
CELL, BIN, BAR, PAIR, HARDEST, SURE, DOUBTFUL = "cell", "bin", "bar", "pair", "hardest", "sure", "doubtful"
KINDS = {
    HARDEST: "Hardest for all runs",
    SURE: "Most confident errors",
    PAIR: "Correct in one run, wrong in another",
    CELL: "A cell of the confusion matrix",
    BIN: "A bin of the reliability diagram",
    BAR: "A bar of the score histogram",
    DOUBTFUL: "Labels that may be wrong",
}
SCORES, CALIBRATED = "Scores", "Probabilities (calibrated)"  # the two scales of a reliability diagram


def show(order: Sequence[RunCandidate]) -> None:
    """The tab: choose which images, and look at them."""
    kind = _choice("Which images", list(KINDS), "images", format_func=KINDS.__getitem__, width=320)
    predicted, rows = _PICKED[kind](answers(order), order)
    images_of(predicted, rows, order, f"tab-{kind}")


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=run_cache.BY_FILES)
def answers(order: Sequence[RunCandidate]) -> ImageAnswers:
    """What the runs say of their test images; kept until a run's files change."""
    return image_selection.image_answers({one.name: one.run.predictions() for one in order})


def on_calibrated_scale(predicted: ImageAnswers, position: int, run: Run, temperature: float) -> ImageAnswers:
    """The same with the calibrated scores of one run."""
    scaled = image_selection.image_answers({run.id: calibration.tempered(run.predictions(), temperature)})
    return image_selection.on_scale(predicted, position, scaled, f"{predicted.runs[position]}, calibrated")


Chosen = tuple[ImageAnswers, np.ndarray]  # what the runs say, on the chosen scale, and the images' positions


def ranges_in_words(ranges: int) -> list[str]:
    """Equal ranges of a score: ``0 to 10 %``."""
    return [
        f"{decimals(100 * place / ranges, 0)} to {decimals(100 * (place + 1) / ranges, 0)} %" for place in range(ranges)
    ]


def _choice(label: str, options: Sequence[Any], key: str, position: int = 0, **view: Any) -> Any:
    """A choice that stands in the address."""
    return st.selectbox(label, options, position, key=key, bind="query-params", **view)


def _pick(label: str, names: Sequence[str], key: str, position: int = 0, width: int = 320) -> int:
    return _choice(label, range(len(names)), key, position, format_func=names.__getitem__, width=width)


def _cell(predicted: ImageAnswers, _order: Sequence[RunCandidate]) -> Chosen:
    with st.container(horizontal=True):
        run = _pick("Run", predicted.runs, "images_run")
        label = _choice("Label", predicted.classes, "images_label", width=200)
        called = _choice("Predicted", predicted.classes, "images_called", width=200)
    return predicted, image_selection.in_cell(predicted, run, label, called)


def _bin(predicted: ImageAnswers, order: Sequence[RunCandidate]) -> Chosen:
    with st.container(horizontal=True):
        run = _pick("Run", predicted.runs, "images_run")
        scale = _choice("Scale", [SCORES, CALIBRATED], "images_scale", width=240)
        number = _pick("Score of the predicted class", ranges_in_words(BINS), "images_bin", BINS - 1, 160)
    if scale == CALIBRATED:
        fit = temperature_scaling.of(order[run].run)
        if not fit.is_defined:
            raise DataError(f"{predicted.runs[run]} has no temperature. {fit.note}")
        predicted = on_calibrated_scale(predicted, run, order[run].run, fit.temperature)
    return predicted, image_selection.in_bin(predicted, run, number)


def _bar(predicted: ImageAnswers, _order: Sequence[RunCandidate]) -> Chosen:
    with st.container(horizontal=True):
        run = _pick("Run", predicted.runs, "images_run")
        label = _choice("Label", predicted.classes, "images_label", width=200)
        scored = _choice("Score of", predicted.classes, "images_scored", width=200)
        bar = _pick("From", ranges_in_words(image_selection.BARS), "images_bar", image_selection.BARS - 1, 160)
    return predicted, image_selection.in_bar(predicted, run, scored, label, bar)


def _pair(predicted: ImageAnswers, _order: Sequence[RunCandidate]) -> Chosen:
    if len(predicted.runs) < 2:
        st.caption("Choose two runs or more above.")
        return predicted, np.empty(0, dtype=int)
    with st.container(horizontal=True):
        right = _pick("Correct in", predicted.runs, "images_right")
        wrong = _pick("Wrong in", predicted.runs, "images_wrong", 1)
    return predicted, image_selection.right_in_one(predicted, right, wrong)


def _sure(predicted: ImageAnswers, _order: Sequence[RunCandidate]) -> Chosen:
    return predicted, image_selection.confident_errors(predicted, _pick("Run", predicted.runs, "images_run"))


def _hardest(predicted: ImageAnswers, _order: Sequence[RunCandidate]) -> Chosen:
    st.caption("Images that at least one run predicts wrongly. First: the lowest mean score of the label.")
    return predicted, image_selection.hardest(predicted)


def _doubtful(predicted: ImageAnswers, _order: Sequence[RunCandidate]) -> Chosen:
    st.caption(
        "All chosen runs predict the same other class and score the label below "
        f"{share(image_selection.DOUBTED, 0)}. Runs can be wrong together: check each image before you relabel it."
    )
    return predicted, image_selection.doubtful_labels(predicted)


_PICKED = {CELL: _cell, BIN: _bin, BAR: _bar, PAIR: _pair, SURE: _sure, HARDEST: _hardest, DOUBTFUL: _doubtful}


def position_of(order: Sequence[RunCandidate], identifier: str) -> int | None:
    """Where a run stands among those that are shown; None when it is not among them any more."""
    return next((place for place, one in enumerate(order) if one.id == identifier), None)


def images_of(
    predicted: ImageAnswers, rows: np.ndarray, order: Sequence[RunCandidate], key: str, at_once: int = AT_ONCE
) -> None:
    """Thumbnails of some images, ``at_once`` to a page, with the table of all of them to download."""
    if not len(rows):
        st.info("No image.", icon=":material/check:")
        return
    test_set_views.note([one.run for one in order], test_set_access.IMAGES)
    st.markdown(f"**{plural(len(rows), 'image')}**")
    page = 1
    if len(rows) > at_once:
        page = st.pagination(-(-len(rows) // at_once), key=f"{key}-page")
    try:
        dataset, pixels = _images(order[0].run)
    except CovidCoreError as error:
        st.warning(f"The images cannot be shown: {shell.plain(error)}", icon=":material/hide_image:")
    else:
        runs = "" if len(order) == 1 else ' "?" lists every run, the best first.'
        st.caption(
            f"Under each image: its label and the predicted class with its score.{runs} Its name opens heat maps."
        )
        _grid(predicted, rows[(page - 1) * at_once : page * at_once], dataset, pixels, order, key)
    with st.expander("All of them as a table", icon=":material/table:"):
        shell.table(_table(predicted, rows), f"images-{key}", digits=3, alt="Images with the predictions of every run")


def _images(run: Run) -> tuple[Dataset, np.ndarray]:
    dataset = shell.dataset_of(run)
    return dataset, open_pixels(shell.workspace(), dataset, SUMMARY_SIZE)


def _grid(
    predicted: ImageAnswers,
    rows: np.ndarray,
    dataset: Dataset,
    pixels: np.ndarray,
    order: Sequence[RunCandidate],
    key: str,
) -> None:
    places = [dataset.row_of(predicted.image_ids[row]) for row in rows]
    opens = functools.partial(st.session_state.__setitem__, OPEN)
    captions, details = [_in_short(predicted, row) for row in rows], [_of_every_run(predicted, row) for row in rows]
    gallery.image_grid(dataset, places, pixels, key, captions, opens, details=details if len(order) > 1 else ())
    gallery.offer_sheet(dataset, {"": places}, f"images-{key}", captions)
    opened = st.session_state.pop(OPEN, None)
    if opened is not None:
        _dialog(predicted, int(np.flatnonzero(predicted.image_ids == opened)[0]), dataset, order)


def _in_short(predicted: ImageAnswers, row: int) -> str:
    """The label with the prediction of the one run, or with which runs are wrong."""
    label = predicted.labels[row]
    if len(predicted.runs) == 1:
        return f"{label}, predicted: {_prediction(predicted, row, 0)}"
    wrong = [name for name, right in zip(predicted.runs, predicted.right[row], strict=True) if not right]
    if not wrong:
        return f"{label}, correct in all runs"
    return f"{label}, wrong in {count(len(wrong))} of {count(len(predicted.runs))} runs: {named(wrong)}"


def _of_every_run(predicted: ImageAnswers, row: int) -> str:
    """A line per run."""
    of_runs = (f"{name}: {_prediction(predicted, row, k)}" for k, name in enumerate(predicted.runs))
    return "  \n".join(map(shell.plain, of_runs))


def _prediction(predicted: ImageAnswers, row: int, run: int) -> str:
    score = share(predicted.score[row, run], 0).replace(" ", "\N{NO-BREAK SPACE}")
    return f"{predicted.called[row, run] or 'none'} {score}"


@st.dialog("Predictions and heat maps", width="large", icon=":material/radiology:")
def _dialog(predicted: ImageAnswers, row: int, dataset: Dataset, order: Sequence[RunCandidate]) -> None:
    """One image with every run's score and heat map of the class that it predicts."""
    identifier = predicted.image_ids[row]
    st.markdown(f"**{shell.plain(identifier)}**, labelled {shell.plain(predicted.labels[row])}")
    st.caption("A heat map is hot where the score of the predicted class comes from.")
    with shell.errors_shown():
        source = uploads.from_dataset(dataset, identifier)
        shown = fitted(uploads.opened(source).pixels, LONGEST_SHOWN)
        page = 1
        if len(order) > MOST_RUNS:
            page = st.pagination(-(-len(order) // MOST_RUNS), key="behind-runs")
            st.caption(f"{count(MOST_RUNS)} of {count(len(order))} runs at once, the best first")
        grid = st.grid(3, min_column_width=200)
        with grid.cell().container():
            st.image(png_bytes(shown), width="stretch", alt=f"Chest X-ray {identifier}")
            st.caption("The image")
        for k in range(len(order))[(page - 1) * MOST_RUNS : page * MOST_RUNS]:
            with grid.cell().container(), shell.errors_shown():
                heat = image_results.heat(order[k].run, source, predicted.called[row, k], shown.shape)
                picture = jpeg_bytes(overlaid(shown, heat, OPACITY))
                st.image(picture, width="stretch", alt=f"Heat map of {predicted.runs[k]} over {identifier}")
                st.caption(shell.plain(_caption(predicted, row, k)))


def _caption(predicted: ImageAnswers, row: int, run: int) -> str:
    called = f"{predicted.called[row, run] or 'none'} {share(predicted.score[row, run])}"
    own = "" if predicted.right[row, run] else f", {predicted.labels[row]} {share(predicted.own[row, run])}"
    return f"{predicted.runs[run]}: {called}{own}"


def _table(predicted: ImageAnswers, rows: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame({"Image": predicted.image_ids[rows], "Label": predicted.labels[rows]})
    for k, name in enumerate(predicted.runs):
        table[f"{name}: predicted"] = predicted.called[rows, k]
        table[f"{name}: score"] = predicted.score[rows, k]
        table[f"{name}: score of label"] = predicted.own[rows, k]
    return table
