"""Choices that stand in the page's address by their key, whatever words and counts they are shown with."""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st


def pills(label: str, words: Mapping[str, str], name: str) -> str:
    """One of several, as pills: keys of ``words``, of which the first stands for itself when the address is silent."""
    return _chosen(name, list(words), lambda key: st.pills(label, list(words), **_restore(words, key)))


def selectbox(label: str, words: Mapping[str, str], name: str, help_text: str | None = None) -> str:
    """One of several, as a list that opens."""
    options = list(words)
    return _chosen(
        name,
        options,
        lambda key: st.selectbox(
            label, options, format_func=lambda one: words[one], key=key, width=360, help=help_text
        ),
    )


def _restore(words: Mapping[str, str], key: str) -> dict[str, object]:
    return {"required": True, "format_func": lambda one: words[one], "key": key}


def _chosen(name: str, options: Sequence[str], draw: Callable[[str], str]) -> str:
    """What the widget holds; the address counts where it says something new."""
    key, last = f"addressed-{name}", f"addressed-{name}-last"
    wanted = st.query_params.get(name, "")
    if wanted in options and wanted != st.session_state.get(last, ""):
        st.session_state[key] = wanted
    if st.session_state.get(key) not in options:
        st.session_state[key] = options[0]
    chosen = draw(key)
    st.session_state[last] = "" if chosen == options[0] else chosen
    if st.session_state[last] != wanted:  # one message to the browser less
        if st.session_state[last]:
            st.query_params[name] = chosen
        else:
            st.query_params.pop(name, None)
    return chosen
