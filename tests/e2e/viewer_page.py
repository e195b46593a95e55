"""A page with nothing but the image viewer, for ``test_viewer_drawn.py``; ``?image=`` and ``?size=`` choose the
image."""

import streamlit as st
import viewer_images

from pages.panels.predict import viewer

st.set_page_config(page_title="Viewer", layout="wide")
st.session_state["runs"] = st.session_state.get("runs", 0) + 1
image = st.query_params.get("image", "phantom")
size = int(st.query_params.get("size", 512))
if image in ("ramp", "wide", "large"):
    viewer.show(getattr(viewer_images, image)(), key="image")
else:
    heat = viewer_images.OVERLAYS[st.radio("Heat map", list(viewer_images.OVERLAYS), horizontal=True)]
    index = 7 if st.toggle("Another image") else 1
    picture, lungs = viewer_images.twelve_bits(index, size, "COVID-1.dcm")
    beside = viewer_images.twelve_bits(2, size // 2, "Most similar: COVID-2")[0] if image == "beside" else None
    viewer.show(picture, overlay=heat, lungs=lungs, beside=beside, key="image")
if image == "column":  # as narrow as a third of a page
    with st.columns(3)[0]:
        viewer.show(viewer_images.large(), key="narrow", height=420)
st.button("Run again")
st.text(f"Runs: {st.session_state['runs']}")
