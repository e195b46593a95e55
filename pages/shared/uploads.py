"""Images to assess, uploads or images of a data set: in this browser session's memory only, never written.

Of many images no pixels are kept: each is decoded, assessed and let go, and decoded again when somebody opens it.
What runs make of them is in ``image_results``.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from covid_core.data.dataset import Dataset
from covid_core.images import sandbox
from covid_core.images.codec import PICTURES, GreyImage, data_url, jpeg_bytes, read_image, thumbnail
from covid_core.runs.store import Run

THUMBNAIL_SIDE = 208  # pixels; twice its place on screen, for sharp displays
MINIATURE_SIDE = 72  # pixels, in a row of the work-list
KEPT = "predict_kept"
WINDOWS = "predict_windows"  # session: the window that an upload is read through, by its hash


@dataclass(frozen=True)
class ImageSource:
    """One image that can be read. ``read`` decodes it, or raises ImageError; the same key means the same pixels.

    ``label`` and ``dataset`` are of an image that a data set holds.
    """

    key: str
    name: str
    read: Callable[[], GreyImage] = field(repr=False)
    label: str = ""
    dataset: Dataset | None = field(default=None, repr=False)


def uploaded(files: Sequence[UploadedFile]) -> list[ImageSource]:
    """The uploads; the same file twice is one image."""
    keys, sources = memory("keys"), dict[str, ImageSource]()
    for file in files:
        if file.file_id not in keys:
            keys[file.file_id] = hashlib.sha256(file.getbuffer()).hexdigest()
        digest = keys[file.file_id]
        window = _windows().get(digest, 0)
        sources.setdefault(digest, ImageSource(f"{digest}-{window}", file.name, partial(_read_upload, file, window)))
    retain("keys", {file.file_id for file in files}.__contains__)
    return list(sources.values())


def _windows() -> dict[str, int]:
    """The windows that uploads are read through, by hash, where it is not the first."""
    return st.session_state.setdefault(WINDOWS, {})


def _read_upload(file: UploadedFile, window: int) -> GreyImage:
    """A stranger's file, decoded in a process of its own. Raises ImageError."""
    return sandbox.read_image(file.getvalue(), window)


def set_window(source: ImageSource, window: int) -> None:
    """Read an upload through another of the windows that its file holds; 0 is the one that the file asks for."""
    _windows()[file_of(source)] = window


def is_read_otherwise(source: ImageSource) -> bool:
    """Whether another window than the first was chosen for an upload."""
    return _windows().get(file_of(source), 0) != 0


def file_of(source: ImageSource) -> str:
    """The hash of an upload's bytes, whatever window it is read through."""
    return source.key.rpartition("-")[0]


def from_dataset(dataset: Dataset, image_id: str) -> ImageSource:
    """An image of the data set that a run was trained with, to try without an upload. Raises DataError for no such."""
    row = dataset.row_of(image_id)
    read = partial(read_image, dataset.path_of(row), kinds=PICTURES)
    label = dataset.images["label"].iat[row]
    return ImageSource(f"{dataset.version} {image_id}", image_id, read, label, dataset)


def opened(source: ImageSource) -> GreyImage:
    """The image's pixels; the last one that was opened is kept. Raises ImageError."""
    images = memory("open")
    if source.key not in images:
        image = source.read()
        images.clear()
        images[source.key] = image
        return image
    return images[source.key]


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


def miniature(source: ImageSource) -> str | None:
    """The image as a small picture for a table, if it could be read: a data URL."""
    return memory("miniatures").get(source.key)


def keep_miniature(source: ImageSource, image: GreyImage) -> None:
    """Keep the small picture of an image whose pixels are let go."""
    small = jpeg_bytes(thumbnail(image.pixels, MINIATURE_SIDE), quality=70)
    memory("miniatures").setdefault(source.key, data_url(small))


def memory(kind: str) -> dict[Any, Any]:
    """What this session keeps of one kind, to be changed in place."""
    return st.session_state.setdefault(KEPT, {}).setdefault(kind, {})


def retain(kind: str, wanted: Callable[[Any], bool]) -> None:
    """Let go of what is kept of one kind under other keys than those that are wanted."""
    for key in [key for key in memory(kind) if not wanted(key)]:
        del memory(kind)[key]
