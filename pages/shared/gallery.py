"""Images as pictures: thumbnails in a grid, and one image large with its facts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

import numpy as np
import streamlit as st

from covid_core.data import pixels as decoding
from covid_core.data import summary
from covid_core.data.dataset import Dataset
from covid_core.errors import CovidCoreError
from covid_core.figures.theme import class_colours
from covid_core.formatting import file_size
from covid_core.images import contact_sheet
from covid_core.images.codec import png_bytes, with_dots
from covid_core.images.contact_sheet import Tile
from pages.shared import presentation, shell

TILE = 104  # pixels; three in a row at 390 px
DOTS = 150  # per inch of a printed contact sheet: six images on a page's width
LARGE_TILE = 170  # pixels; two in a row at 390 px, four at 1280 px
WIDE_TILE = 132  # pixels of a tile with a line of text
IMAGE = "image"  # query parameter: the image that is open


def image_grid(
    dataset: Dataset,
    rows: Iterable[int],
    pixels: np.ndarray | Mapping[int, np.ndarray],
    key: str,
    captions: Sequence[str] = (),
    opens: Callable[[str], None] | None = None,
    below: Callable[[str], None] | None = None,
    details: Sequence[str] = (),
    tile: int = TILE,
) -> None:
    """Thumbnails of some images with their names; a name opens the image.

    Args:
        dataset: the images' data set.
        rows: positions in ``dataset.images`` and in ``pixels``.
        pixels: decoded images by row, uint8 (size, size) each.
        key: of this grid among those of a page.
        captions: a line under each image; none by default.
        opens: called with the id of an image whose name was clicked; ``open_image`` by default.
        below: draws more under the image of an image id.
        details: Markdown behind "?" at each caption.
        tile: least width of an image in pixels.
    """
    rows = list(rows)
    colours = class_colours(dataset.classes)
    labels = dataset.images["label"].to_numpy()
    pictures = summary.thumbnails(pixels, rows, [colours[labels[row]] for row in rows])
    grid = st.grid("auto", min_column_width=presentation.enlarged(WIDE_TILE if captions else tile), gap="small")
    texts = zip(captions or [""] * len(rows), details or [None] * len(rows), strict=True)
    for row, picture, (caption, detail) in zip(rows, pictures, texts, strict=True):
        identifier = dataset.images["image_id"].iat[row]
        name = short_name(identifier)
        with grid.cell().container(gap=None):
            st.image(picture, width="stretch", alt=f"Image {name}, labelled {labels[row]}")
            if caption:
                st.caption(shell.plain(caption), help=detail)
            st.button(
                shell.plain(name),
                key=f"{key}-{identifier}",
                type="tertiary",
                width="stretch",
                wrap=True,
                on_click=opens or open_image,
                args=(identifier,),
            )
            if below is not None:
                below(identifier)


def offer_sheet(dataset: Dataset, groups: Mapping[str, Sequence[int]], name: str, captions: Sequence[str] = ()) -> None:
    """A button that downloads images as one contact sheet, a light PNG: rows of ``dataset.images`` by heading.

    ``captions`` are those of all images in order, below their names.
    """

    def made() -> bytes:
        rows = [int(row) for of_group in groups.values() for row in of_group]
        names = [short_name(dataset.images["image_id"].iat[row]) for row in rows]
        texts = [f"{one}: {text}" for one, text in zip(names, captions, strict=True)] if captions else names
        tiles = map(Tile, decoding.decode_rows(dataset, rows, contact_sheet.TILE), texts)
        by_heading = {heading: list(islice(tiles, len(of_group))) for heading, of_group in groups.items()}
        return with_dots(png_bytes(contact_sheet.contact_sheet(by_heading)), DOTS)

    st.download_button(
        "Contact sheet", made, f"{name}.png", "image/png", key=f"sheet-{name}", icon=":material/download:"
    )


def short_name(identifier: str) -> str:
    """What an image is called on a page: its file without folder and ending."""
    return identifier.rpartition("/")[2].rpartition(".")[0]


def open_image(identifier: str) -> None:
    """Put an image into the address; ``show_open_image`` shows it."""
    st.query_params[IMAGE] = identifier


def close_image() -> None:
    """Take the image out of the address."""
    st.query_params.pop(IMAGE, None)


def show_open_image(dataset: Dataset) -> None:
    """The image that the address names, large. That of another data set is closed."""
    identifier = st.query_params.get(IMAGE)
    if not identifier:
        return
    try:
        dataset.row_of(identifier)
    except CovidCoreError as error:
        st.toast(shell.plain(error), icon=":material/error:")
        close_image()
        return
    _image_dialog(dataset)


@st.dialog("Image", width="large", icon=":material/radiology:", on_dismiss=close_image)
def _image_dialog(dataset: Dataset) -> None:
    identifier = st.query_params.get(IMAGE, "")
    with shell.errors_shown():
        row = dataset.row_of(identifier)
        picture, facts = st.columns([3, 2])
        with facts:
            image = dataset.images.iloc[row]
            st.markdown(f"**{shell.plain(identifier)}**")
            with_mask = bool(image["mask_path"]) and st.toggle("Outline the lungs", key="image-mask")
            view = summary.image_view(dataset, row, with_mask)
            _facts(dataset, row, view)
            _step(dataset, row)
        alt = f"Chest X-ray {identifier}, labelled {image['label']}" + (", lungs outlined" if with_mask else "")
        picture.image(view.content, width="stretch", alt=alt)


def _facts(dataset: Dataset, row: int, view: summary.ImageView) -> None:
    """The facts of an image; unknown ones are shown as such."""
    image = dataset.images.iloc[row]
    lines = {
        "Class": image["label"],
        "Size": f"{image['width']} x {image['height']} pixels",
        "Mode": mode_in_words(image["mode"]),
        "Source": image["source"] or summary.UNKNOWN_SOURCE,
        "Patient": image["patient_id"] or "unknown",
        "Lung mask": "yes" if image["mask_path"] else "none",
        "File": f"{image['path']}, {file_size(view.file_bytes)}",
    }
    st.markdown("  \n".join(f"{name}: {shell.plain(value)}" for name, value in lines.items()))
    read, *doubts = image["reading"].split("\n")
    for note in filter(None, (read, *view.notes)):
        st.caption(f"{shell.plain(note[:1].upper() + note[1:])}.")
    for doubt in doubts:
        st.warning(shell.plain(doubt), icon=":material/warning:")


def mode_in_words(mode: str) -> str:
    """The kind of pixel in a file; Pillow's letters for it are known to few."""
    words = {"L": "8-bit grey", "1": "black and white", "RGB": "colour", "RGBA": "colour with transparency"}
    other = "16-bit grey" if mode.startswith("I") else "DICOM grey" if mode.startswith("MONOCHROME") else "other"
    return f"{words.get(mode, other)} ({mode})"


def _step(dataset: Dataset, row: int) -> None:
    """To the image before and after, in the order of the data set."""
    identifiers = dataset.images["image_id"]
    with st.container(horizontal=True):
        steps = (("Previous", ":material/arrow_back:", row - 1), ("Next", ":material/arrow_forward:", row + 1))
        for label, icon, other in steps:
            exists = 0 <= other < len(identifiers)
            st.button(
                label,
                icon=icon,
                key=f"image-{label}",
                disabled=not exists,
                on_click=open_image,
                args=(identifiers.iat[other] if exists else "",),
            )
