"""Runs that are taken away in one file, and such files of others, opened by a job."""

import io
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from covid_core import access
from covid_core.errors import CovidCoreError
from covid_core.exchange.bundle import opening, packing
from covid_core.formatting import file_size, moment, plural
from covid_core.jobs import queue
from covid_core.jobs.kinds import OpenRequest
from covid_core.jobs.queue import Job
from covid_core.runs import store
from covid_core.runs.store import MOST_OF_LICENCE, Run
from pages.shared import import_jobs, job_panel, run_cache, shell

PLACE = "open-bundle"
STARTED = f"{PLACE}-started"  # session: in its next run, the menu closes
FILE = f"runs{packing.SUFFIX}"
LARGEST = 500 * 10**6  # bytes of a bundle that the server makes in its memory, for a browser


def download(runs: Sequence[Run]) -> None:
    """Finished runs in one file, with what the visitor states of the licence of their data."""
    ids = ",".join(run.id for run in runs)
    may = shell.refused(access.TAKE_RUNS)
    with st.popover("Save as a bundle", icon=":material/output:", key=f"bundle-{ids}", **may):
        st.markdown(
            f"{plural(len(runs), 'run')} in one file: settings, split, predictions, curves, model, audits, and studies "
            "all of whose runs are in it. Opened in another workspace, it compares and predicts."
        )
        licence = st.text_input(
            "Licence of the data",
            max_chars=MOST_OF_LICENCE,
            key=f"licence-{ids}",
            placeholder=packing.stated_licence(runs) or "such as CC BY 4.0",
            help="It goes along with the runs, and stands on the cards of those that you may change. Where you type "
            "nothing, what is stated already goes along.",
        ).strip()
        images = st.checkbox("With images", key=f"images-{ids}", **shell.refused(access.TAKE_IMAGES))
        try:
            held = _measured(tuple(runs), images)
        except CovidCoreError as error:  # such as imported predictions; nothing is wrong with the page
            st.info(shell.plain(error), icon=":material/info:")
            return
        if _is_small(held, images) and access.actor().may(access.TAKE_RUNS):
            st.download_button(
                "Save the bundle",
                lambda: content(runs, licence, images),
                f"{runs[0].id if len(runs) == 1 else 'runs'}{packing.SUFFIX}",
                "application/zip",
                key=f"save-bundle-{ids}",
                icon=":material/download:",
                on_click=_taken,
                args=(runs, licence, images),
            )


def _is_small(held: packing.Measured, images: bool) -> bool:
    """Name what is in the bundle, and its size. False where a browser does not take that much."""
    names = f"Names of image files are in it: check that none names a patient. {opening.NO_PATIENTS}"
    what = f"With {plural(held.images, 'image')}" if images else "No images and no pixels"
    st.caption(f"{what}: about {file_size(held.bytes)}. {names}")
    if held.bytes > LARGEST:
        way = f"second-look bundle RUN {FILE}{' --images' if images else ''}"
        st.warning(f"Above {file_size(LARGEST)}, use the command line: `{way}`.")
    return held.bytes <= LARGEST


@st.cache_data(max_entries=32, show_spinner="Measuring the bundle", hash_funcs=run_cache.BY_FILES)
def _measured(runs: tuple[Run, ...], images: bool) -> packing.Measured:
    """Kept until a run's files change: every view of runs shows it."""
    return packing.measured(shell.workspace(), runs, images)


def content(runs: Sequence[Run], licence: str, images: bool = False) -> bytes:
    """The bundle of some runs. Raises RunError, RunDamaged or, with images, DataError."""
    made = io.BytesIO()
    packing.write(shell.workspace(), runs, made, licence, images=images)
    return made.getvalue()


def _taken(runs: Sequence[Run], licence: str, images: bool) -> None:
    """Here, where the visitor is known: the file is made elsewhere."""
    shell.tried(packing.note, shell.workspace(), runs, licence, images)


def origin(run: Run) -> None:
    """Where a run comes from that was opened, and what it lacks here; nothing of one that was trained here."""
    if run.bundle is None:
        return
    licence = shell.plain(run.licence or "not stated")
    made = f"Opened from a bundle of {moment(run.bundle.created)}. Licence of the data: {licence}."
    st.info("  \n".join([made, *map(shell.plain, opening.lacks(shell.workspace(), run))]), icon=":material/input:")


def offer() -> None:
    """The way to open a bundle: an upload, or a file on this computer."""
    menu = {"icon": ":material/input:", "key": PLACE, "on_change": "rerun", **shell.refused(access.OPEN)}
    with st.popover("Open a bundle", **menu):
        st.markdown("Runs that somebody saved in one file. The file is checked before it is used.")
        uploaded = st.file_uploader(
            "Bundle", type="zip", max_upload_size=import_jobs.UPLOAD_LIMIT, key=f"{PLACE}-upload"
        )
        typed = st.text_input("Or the path of a larger one on this computer", key=f"{PLACE}-path").strip().strip("\"'")
        if st.button(
            "Open it", type="primary", key=f"{PLACE}-go", icon=":material/input:", disabled=not (uploaded or typed)
        ):
            with shell.errors_shown():
                if uploaded:
                    source = import_jobs.saved_upload(uploaded, access.OPEN)
                    request = OpenRequest(source=str(source), name=uploaded.name[:80], remove_source=True)
                else:
                    request = OpenRequest(source=str(Path(typed).expanduser().absolute()))
                st.session_state[STARTED] = True
                import_jobs.start(request)  # goes on here only where it was refused
                del st.session_state[STARTED]


def panel() -> None:
    """Bundles that are being opened, those that could not be, and the runs of one that has just been."""
    job_panel.panel(lambda: queue.jobs(shell.workspace(), OpenRequest), PLACE, _report)
    if st.session_state.pop(STARTED, False):
        st.session_state[PLACE] = False  # the menu, which would hide what becomes of it


def _report(job: Job[OpenRequest]) -> None:
    runs = job.folder.result["runs"]
    with st.container(border=True):
        st.markdown(f"**The bundle is open: {plural(len(runs), 'run')}.**")
        for one in runs:
            try:
                run = store.open_run(shell.workspace(), one["run"])
            except CovidCoreError as error:  # deleted meanwhile
                st.caption(shell.plain(error))
                continue
            address = {"run": run.id}
            st.page_link("train.py", label=shell.plain(run.name), icon=":material/monitoring:", query_params=address)
            st.caption("  \n".join(map(shell.plain, opening.lacks(shell.workspace(), run))))
