"""What every visitor sees: the pages, in the order in which data travels. ``app.py`` starts the server for it."""

from pathlib import Path

import streamlit as st

from pages.server import startup

startup.wait()  # before anything else is imported

from pages.server import access  # noqa: E402
from pages.shared import notices, shell  # noqa: E402

# A file of ours: the browser would fetch a Material symbol for the tab from another host.
ICON = Path(__file__).with_name("icon.png")

st.set_page_config(page_title="Second Look", page_icon=str(ICON), layout="wide")

HOME = st.Page("home.py", title="Home", icon=":material/home:", url_path="start", default=True)
PAGES = {
    # Streamlit serves the default page at "/" alone: who types /home is sent there.
    "": [HOME, st.Page(lambda: st.switch_page(HOME), title="Home", url_path="home", visibility="hidden")],
    "Data": [
        st.Page("dataset.py", title="Data set", icon=":material/photo_library:", url_path="dataset"),
        st.Page("audit.py", title="Audit", icon=":material/fact_check:", url_path="audit"),
    ],
    "Models": [
        st.Page("train.py", title="Train", icon=":material/model_training:", url_path="train"),
        st.Page("compare.py", title="Compare", icon=":material/compare_arrows:", url_path="compare"),
    ],
    "Images": [st.Page("predict.py", title="Predict", icon=":material/search:", url_path="predict")],
    "Learn": [st.Page("lessons.py", title="Lessons", icon=":material/school:", url_path="lessons")],
}

access.check()
page = st.navigation(PAGES)
st.session_state[shell.TERMS] = shell.PAGE_TERMS.get(page.url_path or "home", ())
shell.sidebar_foot()
access.sidebar_foot()
page.run()
if page.url_path not in ("train", "lessons"):  # these watch jobs themselves: one polling fragment per page
    notices.watch()
