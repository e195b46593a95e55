"""A page for a projector, at ``?present=1``: no sidebar, large letters, one figure per screen, arrow keys.

Black or white are Streamlit's own themes, which the address asks for (``embed_options``).
"""

from pathlib import Path
from urllib.parse import urlencode

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from covid_core.figures import theme

HERE = Path(__file__).parent
PAGES = ("dataset", "audit", "compare", "lessons")
ADDRESS = "present"  # query parameter
HEIGHT = 720  # pixels of a screen, until the browser has said its own
ON_SCREEN = 0.72  # of the screen's height goes to a figure; the rest is for its heading
MOST_ROWS, MOST_COLUMNS = 30, 12  # of a table that is shown whole
GROUNDS = {"black": "dark_theme", "white": "light_theme"}

_mount = st.components.v2.component(
    "presentation",
    js=(HERE / "keys.js").read_text(encoding="utf-8"),
    css=(HERE / "presentation.css").read_text(encoding="utf-8"),
    isolate_styles=False,
)


def is_on() -> bool:
    """Whether the open page is presented."""
    return ADDRESS in st.query_params


def begin() -> None:
    """The large letters and the keys of a presented page."""
    if is_on():
        _mount(key="presentation", on_height_change=lambda: None)


def offer() -> None:
    """The ways to the same view, presented. Drawn after the page, which may have changed its address."""
    with st.sidebar.popover("Present", icon=":material/present_to_all:", help="For a projector, in a new tab"):
        for ground, option in GROUNDS.items():
            view = {**st.query_params.to_dict(), ADDRESS: "1", "embed": "true", "embed_options": option}
            st.link_button(f"On {ground}", f"?{urlencode(view)}")
        st.caption("Arrow keys turn to the next figure. Escape leaves.")


def link(page: str, label: str, icon: str, view: dict[str, str], key: str) -> None:
    """A link to another view of the open page. Presented, it is a button: a link would end the presentation."""
    if is_on():
        st.button(label, key=key, icon=icon, on_click=_open, args=(view,))
    else:
        st.page_link(page, label=label, icon=icon, query_params=view)


def _open(view: dict[str, str]) -> None:
    st.query_params.from_dict({**view, ADDRESS: "1"})  # Streamlit keeps its own: embed, embed_options


def fitted(figure: go.Figure, on_screen: float = ON_SCREEN) -> go.Figure:
    """A figure as it is shown: as it is, or enlarged for the screen where the page is presented."""
    if not is_on():
        return figure
    height = st.session_state.get("presentation", {}).get("height") or HEIGHT
    ink = "#ffffff" if st.context.theme.type == "dark" else "#000000"
    return theme.enlarged(figure, round(height * on_screen), ink)


def is_static(frame: pd.DataFrame) -> bool:
    """Whether a table is presented whole, with cells that wrap: letters of a projector are cut in a scrolling one."""
    return is_on() and len(frame) <= MOST_ROWS and len(frame.columns) <= MOST_COLUMNS


def enlarged(pixels: int) -> int:
    """The width of a tile: twice as wide where the page is presented."""
    return 2 * pixels if is_on() else pixels
