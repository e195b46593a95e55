"""Films as pictures: thumbnails in a grid, and one film large with its facts."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import streamlit as st

from covid_core.data import summary
from covid_core.data.dataset import Dataset
from covid_core.errors import CovidCoreError
from covid_core.figures.theme import class_colours
from covid_core.formatting import file_size
from pages.shared import shell

TILE = 104  # pixels; three in a row at 390 px
WIDE_TILE = 132  # pixels of a tile with a line of text
FILM = "film"  # query parameter: the film that is open


def film_grid(
    dataset: Dataset,
    rows: Iterable[int],
    pixels: np.ndarray,
    key: str,
    captions: Sequence[str] = (),
    opens: Callable[[str], None] | None = None,
    below: Callable[[str], None] | None = None,
) -> None:
    """Thumbnails of some films with their names; a name opens the film.

    Args:
        dataset: the films' data set.
        rows: positions in ``dataset.films`` and in ``pixels``.
        pixels: all decoded films, uint8 (n, size, size).
        key: tells several grids of a page apart.
        captions: a line under each film; none by default.
        opens: told the image id of a film whose name was clicked; ``open_film`` by default.
        below: draws more under the film of an image id.
    """
    rows = list(rows)
    colours = class_colours(dataset.classes)
    labels = dataset.films["label"].to_numpy()
    pictures = summary.thumbnails(pixels, rows, [colours[labels[row]] for row in rows])
    grid = st.grid("auto", min_column_width=WIDE_TILE if captions else TILE, gap="small")
    for row, picture, caption in zip(rows, pictures, captions or [""] * len(rows), strict=True):
        identifier = dataset.films["image_id"].iat[row]
        name = short_name(identifier)
        with grid.cell().container(gap=None):
            st.image(picture, width="stretch", alt=f"Film {name}, labelled {labels[row]}")
            if caption:
                st.caption(shell.plain(caption))
            st.button(
                shell.plain(name),
                key=f"{key}-{identifier}",
                type="tertiary",
                width="stretch",
                wrap=True,
                on_click=opens or open_film,
                args=(identifier,),
            )
            if below is not None:
                below(identifier)


def short_name(identifier: str) -> str:
    """What a film is called on a page: its file without folder and ending."""
    return identifier.rpartition("/")[2].rpartition(".")[0]


def open_film(identifier: str) -> None:
    """Put a film into the address; ``show_open_film`` shows it."""
    st.query_params[FILM] = identifier


def close_film() -> None:
    """Take the film out of the address."""
    st.query_params.pop(FILM, None)


def show_open_film(dataset: Dataset) -> None:
    """The film that the address names, large. A film of another data set is forgotten."""
    identifier = st.query_params.get(FILM)
    if not identifier:
        return
    try:
        dataset.row_of(identifier)
    except CovidCoreError as error:
        st.toast(shell.plain(error), icon=":material/error:")
        close_film()
        return
    _film_dialog(dataset)


@st.dialog("Film", width="large", icon=":material/radiology:", on_dismiss=close_film)
def _film_dialog(dataset: Dataset) -> None:
    identifier = st.query_params.get(FILM, "")
    with shell.told():
        row = dataset.row_of(identifier)
        picture, facts = st.columns([3, 2])
        with facts:
            film = dataset.films.iloc[row]
            st.markdown(f"**{shell.plain(identifier)}**")
            with_mask = bool(film["mask_path"]) and st.toggle("Outline the lungs", key="film-mask")
            view = summary.film_view(dataset, row, with_mask)
            _facts(dataset, row, view)
            _step(dataset, row)
        alt = f"Chest X-ray {identifier}, labelled {film['label']}" + (", lungs outlined" if with_mask else "")
        picture.image(view.content, width="stretch", alt=alt)


def _facts(dataset: Dataset, row: int, view: summary.FilmView) -> None:
    """What is known of a film; what is not known says so."""
    film = dataset.films.iloc[row]
    lines = {
        "Class": film["label"],
        "Size": f"{film['width']} x {film['height']} pixels",
        "Mode": mode_in_words(film["mode"]),
        "Source": film["source"] or summary.UNKNOWN_SOURCE,
        "Patient": film["patient_id"] or "unknown",
        "Lung mask": "yes" if film["mask_path"] else "none",
        "File": f"{film['path']}, {file_size(view.file_bytes)}",
    }
    st.markdown("  \n".join(f"{name}: {shell.plain(value)}" for name, value in lines.items()))
    for note in view.notes:
        st.caption(f"{shell.plain(note[:1].upper() + note[1:])}.")


def mode_in_words(mode: str) -> str:
    """The kind of pixel in a file; Pillow's letters for it are known to few."""
    words = {"L": "8-bit grey", "1": "black and white", "RGB": "colour", "RGBA": "colour with transparency"}
    return f"{words.get(mode, '16-bit grey' if mode.startswith('I') else 'other')} ({mode})"


def _step(dataset: Dataset, row: int) -> None:
    """To the film before and after, in the order of the data set."""
    identifiers = dataset.films["image_id"]
    with st.container(horizontal=True):
        steps = (("Previous", ":material/arrow_back:", row - 1), ("Next", ":material/arrow_forward:", row + 1))
        for label, icon, other in steps:
            exists = 0 <= other < len(identifiers)
            st.button(
                label,
                icon=icon,
                key=f"film-{label}",
                disabled=not exists,
                on_click=open_film,
                args=(identifiers.iat[other] if exists else "",),
            )
