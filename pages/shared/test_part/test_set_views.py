"""Views of the test set: noted where a page shows it, and reported where somebody is about to choose."""

from collections.abc import Sequence
from datetime import date

import pandas as pd
import streamlit as st

from covid_core.errors import CovidCoreError
from covid_core.formatting import count, moment
from covid_core.runs import test_set_access
from covid_core.runs.store import Run
from pages.shared import shell

NOTED = 4096  # views of a day that a server remembers to have noted
WHY = (
    "A choice after a view of test figures depends on them, so the next test figure is too optimistic. Choose by "
    "validation, and view the test set once. Counted once a day each: comparisons (page or command), single images, "
    "audits of a model; and each external test. Not counted: the accuracy in the list of runs and on a run's own "
    "page. The views of a deleted run are deleted with it."
)


def note(runs: Sequence[Run], what: str) -> None:
    """Note that test images of these runs are shown, with a caption where that cannot be noted."""
    failed = [run for run in runs if not _noted(run, what)]
    if failed:
        names = ", ".join(run.name for run in failed[:3]) + (", ..." if len(failed) > 3 else "")
        st.caption(f"This view could not be noted, because the run's folder cannot be written: {shell.plain(names)}.")


def _noted(run: Run, what: str) -> bool:
    try:
        _note(str(run.path), what, date.today(), run)
    except CovidCoreError:
        return False
    return True


@st.cache_data(max_entries=NOTED, show_spinner=False)
def _note(path: str, what: str, day: date, _run: Run) -> None:
    """Once a day and not at every rerun; a failure is not remembered, so it is tried again."""
    _run.note_view(what)


def show(runs: Sequence[Run]) -> None:
    """How often the test images that these runs share were viewed, and the list of views, folded up."""
    with shell.errors_shown():
        views = test_set_access.of(runs)
        with st.expander(_in_words(views), icon=":material/visibility:"):
            st.caption(WHY)
            if len(views):
                table = pd.DataFrame({"When": views["time"].map(moment), "What": views["what"], "Runs": views["runs"]})
                shown = table if len(runs) > 1 else table.drop(columns="Runs")
                shell.table(shown, "test-set-views", alt="Views of these test images")


def _in_words(views: pd.DataFrame) -> str:
    if views.empty:
        return "Test set viewed 0 times"
    times = f"{count(len(views))} {'time' if len(views) == 1 else 'times'}"
    moments = views["time"].dropna()
    since = "" if moments.empty else f"{',' if len(views) == 1 else ' since'} {moment(moments.iloc[0])}"
    return f"Test set viewed {times}{since}"
