"""The map of a data set on a page: made or not yet, its result in words, the map itself, outliers and labels.

A page calls ``tab`` once, at its top level: while a map is made, one fragment polls.
"""

from collections.abc import Mapping, Sequence

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
from covid_core.formatting import count, decimals, duration, moment, number, plural, share
from covid_core.jobs import queue
from covid_core.jobs.kinds import MapRequest
from covid_core.reports import audit_text
from pages.panels.audit import decision_form, map_chart
from pages.shared import gallery, job_panel, shell

PER_PAGE, PER_LIST = 24, 12  # images of a choice, and of a list
SUSPICIOUS, OUTLIER = "suspicious label", "outlier"  # findings, as they are dismissed
WHAT_IT_DOES = (
    "The map draws every image as a point, similar images side by side, and lists outliers and suspicious labels. It "
    "uses the features of a pretrained network if a training has stored them, otherwise the pixels. Nothing is "
    "changed."
)


def tab(dataset: Dataset) -> None:
    """All about the map of a data set."""
    at_work = job_panel.panel(lambda: queue.jobs(shell.workspace(), MapRequest, dataset=dataset.id))
    shown = embedding_map.latest(shell.workspace(), dataset)
    if shown is not None:
        _show(dataset, shown, at_work)
    elif not at_work:
        _offer(dataset)


def _offer(dataset: Dataset) -> None:
    with st.container(border=True):
        images = len(dataset.images)
        if images < embedding_map.LEAST:
            st.markdown(f"**Too few images for a map:** it needs {embedding_map.LEAST}, and here are {count(images)}.")
            return
        expected = job_panel.expected(MapRequest(dataset=dataset.id))
        st.markdown(f"**No map yet.** {WHAT_IT_DOES} It takes about {expected} for {plural(images, 'image')}.")
        _button(dataset, "Make the map", "primary")


def _button(dataset: Dataset, label: str, kind: str, help_text: str | None = None) -> None:
    request, icon = MapRequest(dataset=dataset.id), ":material/scatter_plot:"
    job_panel.start_button(label, request, key="map-start", icon=icon, type=kind, help=help_text)


# The map


def _show(dataset: Dataset, shown: Map, at_work: bool) -> None:
    first, *others = audit_text.neighbours(shown)
    st.markdown(" ".join([f"**{first}**", *others]))
    described = audit_text.described_by(shown)
    made, took = moment(shown.facts["made"]), duration(shown.facts["seconds"])
    st.caption(
        f"Made {made} in {took}, from {shell.plain(described)}. “By chance” is the share among images drawn at "
        "random. Intervals are 95 %."
    )
    if not shown.is_current:
        st.info(
            "This map is of an earlier version of the data set. A decision has been made or taken back since.",
            icon=":material/history:",
        )
    if not at_work and (not shown.is_current or described == audit_text.PIXELS):
        help_text = "Uses the features of a pretrained network if a training has stored them since."
        _button(dataset, "Make it again", "tertiary" if shown.is_current else "secondary", help_text)
    pixels = open_pixels(shell.workspace(), dataset, SUMMARY_SIZE)
    map_chart.show(dataset, shown, pixels)
    _show_chosen(dataset, map_chart.chosen(dataset, shown), pixels)
    _show_suspicious(dataset, shown, pixels)
    _show_outliers(dataset, shown, pixels)


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
            proposals = decision_form.of_images(names, dataset)
            decision_form.buttons(dataset, proposals, "map-chosen", len(names))
            clear = {"icon": ":material/close:", "on_click": map_chart.choose, "args": (dataset, [])}
            st.button("Clear the choice", key="map-chosen-none", **clear)
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


def _show_suspicious(dataset: Dataset, shown: Map, pixels: np.ndarray) -> None:
    st.subheader("Suspicious labels")
    facts, reason = shown.facts, shell.plain(audit_text.reason(shown.reason))
    if facts["accuracy"] is None:
        st.markdown(reason)
        return
    table = _open_ones(dataset, shown.suspicious, SUSPICIOUS)
    of_map = "" if shown.is_current else " of the map"
    st.markdown(
        f"**{plural(len(table), 'label is', 'labels are')} suspicious, among "
        f"{plural(facts['judged'], 'image')}{of_map}.** A cross-validated classifier gives another class a higher "
        f"score than usual. It is wrong on {share(1 - facts['accuracy'])} of the {count(facts['judged'])} images, so "
        f"many suspicious labels are right. The least plausible labels come first. {reason}"
    )
    st.caption("Scores are between 0 and 1, but they are no probabilities. The classifier is fitted on 4 of 5 folds.")
    captions = [
        f"{one.label} {number(one.given_score)}, {one.other} {number(one.other_score)}" for one in table.itertuples()
    ]
    heads = {
        "rank": "Rank",
        "image_id": "Image",
        "label": "Label",
        "given_score": "Score of the label",
        "other": "Best other class",
        "other_score": "Its score",
    }
    _listed(dataset, table, heads, SUSPICIOUS, captions, pixels)


def _show_outliers(dataset: Dataset, shown: Map, pixels: np.ndarray) -> None:
    st.subheader("Outliers")
    table = _open_ones(dataset, shown.outliers, OUTLIER)
    st.markdown(
        f"**{plural(len(table), 'image is an outlier', 'images are outliers')}, of {count(len(shown.images))}.** An "
        f"outlier is far from its {BY}th nearest image: more than {decimals(FAR, 0)} robust deviations above the "
        "median of its class. It may be no chest X-ray, another view, a faulty image, or a rare patient."
    )
    captions = [f"{one.label}, {decimals(one.outlier_score, 1)} deviations" for one in table.itertuples()]
    heads = {"image_id": "Image", "label": "Label", "outlier_score": "Deviations"}
    _listed(dataset, table, heads, OUTLIER, captions, pixels)


def _listed(
    dataset: Dataset,
    table: pd.DataFrame,
    heads: Mapping[str, str],
    finding: str,
    captions: Sequence[str],
    pixels: np.ndarray,
) -> None:
    """A list of images: pictures, the table with its download, and what can be done about the rows that are marked."""
    if table.empty:
        return
    name = f"map-{finding.replace(' ', '-')}"
    _paged(dataset, table["row"].tolist(), pixels, name, PER_LIST, captions)
    with st.expander("As a table, with decisions", icon=":material/table:"):
        scores, select = table[[*heads]].rename(columns=heads), {"digits": 3, "selection_mode": "multi-row"}
        event = shell.table(scores, f"{name}-table", on_select="rerun", key=f"{name}-rows", **select)
        marked = [row for row in event.selection.rows if row < len(table)]
        if not marked:
            st.caption("Mark rows to dismiss them, leave their images out, or change their class.")
            return
        proposals = decision_form.of_images(table["image_id"].iloc[marked].tolist(), dataset, finding)
        with st.container(horizontal=True):
            decision_form.buttons(dataset, proposals, name, len(marked))
