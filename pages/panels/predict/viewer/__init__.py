"""The image viewer: zoom, pan, window and level in the browser, on the image's own depth, without a rerun of the page.

What is seen (zoom, window, opacity) lives in the browser and goes nowhere from there, so no drag can change a
prediction. Images travel in messages of their own: Streamlit sends an unchanged message only once, so another heat map
or another rerun of the page costs a few kilobytes.
"""

from pathlib import Path

import numpy as np
import streamlit as st

from pages.panels.predict.viewer.packing import Overlay, Picture, image_message, view_message

__all__ = ["Overlay", "Picture", "clear", "show"]

HERE = Path(__file__).parent
SCRIPTS = ("pixels.js", "drawing.js", "controls.js", "viewer.js")  # one module in four parts
PACKED = "viewer_packed"  # session: messages of images by viewer and image
KEY, HEIGHT = "viewer", 620  # of the page's own viewer: name, pixels

_mount = st.components.v2.component(
    "image_viewer",
    js="\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS),
    css=(HERE / "viewer.css").read_text(encoding="utf-8"),
)


def show(
    picture: Picture,
    *,
    overlay: Overlay | None = None,
    lungs: np.ndarray | None = None,
    beside: Picture | None = None,
    key: str = KEY,
    height: int = HEIGHT,
) -> None:
    """Draw an image, what is laid over it, and a second image next to it.

    Args:
        overlay: a heat map over the image.
        lungs: a mask over the image, bool or number (any height, width), above 0 inside; drawn as an outline.
        beside: an image to compare with; it has a window of its own and follows zoom and position.
        key: the viewer's name on the page. Zoom and window are kept under it while the image stays the same.
        height: of the images on the screen, in CSS pixels; less on narrow screens.
    """
    panes = [picture] if beside is None else [picture, beside]
    kept = st.session_state.setdefault(PACKED, {})
    before = kept.get(key, {})  # each image is packed once while it is shown
    kept[key] = {pane.identity: before.get(pane.identity) or image_message(pane) for pane in panes}
    with st.container(gap=None):
        for position, message in enumerate(kept[key].values()):
            _mount(key=f"{key}-image-{position}", data=message)
        _mount(key=key, data=view_message(key, panes, overlay, lungs, height))


def clear() -> None:
    """Drop the packed images of all viewers, which no page shows any more."""
    st.session_state.pop(PACKED, None)
