"""The card of a run or a data set, as a page or as Markdown."""

import streamlit as st

from covid_core.data.dataset import Dataset
from covid_core.exchange.cards import card
from covid_core.runs.store import Run
from pages.shared import shell

KINDS = {"html": ("Page (HTML)", "text/html"), "md": ("Markdown", "text/markdown")}
CONTENT = (
    "What the files show, and which items of CLAIM 2024, TRIPOD+AI and STARD-AI they answer. It takes some seconds."
)


def show(subject: Run | Dataset) -> None:
    """The downloads in a menu."""
    what = "Model card" if isinstance(subject, Run) else "Data card"
    with st.popover(what, icon=":material/id_card:"):
        st.caption(CONTENT)
        for kind, (label, mime) in KINDS.items():
            st.download_button(
                label,
                lambda kind=kind: card.FORMATS[kind](_card(subject)),
                f"card-{subject.id}.{kind}",
                mime,
                key=f"card-{kind}-{subject.id}",
                icon=":material/download:",
            )


def _card(subject: Run | Dataset) -> card.Card:
    if isinstance(subject, Run):
        return card.of_run(shell.workspace(), subject)
    return card.of_dataset(shell.workspace(), subject)
