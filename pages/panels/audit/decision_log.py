"""The Audit page's list of decisions, each with its image and author, and which run used which version."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from covid_core import access
from covid_core.data import decisions
from covid_core.data.dataset import Dataset
from covid_core.data.decisions import ADD, DISMISS, GROUP, LEAVE_OUT, RELABEL, TAKE_BACK, Decision
from covid_core.formatting import moment, plural
from covid_core.reports import tables
from covid_core.runs import candidates
from covid_core.runs.store import Run
from pages.panels.audit import decision_form
from pages.shared import run_cache, shell
from pages.shared.audit_panel import Audited

SHORT = 12  # digits of a version that a person compares
DONE = {
    LEAVE_OUT: ("image", "left out"),
    RELABEL: ("image", "with another class"),
    GROUP: ("image", "kept together with others"),
    DISMISS: ("finding", "dismissed"),
    ADD: ("addition", "of images"),
}


def show(audited: Audited) -> None:
    dataset = audited.dataset
    st.markdown(f"**{shell.plain(_in_words(dataset))}**")
    st.markdown(
        "No decision changes an image file, and each can be taken back. A run keeps the version of the data set that "
        "it was trained on."
    )
    if dataset.decisions:
        _table(dataset)
    _versions(dataset)


def _in_words(dataset: Dataset) -> str:
    in_force = decisions.in_force(dataset.decisions)
    version = f"The data set is at version {dataset.version[:SHORT]}"
    if not in_force:
        return f"{version}, as it was imported. No decision is in force."
    counts = Counter(one.action for one in in_force)
    parts = [f"{plural(counts[action], word)} {rest}" for action, (word, rest) in DONE.items() if counts[action]]
    return f"{version}: {', '.join(parts)}."


def _table(dataset: Dataset) -> None:
    """All decisions, newest first; those that are chosen can be taken back."""
    valid = {one.number for one in decisions.in_force(dataset.decisions)}
    listed = list(reversed(dataset.decisions))
    shown = pd.DataFrame([_row(one, one.number in valid) for one in listed])
    chosen = st.dataframe(
        shown,
        hide_index=True,
        width="stretch",
        on_select="rerun",
        selection_mode="multi-row",
        key=f"decisions-table-{len(listed)}",
        alt="Decisions about images of this data set",
    )
    content = pd.DataFrame([vars(one) for one in dataset.decisions], columns=decisions.COLUMNS)
    st.download_button(
        "CSV",
        lambda: tables.to_csv(content),
        f"decisions-{dataset.id}.csv",
        "text/csv",
        key="csv-decisions",
        icon=":material/download:",
    )
    numbers = [listed[row].number for row in chosen.selection.rows if listed[row].number in valid]
    _take_back(dataset, numbers, sorted(valid))


def _row(one: Decision, valid: bool) -> dict[str, object]:
    texts = {
        LEAVE_OUT: (one.before, "left out"),
        RELABEL: (one.before, one.after),
        GROUP: ("", f"together with {one.after}"),
        DISMISS: (one.finding, f"dismissed (with {one.after})" if one.after else "dismissed"),
        ADD: ("", one.after),
        TAKE_BACK: ("", f"takes back number {one.after}"),
    }[one.action]
    state = "" if one.action == TAKE_BACK else "in force" if valid else "taken back"
    return {
        "Number": one.number,
        "Decision": one.action,
        "Image": one.image_id,
        "From": texts[0],
        "To": texts[1],
        "Author": one.author,
        "When": moment(one.seconds),
        "Why": one.note,
        "State": state,
    }


def _take_back(dataset: Dataset, chosen: Sequence[int], valid: Sequence[int]) -> None:
    st.caption("Choose rows to take their decisions back.")
    with st.container(horizontal=True):
        for label, numbers, key in (
            (f"Take back the chosen ({len(chosen)})", list(chosen), "take-back"),
            (f"Take back all ({len(valid)})", list(valid), "take-back-all"),
        ):
            if shell.button(label, access.DECIDE, icon=":material/undo:", key=key, disabled=not numbers):
                decision_form.confirm_undo(dataset, numbers)


def _versions(dataset: Dataset) -> None:
    """Which runs used which version of the data set."""
    runs = [one.run for one in run_cache.listed()[0] if one.run.dataset.id == dataset.id]
    st.subheader("Which run used which version?")
    if not runs:
        st.markdown("No run has been trained on this data set yet.")
        return
    names = candidates.unique_names(runs)
    rows = [
        {"Run": name, "Version": run.dataset.version[:SHORT], "Images as": _images_as(dataset, run)}
        for name, run in zip(names, runs, strict=True)
    ]
    shell.table(pd.DataFrame(rows), "runs-versions", alt="Runs with the version of the data set that they used")


def _images_as(dataset: Dataset, run: Run) -> str:
    version = run.dataset.version
    if version == dataset.version:
        return "they are now"
    number = dataset.versions.get(version)
    if number is None:
        return "the data set never had; it may have been imported anew"
    return "they were imported" if number == 0 else f"they were after decision {number}"
