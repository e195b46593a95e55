"""The image viewer: zoom, pan, window and level in the browser, on the image's own depth, without a rerun of the page.

What is seen (zoom, window, opacity) lives in the browser and goes nowhere from there, so no drag can change a
prediction. Images travel in messages of their own: Streamlit sends an unchanged message only once, so another heat map
or another rerun of the page costs a few kilobytes.
"""

from pathlib import Path

import numpy as np
import streamlit as st

from covid_core.errors import InvalidChoice
from pages.panels.predict.viewer.packing import Overlay, Picture, image_message, view_message

__all__ = ["Overlay", "Picture", "forget_images", "show"]

HERE = Path(__file__).parent
SCRIPTS = ("pixels.js", "drawing.js", "controls.js", "viewer.js")  # one module in four parts
PACKED = "viewer_packed"

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
    key: str,
    height: int = 560,
    opacity: float = 0.6,
) -> None:
    """Draw an image, what is laid over it, and a second image next to it.

    Args:
        overlay: a heat map over the image.
        lungs: a mask over the image, bool or number (any height, width), above 0 inside; drawn as an outline.
        beside: an image to compare with; it has a window of its own and follows zoom and position.
        key: the viewer's name on the page. Zoom and window are kept under it while the image stays the same.
        height: of the images on the screen, in CSS pixels; less on narrow screens.
        opacity: of the heat map at first, in [0, 1].

    Raises:
        InvalidChoice: ``height`` or ``opacity`` is out of range, or ``lungs`` is no plane.
    """
    if not 0 <= opacity <= 1 or height < 120:
        raise InvalidChoice(f"`opacity` must be in [0, 1] and `height` 120 or more, received: {opacity}, {height}")
    if lungs is not None and lungs.ndim != 2:
        raise InvalidChoice(f"`lungs` must be of shape (height, width), received: {lungs.shape}")
    panes = [picture] if beside is None else [picture, beside]
    with st.container(gap=None):
        for position, message in enumerate(_image_messages(key, panes)):
            _mount(key=f"{key}-image-{position}", data=message)
        _mount(key=key, data=view_message(key, panes, overlay, lungs, height, opacity))


def forget_images(key: str) -> None:
    """Let go of what was packed for the viewer of that name, when it is not shown any more."""
    st.session_state.get(PACKED, {}).pop(key, None)


def _image_messages(key: str, panes: list[Picture]) -> list[bytes]:
    """Each image packed once while it is shown; kept in the session and nowhere else, as all uploads."""
    kept = st.session_state.setdefault(PACKED, {})
    before = kept.get(key, {})
    kept[key] = {pane.identity: before.get(pane.identity) or image_message(pane) for pane in panes}
    return list(kept[key].values())
