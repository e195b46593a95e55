"""A page with nothing but the film viewer, for ``test_viewer.py``: ``?film=`` and ``?size=`` choose what it shows."""

import streamlit as st
import viewer_films

from app_pages.components import viewer

st.set_page_config(page_title="Viewer", layout="wide")
st.session_state["runs"] = st.session_state.get("runs", 0) + 1
film = st.query_params.get("film", "phantom")
size = int(st.query_params.get("size", 512))
if film in ("ramp", "wide", "large"):
    viewer.show(getattr(viewer_films, film)(), key="film")
else:
    heat = viewer_films.OVERLAYS[st.selectbox("Heat map", list(viewer_films.OVERLAYS))]
    index = 7 if st.toggle("Another film") else 1
    picture, lungs = viewer_films.twelve_bits(index, size, "COVID-1.dcm")
    beside = viewer_films.twelve_bits(2, size // 2, "Most similar: COVID-2")[0] if film == "beside" else None
    viewer.show(picture, overlay=heat, lungs=lungs, beside=beside, key="film")
st.button("Run again")
st.text(f"Runs: {st.session_state['runs']}")
