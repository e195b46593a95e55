"""A page with nothing but the film viewer, for ``test_viewer_drawn.py``; ``?film=`` and ``?size=`` choose the film."""

import streamlit as st
import viewer_films

from pages.panels.predict import viewer

st.set_page_config(page_title="Viewer", layout="wide")
st.session_state["runs"] = st.session_state.get("runs", 0) + 1
film = st.query_params.get("film", "phantom")
size = int(st.query_params.get("size", 512))
if film in ("ramp", "wide", "large"):
    viewer.show(getattr(viewer_films, film)(), key="film")
else:
    heat = viewer_films.OVERLAYS[st.radio("Heat map", list(viewer_films.OVERLAYS), horizontal=True)]
    index = 7 if st.toggle("Another film") else 1
    picture, lungs = viewer_films.twelve_bits(index, size, "COVID-1.dcm")
    beside = viewer_films.twelve_bits(2, size // 2, "Most similar: COVID-2")[0] if film == "beside" else None
    viewer.show(picture, overlay=heat, lungs=lungs, beside=beside, key="film")
if film == "column":  # as narrow as a third of a page
    with st.columns(3)[0]:
        viewer.show(viewer_films.large(), key="narrow", height=420)
st.button("Run again")
st.text(f"Runs: {st.session_state['runs']}")
