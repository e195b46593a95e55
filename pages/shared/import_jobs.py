"""Imports at work, and the data set that one of them made. One click draws a first data set."""

import streamlit as st

from covid_core.formatting import plural
from covid_core.jobs import queue
from covid_core.jobs.kinds import ImportRequest, KaggleRequest, PhantomRequest, Request
from covid_core.jobs.queue import Job
from pages.shared import job_panel, shell

IMAGES_AT_FIRST = 600


def start_phantom_button(label: str) -> None:
    """One click to a first data set: synthetic images without planted faults."""
    drawing = any(job.is_active for job in queue.jobs(shell.workspace(), PhantomRequest))
    options = {"type": "primary", "icon": ":material/draw:", "disabled": drawing}
    job_panel.start_button(label, PhantomRequest(images=IMAGES_AT_FIRST), key="start-phantom", **options)


def start(request: Request) -> None:
    """Start an import and show its progress."""
    if job_panel.start(request):
        st.rerun()


def panel() -> bool:
    """Imports that are at work, and those that ended without a data set; a finished one is selected.

    Call it above ``shell.pick_dataset``. Returns whether one has just finished.
    """
    finished: list[Job[Request]] = []
    job_panel.panel(
        lambda: queue.jobs(shell.workspace(), ImportRequest, PhantomRequest, KaggleRequest), done=finished.append
    )
    for job in finished:
        with shell.errors_shown():
            _select(job.folder.result["dataset"])
    return bool(finished)


def _select(identifier: str) -> None:
    """Make a data set the one that all pages are about, and report what could not be read."""
    st.session_state[shell.IN_USE] = identifier
    st.query_params["dataset"] = identifier
    st.query_params.pop("image", None)
    made = shell.open_dataset(identifier)
    left_out = len(made.left_out)
    text = f"**{shell.plain(made.name)}** is ready and selected: {plural(len(made.images), 'image')}."
    if left_out:
        text += f" {plural(left_out, 'file')} could not be read; the tab Left out lists them."
    st.success(text, icon=":material/check_circle:")
