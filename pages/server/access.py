"""Who may see the app. On this machine: everybody who can open a page here. Beyond it: nobody without a sign-in. Where
a sign-in is set up, nobody without it anywhere."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import streamlit as st
from streamlit.errors import StreamlitAuthError, StreamlitMissingAuthlibError

from pages.shared import shell

LOOPBACK = ("127.0.0.1", "localhost", "::1")
OVERRIDE = "SECOND_LOOK_ALLOW_REMOTE"
ADMINISTRATORS = "administrators"  # of the secrets: e-mail addresses
NAMES = ("name", "email", "preferred_username", "sub")  # claims that say who somebody is, the plainest first
NO_PROVIDER = ("client_kwargs",)  # sections of [auth] that are settings


def check() -> None:
    """Stop with one sentence, and the way in where there is one, unless this visitor may see the app."""
    sign_in = _sign_in()
    if sign_in is None:
        _refuse_unprotected_exposure()
    elif not is_signed_in():
        _sign_in_page(sign_in)


def is_signed_in() -> bool:
    """Whether the visitor has signed in; never where no sign-in is set up."""
    return st.user.get("is_logged_in") is True


def may_administer() -> bool:
    """Whether the visitor may have the server read files of its own and change what all users share: at this machine,
    or signed in with an address among ADMINISTRATORS of the secrets."""
    if _sign_in() is None:
        return st.get_option("server.address") in LOOPBACK
    return is_signed_in() and st.user.get("email") in st.secrets.get(ADMINISTRATORS, [])


def sidebar_foot() -> None:
    """Who is signed in, and the way out; nothing where nobody is."""
    if is_signed_in():
        name = next((st.user[claim] for claim in NAMES if st.user.get(claim)), "a visitor without a name")
        with st.sidebar:
            st.caption(f"Signed in as {shell.plain(name)}")
            st.button("Sign out", key="sign-out", icon=":material/logout:", type="tertiary", on_click=st.logout)


def _sign_in() -> Mapping[str, Any] | None:
    """The settings of the sign-in; None where there is none."""
    if st.secrets.load_if_toml_exists():
        return st.secrets.get("auth")
    if any(Path(path).exists() for path in st.get_option("secrets.files")):
        _refuse(
            "The file of secrets cannot be read, so whether a sign-in is asked for is not known. Mend or remove it."
        )
    return None


def _refuse_unprotected_exposure() -> None:
    if st.get_option("server.address") not in LOOPBACK and os.environ.get(OVERRIDE) != "1":
        _refuse(
            "This server listens beyond this machine, and nothing protects it. Set up a sign-in, or start it from the "
            f"project's folder, whose settings keep it on 127.0.0.1. {OVERRIDE}=1 lets everybody in who reaches it."
        )


def _refuse(sentence: str) -> NoReturn:
    st.error(sentence, icon=":material/lock:")
    st.stop()


def _sign_in_page(sign_in: Mapping[str, Any]) -> NoReturn:
    st.markdown("This Second Look is open to those who sign in.")
    named = [name for name, one in sign_in.items() if isinstance(one, Mapping) and name not in NO_PROVIDER]
    for provider in named if named and "client_id" not in sign_in else [None, *named]:
        label = f"Sign in with {shell.plain(provider)}" if provider else "Sign in"
        if st.button(label, key=f"sign-in-{provider or 'default'}", icon=":material/login:", type="primary"):
            _send_to(provider)
    st.stop()


def _send_to(provider: str | None) -> None:
    """To the provider; one sentence where that cannot be done."""
    try:
        st.login(provider)
    except StreamlitMissingAuthlibError:
        st.error(
            'Signing in needs Authlib, which this server lacks. Whoever runs it installs it: `pip install "streamlit'
            '[auth]"`.',
            icon=":material/error:",
        )
    except StreamlitAuthError as error:
        logging.getLogger(__name__).warning("%s", error)
        st.error(
            "Signing in is not set up completely, so nobody can. The server's log says what `secrets.toml` lacks.",
            icon=":material/error:",
        )
