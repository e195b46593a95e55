"""Who may see the app, and as what. On this machine: everybody who can open a page here, as administrator. Beyond it:
nobody without a sign-in. Where a sign-in is set up, nobody without it anywhere, but for a class.

``people`` of the secrets name the roles. They are read at every rerun, so who is taken out of them is out at once.
"""

import fnmatch
import logging
import os
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import streamlit as st
from streamlit.errors import StreamlitAuthError, StreamlitMissingAuthlibError
from streamlit.runtime.scriptrunner import get_script_run_ctx

from covid_core import access
from covid_core.access import Actor, Role
from covid_core.access.web import LOOPBACK, OVERRIDE
from covid_core.errors import UnknownId
from covid_core.lessons import classroom
from pages.server import guard
from pages.shared import shell

LISTS = {"administrators": Role.ADMIN, "trainers": Role.TRAINER, "viewers": Role.VIEWER}  # of addresses, in the secrets
NAMES = ("name", "email", "preferred_username", "sub")  # claims that say who somebody is, the plainest first
IDENTITY = ("email", "preferred_username", "sub")  # claims that the lists may hold
NO_PROVIDER = ("client_kwargs",)  # sections of [auth] that are settings
CALLBACK = "oauth2callback"  # where the provider sends who has signed in
SHORTEST_SECRET = 32  # characters; with it everybody could write his own sign-in
EVERYBODY = Actor("everybody", Role.TRAINER)  # beyond this machine, where the protection is switched off
NOBODY = Actor("nobody", Role.NOBODY)
CLASS, CLASS_PAGE = "lesson_class", "lessons"  # session: the code of the class; the only page of a student
WRONG_CODES, WRONG_SECONDS = 30, 60.0  # so many wrong codes of all visitors, then no code counts until the time is over

_wrong: deque[float] = deque(maxlen=WRONG_CODES)


def check() -> None:
    """Stop with one sentence, and the way in where there is one, unless this visitor may see the app."""
    present = visitor()
    session = get_script_run_ctx()
    if session is not None:
        guard.admit_uploads(session.session_id, present.name, present.may(access.UPLOAD))
    if _sign_in() is None and not _proxy_headers():
        _refuse_unprotected_exposure()
    elif not present.may(access.LESSON):
        _way_in()


def visitor() -> Actor:
    """Who acts in this browser session; outside of one, as in the thread that starts the server, the server itself."""
    if get_script_run_ctx() is None:
        return access.local()
    if _sign_in() is None and not _proxy_headers():
        return access.local() if st.get_option("server.address") in LOOPBACK else EVERYBODY
    if is_signed_in() and (role := _role()):
        return Actor(_identity(), role)
    code = _class_code()
    return Actor(f"student of class {code}", Role.STUDENT) if code else NOBODY


access.install(visitor)


def is_signed_in() -> bool:
    """Whether the visitor has signed in, or the proxy names him; never where neither is set up."""
    return st.user.get("is_logged_in") is True or bool(_proxy_headers() and _identity())


def may(right: str) -> bool:
    """Whether the visitor has a right of ``covid_core.access``."""
    return visitor().may(right)


def may_open(page: str) -> bool:
    """Whether a page is one of the visitor's."""
    present = visitor()
    needed = access.ADMINISTER if page == "activity" else access.LESSON if page == CLASS_PAGE else access.VIEW
    return present.may(needed)


def sidebar_foot() -> None:
    """Who is signed in, and the way out; nothing where nobody is."""
    present = visitor()
    if present.role == Role.STUDENT:
        with st.sidebar:
            st.caption(shell.plain(present.name.capitalize()))
    elif is_signed_in():
        name = shell.plain(next((st.user[claim] for claim in NAMES if st.user.get(claim)), "a visitor without a name"))
        with st.sidebar:
            st.caption(f"Signed in as {name}, {shell.plain(present.role.label)}")
            if _sign_in() is not None:
                st.button("Sign out", key="sign-out", icon=":material/logout:", type="tertiary", on_click=st.logout)


def _identity() -> str:
    """What the sign-in or the proxy calls the visitor; an address only if the provider has verified it."""
    claims = [claim for claim in IDENTITY if claim != "email" or st.user.get("email_verified") is not False]
    return next((str(st.user[claim]) for claim in claims if st.user.get(claim)), "")


def _role() -> Role | None:
    """The highest role whose list names the visitor; None in none of them."""
    name = _identity().casefold()
    named = (role for key, role in LISTS.items() if any(fnmatch.fnmatchcase(name, one) for one in _people(key)))
    return next(named, None) if name else None


def _people(key: str) -> list[str]:
    listed = st.secrets.get(key, [])
    return [str(one).casefold() for one in ([listed] if isinstance(listed, str) else listed)]


def _sign_in() -> Mapping[str, Any] | None:
    """The settings of the sign-in; None where there is none."""
    if st.secrets.load_if_toml_exists():
        return st.secrets.get("auth")
    if any(Path(path).exists() for path in st.get_option("secrets.files")):
        _refuse("The file of secrets cannot be read. It may require a sign-in, so nobody gets in. Mend or remove it.")
    return None


def _proxy_headers() -> bool:
    """Whether the server believes a proxy who its visitors are."""
    return bool(st.get_option("server.trustedUserHeaders"))


def _refuse_unprotected_exposure() -> None:
    if st.get_option("server.address") not in LOOPBACK and os.environ.get(OVERRIDE) != "1":
        _refuse(
            "Other computers reach this server, and nothing protects it. Set up a sign-in, or start it from the "
            f"project's folder, whose settings keep it on 127.0.0.1. {OVERRIDE}=1 lets everybody in who reaches it."
        )


def _refuse(sentence: str) -> NoReturn:
    st.error(sentence, icon=":material/lock:")
    st.stop()


def _way_in() -> NoReturn:
    """What somebody sees who may not see the app."""
    _, middle, _ = st.columns([1, 2, 1])
    with middle, st.container(border=True, key="way-in"):
        st.markdown("### Second Look")
        sign_in = _sign_in()
        if is_signed_in():
            who = shell.plain(_identity() or "Your account")
            st.error(f"{who} is not on a list of this server.", icon=":material/lock:")
            st.caption("Ask its administrator to add your address.")
            if sign_in is not None:
                st.button("Sign out", key="sign-out", icon=":material/logout:", on_click=st.logout)
        elif sign_in is not None:
            _sign_in_buttons(sign_in)
        elif not (st.secrets.load_if_toml_exists() and st.secrets.get(guard.PROXY_SECRET)):
            st.error(f"The secrets lack {guard.PROXY_SECRET}, so no proxy is believed.", icon=":material/lock:")
        else:
            st.error("The proxy names no user. Open the address of the proxy.", icon=":material/lock:")
        _class_form()
    st.stop()


def _sign_in_buttons(sign_in: Mapping[str, Any]) -> None:
    st.markdown("Sign in to see data sets, runs and predictions.")
    if len(str(sign_in.get("cookie_secret", ""))) < SHORTEST_SECRET:
        sentence = f"The cookie_secret has fewer than {SHORTEST_SECRET} characters, so nobody can sign in."
        st.error(sentence, icon=":material/lock:")
        return
    opened, back = urlsplit(st.context.url or ""), urlsplit(str(sign_in.get("redirect_uri", "")))
    if opened.netloc and (opened.scheme, opened.netloc) != (back.scheme, back.netloc):
        address = f"{back.scheme}://{back.netloc}"
        st.warning(f"The sign-in leads to {shell.plain(address)}. Open that address.", icon=":material/warning:")
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    if base and back.path != f"/{base}/{CALLBACK}":
        sentence = f"The redirect_uri of the secrets must end in /{base}/{CALLBACK}. Otherwise no sign-in can end."
        st.warning(shell.plain(sentence), icon=":material/warning:")
    named = [name for name, one in sign_in.items() if isinstance(one, Mapping) and name not in NO_PROVIDER]
    for provider in named if named and "client_id" not in sign_in else [None, *named]:
        label = f"Sign in with {shell.plain(provider)}" if provider else "Sign in"
        key = f"sign-in-{provider or 'default'}"
        if st.button(label, key=key, icon=":material/login:", type="primary", width="stretch"):
            _send_to(provider)


def _send_to(provider: str | None) -> None:
    """To the provider; one sentence where that cannot be done."""
    try:
        st.login(provider)
    except StreamlitMissingAuthlibError:
        st.error(
            'The sign-in needs Authlib, which this server lacks. Its administrator adds it: `pip install "streamlit'
            '[auth]"`.',
            icon=":material/error:",
        )
    except StreamlitAuthError as error:
        logging.getLogger(__name__).warning("%s", error)
        st.error(
            "The sign-in is not set up completely. The server's log says what `secrets.toml` lacks.",
            icon=":material/error:",
        )


# A class


def _class_form() -> None:
    """The way in for students: the code that their instructor shows."""
    with st.form("way-into-class", border=False):
        st.text_input("Or join a class with its code", key="way-in-code", max_chars=20)
        st.form_submit_button("Join", key="way-in-join", icon=":material/groups:", on_click=_join)
    if sentence := st.session_state.pop("way-in-refused", ""):
        st.error(shell.plain(sentence), icon=":material/error:")


def _join() -> None:
    try:
        st.session_state[CLASS] = _joined(st.session_state.get("way-in-code", ""))
    except UnknownId as error:
        st.session_state["way-in-refused"] = str(error)


def _joined(typed: str) -> str:
    """The code of an open class. Raises UnknownId, also for a right code while too many wrong ones are tried."""
    now = time.monotonic()
    if len(_wrong) == WRONG_CODES and now - _wrong[0] < WRONG_SECONDS:
        raise UnknownId("Too many wrong codes were tried. Try again in a minute.")
    try:
        return classroom.joined(shell.workspace(), typed)
    except UnknownId:
        _wrong.append(now)
        raise


def _class_code() -> str:
    """The code of the open class that this session has joined, or that its address names; else nothing."""
    joined, named = st.session_state.get(CLASS, ""), st.query_params.get("class", "")
    if joined and classroom.is_open(shell.workspace(), joined):
        return str(joined)
    if named and st.session_state.get("way-in-tried") != named:
        st.session_state["way-in-tried"] = named
        try:
            st.session_state[CLASS] = _joined(named)
            return str(st.session_state[CLASS])
        except UnknownId as error:
            st.session_state["way-in-refused"] = str(error)
    return ""
