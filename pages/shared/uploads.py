"""Images to assess, uploads or images of a data set: in this browser session's memory only, never written.

Of many images no pixels are kept: each is decoded, assessed and let go, and decoded again when somebody opens it.
What runs make of them is in ``image_results``.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from covid_core.data.dataset import Dataset
from covid_core.images import sandbox
from covid_core.images.codec import PICTURES, GreyImage, jpeg_bytes, read_image, thumbnail
from covid_core.images.image import Turn, turned
from covid_core.runs.store import Run

THUMBNAIL_SIDE = 208  # pixels; twice its place on screen, for sharp displays
MEMORY = "predict_kept"
BY_FILES: dict[str | type, Callable] = {  # what tells them apart in a cache
    Run: lambda run: str(run.path),
    Dataset: lambda dataset: dataset.version,
}


@dataclass(frozen=True)
class ImageSource:
    """One image that can be read. ``read`` decodes it, or raises ImageError; the same key means the same pixels.

    ``label`` and ``dataset`` are of an image that a data set holds. ``file`` is the key without window and turn,
    ``content`` gives the bytes of a file that was handed in.
    """

    key: str
    name: str
    read: Callable[[], GreyImage] = field(repr=False)
    label: str = ""
    dataset: Dataset | None = field(default=None, repr=False)
    file: str = ""
    content: Callable[[], bytes] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class FetchedFile:
    """A file that came from elsewhere, as if it had been uploaded."""

    file_id: str
    name: str
    content: bytes = field(repr=False)

    def getvalue(self) -> bytes:
        return self.content

    def getbuffer(self) -> memoryview:
        return memoryview(self.content)


def uploaded(files: Sequence[UploadedFile | FetchedFile]) -> list[ImageSource]:
    """The uploads; the same file twice is one image."""
    keys, sources = memory("keys"), dict[str, ImageSource]()
    for file in files:
        if file.file_id not in keys:
            keys[file.file_id] = hashlib.sha256(file.getbuffer()).hexdigest()
        digest = keys[file.file_id]
        window = memory("windows").get(digest, 0)
        source = ImageSource(
            f"{digest}-{window}", file.name, partial(_read_upload, file, window), file=digest, content=file.getvalue
        )
        sources.setdefault(digest, _as_turned(source))
    retain("keys", {file.file_id for file in files}.__contains__)
    return list(sources.values())


def _read_upload(file: UploadedFile | FetchedFile, window: int) -> GreyImage:
    """A stranger's file, decoded in a process of its own. Raises ImageError."""
    return sandbox.read_image(file.getvalue(), window)


def set_window(source: ImageSource, window: int) -> None:
    """Read an upload through another of the windows that its file holds; 0 is the one that the file asks for."""
    memory("windows")[source.file] = window


def turn(source: ImageSource, by: Turn) -> None:
    """Read an image turned, beside what it is turned by already."""
    turns = memory("turns")
    turns[source.file] = turns.get(source.file, Turn()).then(by)


def forget_turn(source: ImageSource) -> None:
    """Read an image as its file holds it."""
    memory("turns").pop(source.file, None)


def turn_of(source: ImageSource) -> Turn:
    """How an image is turned before it is read."""
    return memory("turns").get(source.file, Turn())


def _as_turned(source: ImageSource) -> ImageSource:
    by = turn_of(source)
    if by == Turn():
        return source
    return replace(source, key=f"{source.key} {by.in_words}", read=lambda: turned(source.read(), by))


def is_read_otherwise(source: ImageSource) -> bool:
    """Whether another window than the first was chosen for an upload."""
    return memory("windows").get(source.file, 0) != 0


def from_dataset(dataset: Dataset, image_id: str) -> ImageSource:
    """An image of the data set that a run was trained with, to try without an upload. Raises DataError for no such."""
    row = dataset.row_of(image_id)
    read = partial(read_image, dataset.path_of(row), kinds=PICTURES)
    label = dataset.images["label"].iat[row]
    key = f"{dataset.version} {image_id}"
    return _as_turned(ImageSource(key, image_id, read, label, dataset, key))


def opened(source: ImageSource, place: str = "open") -> GreyImage:
    """The image's pixels; the last one that was opened in that place is kept. Raises ImageError."""
    images = memory(place)
    if source.key not in images:
        image = source.read()
        images.clear()
        images[source.key] = image
    return images[source.key]


def beside(source: ImageSource) -> GreyImage:
    """The pixels of a second image, kept apart from those of the first. Raises ImageError."""
    return opened(source, "beside")


@st.cache_data(max_entries=32, show_spinner=False, hash_funcs=BY_FILES)
def example_ids(run: Run, per_class: int) -> list[str]:
    """Test images of a run, the same few of every class: the model has not seen them in training."""
    split = run.split()
    test = split[split["part"] == "test"]
    return [str(name) for name in test.groupby("label", sort=True).head(per_class)["image_id"]]


@st.cache_data(max_entries=256, show_spinner=False, hash_funcs=BY_FILES)
def part_of(run: Run, image_id: str) -> str:
    """The part of the run's split that an image is in; nothing for an image that the split left out."""
    split = run.split()
    parts = split.loc[split["image_id"] == image_id, "part"]
    return "" if parts.empty else str(parts.iat[0])


@st.cache_data(max_entries=32, show_spinner=False, hash_funcs=BY_FILES)
def thumbnails(dataset: Dataset, image_ids: tuple[str, ...]) -> dict[str, tuple[bytes, str]]:
    """Picture and label of a few images of a data set, by image id."""
    pictures = {}
    for image_id in image_ids:
        row = dataset.row_of(image_id)
        pixels = read_image(dataset.path_of(row), kinds=PICTURES).pixels
        pictures[image_id] = jpeg_bytes(thumbnail(pixels, THUMBNAIL_SIDE)), dataset.images["label"].iat[row]
    return pictures


def memory(kind: str) -> dict[Any, Any]:
    """What this session holds of one kind, to be changed in place: ``windows`` that uploads are read through by their
    hash, where it is not the first, ``turns`` likewise, ``open`` images, the one ``beside`` and ``miniatures`` by key,
    and what ``image_results`` adds."""
    return st.session_state.setdefault(MEMORY, {}).setdefault(kind, {})


def retain(kind: str, wanted: Callable[[Any], bool]) -> None:
    """Let go of what is kept of one kind under other keys than those that are wanted."""
    for key in [key for key in memory(kind) if not wanted(key)]:
        del memory(kind)[key]
