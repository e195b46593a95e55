"""The Audit page's comparison with another data set: which images both have, and where their classes disagree."""

import pandas as pd
import streamlit as st

from covid_core.audit import dataset_audit
from covid_core.audit.duplicates.duplicate_pairs import Shared
from covid_core.data import dataset as data
from covid_core.data.dataset import Dataset
from covid_core.jobs.kinds import AuditRequest
from covid_core.reports import audit_text
from pages.panels.audit import decision_form, pair_view
from pages.shared import job_panel, shell, url_state
from pages.shared.audit_panel import Audited

ALL, CONFLICTS = "All shared images", "Classes differ"


def show(audited: Audited, at_work: bool) -> None:
    dataset = audited.dataset
    st.markdown(
        "Many collections contain images of others. A test on a data set with shared images is no external test. If "
        "two collections label the same image differently, one of them is wrong."
    )
    other = _pick_other(dataset)
    if other is None:
        return
    shared = dataset_audit.shared(shell.workspace(), dataset, other)
    if shared is None:
        request = AuditRequest(dataset=dataset.id, against=other.id)
        st.markdown(f"**Not compared yet.** The comparison takes about {job_panel.expected(request)}.")
        label, icon = f"Compare with {shell.plain(other.name)}", ":material/compare:"
        job_panel.start_button(label, request, key="against-start", icon=icon, type="primary", disabled=at_work)
        return
    _show_shared(dataset, other, shared)


def _pick_other(dataset: Dataset) -> Dataset | None:
    listed = [info for info in data.list_datasets(shell.workspace()) if not info.get("damaged")]
    others = {info["id"]: info["name"] for info in listed if info["id"] != dataset.id}
    if not others:
        st.info("There is no other data set yet.", icon=":material/info:")
        st.page_link("dataset.py", label="Add a data set", icon=":material/arrow_forward:")
        return None
    chosen = url_state.choice(st.selectbox, "Other data set", others, "against", width=360)
    with shell.errors_shown():
        return shell.open_dataset(chosen)
    return None


def _show_shared(dataset: Dataset, other: Dataset, shared: Shared) -> None:
    st.markdown(f"**{shell.plain(audit_text.shared(other, shared))}**")
    if not len(shared.pairs):
        return
    table = pd.crosstab(shared.pairs["first_label"], shared.pairs["second_label"]).rename_axis(columns=None)
    shell.table(
        table.reset_index(names=f"Class in {dataset.name}"),
        "shared-classes",
        alt=f"Shared images by their class in {dataset.name} (rows) and in {other.name} (columns)",
    )
    st.caption(f"Rows: the class in {shell.plain(dataset.name)}; columns: in {shell.plain(other.name)}.")
    which = st.segmented_control(
        "Which pairs",
        [ALL, CONFLICTS],
        required=True,
        default=ALL,
        key="shared-which",
        disabled=not len(shared.conflicts),
    )
    pairs = shared.conflicts if which == CONFLICTS and len(shared.conflicts) else shared.pairs
    pairs = pairs.sort_values("conflict", ascending=False, kind="stable")

    def actions(row: pd.Series) -> None:
        proposals = {
            "Leave out here": lambda: decision_form.leaving_out([row["first"]], dataset),
            "Change class here": lambda: decision_form.relabelling([row["first"]], dataset),
        }
        with st.container(horizontal=True):
            decision_form.buttons(dataset, proposals, "shared")

    pair_view.show(pairs, (dataset, other), "shared", actions)
