"""A job that is no training, as a card: how far it is, with the button that stops it; or why it has left nothing."""

from collections.abc import Callable

import streamlit as st

from covid_core.formatting import duration
from covid_core.jobs import queue
from covid_core.runs import store
from covid_core.runs.store import JobFolder, Status
from pages.shared import shell


def running(title: str, job: JobFolder, status: Status, on_stop: str, place: str = "") -> None:
    """Progress, time spent and left.

    Args:
        title: what is done, as Markdown.
        job: its folder.
        status: how far it is.
        on_stop: what stopping keeps, in a sentence.
        place: tells the cards of one job apart, where a page has several.
    """
    with st.container(border=True, key=f"job-{place}{job.id}"):
        row = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
        row.markdown(f"**{title}**", width="content")
        stopping = job.stop_requested()
        row.button(
            "Stopping" if stopping else "Stop",
            key=f"stop-{place}{job.id}",
            icon=":material/stop_circle:",
            help=on_stop,
            disabled=stopping,
            on_click=_stop,
            args=(job,),
        )
        st.progress(min(max(status.progress, 0.0), 1.0), text=shell.plain(status.message or "Starting"))
        left = "" if status.seconds_left is None else f", about {duration(status.seconds_left)} left"
        st.caption("Not started yet." if status.elapsed is None else f"{duration(status.elapsed)} so far{left}.")


def _stop(job: JobFolder) -> None:
    with shell.told():
        queue.stop(job)


def without_result(
    stopped: str,
    failed: str,
    job: JobFolder,
    status: Status,
    again: Callable[[], None] | None = None,
    dismiss: Callable[[], None] | None = None,
    place: str = "",
) -> None:
    """A job that ended without a result, until it is tried again or dismissed; nothing for all others.

    Args:
        stopped: said, as Markdown, where somebody stopped it.
        failed: said before the reason, where it failed.
        job: its folder.
        status: how it ended.
        again: starts it anew, once what is left of it is gone; None offers no such button.
        dismiss: forgets it; removes its folder by default.
        place: as in ``running``.
    """
    if not status.is_final or status.state == store.COMPLETED:
        return
    forget = dismiss or (lambda: queue.dismiss(job))
    if status.state == store.STOPPED:
        st.info(stopped, icon=":material/stop_circle:")
    else:
        reason = shell.plain(status.reason or "It ended without a reason.")
        st.error(f"{failed} {reason}", icon=":material/error:")
    with st.container(horizontal=True):
        if again is not None:
            key = f"again-{place}{job.id}"
            st.button("Try again", key=key, icon=":material/refresh:", on_click=_again, args=(forget, again))
        st.button("Dismiss", key=f"dismiss-{place}{job.id}", icon=":material/close:", on_click=forget)


def _again(forget: Callable[[], None], start: Callable[[], None]) -> None:
    forget()
    start()
