"""Images from a PACS, and the result of an image back to it; both only where an administrator has named a PACS."""

from collections.abc import Callable, Sequence

import streamlit as st

from covid_core import access
from covid_core.exchange.pacs import results, servers
from covid_core.exchange.pacs.servers import Server
from covid_core.images.codec import DICOM, kind_of
from covid_core.inference.assessment import Assessment
from covid_core.runs.store import Run
from pages.shared import pacs, shell
from pages.shared.uploads import FetchedFile, ImageSource

MENU, FETCHED = "from_pacs", "fetched_from_pacs"  # session: is the form open? images that the next rerun takes
MOST, MOST_BYTES = 30, 256 * 10**6  # images and bytes of one query; they stay in this session's memory


def fetched() -> list[FetchedFile]:
    """The form, and the images of a query that has just been sent."""
    if not pacs.is_configured():
        return []
    files: list[FetchedFile] = st.session_state.pop(FETCHED, [])
    if files:
        st.session_state[MENU] = False  # it would hide them
    menu = {"icon": ":material/cloud_download:", "key": MENU, "on_change": "rerun", **shell.refused(access.PACS)}
    with st.popover("From a PACS", **menu), shell.errors_shown():
        st.caption(f"At most {MOST} plain radiographs. They stay in this session's memory.")
        if asked := pacs.query("predict"):
            arrived = pacs.fetched(asked, MOST, MOST_BYTES)
            st.session_state[FETCHED] = [FetchedFile(name, name, content) for name, content in arrived]
            st.rerun()
    return files


def offer_result(answers: Sequence[tuple[Run, Assessment]], source: ImageSource) -> None:
    """For each PACS a button that sends the result of a DICOM image there, after a question."""
    if source.content is None or not pacs.is_configured() or kind_of(source.content()) != DICOM:
        return
    sent = [(run, one) for run, one in answers if not one.error and one.refused_by is None]
    if not sent:
        st.caption("No result for a PACS: the image has no prediction.")
        return
    what = (source.key, [(run.id, one.coverage) for run, one in sent])
    with shell.errors_shown():
        for server in servers.configured().values():
            stored = f"stored-{server.name}-{what}"
            if stored in st.session_state:  # once is enough: each press would add a report to the study
                st.caption(f"Stored in {shell.plain(server.name)}.")
                continue
            shell.confirm(
                f"Send the result to {shell.plain(server.name)}",
                "A structured report and a picture (image, heat map, prediction) are stored in the study of this "
                "image. Both name the patient and are marked as research, not for diagnosis.",
                f"Store them in {shell.plain(server.name)}",
                ":material/cloud_upload:",
                right=access.PACS,
                key=f"send-{server.name}",
                on_click=_send,
                args=(server, sent, source.content, stored),
            )


def _send(server: Server, sent: Sequence[tuple[Run, Assessment]], content: Callable[[], bytes], stored: str) -> None:
    from covid_core.exchange.pacs import dicomweb

    image = content()
    made = [file for run, one in sent for file in results.of(run, one, image).files.values()]
    dicomweb.store(shell.workspace(), server, made)
    st.session_state[stored] = True
