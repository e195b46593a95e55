"""Names as pages show them, each within a text, by itself, and on a button."""

import streamlit as st
from plain_names import NAMES

from pages.shared import shell

for number, name in enumerate(NAMES):
    with st.container(key=f"name-{number}"):
        st.markdown("A " + shell.plain(name))
        st.markdown(shell.plain(name))
        st.button(shell.plain(name), key=f"button-{number}")
