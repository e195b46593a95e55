"""Backbones that were added: which there are, the way to add one by its path on the server, and to remove one."""

from pathlib import Path

import streamlit as st

from covid_core import access
from covid_core.backbones import SUFFIXES, BackboneFile
from covid_core.formatting import count, file_size, plural
from covid_core.jobs import queue
from covid_core.jobs.kinds import BackboneRequest
from covid_core.runs import backbone_files
from pages.shared import job_panel, shell

HELP = "A backbone maps an image to features. The file is checked and copied, and runs in a process of its own."


def show() -> None:
    """The added backbones; adding and removing for whoever may administer this server."""
    listed = backbone_files.listed(shell.workspace())
    job_panel.panel(lambda: queue.jobs(shell.workspace(), BackboneRequest), "backbones")
    label = f"Added backbones: {count(len(listed)) if listed else 'none'}"
    with st.expander(label, icon=":material/extension:", key="added-backbones"), shell.errors_shown():
        may_change = access.actor().may(access.ADMINISTER)
        for file in listed:
            _row(file, may_change)
        if may_change:
            _form()
        else:
            st.caption("Only an administrator of this server adds backbones, since they are files on it.")


def _row(file: BackboneFile, may_change: bool) -> None:
    with st.container(border=True, key=f"backbone-{file.name}"):
        about = file.measured
        kind = "numbers" if about.is_vector else "maps"
        features = f"{count(about.channels)} {kind}, {file_size(about.megabytes * 1e6)}"
        st.markdown(f"**{shell.plain(file.label)}**: {features} at {' or '.join(map(str, file.sizes))} px.")
        st.caption(shell.plain(f"Licence: {file.licence}. From {file.source}. SHA-256 {file.sha256[:12]}..."))
        if may_change and (users := len(backbone_files.users(shell.workspace(), file))):
            st.caption(f"{plural(users, 'run needs', 'runs need')} it to predict, so it cannot be removed.")
        elif may_change:
            question = f"Remove {shell.plain(file.label)}? Its file in the workspace goes."
            action = {"on_click": backbone_files.remove, "args": (shell.workspace(), file.name)}
            action["right"] = access.ADMINISTER
            shell.confirm("Remove", question, "Remove for good", key=f"remove-backbone-{file.name}", **action)


def _form() -> None:
    st.markdown("Add a file on the server, with a description beside it: the same name, with the ending .json.")
    typed = st.text_input(
        f"Path of the file ({', '.join(SUFFIXES.values())})",
        key="backbone-path",
        placeholder="/home/me/backbones/chest.onnx",
        help=HELP,
    ).strip()
    if st.button("Add", key="add-backbone", icon=":material/add:", type="primary", disabled=not typed):
        source = Path(typed.strip("\"'")).expanduser().absolute()
        file = backbone_files.described(source.with_suffix(".json"))
        if job_panel.start(BackboneRequest(source=str(source), description=file)):
            st.rerun()
