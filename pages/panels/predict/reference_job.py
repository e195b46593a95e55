"""Runs from before there were references: what they cannot check, and the job that mends it."""

from collections.abc import Sequence

import streamlit as st

from covid_core.formatting import duration
from covid_core.jobs import queue
from covid_core.runs import store
from covid_core.runs.store import JobFolder, Run, Status
from pages.shared import shell

POLL = 1.0  # seconds


def offer(runs: Sequence[Run]) -> None:
    """For each run without a reference: the button that makes one, or how far that is. Nothing for the others."""
    lacking = {run.id: run for run in runs if not run.has_reference}
    if not lacking:
        return
    names = shell.plain(" and ".join(run.name for run in lacking.values()))
    st.warning(
        f"{names} cannot tell a chest image from any other picture: an earlier version trained "
        f"{'it' if len(lacking) == 1 else 'them'}, and kept nothing to judge images by.",
        icon=":material/rule:",
    )
    listed = _jobs_of(lacking)
    if any(not status.is_final for _, status in listed.values()):
        _watch(tuple(lacking), frozenset(name for name, (_, status) in listed.items() if not status.is_final))
    for run in lacking.values():
        job, status = listed.get(run.id, (None, None))
        if status is None or status.is_final:
            _offer_one(run, job, status)


def _offer_one(run: Run, job: JobFolder | None, status: Status | None) -> None:
    if job is not None and status.state == store.FAILED:
        st.error(f"{shell.plain(run.name)}: {shell.plain(status.reason)}", icon=":material/error:")
    st.button(
        f"Let {shell.plain(run.name)} check images",
        key=f"reference-{run.id}",
        icon=":material/fact_check:",
        help="Its training images are looked at once. Nothing is trained.",
        on_click=_submit,
        args=(run, job),
    )


def _submit(run: Run, ended: JobFolder | None) -> None:
    with shell.told():
        if ended is not None:
            queue.dismiss(ended)
        queue.submit_reference(shell.workspace(), run)


def _jobs_of(lacking: dict[str, Run]) -> dict[str, tuple[JobFolder, Status]]:
    """The last job of each run that makes its reference, by the run's id."""
    found = {}
    for job, run_id in queue.reference_jobs(shell.workspace()):
        if run_id in lacking:
            found[run_id] = job, job.status()
    return found


@st.fragment(run_every=POLL)
def _watch(lacking: tuple[str, ...], active: frozenset[str]) -> None:
    """Progress; when a job ends, the whole page takes notice."""
    now = set()
    for job, run_id in queue.reference_jobs(shell.workspace()):
        status = job.status()
        if run_id in lacking and not status.is_final:
            now.add(run_id)
            st.progress(status.progress, text=shell.plain(status.message or "Starting"))
            if status.seconds_left is not None:
                st.caption(f"About {duration(status.seconds_left)} left.")
    if now != active:
        st.rerun()
