"""A toast for a finished run, on whichever page the user is."""

import streamlit as st

from covid_core.runs import store
from pages.shared import run_cache, shell

POLL = 4  # seconds
WORDS = {
    store.COMPLETED: ("is finished", ":material/check_circle:"),
    store.FAILED: ("failed", ":material/error:"),
    store.STOPPED: ("was stopped", ":material/stop_circle:"),
    store.INTERRUPTED: ("was interrupted", ":material/warning:"),
}


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
