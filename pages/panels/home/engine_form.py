"""Where jobs are done, and the form that sends them to an engine."""

import contextlib

import streamlit as st

from covid_core import access
from covid_core.errors import CovidCoreError
from covid_core.executors import choice
from covid_core.executors.choice import ENGINES, VARIABLE, Choice
from pages.shared import shell


def section() -> None:
    """The whole section, for administrators."""
    if not access.actor().may(access.ADMINISTER):
        return
    st.subheader("Where jobs are done")
    chosen = Choice()
    with shell.errors_shown():
        chosen = choice.chosen(shell.workspace())
        st.markdown(shell.plain(choice.in_words(chosen)))
    if choice.is_set_outside():
        st.caption(f"Set by {VARIABLE} in this server's environment. Change it there.")
        return
    with st.expander("Change", icon=":material/lan:"), st.container(width=480):
        _form(chosen)


def where_images_stay() -> str:
    """The computers that read images, in words."""
    with contextlib.suppress(CovidCoreError):  # what is wrong stands in the section
        if not (chosen := choice.chosen(shell.workspace())).is_local:
            return (
                f"the computer that runs this app and the nodes of {chosen.label}, which read them in the shared folder"
            )
    return "the computer that runs this app"


def _form(chosen: Choice) -> None:
    labels = {name: engine.label for name, engine in ENGINES.items()}
    at = list(labels).index(chosen.engine)
    name = st.radio("Jobs go to", list(labels), at, labels.get, key="engine-name", horizontal=True)
    fields = {"engine": name}
    if name != "local":
        engine, before = ENGINES[name], chosen if chosen.engine == name else Choice()
        fields["address"] = st.text_input(
            engine.address,
            before.address,
            max_chars=choice.MOST_LETTERS,
            key=f"engine-address-{name}",
            placeholder=engine.placeholder,
        )
        left, right = st.columns(2)
        fields["cores"] = left.number_input("Processor cores for each job", 1, 1024, before.cores, key="engine-cores")
        fields["gpus"] = right.number_input("Graphics cards for each job", 0, 64, before.gpus, key="engine-gpus")
        st.caption("Every node needs this workspace under the same path, and the same packages.")
    wanted = Choice(**{**chosen.model_dump(), **fields})
    shell.button(
        "Save", access.ADMINISTER, key="engine-save", type="primary", on_click=shell.tried, args=(_save, wanted)
    )


def _save(wanted: Choice) -> None:
    choice.choose(shell.workspace(), wanted)
    st.toast("Saved.", icon=":material/check_circle:")
