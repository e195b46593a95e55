"""Second Look: ``streamlit run app.py`` starts the server. What a visitor sees is ``dashboard.py``."""

import streamlit as st

from app_pages.components import start

app = st.App("dashboard.py", lifespan=start.while_the_browser_loads)
