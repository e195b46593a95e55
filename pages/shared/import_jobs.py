"""Imports at work, and the data set that one of them made. One click draws a first data set, or makes everything."""

from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from covid_core import access, files
from covid_core.backbones import backbone_named
from covid_core.data import dataset as data
from covid_core.errors import DataError, cause
from covid_core.formatting import duration, plural
from covid_core.jobs import demonstration, kinds, queue
from covid_core.jobs.kinds import (
    DemonstrationRequest,
    ImportRequest,
    KaggleRequest,
    MergeRequest,
    PhantomRequest,
    Request,
)
from covid_core.jobs.queue import Job
from covid_core.reports import layout_text
from covid_core.workspace import new_id
from pages.shared import job_panel, shell

IMAGES_AT_FIRST = 600
UPLOAD_LIMIT = 64  # MB, as the server's settings have it; larger archives are imported by their path
OWN_IMAGES = {"add": "own"}  # in the address of the Data set page: its import opens where own images are chosen


def start_phantom_button() -> None:
    """One click to a first data set: synthetic images without planted faults."""
    request = PhantomRequest(images=IMAGES_AT_FIRST)
    drawing = any(job.is_active for job in queue.jobs(shell.workspace(), PhantomRequest))
    label = f"Draw {plural(request.images, 'synthetic image')} (about {job_panel.expected(request)})"
    job_panel.start_button(label, request, key="start-phantom", icon=":material/draw:", disabled=drawing)


def offer_demonstration(words: str) -> None:
    """The way out of an empty page: one click to images, models and audits. ``words`` say what is lacking here."""
    jobs = queue.jobs(shell.workspace(), DemonstrationRequest)
    st.markdown(words)
    if any(job.is_active for job in jobs):
        st.caption("The demonstration at the top of the page makes it. Each page fills as soon as its part is ready.")
        return
    request = DemonstrationRequest()
    models = [backbone_named(name).label for name in demonstration.backbones_here()]
    with st.container(horizontal=True, vertical_alignment="center"):
        options = {"type": "primary", "icon": ":material/auto_awesome:"}
        job_panel.start_button("Show me everything", request, key="start-demonstration", **options)
        st.caption(
            f"Draws {request.images} synthetic images, trains {' and '.join(models)}, and audits images and models. It "
            f"takes about {job_panel.expected(request)}.",
            width="stretch",
        )


def no_dataset() -> None:
    """What a page that needs images says where no data set can be opened."""
    if not any(not info.get("damaged") for info in data.list_datasets(shell.workspace())):
        with st.container(border=True):
            offer_demonstration("**No data set yet.** Try everything with synthetic images, or import your own.")
            st.page_link("dataset.py", label="Add your own images", icon=":material/upload:", query_params=OWN_IMAGES)


def demonstration_panel(with_ended: bool) -> None:
    """The demonstration at work, on every page; ``with_ended``: also one that has failed or was stopped."""

    def listed() -> list[Job[DemonstrationRequest]]:
        return queue.jobs(shell.workspace(), DemonstrationRequest)

    job_panel.panel(listed, "demonstration", _everything_ready, with_ended=with_ended)


def _everything_ready(job: Job[Request]) -> None:
    st.session_state[shell.IN_USE] = job.folder.result["dataset"]
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**Everything is ready, after {duration(job.status.elapsed)}.** Every page has something to show.")
        for page, label, icon in (
            ("compare.py", "Compare the models", ":material/compare_arrows:"),
            ("predict.py", "Predict an image", ":material/search:"),
            ("audit.py", "Read the audit", ":material/fact_check:"),
        ):
            st.page_link(page, label=label, icon=icon)


def start(request: Request) -> None:
    """Start an import and show its progress; an upload that no job takes is removed."""
    if job_panel.start(request):
        st.rerun()
    kinds.discard_upload(shell.workspace(), request)


def saved_upload(uploaded: UploadedFile, right: str) -> Path:
    """An uploaded zip where a job finds it, and removes it. Raises DataError or NotPermitted."""
    access.check(shell.workspace(), right, what=uploaded.name)
    target = shell.workspace().uploads / f"{new_id(Path(uploaded.name).stem[:80])}.zip"
    try:
        files.write_bytes(target, uploaded.getbuffer())
    except OSError as error:
        raise DataError(f"The upload cannot be saved: {cause(error)}.") from error
    return target


def panel() -> bool:
    """Imports that are at work, and those that ended without a data set; a finished one is selected.

    Call it above ``shell.pick_dataset``. Returns whether one has just finished.
    """
    finished: list[Job[Request]] = []
    job_panel.panel(
        lambda: queue.jobs(shell.workspace(), ImportRequest, PhantomRequest, KaggleRequest, MergeRequest),
        done=finished.append,
    )
    for job in finished:
        with shell.errors_shown():
            _select(job.folder.result["dataset"])
    return bool(finished)


def _select(identifier: str) -> None:
    """Make a data set the one that all pages are about, and report what was left out."""
    st.session_state[shell.IN_USE] = identifier
    st.query_params["dataset"] = identifier
    st.query_params.pop("image", None)
    made = shell.open_dataset(identifier)
    text = f"**{shell.plain(made.name)}** is ready and selected: {plural(len(made.images), 'image')}."
    if left_out := layout_text.left_out(made):
        text += f" {left_out} The tab Left out has the reasons."
    st.success(text, icon=":material/check_circle:")
    if doubts := layout_text.doubts(made):
        st.warning("  \n".join(map(shell.plain, doubts)), icon=":material/warning:")
