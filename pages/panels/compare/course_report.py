"""The course report of the runs on the Compare page, made when it is downloaded."""

from collections.abc import Sequence

import streamlit as st

from covid_core.formatting import plural, roughly
from covid_core.reports.course import formats, sections, subject
from covid_core.runs.store import Run, Study
from covid_core.workspace import Workspace
from pages.shared import shell

START, PER_RUN = 2.0, 0.3  # seconds that a report takes on two cores


def show(runs: Sequence[Run], study: Study | None) -> None:
    """A menu with the formats of the report of these runs, which are those of ``study`` where there is one."""
    with st.popover("Course report", icon=":material/description:"):
        st.markdown(
            "One document with the seven parts of the assignment, all figures and tables, the methods, and boxes for "
            "your own discussion."
        )
        st.caption(f"{plural(len(runs), 'run')}: about {roughly(START + PER_RUN * len(runs))}.")
        for name, format in formats.FORMATS.items():
            if format.is_one_file and format.on_page:
                st.download_button(
                    format.label,
                    lambda name=name: content(shell.workspace(), runs, study, name),
                    f"{formats.file_name(runs, study)}.{name}",
                    format.media,
                    icon=":material/download:",
                    key=f"course-report-{name}",
                    width="stretch",
                )


def content(workspace: Workspace, runs: Sequence[Run], study: Study | None, format: str) -> bytes:
    """The report as one file. Raises InvalidChoice, RunDamaged and DataError."""
    about = subject.subject_of(workspace, runs, study)
    made = formats.FORMATS[format].files(sections.document_of(about), about, formats.file_name(runs, study))
    return next(iter(made.values()))
