"""A query to a PACS that the administrator of the server has named; it is sent by a button that names the PACS."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import streamlit as st

from covid_core import access
from covid_core.errors import InvalidChoice
from covid_core.exchange.pacs import servers
from covid_core.exchange.pacs.servers import Server
from pages.shared import shell

FIELDS = {  # keywords of DICOM, as a person calls them
    "StudyInstanceUID": "Study Instance UID",
    "AccessionNumber": "Accession number",
    "PatientID": "Patient ID",
    "StudyDate": "Study date",
}
EXAMPLES = {"StudyDate": "20240131, or 20240101-20240131"}


class Query(NamedTuple):
    """What a PACS is asked for: values by keyword of DICOM."""

    server: Server
    values: dict[str, str]


def is_configured() -> bool:
    """Whether a PACS is named; also where the setting is wrong, so that its error is shown."""
    try:
        return bool(servers.configured())
    except InvalidChoice:
        return True


def query(key: str, lacks: str = "") -> Query | None:
    """The form, and its query when a button was pressed. Raises InvalidChoice for a wrong setting, or no value.

    ``lacks``: what the visitor has to do first, until when no button can be pressed.
    """
    there = list(servers.configured().values())
    with st.form(f"pacs-{key}", border=False, clear_on_submit=True, enter_to_submit=False):
        typed = {
            keyword: st.text_input(label, max_chars=64, placeholder=EXAMPLES.get(keyword)).strip()
            for keyword, label in FIELDS.items()
        }
        with st.container(horizontal=True):
            pressed = [server for server in there if _submit(server, lacks)]
    values = {keyword: value for keyword, value in typed.items() if value}
    if pressed and not values:
        raise InvalidChoice("Fill in one field at least.")
    return Query(pressed[0], values) if pressed else None


def _submit(server: Server, lacks: str) -> bool:
    options = {"draw": st.form_submit_button, "icon": ":material/cloud_download:"}
    options |= {"disabled": True, "help": lacks} if lacks else {}
    return bool(shell.button(f"Fetch from {shell.plain(server.name)}", access.PACS, **options))


def fetched(asked: Query, most: int, most_bytes: int) -> Iterator[Any]:
    """What the PACS sends, one file after the other, with progress. Raises PacsError, InvalidChoice, NotPermitted."""
    from covid_core.exchange.pacs import dicomweb  # requests takes a fifth of a second to import

    bar = st.progress(0.0, f"Asking {shell.plain(asked.server.name)}")
    try:
        show: Callable[[float, str], object] = bar.progress
        yield from dicomweb.images(shell.workspace(), asked.server, asked.values, most, most_bytes, show)
    finally:
        bar.empty()
