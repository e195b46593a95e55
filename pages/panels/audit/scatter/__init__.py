"""A map of images: points to look at, to point at and to choose from, drawn in the browser.

Zoom, position and tool live in the browser. What comes back is a choice of images (``chosen``), an image to open
(``opened``), or the sheets of small pictures that are lacking (``sheets``). Pictures travel in messages of their own,
in the order in which images lie on the map, so that those of a place come together; Streamlit sends a message that has
not changed only once.
"""

import hashlib
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from covid_core.errors import InvalidChoice
from covid_core.images.codec import jpeg_bytes, to_squares

HERE = Path(__file__).parent
TILE, COLUMNS, PER_SHEET = 48, 32, 1024  # pixels of a small picture; pictures in a row, and in a sheet
QUALITY = 60  # of the JPEG: a sheet of real images has about 0.6 MB
AT_ONCE = 4  # sheets that are sent unasked: 4,096 images
STRIP = 24  # strips of the map, within which images are in order, when sheets are filled
HEADER = struct.Struct("<I")

_mount = st.components.v2.component(
    "image_map",
    js=(HERE / "scatter.js").read_text(encoding="utf-8"),
    css=(HERE / "scatter.css").read_text(encoding="utf-8"),
)


@dataclass(frozen=True)
class Group:
    """Points of one colour: its name in the legend and ``#RRGGBB``. Those of a later group are drawn on top."""

    name: str
    colour: str


@dataclass(frozen=True, eq=False)
class Points:
    """What is drawn: ``places`` (n, 2), y upwards; ``codes`` (n,), each point's group; names and further words for the
    card that shows an image, one per image. ``chosen`` are rows that are marked; ``title`` and ``alt`` are read out."""

    places: np.ndarray
    codes: np.ndarray
    groups: Sequence[Group]
    names: Sequence[str]
    words: Sequence[str]
    title: str
    alt: str
    chosen: Sequence[int] = ()

    def __post_init__(self) -> None:
        lengths = {len(self.places), len(self.codes), len(self.names), len(self.words)}
        if len(lengths) != 1 or not np.isfinite(self.places).all():
            raise InvalidChoice(f"`points` need one finite place, code, name and word per image, received: {lengths}")
        if not self.alt.strip():
            raise InvalidChoice("`alt` must say in words what is seen, for those who do not see it, received: nothing")


def show(
    points: Points,
    pixels: np.ndarray,
    key: str,
    on_chosen: Callable[[list[int]], None],
    on_opened: Callable[[int], None],
    height: int = 520,
) -> None:
    """Draw the map.

    Args:
        points: what is drawn.
        pixels: all images, uint8 (n, size, size), for the small pictures.
        key: the map's name on the page.
        on_chosen: told the rows that were chosen, none where a choice was taken back.
        on_opened: told the row of an image that is to be opened.
        height: CSS pixels; less on narrow screens.
    """
    order = _order(points.places)
    lacking = -(-len(order) // PER_SHEET)
    asked = set(range(lacking)) if lacking <= AT_ONCE else set(st.session_state.get(f"{key}-sheets", ()))
    with st.container(gap=None):
        _mount(
            key=key,
            data=message(points, order, key, height),
            on_chosen_change=lambda: on_chosen(_rows(key, "chosen", len(order))),
            on_opened_change=lambda: _tell_opened(key, len(order), on_opened),
            on_sheets_change=lambda: _ask(key, lacking),
        )
        for number in sorted(one for one in asked if one < lacking):
            _mount(key=f"{key}-sheet-{number}", data=sheet(pixels, order, number, key))


def _rows(key: str, what: str, images: int) -> list[int]:
    """Rows that the browser sent; what is no row of the data set is passed over, since anybody can send anything."""
    sent = st.session_state.get(key, {}).get(what)
    sent = sent if isinstance(sent, list) else [sent]
    return sorted({row for row in sent if type(row) is int and 0 <= row < images})


def _tell_opened(key: str, images: int, on_opened: Callable[[int], None]) -> None:
    for row in _rows(key, "opened", images)[:1]:
        on_opened(row)


def _ask(key: str, sheets: int) -> None:
    before = st.session_state.get(f"{key}-sheets", ())
    st.session_state[f"{key}-sheets"] = sorted({*before, *_rows(key, "sheets", sheets)})


def _order(places: np.ndarray) -> np.ndarray:
    """Images strip by strip of the map, so that those which lie together are on one sheet."""
    x = places[:, 0]
    strip = np.searchsorted(np.quantile(x, np.linspace(0, 1, STRIP + 1)[1:-1]), x)
    return np.lexsort((places[:, 1], strip))


def message(points: Points, order: np.ndarray, key: str, height: int) -> bytes:
    """A header with all words, then places (float32), group of each point (uint16), place in the sheets (uint32)."""
    at = np.empty(len(order), np.uint32)
    at[order] = np.arange(len(order))
    places = np.ascontiguousarray(points.places, np.float32)
    header = {
        "kind": "points",
        "key": key,
        "id": hashlib.sha256(places.tobytes()).hexdigest()[:16],
        "images": len(order),
        "groups": [vars(group) for group in points.groups],
        "names": list(points.names),
        "words": list(points.words),
        "title": points.title,
        "alt": points.alt,
        "chosen": list(map(int, points.chosen)),
        "height": height,
        "sheet": {"tile": TILE, "columns": COLUMNS, "each": PER_SHEET},
    }
    return _packed(header, places.tobytes(), np.asarray(points.codes, "<u2").tobytes(), at.astype("<u4").tobytes())


def sheet(pixels: np.ndarray, order: np.ndarray, number: int, key: str) -> bytes:
    """One sheet of small pictures as a JPEG file, behind a header."""
    rows = order[number * PER_SHEET : (number + 1) * PER_SHEET]
    content = _sheet(np.asarray(pixels[np.sort(rows)])[np.argsort(np.argsort(rows))])
    return _packed({"kind": "sheet", "key": key, "number": number, "of": _of(order)}, content)


def _of(order: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(order).tobytes()).hexdigest()[:16]


@st.cache_data(max_entries=32, show_spinner=False)
def _sheet(images: np.ndarray) -> bytes:
    rows = -(-len(images) // COLUMNS)
    tiles = np.zeros((rows * COLUMNS, TILE, TILE), np.uint8)
    tiles[: len(images)] = to_squares(list(images), TILE)
    whole = tiles.reshape(rows, COLUMNS, TILE, TILE).swapaxes(1, 2).reshape(rows * TILE, COLUMNS * TILE)
    return jpeg_bytes(whole, QUALITY)


def _packed(header: dict, *parts: bytes) -> bytes:
    """The header padded to a multiple of 4 bytes, so that the numbers behind it lie where the browser can read them."""
    words = json.dumps(header).encode()
    words += b" " * (-len(words) % 4)
    return HEADER.pack(len(words)) + words + b"".join(parts)
