"""A finished job tells itself on whichever page the user is."""

import streamlit as st

from app_pages.components import shell
from covid_core.errors import CovidCoreError
from covid_core.runs import store

POLL = 4  # seconds
WORDS = {
    store.COMPLETED: ("is finished", ":material/check_circle:"),
    store.FAILED: ("failed", ":material/error:"),
    store.STOPPED: ("was stopped", ":material/stop_circle:"),
    store.INTERRUPTED: ("was interrupted", ":material/warning:"),
}


def watch() -> None:
    """Poll for ended jobs, but only while there is one that has not ended."""
    if not _active_jobs():
        announce()
        return
    _poll()


@st.fragment(run_every=POLL)
def _poll() -> None:
    announce()
    if not _active_jobs():
        st.rerun()


def announce() -> None:
    """Show a toast for each run that ended since this session last looked."""
    seen: dict[str, str] = st.session_state.setdefault("run_states", {})
    first_look = not seen and "run_states_seen" not in st.session_state
    st.session_state["run_states_seen"] = True
    for name, identifier, state in _states():
        if seen.get(identifier, "" if not first_look else state) != state and state in WORDS:
            words, icon = WORDS[state]
            st.toast(f"{shell.plain(name)} {words}.", icon=icon)
        seen[identifier] = state


def _states() -> list[tuple[str, str, str]]:
    runs, _ = store.list_runs(shell.workspace())
    states = []
    for run in runs:
        try:
            states.append((run.name, run.id, run.status().state))
        except CovidCoreError:
            continue  # a damaged run is named where runs are listed
    return states


def _active_jobs() -> bool:
    return any(state in (store.QUEUED, store.RUNNING) for _, _, state in _states())
