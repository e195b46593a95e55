"""The films behind a figure: thumbnails with what every chosen run says of them, and one film with all heat maps."""

import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from app_pages.components import comparing, gallery, shell
from app_pages.components import films as handed_in
from covid_core.data.dataset import Dataset
from covid_core.data.images import fitted, jpeg_bytes, png_bytes
from covid_core.data.importing import SUMMARY_SIZE
from covid_core.data.pixels import open_pixels
from covid_core.errors import CovidCoreError
from covid_core.evaluation import films as behind
from covid_core.evaluation.comparison import Candidate
from covid_core.evaluation.films import FilmAnswers
from covid_core.formatting import count, plural, share
from covid_core.inference.heatmap import overlaid
from covid_core.runs.store import Run

OPEN = "behind_open"  # in the session: the film whose name was just clicked
AT_ONCE = 18  # films of a page
LONGEST_SHOWN = 512  # pixels of a picture in the dialog
OPACITY = 0.6  # of the hottest place of a heat map
MOST_RUNS = 6  # of which a film's tile and dialog tell
CELL, BIN, PAIR, HARDEST, SURE, DOUBTFUL = "cell", "bin", "pair", "hardest", "sure", "doubtful"
KINDS = {
    HARDEST: "Hardest for all runs",
    SURE: "Most confident errors",
    PAIR: "Right in one run, wrong in another",
    CELL: "A cell of the confusion matrix",
    BIN: "A bin of the reliability diagram",
    DOUBTFUL: "Labels that may be wrong",
}


def show(order: Sequence[Candidate], runs: Sequence[Run]) -> None:
    """The tab: choose which films, and look at them."""
    found = answers(order, runs)
    kind = st.selectbox("Which films", list(KINDS), format_func=KINDS.__getitem__, key="behind_kind", width=320)
    rows = _PICKED[kind](found)
    films_of(found, rows, order, runs, f"tab-{kind}")


def answers(order: Sequence[Candidate], runs: Sequence[Run]) -> FilmAnswers:
    """What the runs say of their test films; kept until a run's files change."""
    return _answers(comparing.version_of(order, runs), order, runs)


@st.cache_resource(max_entries=8, show_spinner=False)
def _answers(version: str, _order: Sequence[Candidate], _runs: Sequence[Run]) -> FilmAnswers:
    return behind.film_answers({one.name: run.predictions() for one, run in zip(_order, _runs, strict=True)})


def _pick_run(found: FilmAnswers, label: str, key: str, position: int = 0) -> int:
    return st.selectbox(label, range(len(found.runs)), position, format_func=found.runs.__getitem__, key=key, width=320)


def _cell(found: FilmAnswers) -> np.ndarray:
    with st.container(horizontal=True):
        run = _pick_run(found, "Run", "behind_run")
        label = st.selectbox("Label", found.classes, key="behind_label", width=200)
        called = st.selectbox("Called", found.classes, key="behind_called", width=200)
    return behind.in_cell(found, run, label, called)


def _bin(found: FilmAnswers) -> np.ndarray:
    with st.container(horizontal=True):
        run = _pick_run(found, "Run", "behind_run")
        names = behind.bins_in_words()
        number = st.selectbox(
            "Score of the answer", range(len(names)), len(names) - 1, format_func=names.__getitem__, key="behind_bin"
        )
    return behind.in_bin(found, run, number)


def _pair(found: FilmAnswers) -> np.ndarray:
    if len(found.runs) < 2:
        st.caption("Choose two runs or more above.")
        return np.empty(0, dtype=int)
    with st.container(horizontal=True):
        right = _pick_run(found, "Right in", "behind_right")
        wrong = _pick_run(found, "Wrong in", "behind_wrong", 1)
    return behind.right_in_one(found, right, wrong)


def _sure(found: FilmAnswers) -> np.ndarray:
    return behind.confident_errors(found, _pick_run(found, "Run", "behind_run"))


def _hardest(found: FilmAnswers) -> np.ndarray:
    st.caption("Films that at least one run has wrong; first those whose own class gets the lowest mean score.")
    return behind.hardest(found)


def _doubtful(found: FilmAnswers) -> np.ndarray:
    st.caption(
        f"All chosen runs agree on another class and give the label less than {share(behind.DOUBTED, 0)}. Runs can be "
        "wrong together: look before you relabel."
    )
    return behind.doubtful_labels(found)


_PICKED = {CELL: _cell, BIN: _bin, PAIR: _pair, SURE: _sure, HARDEST: _hardest, DOUBTFUL: _doubtful}


def films_of(found: FilmAnswers, rows: np.ndarray, order: Sequence[Candidate], runs: Sequence[Run], key: str) -> None:
    """Thumbnails of some films, page by page, with the table of all of them to download."""
    if not len(rows):
        st.info("No film is like that.", icon=":material/check:")
        return
    st.markdown(f"**{plural(len(rows), 'film')}**")
    page = 1
    if len(rows) > AT_ONCE:
        page = st.pagination(-(-len(rows) // AT_ONCE), key=f"{key}-page")
    try:
        dataset, pixels = _films(runs[0])
    except CovidCoreError as error:
        st.warning(f"The films cannot be shown: {shell.plain(error)}", icon=":material/hide_image:")
    else:
        _grid(found, rows[(page - 1) * AT_ONCE : page * AT_ONCE], dataset, pixels, runs, key)
    with st.expander("All of them as a table", icon=":material/table:"):
        shell.table(_table(found, rows), f"films-{key}", alt="Films with what every run says of them")


def _films(run: Run) -> tuple[Dataset, np.ndarray]:
    dataset = shell.open_dataset(run.record["dataset"]["id"])
    return dataset, open_pixels(shell.workspace(), dataset, SUMMARY_SIZE)


def _grid(
    found: FilmAnswers, rows: np.ndarray, dataset: Dataset, pixels: np.ndarray, runs: Sequence[Run], key: str
) -> None:
    places = [dataset.row_of(found.image_ids[row]) for row in rows]
    opens = functools.partial(st.session_state.__setitem__, OPEN)
    gallery.film_grid(dataset, places, pixels, key, [_in_short(found, row) for row in rows], opens)
    opened = st.session_state.pop(OPEN, None)
    if opened is not None:
        _dialog(found, int(np.flatnonzero(found.image_ids == opened)[0]), dataset, runs)


def _in_short(found: FilmAnswers, row: int) -> str:
    runs = range(min(MOST_RUNS, len(found.runs)))
    said = [f"{found.called[row, k] or 'no answer'} {share(found.score[row, k], 0)}" for k in runs]
    return f"{found.labels[row]}, called: " + "; ".join(dict.fromkeys(said))


@st.dialog("What the runs see", width="large", icon=":material/radiology:")
def _dialog(found: FilmAnswers, row: int, dataset: Dataset, runs: Sequence[Run]) -> None:
    """One film with every run's score and heat map for what it called the film."""
    identifier = found.image_ids[row]
    st.markdown(f"**{shell.plain(identifier)}**, labelled {shell.plain(found.labels[row])}")
    with shell.told():
        given = handed_in.from_dataset(dataset, identifier)
        shown = fitted(handed_in.opened(given).pixels, LONGEST_SHOWN)
        grid = st.grid(3, min_column_width=200)
        with grid.cell().container():
            st.image(png_bytes(shown), width="stretch", alt=f"Chest X-ray {identifier}")
            st.caption("The film")
        for k, run in enumerate(runs[:MOST_RUNS]):
            with grid.cell().container(), shell.told():
                _, heat = handed_in.explained(run, given, found.called[row, k] or None, shown.shape)
                picture = jpeg_bytes(overlaid(shown, heat, OPACITY))
                st.image(picture, width="stretch", alt=f"Heat map of {found.runs[k]} over {identifier}")
                st.caption(shell.plain(_said(found, row, k)))
        if len(runs) > MOST_RUNS:
            st.caption(f"The first {count(MOST_RUNS)} of {count(len(runs))} runs.")


def _said(found: FilmAnswers, row: int, run: int) -> str:
    called = f"{found.called[row, run] or 'no answer'} {share(found.score[row, run])}"
    own = "" if found.right[row, run] else f", {found.labels[row]} {share(found.own[row, run])}"
    return f"{found.runs[run]}: {called}{own}"


def _table(found: FilmAnswers, rows: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame({"Film": found.image_ids[rows], "Label": found.labels[rows]})
    for k, name in enumerate(found.runs):
        table[f"{name}: called"] = found.called[rows, k]
        table[f"{name}: score"] = found.score[rows, k].round(4)
        table[f"{name}: score of label"] = found.own[rows, k].round(4)
    return table
