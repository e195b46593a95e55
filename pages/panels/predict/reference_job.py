"""Runs of earlier versions without a reference: what they cannot check, and the job that makes one."""

from collections.abc import Sequence

import streamlit as st

from covid_core.jobs import queue
from covid_core.jobs.kinds import ReferenceRequest
from covid_core.runs.store import Run
from pages.shared import job_panel, shell


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

    def jobs() -> list[queue.Job[ReferenceRequest]]:
        return queue.jobs(shell.workspace(), ReferenceRequest, run=lacking)

    job_panel.panel(jobs)
    under_way = {job.request.run for job in jobs() if job.is_active}
    for run in lacking.values():
        if run.id not in under_way:
            job_panel.start_button(
                f"Let {shell.plain(run.name)} check images",
                ReferenceRequest(run=run.id),
                key=f"reference-{run.id}",
                icon=":material/fact_check:",
                help="Its training images are read once. Nothing is trained.",
            )
