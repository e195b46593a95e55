"""Second Look: ``streamlit run app.py`` starts the server. What a visitor sees is ``pages/dashboard.py``."""

import streamlit as st
from starlette.middleware import Middleware

from pages.server import startup
from pages.server.guard import Guard

app = st.App("pages/dashboard.py", lifespan=startup.while_the_browser_loads, middleware=[Middleware(Guard)])
