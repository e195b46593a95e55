"""Choices that stand in the page's address: what it names is shown, also after Back and Forward."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st


def is_moved(name: str) -> bool:
    """Whether the address names something else than the page wrote there last, as after Back: then the address
    counts, also where it is silent."""
    written = f"address-{name}"
    return written in st.session_state and st.session_state[written] != st.query_params.get(name, "")


def write(name: str, value: str) -> None:
    """Write a choice into the address, so that the address opens the same view again; no value leaves it out."""
    st.session_state[f"address-{name}"] = value
    if value == st.query_params.get(name, ""):
        return  # one message to the browser less
    if value:
        st.query_params[name] = value
    else:
        st.query_params.pop(name, None)


def choice(widget: Callable[..., Any], label: str, words: Mapping[str, str], name: str, **options: Any) -> str:
    """One of the keys of ``words``, of which the first counts when the address is silent.

    ``widget`` is ``st.pills`` or ``st.selectbox``, and takes ``options``.
    """
    key, first, wanted = f"addressed-{name}", next(iter(words)), st.query_params.get(name, "")
    if key not in st.session_state or is_moved(name):
        st.session_state[key] = wanted
    if st.session_state.get(key) not in words:
        st.session_state[key] = first
    chosen = widget(label, list(words), format_func=words.__getitem__, key=key, **options)
    write(name, "" if chosen == first else chosen)
    return chosen


def multiselect(
    label: str, name: str, names: Mapping[str, str], by_default: Sequence[str], key: str, **options: Any
) -> list[str]:
    """A choice of several ids, which stands in the address under ``name`` unless it is the one made by default.

    ``names`` are what can be chosen, by id; ``key`` and ``options`` are those of the widget.
    """
    wanted = st.query_params.get(name, "")
    if key not in st.session_state or is_moved(name):
        st.session_state[key] = [one for one in wanted.split(",") if one in names] or by_default
    st.session_state[key] = [one for one in st.session_state[key] if one in names]
    chosen = st.multiselect(label, list(names), format_func=names.__getitem__, key=key, **options)
    write(name, "" if set(chosen) == set(by_default) else ",".join(chosen))
    return chosen
