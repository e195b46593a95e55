"""Who looked at test images, and how often. Each look makes a later choice less honest, so it is noted with the run.

Noted once per run, kind of look and calendar day: figures that were compared, and single images. An outside test is
noted each time. The accuracy that a run tells of itself, in lists and on its own page, is not.
"""

from collections.abc import Iterable

import pandas as pd

from covid_core.errors import RunError
from covid_core.runs.store import Run

FIGURES = "figures compared"
IMAGES = "single images looked at"
COLUMNS = ("time", "what", "runs")


def note(runs: Iterable[Run], what: str) -> list[Run]:
    """Note a look at the runs' test images. Returns the runs with which it could not be noted."""
    failed = []
    for run in runs:
        try:
            run.note_view(what)
        except RunError:
            failed.append(run)
    return failed


def of(runs: Iterable[Run]) -> pd.DataFrame:
    """The looks at the test images that some runs share, columns COLUMNS: one row per day and kind of look, the oldest
    first, with its first time (seconds since 1970; nan where it cannot be read) and the number of runs.

    Raises RunDamaged.
    """
    opened = pd.DataFrame(
        [(one.day, one.what, one.time, run.id) for run in runs for one in run.openings()],
        columns=["day", "what", "time", "run"],
    )
    days = opened.groupby(["day", "what"], dropna=False)
    shared = days.agg(time=("time", "min"), runs=("run", "nunique")).reset_index()
    return shared.sort_values(["time", "what"], na_position="first", ignore_index=True)[list(COLUMNS)]
