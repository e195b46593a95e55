"""Images that a user handed in for a prediction: in this browser session's memory only, never written.

Of many images no pixels are kept: each is decoded, looked at and let go, and decoded again when somebody opens it.
What runs say of them is in ``image_results``.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from covid_core.data.dataset import Dataset
from covid_core.images import sandbox
from covid_core.images.codec import PICTURES, GreyImage, data_url, jpeg_bytes, read_image, thumbnail
from covid_core.images.image import FULL_RANGE
from covid_core.runs.store import Run

THUMBNAIL_SIDE = 208  # pixels; twice its place on screen, for sharp displays
MINIATURE_SIDE = 72  # pixels, in a row of the work-list
KEPT = "predict_kept"
WINDOWS = "predict_windows"  # session: the window that an upload is read through, by its hash


@dataclass(frozen=True)
class Given:
    """One image that was handed in. ``read`` decodes it, or raises ImageError; the same key means the same pixels.

    ``label`` and ``dataset`` are of an image that a data set holds.
    """

    key: str
    name: str
    read: Callable[[], GreyImage] = field(repr=False)
    label: str = ""
    dataset: Dataset | None = field(default=None, repr=False)


def uploaded(files: Iterable[UploadedFile]) -> list[Given]:
    """The uploads; the same file twice is one image."""
    keys = kept("keys")
    given: dict[str, Given] = {}
    now = {}
    for file in files:
        digest = now[file.file_id] = keys.get(file.file_id) or hashlib.sha256(file.getbuffer()).hexdigest()
        window = st.session_state.get(WINDOWS, {}).get(digest, 0)
        read = partial(_read_upload, file, window)
        given.setdefault(digest, Given(f"{digest}-{window}", file.name, read))
    keep("keys", now)
    return list(given.values())


def _read_upload(file: UploadedFile, window: int) -> GreyImage:
    """A stranger's file, decoded in a process of its own. Raises ImageError."""
    return sandbox.read_image(file.getvalue(), window)


def choose_window(given: Given, widget: str) -> None:
    """Read an upload through another of the windows that its file holds: the one chosen in that widget."""
    st.session_state.setdefault(WINDOWS, {})[file_of(given)] = st.session_state[widget]


def first_window(given: Given) -> None:
    """Read an upload as its file asks for."""
    st.session_state.get(WINDOWS, {}).pop(file_of(given), None)


def full_range(given: Given) -> None:
    """Read an upload over all the greys that it has, whatever window its file asks for."""
    st.session_state.setdefault(WINDOWS, {})[file_of(given)] = FULL_RANGE


def is_read_otherwise(given: Given) -> bool:
    """Whether another window than the first was chosen for an upload."""
    return st.session_state.get(WINDOWS, {}).get(file_of(given), 0) != 0


def file_of(given: Given) -> str:
    """The hash of an upload's bytes, whatever window it is read through."""
    return given.key.rpartition("-")[0]


def from_dataset(dataset: Dataset, image_id: str) -> Given:
    """An image of the data set that a run was trained with, to try without an upload. Raises DataError for no such."""
    row = dataset.row_of(image_id)
    path = dataset.path_of(row)
    label = dataset.images["label"].iat[row]
    return Given(f"{dataset.version} {image_id}", image_id, lambda: read_image(path, kinds=PICTURES), label, dataset)


def opened(given: Given) -> GreyImage:
    """The image's pixels; the last one that was opened is kept. Raises ImageError."""
    images = kept("open")
    if given.key not in images:
        keep("open", {given.key: given.read()})
    return kept("open")[given.key]


@st.cache_data(max_entries=32, show_spinner=False)
def example_ids(path: str, per_class: int, _run: Run) -> list[str]:
    """Test images of a run, the same few of every class: the model has not seen them in training."""
    split = _run.split()
    test = split[split["part"] == "test"]
    return [str(name) for name in test.groupby("label", sort=True).head(per_class)["image_id"]]


def part_of(run: Run, image_id: str) -> str:
    """The part of the run's split that an image is in; nothing for an image that the split left out."""
    return _part_of(str(run.path), image_id, run)


@st.cache_data(max_entries=256, show_spinner=False)
def _part_of(path: str, image_id: str, _run: Run) -> str:
    split = _run.split()
    found = split.loc[split["image_id"] == image_id, "part"]
    return "" if found.empty else str(found.iat[0])


def thumbnails(dataset: Dataset, image_ids: tuple[str, ...]) -> dict[str, tuple[bytes, str]]:
    """Picture and label of a few images of a data set, by image id."""
    return _thumbnails(dataset.version, image_ids, dataset)


@st.cache_data(max_entries=32, show_spinner=False)
def _thumbnails(version: str, image_ids: tuple[str, ...], _dataset: Dataset) -> dict[str, tuple[bytes, str]]:
    found = {}
    for image_id in image_ids:
        row = _dataset.row_of(image_id)
        pixels = read_image(_dataset.path_of(row), kinds=PICTURES).pixels
        found[image_id] = jpeg_bytes(thumbnail(pixels, THUMBNAIL_SIDE)), _dataset.images["label"].iat[row]
    return found


def miniature(given: Given) -> str | None:
    """The image as a small picture for a table, if it could be read: a data URL."""
    return kept("miniatures").get(given.key)


def keep_miniature(given: Given, image: GreyImage) -> None:
    """Remember the small picture of an image whose pixels are let go."""
    small = jpeg_bytes(thumbnail(image.pixels, MINIATURE_SIDE), quality=70)
    kept("miniatures").setdefault(given.key, data_url(small))


def kept(kind: str) -> dict:
    """What this session keeps of one kind, to be changed in place."""
    return st.session_state.setdefault(KEPT, {}).setdefault(kind, {})


def keep(kind: str, content: dict) -> None:
    """Keep that and nothing else of one kind."""
    kept(kind)
    st.session_state[KEPT][kind] = content
