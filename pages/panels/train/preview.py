"""What the network is shown of an image of each class, as it is and augmented, by the code that training uses."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from covid_core.data import augmentation, pixels
from covid_core.data.dataset import Dataset
from covid_core.images.codec import data_url, jpeg_bytes
from covid_core.images.intensity import adapted
from covid_core.images.regions import Box
from covid_core.inference import lungs
from covid_core.inference.region.lung_region import LungRegion, exchangeable
from covid_core.runs import segmenters
from covid_core.specs import AugmentationSpec, InputSpec
from pages.shared import shell

SIZE = 192  # pixels; what a screen shows of one of four pictures in a row
IMAGES = 3
VIEWS = 3
DRAW = "preview_draw"  # session: how often new views were asked for


@dataclass(frozen=True, eq=False)
class Previewed:
    """The first image of each of the first classes: ``squares``, uint8 (n, side, side), as augmentation has them;
    whether the lungs of each are ``outlined``, where that matters, and what exchanges frames between them."""

    labels: list[str]
    squares: np.ndarray
    outlined: list[bool]
    exchange: augmentation.FrameExchange


def show(dataset: Dataset, classes: tuple[str, ...], spec: AugmentationSpec, shown: InputSpec, seed: int) -> None:
    """An image of each class, and beside it augmented copies as in training; nothing where whole images stay as they
    are."""
    if spec.is_off and not shown.in_words:
        return
    st.caption(f"What the network is shown: {shown.in_words or 'the whole image'}.")
    draw, views = st.session_state.setdefault(DRAW, 0), 0 if spec.is_off else VIEWS
    images = _images(dataset, f"{dataset.version} {_segmenter(dataset, shown)}", classes, shown.model_dump_json())
    share = shown.share if shown.region == "centre" else 1
    rows = np.arange(len(images.squares))
    with st.grid(1 + VIEWS, min_column_width=120, gap="xsmall"):
        for row, label in enumerate(images.labels):
            note = "" if images.outlined[row] else ", no lungs outlined: middle"
            name = shell.plain(label)
            _picture(images.squares[row], shown, f"{name}, original{note}", f"Image of class {label}, unchanged")
            for number in range(views):
                view, one = draw * VIEWS + number, rows[[row]]
                changed = augmentation.view(images.squares[one], spec, seed, view, one, images.exchange, share)
                _picture(changed[0], shown, "augmented", f"Image of class {label}, augmented")
    if views:
        st.button("Draw again", icon=":material/casino:", on_click=_draw_again, key="draw-again")


def _picture(square: np.ndarray, shown: InputSpec, caption: str, alt: str) -> None:
    """As a data URL: a moved slider runs the page again before the browser has asked for a picture of the last run."""
    if shown.region == "centre":
        square = square[Box.centre(shown.share).slices(*square.shape)]
    picture = adapted(np.ascontiguousarray(square), shown.intensity)
    st.image(data_url(jpeg_bytes(picture)), caption, width="stretch", alt=f"{alt}, as the network is shown it")


def _draw_again() -> None:
    st.session_state[DRAW] += 1


def _segmenter(dataset: Dataset, shown: InputSpec) -> str:
    return segmenters.serving(shell.workspace(), dataset.id).id if shown.region == "lungs" else ""


@st.cache_data(max_entries=8, show_spinner=False)
def _images(_dataset: Dataset, version: str, classes: tuple[str, ...], shown: str) -> Previewed:
    wanted = InputSpec.model_validate_json(shown)
    labels = list(classes[:IMAGES])
    rows = np.array([int(np.flatnonzero(_dataset.images["label"] == label)[0]) for label in labels])
    outlines = lungs.of_images_or_why(shell.workspace(), _dataset, rows.tolist())
    places = np.arange(len(rows))
    if wanted.region != "lungs":
        side = round(SIZE / wanted.share) if wanted.region == "centre" else SIZE
        squares, outlined = pixels.decode_rows(_dataset, rows, side), [True] * len(rows)
        places, masks = places[outlines.available], outlines.masks[outlines.available]
    else:
        region = LungRegion.open(segmenters.serving(shell.workspace(), _dataset.id).path, SIZE)
        regions = region.of(pixels.decode_rows(_dataset, rows, 2 * SIZE))
        squares, outlined = regions.squares, [refusal is None for refusal in regions.refusals]
        places, masks = exchangeable(regions.boxes, outlines, places)
    return Previewed(labels, squares, outlined, augmentation.FrameExchange(squares, places, masks))
