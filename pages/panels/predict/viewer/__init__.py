"""The image viewer: zoom, pan, window and level in the browser, on the image's own depth, without a rerun of the page.

What is seen (zoom, window, opacity) lives in the browser and goes nowhere from there, so no drag can change a
prediction. Images travel in messages of their own: Streamlit sends an unchanged message only once, so another heat map
or another rerun of the page costs a few kilobytes.

Images, heat maps and lungs go to the browser as bytes: no grey level lost, few bytes, the same bytes every time.
A message is the length of its header (4 bytes, little endian), the header (JSON, UTF-8), then one zlib stream. For an
image that stream holds the differences of each pixel to its left neighbour, folded so that small differences of either
sign are small numbers (0, -1, 1, -2 ... as 0, 1, 2, 3 ...); of 16-bit images the low bytes of all pixels come first,
then the high ones, which are nearly all 0. A noisy 12-bit image of 2,048 x 2,048 pixels takes 3.6 MB in place of 8.4.
"""

import hashlib
import json
import math
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import streamlit as st

from covid_core.formatting import count
from covid_core.images.regions import Box

HERE = Path(__file__).parent
SCRIPTS = ("pixels.js", "drawing.js", "controls.js", "viewer.js")  # one module in four parts
PACKED = "viewer_packed"  # session: messages of images by viewer and image
KEY, HEIGHT = "viewer", 620  # of the page's own viewer: name, pixels
LONGEST_SIDE = 2048  # pixels that reach the screen: no monitor of an office shows more of an image at once
HEAT_SIDE = 128  # pixels; a map's own cells are far coarser (7 x 7 to 32 x 32)
LUNGS_SIDE = 512  # pixels; its outline is smoothed in the browser
OPACITY = 0.6  # of the heat map at first
DEPTHS = {np.dtype(np.uint8): 8, np.dtype(np.uint16): 16}
HEADER = struct.Struct("<I")

_mount = st.components.v2.component(
    "image_viewer",
    js="\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS),
    css=(HERE / "viewer.css").read_text(encoding="utf-8"),
)


@dataclass(frozen=True, eq=False)
class Picture:
    """One image for the viewer.

    ``pixels``: uint8 or uint16 (height, width), black is 0. ``title`` and ``alt`` are shown and read out letter by
    letter. ``window`` is (centre, width above 0) in grey levels, None: all levels of the type. ``spacing`` is the size
    of a pixel in millimetres, (row, column), for a scale bar; None: none is drawn. ``box`` is drawn as
    a frame, unless it is the whole image.
    """

    pixels: np.ndarray
    title: str
    alt: str
    window: tuple[float, float] | None = None
    spacing: tuple[float, float] | None = None
    box: Box = Box()

    @cached_property
    def identity(self) -> str:
        """The image's content as 32 hexadecimal digits: equal for equal pixels only."""
        digest = hashlib.sha256(f"{self.pixels.dtype} {self.pixels.shape} ".encode())
        digest.update(np.ascontiguousarray(self.pixels))
        return digest.hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class Overlay:
    """A heat map over the image, of any size: float in [0, 1], where ``signed`` in [-1, 1] (what lowers and raises a
    score). ``alt`` says what is seen."""

    heat: np.ndarray
    title: str
    alt: str
    signed: bool = False


def image_message(picture: Picture) -> bytes:
    """An image's pixels, shrunk where it is larger than LONGEST_SIDE, with their depth."""
    sent = shrunk(picture.pixels, LONGEST_SIDE)
    height, width = sent.shape
    header = {"kind": "image", "id": picture.identity, "width": width, "height": height, "bits": DEPTHS[sent.dtype]}
    return _message(header, _folded(sent))


def view_message(
    key: str,
    panes: list[Picture],
    overlay: Overlay | None,
    lungs: np.ndarray | None,
    height: int,
    *,
    rereads: bool = False,
) -> bytes:
    """All that the viewer needs beside the images' pixels: words, windows, the heat map and the lungs.

    Args:
        key: which viewer of the page it is.
        panes: the image, and the one beside it where there is one.
        lungs: bool or number (any height, width), above 0 inside the lungs.
        height: of the images on the screen, in CSS pixels.
        rereads: whether an image that is turned can be read again so.
    """
    header: dict = {"kind": "view", "key": key, "height": height, "opacity": OPACITY, "rereads": rereads}
    box = panes[0].box
    header["box"] = None if box.is_whole else [box.left, box.top, box.right, box.bottom]
    header["panes"] = [_pane(picture) for picture in panes]
    values = b""
    if overlay is not None:
        heat = _eight_bits(overlay)
        header["heat"] = {
            "width": heat.shape[1],
            "height": heat.shape[0],
            "signed": overlay.signed,
            "title": overlay.title,
            "alt": overlay.alt,
        }
        values += heat.tobytes()
    if lungs is not None:
        mask = np.round(shrunk(np.where(lungs > 0, 255, 0).astype(np.uint8), LUNGS_SIDE))
        header["lungs"] = {"width": mask.shape[1], "height": mask.shape[0]}
        values += mask.tobytes()
    return _message(header, values)


def shrunk(pixels: np.ndarray, longest: int) -> np.ndarray:
    """An image whose longer side has ``longest`` pixels at most, each the mean of the area it covers, rounded.

    Its type is kept, and its proportions to half a pixel. A smaller image is returned as it is.
    """
    largest = max(pixels.shape)
    if largest <= longest:
        return pixels
    return np.rint(_averaged(pixels, longest / largest)).astype(pixels.dtype)


def _averaged(values: np.ndarray, scale: float) -> np.ndarray:
    """float32, with its sides shortened to this share."""
    height, width = (max(1, round(side * scale)) for side in values.shape)
    return _means(_means(values, height).T, width).T


def _means(values: np.ndarray, rows: int) -> np.ndarray:
    """float32 (rows, width): each row the mean of those it covers, of which the outer two count by their share."""
    before = len(values)
    edges = np.arange(rows + 1) * (before / rows)
    total = np.zeros((rows, values.shape[1]), np.float32)
    first = np.floor(edges[:-1]).astype(int)
    for step in range(math.ceil(before / rows) + 1):
        row = first + step
        weight = np.clip(np.minimum(row + 1, edges[1:]) - np.maximum(row, edges[:-1]), 0, None)
        weight = (weight * (rows / before)).astype(np.float32)
        total += weight[:, None] * values[np.minimum(row, before - 1)]
    return total


def _folded(pixels: np.ndarray) -> bytes:
    """Differences to the left neighbour, modulo the type, folded, byte plane after byte plane."""
    pixels = np.ascontiguousarray(pixels)
    steps = np.diff(pixels, axis=1, prepend=pixels.dtype.type(0)).view(pixels.dtype.name[1:])  # as signed numbers
    folded = ((steps << 1) ^ (steps >> (8 * steps.itemsize - 1))).astype(pixels.dtype.newbyteorder("<"))
    return np.ascontiguousarray(folded.view(np.uint8).reshape(-1, steps.itemsize).T).tobytes()


def _eight_bits(overlay: Overlay) -> np.ndarray:
    """The map as uint8: 0 to 255 for 0 to 1; where it is signed, 1 to 255 for -1 to 1 and 128 for 0."""
    heat = overlay.heat.astype(np.float32)
    largest = max(heat.shape)
    if largest > HEAT_SIDE:
        heat = _averaged(heat, HEAT_SIDE / largest)
    values = 128 + 127 * heat if overlay.signed else 255 * heat
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def _pane(picture: Picture) -> dict:
    """What the viewer must know of one image."""
    height, width = picture.pixels.shape
    most = np.iinfo(picture.pixels.dtype).max
    return {
        "image": picture.identity,
        "title": picture.title,
        "alt": picture.alt,
        "window": list(picture.window or (most / 2, float(most))),
        "spacing": list(picture.spacing) if picture.spacing else None,
        "size": [height, width],
        "note": _note(height, width),
    }


def _note(height: int, width: int) -> str:
    """That the image was shrunk, where it was."""
    if max(height, width) <= LONGEST_SIDE:
        return ""
    return (
        f"Shrunk for the screen from {count(width)} × {count(height)} pixels to {count(LONGEST_SIDE)} on the longer "
        "side; all grey levels are kept."
    )


def _message(header: dict, values: bytes) -> bytes:
    """Header and values in one. Runs and a Huffman code only: half the time of a full search, and no larger here."""
    words = json.dumps(header).encode()
    packer = zlib.compressobj(level=1, strategy=zlib.Z_RLE)
    return HEADER.pack(len(words)) + words + packer.compress(values) + packer.flush()


def show(
    picture: Picture,
    *,
    overlay: Overlay | None = None,
    lungs: np.ndarray | None = None,
    beside: Picture | None = None,
    key: str = KEY,
    height: int = HEIGHT,
    rereads: bool = False,
) -> tuple[int, bool] | None:
    """Draw an image, what is laid over it, and a second image next to it.

    Args:
        overlay: a heat map over the image.
        lungs: a mask over the image, bool or number (any height, width), above 0 inside; drawn as an outline.
        beside: an image to compare with; it has a window of its own and follows zoom and position.
        key: the viewer's name on the page. Zoom and window are kept under it while the image stays the same.
        height: of the images on the screen, in CSS pixels; less on narrow and low screens.
        rereads: whether an image that is turned in the viewer can be read again so.

    Returns quarters clockwise and whether it is mirrored, once, where the image is to be read again as it is turned.
    """
    panes = [picture] if beside is None else [picture, beside]
    packed = st.session_state.setdefault(PACKED, {})
    before = packed.get(key, {})  # each image is packed once while it is shown
    packed[key] = {pane.identity: before.get(pane.identity) or image_message(pane) for pane in panes}
    with st.container(gap=None):
        for position, message in enumerate(packed[key].values()):
            _mount(key=f"{key}-image-{position}", data=message)
        message = view_message(key, panes, overlay, lungs, height, rereads=rereads)
        turned = _mount(key=key, data=message, on_turned_change=lambda: None).turned
    return (int(turned["quarters"]) % 4, bool(turned["mirrored"])) if rereads and turned else None


def clear() -> None:
    """Drop the packed images of all viewers, which no page shows any more."""
    st.session_state.pop(PACKED, None)
