"""What every visitor sees: the pages, in the order in which data travels. ``app.py`` starts the server for it."""

import tomllib
from pathlib import Path

import streamlit as st

from pages.server import startup

startup.wait()  # before anything else is imported

from pages.server import access  # noqa: E402
from pages.shared import import_jobs, notices, presentation, shell  # noqa: E402

# A file of ours: the browser would fetch a Material symbol for the tab from another host.
ICON = Path(__file__).with_name("icon.png")

st.set_page_config(page_title="Second Look", page_icon=str(ICON), layout="wide")

PAGES = tomllib.loads(Path(__file__).with_name("navigation.toml").read_text(encoding="utf-8"))
SECTIONS: dict[str, list] = {}
for name, about in PAGES.items():
    address = {"default": True, "url_path": "start"} if name == "home" else {"url_path": name}
    shown = st.Page(f"{name}.py", title=about["title"], icon=about["icon"], **address)
    SECTIONS.setdefault(about["section"], []).append(shown)
HOME = SECTIONS[""][0]
# Streamlit serves the default page at "/" alone: who types /home is sent there
SECTIONS[""].append(st.Page(lambda: st.switch_page(HOME), title="Home", url_path="home", visibility="hidden"))

access.check()
notices.forgotten_session()  # before any widget is drawn: what is drawn has a state
page = st.navigation(SECTIONS, position="hidden")
if not access.may_open(page.url_path or "home"):
    st.switch_page(HOME if access.may_open("home") else "lessons.py")
st.session_state[shell.TERMS] = PAGES[page.url_path or "home"]["terms"]
with st.sidebar:  # not those of st.navigation: they leave the address of a run or a lesson as it is, and do nothing
    for section, members in SECTIONS.items():
        listed = [one for one in members if one.visibility == "visible" and access.may_open(one.url_path or "home")]
        if section and listed:
            st.caption(section)
        for member in listed:
            st.page_link(member)
shell.sidebar_foot()
access.sidebar_foot()
presentation.begin()
import_jobs.demonstration_panel(with_ended=page is HOME)
page.run()
shell.note_page(page.url_path)
if page.url_path in presentation.PAGES:
    presentation.offer()
if page.url_path not in ("train", "lessons"):  # these watch jobs themselves: one polling fragment per page
    notices.watch()
