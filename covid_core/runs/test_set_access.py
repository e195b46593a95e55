"""Who looked at test images, and how often. Each look makes a later choice less honest, so it is noted with the run.

Noted once per run, kind of look and calendar day: figures that were compared, and single images. An outside test is
noted each time. The accuracy that a run tells of itself, in lists and on its own page, is not.
"""

import math
from collections.abc import Iterable

import pandas as pd

from covid_core.errors import RunError
from covid_core.runs.store import Opening, Run

FIGURES = "figures compared"
IMAGES = "single images looked at"
COLUMNS = ("time", "what", "runs")


def note(runs: Iterable[Run], what: str) -> list[Run]:
    """Note a look at the runs' test images. Returns the runs with which it could not be noted."""
    failed = []
    for run in runs:
        try:
            run.note_look(what)
        except RunError:
            failed.append(run)
    return failed


def of(runs: Iterable[Run]) -> pd.DataFrame:
    """The looks at the test images that some runs share, columns COLUMNS: one row per day and kind of look, the oldest
    first, with its first time (seconds since 1970; nan where it cannot be read) and the number of runs.

    Raises RunDamaged.
    """
    found: dict[tuple[object, str], list[Opening]] = {}
    for run in runs:
        for one in {(one.day, one.what): one for one in reversed(run.openings())}.values():
            found.setdefault((one.day, one.what), []).append(one)
    rows = [(min(one.time for one in same), what, len(same)) for (_, what), same in found.items()]
    rows.sort(key=lambda row: (-math.inf if math.isnan(row[0]) else row[0], row[1]))
    return pd.DataFrame(rows, columns=list(COLUMNS))
