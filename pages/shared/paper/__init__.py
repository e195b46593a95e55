"""Figures as pictures for paper, drawn by the browser of the one who clicks: no browser on the server is needed.

The browser gets a figure (``covid_core.figures.light``) when it is wanted, not before, and Plotly's script from the
installed package.
"""

import base64
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import time_ns
from typing import Any

import plotly
import streamlit as st

from covid_core.figures.light import Figure, for_paper, script_json
from covid_core.reports.course.document import Chart

HERE = Path(__file__).parent

_mount = st.components.v2.component(
    "paper",
    html='<p role="status"></p><button type="button" hidden>Cancel</button>',
    js=(HERE / "drawing.js").read_text(encoding="utf-8"),
    css=(HERE / "paper.css").read_text(encoding="utf-8"),
)


@functools.cache
def _plotly() -> str:
    """Where the browser finds Plotly, and keeps it for all pages: Streamlit serves a component's folder."""
    folder = Path(plotly.__file__).parent / "package_data"
    name = st.components.v1.declare_component("plotly", path=str(folder)).name
    base = st.get_option("server.baseUrlPath").strip("/")
    return f"{base and f'/{base}'}/component/{name}/plotly.min.js?{plotly.__version__}"


def save(figure: Figure, name: str, kind: str, title: str, caption: str) -> None:
    """Have the browser save one figure, under a name without suffix.

    A page ("html") takes this way too: the file of a download button is gone once the page around it is drawn anew.
    """
    if kind == "html":
        page = {"id": str(time_ns()), "page": figure.to_html(include_plotlyjs=True), "name": f"{name}.html"}
        _mount(key=f"paper-{name}", data={**page, "isSaved": True})
        return
    _mount(key=f"paper-{name}", data=_task([_drawable(name, for_paper(figure, title, caption))], [kind], is_saved=True))


def charts_task(charts: Sequence[Chart], kinds: Sequence[str], titled: bool) -> dict[str, Any]:
    """All of these figures as pictures, for ``drawn``; with title and caption in them where ``titled``."""
    values = [for_paper(one.figure, one.title, one.caption) if titled else one.on_paper for one in charts]
    return _task([_drawable(one.key, own) for one, own in zip(charts, values, strict=True)], kinds)


def print_task(page: bytes) -> dict[str, Any]:
    """The print dialog for an HTML page, for ``drawn``: it saves PDF on every system."""
    return {"id": str(time_ns()), "page": page.decode()}


def drawn(task: Mapping[str, Any], key: str, cancel: Callable[[], None]) -> Mapping[tuple[str, str], bytes] | None:
    """The pictures of a task by key and kind; progress, and None, until they are there."""
    result = _mount(key=key, data=task, on_pictures_change=lambda: None, on_cancelled_change=cancel)
    if result.pictures is None:
        return None
    return {(one["key"], one["kind"]): base64.b64decode(one["content"]) for one in result.pictures}


def _task(figures: Sequence[Mapping[str, str]], kinds: Sequence[str], is_saved: bool = False) -> dict[str, Any]:
    return {
        "id": str(time_ns()),
        "figures": list(figures),
        "kinds": list(kinds),
        "isSaved": is_saved,
        "plotly": _plotly(),
    }


def _drawable(name: str, values: Mapping[str, Any]) -> dict[str, str]:
    return {"key": name, "figure": script_json(values)}
