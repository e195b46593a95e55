"""A choice that stands in the page's address by its key, whatever words and counts it is shown with."""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st


def choice(widget: Callable[..., Any], label: str, words: Mapping[str, str], name: str, **options: Any) -> str:
    """One of the keys of ``words``, of which the first counts when the address is silent.

    ``widget`` is ``st.pills`` or ``st.selectbox``, and takes ``options``; the address counts where it changes.
    """
    key, last, first = f"addressed-{name}", f"addressed-{name}-last", next(iter(words))
    wanted = st.query_params.get(name, "")
    if wanted in words and wanted != st.session_state.get(last, ""):
        st.session_state[key] = wanted
    if st.session_state.get(key) not in words:
        st.session_state[key] = first
    chosen = widget(label, list(words), format_func=words.__getitem__, key=key, **options)
    st.session_state[last] = "" if chosen == first else chosen
    if st.session_state[last] != wanted:  # one message to the browser less
        if st.session_state[last]:
            st.query_params[name] = chosen
        else:
            st.query_params.pop(name, None)
    return chosen
