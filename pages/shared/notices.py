"""Toasts, on whichever page the user is: for a finished run, and where the server has forgotten the session."""

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from covid_core.runs import store
from pages.shared import run_cache, shell

POLL = 4  # seconds
BEGUN = "session_begun"  # session
WORDS = {
    store.COMPLETED: ("is finished", ":material/check_circle:"),
    store.FAILED: ("failed", ":material/error:"),
    store.STOPPED: ("was stopped", ":material/stop_circle:"),
    store.INTERRUPTED: ("was interrupted", ":material/warning:"),
}


def forgotten_session() -> None:
    """Say so where a browser comes back with its choices to a server that has none of them: after two minutes without
    a connection Streamlit forgets a session, and a restarted server has forgotten all."""
    if BEGUN in st.session_state:
        return
    st.session_state[BEGUN] = True
    context = get_script_run_ctx()
    if context is not None and len(context.session_state._state._new_widget_state):  # what a new visitor has none of
        st.toast(
            "After a long pause the server has forgotten this page. What stands in the address is back; fill in the "
            "rest again.",
            icon=":material/history:",
            duration="infinite",
        )


def watch() -> None:
    """Poll for ended jobs, but only while there is one that has not ended."""
    (_poll if _is_one_active() else announce)()


@st.fragment(run_every=POLL)
def _poll() -> None:
    announce()
    if not _is_one_active():
        st.rerun()


def _is_one_active() -> bool:
    return any(one.is_active for one in run_cache.listed()[0])


def announce() -> None:
    """Show a toast for each run that ended since this session's last check."""
    states: dict[str, str] = st.session_state.setdefault("run_states", {})
    is_first = not states and "run_states_seen" not in st.session_state
    st.session_state["run_states_seen"] = True
    for one in run_cache.listed()[0]:
        identifier, state = one.run.id, one.status.state
        if states.get(identifier, "" if not is_first else state) != state and state in WORDS:
            words, icon = WORDS[state]
            st.toast(f"{shell.plain(one.run.name)} {words}.", icon=icon)
        states[identifier] = state
