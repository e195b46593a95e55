"""Who may see the app. On this machine: everybody who can open a page here. Beyond it: nobody without a sign-in."""

import os

import streamlit as st

LOOPBACK = ("127.0.0.1", "localhost", "::1")
OVERRIDE = "SECOND_LOOK_ALLOW_REMOTE"


def refuse_unprotected_exposure() -> None:
    """Stop with one sentence when the server listens beyond this machine and nothing protects it."""
    address = st.get_option("server.address")
    protected = "auth" in st.secrets if st.secrets.load_if_toml_exists() else False
    if address in LOOPBACK or protected or os.environ.get(OVERRIDE) == "1":
        return
    st.error(
        "This server listens beyond this machine, and nothing protects it. Start it from the project's folder (its "
        f"settings keep it on 127.0.0.1), put a sign-in in front of it, or set {OVERRIDE}=1 if you know that everybody "
        "who reaches it may use it.",
        icon=":material/lock:",
    )
    st.stop()
