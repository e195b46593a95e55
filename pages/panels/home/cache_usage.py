"""Where the workspace is, what it keeps to save time, how much of its limit that is, and the way to empty it."""

from collections.abc import Collection

import streamlit as st

from covid_core import cache
from covid_core.cache import Cleared, Entry
from covid_core.formatting import file_size, moment, plural
from covid_core.runs import storage
from covid_core.workspace import HOME, Location, location
from pages.shared import shell

LABELS = {
    "pixels": "Decoded images",
    "features": "Features of frozen networks",
    "tables": "Summaries of data sets",
}
WHY_NOT_NOW = "A run or an import is at work and may use what is kept here. Clear it when that has ended."


def section() -> None:
    """The whole section. Only names and sizes of files are looked at."""
    st.subheader("Storage")
    _where(location())
    with shell.told():
        limit = cache.limit()
        _show(cache.entries(shell.workspace()), limit)


def _where(place: Location) -> None:
    st.markdown(f"Data sets and runs lie in {shell.plain(place.path)}, because {place.reason}.")
    if place.unused:
        st.caption(f"Another workspace, {shell.plain(place.unused)}, is not used. Set {HOME} to it to open it.")


def _show(kept: list[Entry], limit: int) -> None:
    busy, unused = storage.is_busy(shell.workspace()), storage.unused_trunks(shell.workspace())
    if not kept:
        st.caption(
            "Nothing is kept yet. Images are decoded once and frozen networks run once per image; what they give is "
            f"kept here, up to {file_size(limit)}, so that the next run starts sooner."
        )
    if not kept and not unused:
        return
    with st.container(border=True):
        if kept:
            _usage(kept, limit)
        if busy:
            st.caption(WHY_NOT_NOW)
        with st.container(horizontal=True):
            _clear_button(kept, busy)
            _trunks_button(unused)


def _usage(kept: list[Entry], limit: int) -> None:
    """How full it is, and a line per kind."""
    used = cache.total(kept)
    st.progress(
        min(1.0, used / limit), f"{file_size(used)} of {file_size(limit)}, kept so that nothing is computed twice"
    )
    if used > limit:
        st.caption("This is above the limit. What was not used for longest goes when the next run needs room.")
    lines = [_kind_in_words(kind, [entry for entry in kept if entry.kind == kind]) for kind in LABELS]
    st.caption("  \n".join(line for line in lines if line))


def _kind_in_words(kind: str, kept: list[Entry]) -> str:
    if not kept:
        return ""
    return f"{LABELS[kind]}: {file_size(cache.total(kept))}, last used {moment(max(entry.used for entry in kept))}"


def _clear_button(kept: list[Entry], busy: bool) -> None:
    """Asks once, and says what is lost."""
    if not kept:
        return
    with st.popover("Clear cache", icon=":material/mop:", disabled=busy):
        st.markdown(
            f"Clear **{file_size(cache.total(kept))}**? Data sets, runs and models stay. Only time is lost: "
            "images are decoded from their files again, and frozen networks run again, when a page or a run needs them."
        )
        st.button("Clear now", key="clear-cache", on_click=_clear, args=(cache.KINDS,))


def _trunks_button(unused: list[Entry]) -> None:
    """Networks of runs that were deleted; not offered while a run trains."""
    if not unused:
        return
    with st.popover("Remove unused networks", icon=":material/delete:"):
        st.markdown(
            f"Remove **{file_size(cache.total(unused))}** of exported networks that no run refers to any more? A run "
            "that needs one again exports it again."
        )
        st.button("Remove now", key="clear-trunks", on_click=_clear, args=((storage.TRUNKS,),))


def _clear(kinds: Collection[str]) -> None:
    with shell.told():
        _tell(storage.clear(shell.workspace(), kinds))


def _tell(cleared: Cleared) -> None:
    stayed = f" {plural(len(cleared.in_use), 'file')} in use stayed." if cleared.in_use else ""
    st.toast(f"{file_size(cleared.freed)} freed.{stayed}", icon=":material/check_circle:")
