"""Charts whose marks open something. Of all charts of a place, the mark that was clicked last counts."""

import functools
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from pages.shared import shell


def chart(figure: go.Figure, name: str, place: str, of: Any, alt: str) -> None:
    """``shell.chart`` whose marks can be clicked.

    Args:
        figure: its marks' customdata says what they stand for.
        name: of the chart, as in ``shell.chart``.
        place: which charts belong together.
        of: what the chart is about; ``picked`` gives it back.
        alt: the chart in words.
    """
    made = _made(place).get(name, 0)
    key = f"chart-{name}" + (f"-{made}" if made else "")
    remember = functools.partial(_remember, key, name, place, of)
    shell.chart(figure, name, key=key, alt=alt, on_select=remember, selection_mode="points")


def picked(place: str) -> tuple[Any, Any] | None:
    """What the chart that was clicked last is about, and the customdata of its mark. A second click takes it back."""
    _, *point = st.session_state.get(key_of(place)) or (None,)
    return tuple(point) or None


def key_of(place: str) -> str:
    """Where the session keeps, for a place, the name of the chart that was clicked last and what ``picked`` says."""
    return f"clicked-{place}"


def _remember(key: str, name: str, place: str, of: Any) -> None:
    points = st.session_state[key].selection.points
    last, *_ = st.session_state.get(key_of(place)) or (None,)
    if points:
        if last not in (None, name):
            _made(place)[last] = _made(place).get(last, 0) + 1
        st.session_state[key_of(place)] = (name, of, points[0]["customdata"])
    elif last == name:
        del st.session_state[key_of(place)]


def _made(place: str) -> dict[str, int]:
    """How often each chart of a place was made anew: a browser keeps a chart's chosen mark as long as its key stays."""
    return st.session_state.setdefault(f"made-{place}", {})
