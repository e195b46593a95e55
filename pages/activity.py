"""Activity: who started, changed or deleted what, from the workspace's log."""

from datetime import datetime

import pandas as pd
import streamlit as st

from covid_core.access import activity
from covid_core.formatting import count, moment, plural
from pages.shared import shell

MOST = 2000  # lines on the page; the file has them all
FEW, TALL = 10, 620  # lines for which a table is as high as they are; pixels of a longer one
EVERYBODY = "Everybody"
WIDTHS = {"When": 110, "Who": 200, "Action": 195, "ID": 190, "Role": 115}  # pixels; together a page of 1280


def main() -> None:
    """The log, newest first, of everybody or of one."""
    try:
        lines = activity.lines(shell.workspace(), MOST)
    except OSError as error:
        shell.heading("Who did what here?")
        st.error(f"The log cannot be read: {shell.plain(error.strerror or error)}.", icon=":material/error:")
        return
    shell.heading("Who did what here?", _answer(lines))
    if not lines:
        return
    people = sorted({one.who for one in lines}, key=str.casefold)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        who = st.selectbox("Person", [EVERYBODY, *people], key="activity-person", width=320)
        refused = st.toggle("Only what was refused", key="activity-refused")
    chosen = [
        one for one in lines if who in (EVERYBODY, one.who) and (not refused or one.did.startswith(activity.REFUSED))
    ]
    columns = {name: st.column_config.Column(width=width) for name, width in WIDTHS.items()}
    height = TALL if len(chosen) > FEW else "auto"
    shell.table(_table(chosen), "activity", height=height, column_config=columns)
    st.caption(
        f"The file {activity.FILE} in the workspace holds every line. "
        "The command second-look activity --forget DAYS removes old ones."
    )


def _answer(lines: list[activity.Line]) -> str:
    if not lines:
        return "Nothing has been started, changed or deleted yet."
    refused = sum(one.did.startswith(activity.REFUSED) for one in lines)
    people = len({one.who for one in lines})
    latest = "The latest " if len(lines) == MOST else ""
    return f"{latest}{plural(len(lines), 'action')} by {plural(people, 'person', 'people')}, {count(refused)} refused."


def _table(lines: list[activity.Line]) -> pd.DataFrame:
    rows = [
        (moment(datetime.fromisoformat(one.when).timestamp()), one.who, one.did, one.what, one.role) for one in lines
    ]
    return pd.DataFrame(rows, columns=list(WIDTHS))


main()
