"""All terms of the field that the app uses, with a search: ``/?glossary``, and ``/?glossary=coverage`` for one."""

import streamlit as st

from covid_core import glossary

PARAMETER = "glossary"
ALL = "all"  # value of the address where nothing is searched
SEARCH = "glossary-search"  # session: what is typed
WIDTH = 720  # pixels: a line that the eye follows


def link() -> None:
    """The way here."""
    label = f"Glossary: {len(glossary.GLOSSARY)} terms of the field"
    st.page_link("home.py", label=label, icon=":material/menu_book:", query_params={PARAMETER: ALL})


def show() -> None:
    """In place of the page. The address holds the search, so that it can be passed on."""
    st.button("Home", icon=":material/arrow_back:", type="tertiary", on_click=st.query_params.clear)
    st.title("What does this term mean?")
    address = st.query_params[PARAMETER]
    wanted = "" if address == ALL else address
    st.query_params[PARAMETER] = wanted or ALL  # a link from Home to Home leaves the browser's address as it was
    if st.session_state.get(SEARCH) != wanted:
        st.session_state[SEARCH] = wanted
    st.text_input("Search", key=SEARCH, type="search", live=True, on_change=_to_address, width=WIDTH)
    terms = glossary.matching(wanted)
    if terms:
        st.markdown("\n\n".join(term.markdown for term in terms), width=WIDTH)
    else:
        st.info("No term matches. Clear the search to see all.", icon=":material/search_off:")


def _to_address() -> None:
    st.query_params[PARAMETER] = st.session_state[SEARCH] or ALL
