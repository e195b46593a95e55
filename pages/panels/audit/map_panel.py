"""The map of a data set on a page: made or not yet, its answer in words, the map itself, and images that stand out.

A page calls ``tab`` once, at its top level: while a map is made, one fragment polls.
"""

from collections.abc import Sequence

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
from covid_core.formatting import count, duration, moment, number, plural, share
from covid_core.jobs import queue
from covid_core.jobs.kinds import MapRequest
from covid_core.reports import audit_text
from pages.panels.audit import decision_form, map_chart
from pages.shared import gallery, job_panel, shell

CHOSEN = "map_chosen"  # session: data set, its version, and the rows that are chosen
PER_PAGE, PER_LIST = 24, 12  # images of a choice, and of a list
SUSPICIOUS, OUTLIER = "suspicious label", "outlier"  # findings, as they are dismissed
WHAT_IT_DOES = (
    "It draws every image as a point, similar images side by side, and lists outliers and suspicious labels. It uses "
    "the features of a pretrained network where a training has left them, otherwise the pixels. Nothing is changed."
)


def tab(dataset: Dataset) -> None:
    """All about the map of a data set."""
    at_work = job_panel.panel(lambda: queue.jobs(shell.workspace(), MapRequest, dataset=dataset.id))
    found = embedding_map.latest(shell.workspace(), dataset)
    if found is not None:
        _show(dataset, found, at_work)
    elif not at_work:
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
            f"{job_panel.expected(MapRequest(dataset=dataset.id))}; the page stays usable meanwhile."
        )
        _button(dataset, "Make the map", "primary")


def _button(dataset: Dataset, label: str, kind: str, told: str | None = None) -> None:
    request, icon = MapRequest(dataset=dataset.id), ":material/scatter_plot:"
    job_panel.start_button(label, request, key="map-start", icon=icon, type=kind, help=told)


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
