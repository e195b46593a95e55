"""The map of a data set on a page: made or not yet, its answer in words, the map itself, and images that stand out.

A page calls ``tab`` once, at its top level: while a map is made, one fragment polls.
"""

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from covid_core.audit.embedding import embedding_map
from covid_core.audit.embedding.embedding_map import Map
from covid_core.audit.embedding.outlier_detection import BY, FAR
from covid_core.data import decisions
from covid_core.data.dataset import Dataset
from covid_core.data.pixels import SUMMARY_SIZE, open_pixels
from covid_core.data.summary import UNKNOWN_SOURCE
from covid_core.errors import CovidCoreError
from covid_core.formatting import count, duration, moment, number, plural, roughly, share
from covid_core.jobs import queue
from covid_core.reports import audit_text
from covid_core.runs import store
from covid_core.runs.store import JobFolder, Status
from pages.panels.audit import decision_form, map_chart
from pages.shared import gallery, job_cards, shell

POLL = 1.0  # seconds
OWN = "map_jobs"  # session: maps to tell of when they end
PER_PAGE, PER_LIST = 24, 12  # images of a choice, and of a list
SUSPICIOUS, OUTLIER = "suspicious label", "outlier"  # findings, as they are dismissed
WHAT_IT_DOES = (
    "It draws every image as a point, similar images side by side, and lists outliers and suspicious labels. It uses "
    "the features of a pretrained network where a training has left them, otherwise the pixels. Nothing is changed."
)


class MapJob(NamedTuple):
    """A map that is being made, or was: its folder and how far it is."""

    folder: JobFolder
    status: Status


def tab(dataset: Dataset) -> None:
    """All about the map of a data set."""
    listed = _jobs_of(dataset)
    active = _active(listed)
    _tell_finished(listed, active)
    if active:
        _watch(dataset, active)
    else:
        for job in listed:
            stopped, failed = "**The map** was stopped. Nothing was kept of it.", "**The map** could not be made."
            job_cards.without_result(stopped, failed, job.folder, job.status, partial(_start, dataset.id))
    found = embedding_map.latest(shell.workspace(), dataset)
    if found is not None:
        _show(dataset, found, bool(active))
    elif not active:
        _offer(dataset)


# Made, or not yet


def _offer(dataset: Dataset) -> None:
    with st.container(border=True):
        images = len(dataset.images)
        if images < embedding_map.LEAST:
            st.markdown(f"**Too few images for a map:** it needs {embedding_map.LEAST}, and these are {count(images)}.")
            return
        st.markdown(
            f"**No map yet.** {WHAT_IT_DOES} With {plural(images, 'image')} it takes about "
            f"{roughly(embedding_map.expected_seconds(images))}; the page stays usable meanwhile."
        )
        _button(dataset, "Make the map", "primary")


def _button(dataset: Dataset, label: str, kind: str, told: str | None = None) -> None:
    icon = ":material/scatter_plot:"
    st.button(label, type=kind, icon=icon, key="map-start", help=told, on_click=_start, args=(dataset.id,))


def _start(identifier: str) -> None:
    with shell.told():
        job = queue.submit_map(shell.workspace(), identifier)
        st.session_state.setdefault(OWN, []).append(job.id)


def _jobs_of(dataset: Dataset) -> list[MapJob]:
    """Maps of this data set that are made or were, in the order of their start."""
    found = []
    for folder, of in queue.map_jobs(shell.workspace()):
        if of == dataset.id:
            with contextlib.suppress(CovidCoreError, OSError):  # dismissed in another window at this moment
                found.append(MapJob(folder, folder.status()))
    return found


def _active(listed: Sequence[MapJob]) -> frozenset[str]:
    return frozenset(job.folder.id for job in listed if not job.status.is_final)


def _tell_finished(listed: Sequence[MapJob], active: frozenset[str]) -> None:
    """Say once that a map is made that this session has seen in the making."""
    own: list[str] = st.session_state.setdefault(OWN, [])
    own.extend(active - set(own))
    for job in listed:
        if job.folder.id in own and job.status.state == store.COMPLETED:
            own.remove(job.folder.id)
            st.toast(f"The map is made, after {duration(job.status.elapsed)}.", icon=":material/check_circle:")


@st.fragment(run_every=POLL)
def _watch(dataset: Dataset, active: frozenset[str]) -> None:
    """Progress; when a map starts or ends, the whole page takes notice."""
    listed = _jobs_of(dataset)
    for job in listed:
        if not job.status.is_final:
            on_stop = "Nothing is kept of a map that is not complete."
            job_cards.running("The map is being made", job.folder, job.status, on_stop)
    if _active(listed) != active:
        st.rerun()


# The map


def _show(dataset: Dataset, found: Map, at_work: bool) -> None:
    first, *others = audit_text.neighbours(found)
    st.markdown(" ".join([f"**{first}**", *others]))
    told = (
        f"Made {moment(found.facts['made'])} in {duration(found.facts['seconds'])}, from {shell.plain(found.features)}."
    )
    st.caption(f"{told} “By chance” is what images drawn at random would have; intervals are 95 %.")
    if not found.is_current:
        st.info(
            "This map is of an earlier version of the data set: images or classes have changed since. Its figures are "
            "of that version.",
            icon=":material/history:",
        )
    if not at_work and (not found.is_current or found.features == embedding_map.PLAIN):
        help_text = "From the features of a pretrained network, where a training has left them since."
        _button(dataset, "Make it again", "tertiary" if found.is_current else "secondary", help_text)
    pixels = open_pixels(shell.workspace(), dataset, SUMMARY_SIZE)
    map_chart.show(dataset, found, pixels)
    _show_chosen(dataset, map_chart.chosen(dataset, found), pixels)
    _show_suspicious(dataset, found, pixels)
    _show_outliers(dataset, found, pixels)


# The chosen images


def _show_chosen(dataset: Dataset, chosen: Sequence[int], pixels: np.ndarray) -> None:
    if not chosen:
        return
    images = dataset.images.iloc[list(chosen)]
    with st.container(border=True, key="map-chosen"):
        st.subheader(f"{plural(len(chosen), 'image')} chosen")
        by_class = ", ".join(f"{shell.plain(label)} {count(n)}" for label, n in images["label"].value_counts().items())
        sources = images["source"].replace("", UNKNOWN_SOURCE).value_counts()
        by_source = ", ".join(f"{shell.plain(name)} {count(n)}" for name, n in sources.head(4).items())
        more = f" and {plural(len(sources) - 4, 'source')} more" if len(sources) > 4 else ""
        st.markdown(f"Classes: {by_class}.  \nSources: {by_source}{more}.")
        names = images["image_id"].tolist()
        with st.container(horizontal=True):
            for label, icon, wish in (
                ("Leave out", ":material/block:", lambda: decision_form.leaving_out(names, dataset)),
                ("Change class", ":material/label:", lambda: decision_form.relabelling(names, dataset)),
                ("Keep together", ":material/link:", lambda: decision_form.grouping([names])),
            ):
                too_few = label == "Keep together" and len(names) < 2
                if st.button(label, icon=icon, key=f"map-chosen-{label}", disabled=too_few):
                    decision_form.confirm(dataset, wish())
            key = "map-chosen-none"
            st.button(
                "Clear the choice", icon=":material/close:", key=key, on_click=map_chart.choose, args=(dataset, [])
            )
        _paged(dataset, list(chosen), pixels, "map-chosen-page", PER_PAGE)


def _paged(
    dataset: Dataset, rows: list[int], pixels: np.ndarray, key: str, each: int, captions: Sequence[str] = ()
) -> None:
    """Images with their pictures, page by page."""
    pages = -(-len(rows) // each)
    page = st.pagination(pages, key=f"{key}-{dataset.version[:8]}-{len(rows)}") if pages > 1 else 1
    first = (page - 1) * each
    some = slice(first, first + each)
    if pages > 1:
        st.caption(f"{count(first + 1)} to {count(first + len(rows[some]))} of {plural(len(rows), 'image')}")
    gallery.image_grid(dataset, rows[some], pixels, key, captions[some])


# What stands out


def _open_ones(dataset: Dataset, table: pd.DataFrame, finding: str) -> pd.DataFrame:
    """Images whose finding nobody has dismissed."""
    gone = decisions.dismissed(dataset.decisions)
    return table[[(name, finding, "") not in gone for name in table["image_id"]]].reset_index(drop=True)


def _show_suspicious(dataset: Dataset, found: Map, pixels: np.ndarray) -> None:
    st.subheader("Suspicious labels")
    facts = found.facts
    reason = shell.plain(facts["reason"])
    if facts["accuracy"] is None:
        st.markdown(reason)
        return
    table = _open_ones(dataset, found.suspicious, SUSPICIOUS)
    wrong = 1 - facts["accuracy"]
    of = count(facts["judged"]) if found.is_current else f"the {count(facts['judged'])} images that the map was made of"
    st.markdown(
        f"**{plural(len(table), 'label is', 'labels are')} disputed, of {of}.** A cross-validated "
        "classifier gives another class a score as high as that class usually has. It is wrong about "
        f"{share(wrong)} of these images itself, so many disputed labels may be right. The first fit least. {reason}"
    )
    st.caption("Scores from 0 to 1 are no probabilities. The classifier is fitted on four of five folds, by groups.")
    if table.empty:
        return
    shown = table.rename(
        columns={
            "rank": "Rank",
            "image_id": "Image",
            "label": "Label",
            "given_score": "Score of the label",
            "other": "Best other class",
            "other_score": "Its score",
        }
    )
    captions = [f"{one.label} {number(one.given_score)}, {one.other} {number(one.other_score)}" for one in _rows(table)]
    _listed(dataset, table, shown, SUSPICIOUS, captions, pixels)


def _show_outliers(dataset: Dataset, found: Map, pixels: np.ndarray) -> None:
    st.subheader("Outliers")
    table = _open_ones(dataset, found.outliers, OUTLIER)
    st.markdown(
        f"**{plural(len(table), 'image lies', 'images lie')} far from all others, of {count(len(found.images))}:** the "
        f"{BY}th nearest image is farther away than the median of the class, by more than {FAR:.0f} robust deviations. "
        "It may be no chest X-ray, another view, an image with a fault, or a rare patient."
    )
    if table.empty:
        return
    shown = table.rename(columns={"image_id": "Image", "label": "Label", "outlier_score": "Deviations"})
    captions = [f"{one.label}, {one.outlier_score:.1f} deviations" for one in _rows(table)]
    _listed(dataset, table, shown, OUTLIER, captions, pixels)


def _rows(table: pd.DataFrame) -> list:
    return list(table.itertuples())


def _listed(
    dataset: Dataset,
    table: pd.DataFrame,
    shown: pd.DataFrame,
    finding: str,
    captions: Sequence[str],
    pixels: np.ndarray,
) -> None:
    """A list of images: pictures, the table with its download, and what can be done about the rows that are marked."""
    name = finding.replace(" ", "-")
    _paged(dataset, table["row"].tolist(), pixels, f"map-{name}", PER_LIST, captions)
    with st.expander("As a table, and what can be done", icon=":material/table:"):
        scores = shown.drop(columns="row").round(3)
        event = shell.table(
            scores, f"map-{name}-table", on_select="rerun", selection_mode="multi-row", key=f"map-{name}-rows"
        )
        marked = [row for row in event.selection.rows if row < len(table)]
        if not marked:
            st.caption("Mark rows to dismiss them, leave their images out, or change their class.")
        else:
            decision_form.buttons(dataset, table["image_id"].iloc[marked].tolist(), finding, f"map-{name}")
