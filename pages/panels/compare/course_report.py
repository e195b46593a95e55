"""The course report of the runs on the Compare page, made when it is wanted."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from covid_core.formatting import plural, roughly
from covid_core.reports.course import formats, sections, subject
from covid_core.reports.course.html import to_html
from covid_core.reports.course.pictures import charts
from covid_core.runs.store import Run, Study
from covid_core.workspace import Workspace
from pages.shared import paper, shell

START, PER_RUN = 2.0, 0.3  # seconds that a report takes on two cores
IN_WORK, MENU = "course_report", "course_report_menu"  # session: what the browser draws or has drawn; is it open?


@st.fragment
def show(runs: Sequence[Run], study: Study | None) -> None:
    """A menu with the formats of the report of these runs, which are those of ``study`` where there is one."""
    row = st.container(horizontal=True, vertical_alignment="center")
    with row.popover("Course report", icon=":material/description:", key=MENU, on_change="rerun"):
        st.markdown(
            "One document with the seven parts of the assignment, all figures and tables, the methods, and boxes for "
            "your own discussion."
        )
        st.caption(
            f"{plural(len(runs), 'run')}: about {roughly(START + PER_RUN * len(runs))}. Your browser draws the "
            "pictures of Word and the zip, and its print dialog saves the PDF."
        )
        wanted = [name for name, format in formats.FORMATS.items() if format.is_one_file and _offer(name, runs, study)]
    with row, shell.errors_shown():
        for name in wanted:
            with st.spinner("The report is being written"):
                st.session_state[IN_WORK] = _begun(runs, study, name)
        work = st.session_state.get(IN_WORK)
        if work and work["runs"] == tuple(run.id for run in runs):
            _finished(work)


def _offer(name: str, runs: Sequence[Run], study: Study | None) -> bool:
    """A button for a format; returns whether the browser shall draw or print it now."""
    format = formats.FORMATS[name]
    place = {"key": f"course-report-{name}", "width": "stretch", "icon": ":material/download:"}
    if format.kinds or format.is_printed:
        return st.button(shell.plain(format.label), on_click=_close, **place)
    file = f"{formats.file_name(runs, study)}.{name}"
    st.download_button(
        shell.plain(format.label), lambda: content(shell.workspace(), runs, study, name), file, format.media, **place
    )
    return False


def _close() -> None:
    st.session_state[MENU] = False  # what follows stands beside the menu


def _begun(runs: Sequence[Run], study: Study | None, name: str) -> dict[str, Any]:
    """A report as far as the server makes it."""
    about = subject.subject_of(shell.workspace(), runs, study)
    document, format = sections.document_of(about), formats.FORMATS[name]
    work = {"runs": tuple(run.id for run in runs), "name": name, "about": about, "document": document, "made": None}
    if format.is_printed:
        return work | {"task": paper.print_task(to_html(document))}
    return work | {"task": paper.charts_task(charts(document), format.kinds, format.is_titled)}


def _finished(work: dict[str, Any]) -> None:
    """What the browser does with it, and then its download."""
    format = formats.FORMATS[work["name"]]
    file = formats.file_name(work["about"].runs, work["about"].study)
    place = st.empty()
    if work["made"] is None:
        with place:
            drawn = paper.drawn(work["task"], "course-report-paper", _cancel)
        if drawn is None:
            return
        files = format.files(work["document"], work["about"], file, lambda *_: drawn)
        work |= {"made": next(iter(files.values())), "document": None, "task": None}
    place.download_button(
        f"Save {shell.plain(file)}.{shell.plain(work['name'])}",
        work["made"],
        f"{file}.{work['name']}",
        format.media,
        icon=":material/download:",
        type="primary",
        key="course-report-made",
    )


def _cancel() -> None:
    st.session_state.pop(IN_WORK, None)


def content(workspace: Workspace, runs: Sequence[Run], study: Study | None, format: str) -> bytes:
    """The report as one file that holds no pictures. Raises InvalidChoice, RunDamaged and DataError."""
    about = subject.subject_of(workspace, runs, study)
    files = formats.FORMATS[format].files(sections.document_of(about), about, formats.file_name(runs, study))
    return next(iter(files.values()))
