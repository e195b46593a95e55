"""Imports at work: what is being made, how far it is, and what came of it. One click draws a first data set."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from covid_core.errors import CovidCoreError
from covid_core.formatting import plural
from covid_core.jobs import queue
from covid_core.runs import store
from covid_core.runs.store import JobFolder, Status
from pages.shared import job_cards, shell

POLL = 1  # seconds between looks at a running import
KINDS = ("import", "phantom", "kaggle")
OWN, FINISHED = "imports_own", "imports_finished"  # session: jobs to follow; the data set that the last one made
IMAGES_AT_FIRST = 600


class ImportJob(NamedTuple):
    """An import as it was found: its folder, what it was asked to do, and how far it is."""

    folder: JobFolder
    request: dict[str, Any]
    status: Status

    @property
    def title(self) -> str:
        """What it makes, in words, as Markdown."""
        match self.request["kind"]:
            case "phantom":
                return f"Drawing {plural(self.request['images'], 'synthetic image')}"
            case "kaggle":
                return "Importing the COVID-19 Radiography Database from Kaggle"
            case _:
                return f"Importing {shell.plain(self.request['name'] or Path(self.request['source']).name)}"


def start_phantom_button(label: str) -> None:
    """One click to a first data set: synthetic images without planted faults."""
    drawing = any(job.request["kind"] == "phantom" and not job.status.is_final for job in _import_jobs())
    clicked = st.button(label, type="primary", icon=":material/draw:", key="start-phantom", disabled=drawing)
    if clicked:
        start("phantom", {"images": IMAGES_AT_FIRST, "seed": 0, "plant": [], "name": ""})


def panel() -> bool:
    """Imports that are at work, and those that ended without a data set; a finished one is selected and told.

    Call it above ``shell.pick_dataset``. Nothing polls while nothing runs. Returns whether one has just finished.
    """
    listed = _import_jobs()
    active = _active(listed)
    own: list[str] = st.session_state.setdefault(OWN, list(active))  # after a reload of the page: whatever still runs
    for job in listed:
        if job.folder.id in own and job.status.state == store.COMPLETED:
            own.remove(job.folder.id)
            with shell.told():
                _select(job.folder.result["dataset"])
    finished = _tell_finished()
    if active:
        _watch(active)
    else:
        _show_jobs(listed)
    return finished


def _select(identifier: str) -> None:
    """Make a data set the one that all pages are about."""
    st.session_state[shell.IN_USE] = st.session_state[FINISHED] = identifier
    st.query_params["dataset"] = identifier
    st.query_params.pop("image", None)


def _tell_finished() -> bool:
    """Say once which data set was made, and what could not be read. Returns whether there was one."""
    identifier = st.session_state.pop(FINISHED, None)
    if identifier is None:
        return False
    with shell.told():
        made = shell.open_dataset(identifier)
        left_out = made.left_out
        text = f"**{shell.plain(made.name)}** is ready and selected: {plural(len(made.images), 'image')}."
        if len(left_out):
            text += f" {plural(len(left_out), 'file')} could not be read; the tab Left out lists them."
        st.success(text, icon=":material/check_circle:")
    return True


@st.fragment(run_every=POLL)
def _watch(active: frozenset[str]) -> None:
    """Show progress; when a job starts or ends, the whole page takes notice."""
    listed = _import_jobs()
    _show_jobs(listed)
    if _active(listed) != active:
        st.rerun()


def _active(listed: list[ImportJob]) -> frozenset[str]:
    return frozenset(job.folder.id for job in listed if not job.status.is_final)


def _import_jobs() -> list[ImportJob]:
    """Imports in the order of their start; folders that cannot be read are left out."""
    found = []
    for job in store.list_jobs(shell.workspace()):
        try:
            request = job.request()
            if request["kind"] in KINDS:
                found.append(ImportJob(job, request, job.status()))
        except (CovidCoreError, OSError):
            continue  # dismissed in another window at this moment, or not a whole job: nothing could be told of it
    return sorted(found, key=lambda entry: entry.request["created"])


def _show_jobs(listed: list[ImportJob]) -> None:
    for job in listed:
        if not job.status.is_final:
            job_cards.running(job.title, job.folder, job.status, "Nothing is kept.")
        stopped, failed = f"**{job.title}** was stopped. Nothing was kept.", f"**{job.title}** failed."
        job_cards.without_result(stopped, failed, job.folder, job.status, dismiss=partial(_dismiss, job))


def _dismiss(job: ImportJob) -> None:
    """Forget a job that ended, with the uploaded archive that its process could not remove any more."""
    source = Path(job.request.get("source", ""))
    if job.request.get("remove_source") and source.parent == shell.workspace().uploads:
        source.unlink(missing_ok=True)
    queue.dismiss(job.folder)


def start(kind: str, request: Mapping[str, Any]) -> None:
    """Start an import and show its progress."""
    job = None
    with shell.told():
        job = queue.submit_job(shell.workspace(), kind, request)
    if job is not None:
        st.session_state.setdefault(OWN, []).append(job.id)
        st.rerun()
