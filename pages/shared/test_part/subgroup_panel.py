"""A run's test images by sex, age, view, source and device: figure, test and table, on Compare and on its own page."""

import streamlit as st

from covid_core.data.summary import RECORDED
from covid_core.evaluation.subgroups import Subgroups
from covid_core.figures import evaluation as figures
from covid_core.reports import run_text
from covid_core.runs import candidates
from covid_core.runs.store import Run
from pages.shared import shell
from pages.shared.run_cache import BY_FILES

MOST = 64  # runs; a few KB each


def show(run: Run) -> None:
    """The conclusion, then the figure and the table; one sentence where nothing is on record."""
    with shell.errors_shown():
        measured = _of(run, shell.dataset_of(run).facts_key)
        conclusion, *details = run_text.subgroups(measured)
        if not measured.unknown:
            st.info(conclusion, icon=":material/group_off:")
            st.page_link("dataset.py", label="Import with a table", icon=":material/library_add:")
            return
        st.markdown(f"**{shell.plain(conclusion)}** {shell.plain(' '.join(details))}", help=run_text.SUBGROUPS)
        if measured.rows:
            overall = float(run.accuracy("test"))
            figure = figures.subgroups([(RECORDED[row.fact], row) for row in measured.rows], overall)
            shell.chart(figure, f"subgroups-{run.id}", alt=run_text.subgroups_in_words(measured))
            shell.table(run_text.subgroup_table(measured), f"subgroups-table-{run.id}")
        if left_out := run_text.subgroups_left_out(measured):
            st.caption(shell.plain(left_out))


@st.cache_resource(max_entries=MOST, show_spinner="Testing the subgroups", hash_funcs=BY_FILES)
def _of(run: Run, facts_key: str) -> Subgroups:
    """Measured anew where the run or the facts of its images have changed."""
    return candidates.subgroups(run, shell.dataset_of(run).images)
