"""What people write on a run: its name, group, tags, whether it is the reference, and whether lists leave it out."""

from collections.abc import Sequence

import streamlit as st

from covid_core import access
from covid_core.runs import store
from covid_core.runs.store import Run
from pages.shared import run_cache, shell

ARCHIVED = "just_archived"  # session: id of the run that was archived last
CHOICES = "compare_runs_"  # session: beginning of the names of the choices of runs on the Compare page
HELP = "A group has its runs together in the first figure. Tags stand among the remarks, and the filter finds them."
REFERENCE_HELP = (
    "The tables then show each run's difference from it, with its test. One run at a time is the reference."
)


def popover(runs: Sequence[Run]) -> None:
    """The form of one of these runs, behind a button."""
    if not runs:
        return
    refused = [shell.refused(access.TRAIN, run.owner) for run in runs]
    options = refused[0] if all(refused) else {}
    with st.popover("Edit runs" if len(runs) > 1 else "Edit", icon=":material/edit:", **options):
        names = {run.id: run.name for run in runs}
        chosen = runs[0].id
        if len(runs) > 1:
            chosen = st.selectbox("Run", list(names), format_func=names.__getitem__, key="annotated_run")
        _form(next(run for run in runs if run.id == chosen))


def _form(run: Run) -> None:
    written = run.annotation
    others = [one.run.annotation for one in run_cache.listed()[0]]
    with st.form(f"annotation-{run.id}", border=False):
        name = st.text_input("Name", run.name, max_chars=80, key=f"name-{run.id}")
        groups = sorted({"", *(one.group for one in others)})
        group = st.selectbox(
            "Group",
            groups,
            groups.index(written.group),
            accept_new_options=True,
            format_func=lambda text: text or "none",
            key=f"group-{run.id}",
            help=HELP,
        )
        tags = st.multiselect(
            "Tags",
            sorted({tag for one in others for tag in one.tags}),
            list(written.tags),
            accept_new_options=True,
            key=f"tags-{run.id}",
        )
        reference = st.toggle("Reference run", written.reference, key=f"reference-{run.id}", help=REFERENCE_HELP)
        options = {"draw": st.form_submit_button, "type": "primary", "icon": ":material/save:"}
        saved = shell.button("Save", access.TRAIN, run.owner, **options)
    if saved:
        _save(run, name=name.strip(), group=(group or "").strip(), tags=tuple(tags), reference=reference)
    options = {"icon": ":material/archive:", "help": "Hide it in lists. Nothing is lost."}
    if shell.button("Archive", access.TRAIN, run.owner, key=f"archive-{run.id}", **options):
        st.session_state[ARCHIVED] = run.id
        _save(run, archived=True)


def undo() -> None:
    """The way back for the run that was archived last."""
    identifier = st.session_state.get(ARCHIVED)
    if not identifier:
        return
    with st.container(horizontal=True, vertical_alignment="center"), shell.errors_shown():
        run = store.open_run(shell.workspace(), identifier)
        st.markdown(f"{shell.plain(run.name)} is archived.")
        restore_button(run, "Undo")


def restore_button(run: Run, label: str = "Restore") -> None:
    """Take a run out of the archive."""
    options = {"icon": ":material/unarchive:", "on_click": shell.tried, "args": (_restore, run)}
    shell.button(label, access.TRAIN, run.owner, key=f"restore-{run.id}", **options)


def _restore(run: Run) -> None:
    st.session_state.pop(ARCHIVED, None)
    store.annotate(run, archived=False)
    for key in (key for key in st.session_state if str(key).startswith(CHOICES)):
        st.session_state[key] = [*st.session_state[key], run.id]


def _save(run: Run, **changes: object) -> None:
    with shell.errors_shown():
        if changes.get("reference") and not run.annotation.reference:
            for one in run_cache.listed()[0]:
                if one.run.annotation.reference:
                    store.annotate(one.run, reference=False)
        store.annotate(run, **changes)
        st.rerun()
