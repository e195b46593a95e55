"""Looks at test images: noted where a page shows them, and told where somebody is about to choose."""

from collections.abc import Sequence
from datetime import date

import pandas as pd
import streamlit as st

from covid_core.errors import CovidCoreError
from covid_core.formatting import count, moment
from covid_core.runs import test_set_access
from covid_core.runs.store import Run
from pages.shared import shell

NOTED = 4096  # looks of a day that a server remembers to have noted
WHY = (
    "Whoever has seen test figures and then chooses, chooses by them too, and the next test figure is a little too "
    "kind. Choose by validation, and look at test once. Counted once a day each: figures compared (on the Compare "
    "page or by the compare command), single images, and audits of a model; each outside test. Not counted: the "
    "accuracy in the list of runs and on a run's own page. Looks are kept with the runs and go with a run that is "
    "deleted."
)


def note(runs: Sequence[Run], what: str) -> None:
    """Note that test images of these runs are being looked at; say where that cannot be done."""
    failed = [run for run in runs if not _noted(run, what)]
    if failed:
        names = ", ".join(run.name for run in failed[:3]) + (", ..." if len(failed) > 3 else "")
        st.caption(f"This look could not be noted, because the run's folder cannot be written: {shell.plain(names)}.")


def _noted(run: Run, what: str) -> bool:
    try:
        _note(str(run.path), what, date.today(), run)
    except CovidCoreError:
        return False
    return True


@st.cache_data(max_entries=NOTED, show_spinner=False)
def _note(path: str, what: str, day: date, _run: Run) -> None:
    """Once a day and not at every rerun; a failure is not remembered, so it is tried again."""
    _run.note_look(what)


def show(runs: Sequence[Run]) -> None:
    """How often the test images that these runs share were looked at, and the list of looks, folded up."""
    with shell.told():
        found = test_set_access.of(runs)
        if len(found):
            with st.expander(_in_words(found), icon=":material/visibility:"):
                st.caption(WHY)
                shell.table(_view(found).assign(Runs=found["runs"]), "looks", alt="Looks at these test images")


def show_of_run(run: Run) -> None:
    """The same for one run alone."""
    with shell.told():
        found = test_set_access.of([run])
        with st.expander(_in_words(found), icon=":material/visibility:"):
            st.caption(WHY)
            if len(found):
                shell.table(_view(found), f"looks-{run.id}", alt="Looks at the test images of this run")


def _in_words(found: pd.DataFrame) -> str:
    if found.empty:
        return "No look at these test images has been noted yet"
    times = "once" if len(found) == 1 else f"{count(len(found))} times"
    known = found["time"].dropna()
    since = "" if known.empty else f"{',' if len(found) == 1 else ' since'} {moment(known.iloc[0])}"
    return f"These test images were looked at {times}{since}"


def _view(found: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"When": found["time"].map(moment), "What": found["what"]})
