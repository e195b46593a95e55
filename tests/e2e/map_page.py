"""A page with nothing but the map of a data set, for ``test_map_drawn.py``."""

import streamlit as st

from pages.panels.audit import map_panel
from pages.shared import gallery, shell

st.set_page_config(page_title="Map", layout="wide")
dataset = shell.pick_dataset()
if dataset is not None:
    map_panel.tab(dataset)
    gallery.show_open_image(dataset)
