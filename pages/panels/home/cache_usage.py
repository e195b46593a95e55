"""Where the workspace is, how full its cache is, and the button that empties it."""

from collections.abc import Collection

import streamlit as st

from covid_core import access, cache
from covid_core.cache import Entry
from covid_core.formatting import file_size, moment, plural
from covid_core.runs import storage
from covid_core.workspace import HOME, Location, location
from pages.shared import shell

LABELS = {
    "pixels": "Decoded images",
    "features": "Features of frozen networks",
    "tables": "Summaries of data sets",
    "exports": "Exported models",
}
WHY_NOT_NOW = "A run or an import may use the cache now. Clear it when that has ended."


def section() -> None:
    """The whole section, for administrators: it shows where on the server files lie. It reads names and sizes alone."""
    if not access.actor().may(access.ADMINISTER):
        return
    st.subheader("Storage")
    _where(location())
    with shell.errors_shown():
        limit = cache.limit()
        _show(cache.entries(shell.workspace()), limit)


def _where(place: Location) -> None:
    st.markdown(f"Data sets and runs are stored in {shell.plain(place.path)}, because {shell.plain(place.reason)}.")
    if place.unused:
        st.caption(f"Another workspace, {shell.plain(place.unused)}, is not used. Set {HOME} to it to open it.")


def _show(entries: list[Entry], limit: int) -> None:
    busy, unused = storage.is_busy(shell.workspace()), storage.unused_trunks(shell.workspace())
    if not entries:
        st.caption(
            "The cache is empty. It holds decoded images and features of frozen networks, up to "
            f"{file_size(limit)}, so that the next run starts sooner."
        )
    if not entries and not unused:
        return
    with st.container(border=True):
        if entries:
            _usage(entries, limit)
        if busy:
            st.caption(WHY_NOT_NOW)
        with st.container(horizontal=True):
            if entries and not busy:
                _clear_button(entries)
            if unused:
                _trunks_button(unused)


def _usage(entries: list[Entry], limit: int) -> None:
    used = cache.total(entries)
    st.progress(min(1.0, used / limit), f"The cache uses {file_size(used)} of {file_size(limit)}")
    if used > limit:
        st.caption("The cache is above its limit. The next run removes the files that were unused for longest.")
    lines = [_kind_in_words(kind, [entry for entry in entries if entry.kind == kind]) for kind in LABELS]
    st.caption("  \n".join(line for line in lines if line))


def _kind_in_words(kind: str, entries: list[Entry]) -> str:
    if not entries:
        return ""
    return (
        f"{LABELS[kind]}: {file_size(cache.total(entries))}, last used {moment(max(entry.used for entry in entries))}"
    )


def _clear_button(entries: list[Entry]) -> None:
    question = (
        f"Clear **{file_size(cache.total(entries))}**? Data sets, runs and models stay. The next page or run computes "
        "again what it needs."
    )
    options = {"key": "clear-cache", "on_click": _clear, "args": (cache.KINDS,), "right": access.ADMINISTER}
    shell.confirm("Clear cache", question, "Clear now", ":material/mop:", **options)


def _trunks_button(unused: list[Entry]) -> None:
    """Networks of runs that were deleted; not offered while a run trains."""
    question = (
        f"Remove **{file_size(cache.total(unused))}** of exported networks that no run uses any more? A run that needs "
        "one exports it again."
    )
    options = {"key": "clear-trunks", "on_click": _clear, "args": ((storage.TRUNKS,),), "right": access.ADMINISTER}
    shell.confirm("Remove unused networks", question, "Remove now", **options)


def _clear(kinds: Collection[str]) -> None:
    cleared = storage.clear(shell.workspace(), kinds)
    stayed = f" {plural(len(cleared.in_use), 'file')} in use stayed." if cleared.in_use else ""
    st.toast(f"{file_size(cleared.freed)} freed.{stayed}", icon=":material/check_circle:")
