"""A finished run's model in the formats that others read, as a folder in a zip archive."""

import streamlit as st

from covid_core import access
from covid_core.errors import JobRefused
from covid_core.exchange.forms import exported, formats
from covid_core.formatting import file_size
from covid_core.jobs import queue
from covid_core.jobs.kinds import ExportRequest
from covid_core.runs.store import Run
from pages.shared import job_panel, shell

PLACE = "export-"


def panel(run: Run) -> None:
    """The choice of a format, and its download or the way to one; drawn again by its caller while a job works."""
    jobs = queue.jobs(shell.workspace(), ExportRequest, run=run.id)
    job_panel.report(jobs)
    job_panel.outcomes(jobs, PLACE)
    job_panel.cards(jobs, PLACE)
    try:
        exported.check_run(run)
    except JobRefused as refusal:
        st.caption(shell.plain(refusal))
        return
    st.caption("A folder with the model, a README and an example that runs without this app. It holds no images.")
    name = st.selectbox(
        "Format",
        list(formats.FORMATS),
        key=f"export-format-{run.id}",
        format_func=lambda one: formats.FORMATS[one].label,
        width=320,
    )
    st.caption(shell.plain(formats.FORMATS[name].note))
    is_active = any(job.is_active and job.request.format == name for job in jobs)
    with shell.errors_shown():
        archive = exported.stored(shell.workspace(), run, name)
        if archive is not None:
            st.markdown("  \n".join(map(shell.plain, exported.in_words(exported.facts_of(archive)))))
            st.download_button(
                f"Download ({file_size(archive.stat().st_size)})",
                archive.read_bytes,
                f"{run.id}-{name}.zip",
                "application/zip",
                key=f"export-download-{run.id}-{name}",
                icon=":material/download:",
                **shell.refused(access.TAKE_RUNS),
            )
        elif not is_active:
            _start(run, name)


def _start(run: Run, name: str) -> None:
    request = ExportRequest(run=run.id, format=name)
    try:
        formats.FORMATS[name].check(shell.workspace())
    except JobRefused as refusal:
        st.info(shell.plain(refusal), icon=":material/info:")
        return
    job_panel.start_button("Export", request, key=f"export-start-{run.id}-{name}", icon=":material/output:")
    st.caption(f"It takes about {job_panel.expected(request)}, and checks the result on 32 images.")
