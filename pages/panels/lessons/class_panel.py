"""The class of a lesson: who this browser is, which class it has joined, and what the class predicts, live."""

import secrets

import streamlit as st

from covid_core import access
from covid_core.figures import lessons as figures
from covid_core.formatting import count, plural
from covid_core.lessons import classroom
from covid_core.lessons.catalogue import Lesson
from pages.shared import shell

COOKIE = "_streamlit_xsrf"  # Streamlit's own: each browser has one, the same for all its pages until it is closed
VISITOR, CLASS = "lesson_visitor", "lesson_class"  # session: the browser's secret, the code of its class
POLL = 2.0  # seconds
BELOW_THE_QUESTION = 0.36  # of a projector's height, so that question and predictions are one screen
UNUSED = f"{count(classroom.UNUSED_SECONDS // 3600)} h"


def visitor() -> str:
    """Who this browser is. One that sends no cookie is another visitor after a reload."""
    if VISITOR not in st.session_state:
        signed_in = st.user.get("sub") or st.user.get("email")
        st.session_state[VISITOR] = str(
            signed_in or _token(st.context.cookies.get(COOKIE, "")) or secrets.token_hex(16)
        )
    return classroom.visitor_of(st.session_state[VISITOR])


def _token(cookie: str) -> str:
    """The token in the cookie "2|mask|token|time": it is masked anew by each answer of the server."""
    parts = cookie.split("|")
    try:
        mask, masked = bytes.fromhex(parts[1]), bytes.fromhex(parts[2])
    except (IndexError, ValueError):
        return ""
    return bytes(byte ^ mask[place % len(mask)] for place, byte in enumerate(masked)).hex() if mask else ""


def code() -> str:
    """The class that this browser is in, by its address or since before; else ALONE."""
    named = st.query_params.get("class", "")
    if named and named != st.session_state.get(CLASS):
        with shell.errors_shown():
            st.session_state[CLASS] = classroom.joined(shell.workspace(), named)
    current = st.session_state.get(CLASS, classroom.ALONE)
    if current != classroom.ALONE and not classroom.is_open(shell.workspace(), current):
        st.info("The class has ended. You go on alone.", icon=":material/group_off:")
        current = classroom.ALONE
    st.session_state[CLASS] = current
    _into_address(current)
    return current


def _into_address(current: str) -> None:
    if current != classroom.ALONE:
        st.query_params["class"] = current
    else:
        st.query_params.pop("class", None)


def present() -> str:
    """The class of this session, without its address."""
    return st.session_state.get(CLASS, classroom.ALONE)


def address() -> dict[str, str]:
    """What the address of a lesson holds of its class."""
    return {} if present() == classroom.ALONE else {"class": present()}


def is_opener() -> bool:
    """Whether this browser has opened the class that it is in."""
    return classroom.is_opener(shell.workspace(), visitor(), present())


def why_shared(lesson: Lesson) -> str:
    """Why this browser may not remove a prepared lesson; empty where it may."""
    return classroom.why_shared(shell.workspace(), visitor(), lesson.key)


def overview() -> None:
    """Open, join, leave or close a class."""
    with st.container(border=True, key="lesson-class"):
        if present() == classroom.ALONE:
            st.markdown("**In a class, everybody predicts, and the predictions appear live before the outcome.**")
            with st.container(horizontal=True, vertical_alignment="bottom"):
                options = {"icon": ":material/groups:", "on_click": shell.tried, "args": (_open,)}
                shell.button("Open a class", access.CLASS, key="open-class", **options)
                st.text_input("Class code", key="class-code", max_chars=20, width=160)
                st.button("Join", key="join-class", icon=":material/login:", on_click=shell.tried, args=(_join,))
            return
        is_opened_here = is_opener()
        if is_opened_here:
            st.title(f"Class {present()}", anchor=False)  # for a projector: read from the last row
        else:
            st.markdown(f"**You are in class {present()}.**")
        st.markdown(f"Others join it with this code, or at {_shared_address()}")
        rights = "This browser opened the class: it alone resets its lessons and closes it. " if is_opened_here else ""
        st.caption(f"{rights}The class ends by itself {UNUSED} after its last prediction.")
        if is_opened_here:
            question = "Close the class? The predictions of everybody in it are removed."
            options = {"key": "close-class", "on_click": _close, "right": access.LESSON}
            shell.confirm("Close the class", question, "Close now", **options)
        else:
            st.button("Leave the class", key="leave-class", icon=":material/logout:", on_click=_leave)


def _shared_address() -> str:
    """The address of the four lessons in this class: never that of a presentation."""
    page, _, _ = (st.context.url or "lessons").partition("?")
    return f"`{page}?class={present()}`"


def _open() -> None:
    _enter(classroom.open_class(shell.workspace(), visitor()))


def _join() -> None:
    _enter(classroom.joined(shell.workspace(), st.session_state.get("class-code", "")))


def _enter(joined: str) -> None:
    st.session_state[CLASS] = joined
    _into_address(joined)


def _leave() -> None:
    _enter(classroom.ALONE)


def _close() -> None:
    classroom.close_class(shell.workspace(), visitor(), present())
    _leave()


@st.fragment(run_every=POLL)
def live(lesson: Lesson, outcome: float | None = None) -> None:
    """What the class has predicted until now; with the outcome in per cent, once that is shown."""
    if not classroom.is_open(shell.workspace(), present()):
        st.rerun()  # it has ended meanwhile
    percents = classroom.predictions(shell.workspace(), present(), lesson.key)
    st.markdown(f"**The class has made {plural(len(percents), 'prediction')}.** Class {present()}.")
    if percents:
        words = figures.prediction_histogram_in_words(percents, outcome)
        figure = figures.prediction_histogram(percents, outcome)
        name = f"lesson-{lesson.key}-class"
        with st.container(key="live-predictions"):
            shell.chart(
                figure, name, alt=words, title="Predictions of the class", caption=words, on_screen=BELOW_THE_QUESTION
            )
