"""The Audit page's view of duplicates: pairs of one picture, label conflicts, data leakage across a split."""

from collections.abc import Mapping
from functools import partial

import pandas as pd
import streamlit as st

from covid_core import access
from covid_core.audit import tables
from covid_core.audit.duplicates import duplicate_pairs
from covid_core.audit.duplicates.threshold import Limits
from covid_core.audit.tables import ACROSS, ALIKE, ALL, CONFLICT, EQUAL
from covid_core.data.dataset import Dataset
from covid_core.data.pixels import SUMMARY_SIZE, open_pixels
from covid_core.data.split import make_split
from covid_core.figures import audit as figures
from covid_core.formatting import count, plural
from covid_core.reports import audit_text
from covid_core.runs import candidates
from covid_core.specs import SPLIT_LABELS, SplitSpec
from pages.panels.audit import decision_form, pair_view
from pages.shared import audit_panel, gallery, run_cache, shell, url_state
from pages.shared.audit_panel import Audited

KINDS = {
    ALL: "All",
    CONFLICT: "Two classes",
    ACROSS: "Across parts",
    EQUAL: "Equal files",
    ALIKE: "Near-duplicates",
}
AT_ONCE = 24  # images of a patient
WAYS = ("grouped", "stratified")


def show(audited: Audited) -> None:
    _pairs(audited)
    _patients(audited.dataset)


def _pairs(audited: Audited) -> None:
    pairs = audited.pairs[~audited.pairs["dismissed"]]
    st.markdown(
        "Two files with the same picture are one image that counts twice. *Data leakage*: one of them is trained on "
        "and the other tested on. If their classes differ, one label is wrong."
    )
    dismissed = int(audited.pairs["dismissed"].sum())
    if dismissed:
        st.caption(f"{plural(dismissed, 'pair')} dismissed. The tab Decisions can take that back.")
    if not len(pairs):
        st.info("No two images show the same picture.", icon=":material/check:")
        _limit(audited)
        return
    method, parts = _pick_split(audited.dataset)
    pairs = tables.with_parts(pairs, parts)
    images = audit_panel.grouped(audited.dataset, audited.dataset.version)
    listed = {kind: tables.of_kind(pairs, kind) for kind in KINDS}
    st.markdown(f"**{audit_text.duplicates(pairs)}**")
    if len(listed[ACROSS]):
        ungrouped = tables.ungrouped(listed[ACROSS], images)
        st.markdown(audit_text.leakage(len(listed[ACROSS]), len(ungrouped), method))
    st.caption(audit_text.clusters(images))
    words = {one: f"{KINDS[one]} ({count(len(listed[one]))})" for one in KINDS}
    kind = url_state.choice(st.pills, "Which pairs", words, "pairs", required=True)
    chosen = listed[kind].sort_values("conflict", ascending=False, kind="stable")
    if not len(chosen):
        st.info("No pair is of this kind.", icon=":material/check:")
        return
    apart = tables.ungrouped(chosen, images)
    _group_all(audited.dataset, chosen, apart)
    sides = (audited.dataset, audited.dataset)
    pair_view.show(chosen, sides, "copies", lambda row: _actions(audited.dataset, row, row.name in apart.index))
    _limit(audited)


def _patients(dataset: Dataset) -> None:
    """Patients with images of several classes, and the images of one of them; nothing where no patient is on record."""
    if not (dataset.images["patient_id"] != "").any():
        return
    st.subheader("Patients with several classes")
    patients = tables.contradicting_patients(dataset.images)
    st.markdown(f"**{audit_text.patients(patients)}**")
    if patients.empty:
        return
    classes = [
        ", ".join(f"{label} {count(images)}" for label, images in counts.items()) for counts in patients["counts"]
    ]
    images = {name: patients["image_ids"].iat[row] for row, name in enumerate(patients["patient_id"])}
    shown = pd.DataFrame({"Patient": list(images), "Images": [len(ids) for ids in images.values()], "Classes": classes})
    shell.table(shown, "patients", alt="Patients with images of several classes")
    patient = st.selectbox("Images of the patient", list(images), key=f"patient-{dataset.id}", width=360)
    rows = [dataset.row_of(name) for name in images[patient][:AT_ONCE]]
    labels = [shell.plain(dataset.images["label"].iat[row]) for row in rows]
    gallery.image_grid(dataset, rows, open_pixels(shell.workspace(), dataset, SUMMARY_SIZE), "patient", labels)


def _limit(audited: Audited) -> None:
    """The similarity from which two images are duplicates, and how similar images are that certainly are not."""
    title = "When are two images duplicates?"
    place = st.expander(title, icon=":material/balance:", on_change="rerun", key="copies-limit")
    if not place.open:
        return
    with place, shell.errors_shown():
        limits = _limits(audited.dataset, audited.dataset.version)
        st.markdown(
            "Two images are laid over each other, also cropped, rotated a little or mirrored. Their similarity is the "
            f"correlation of their fine detail (1 is perfect). {audit_text.limit_of_duplicates(limits)} Equal files "
            "are always duplicates."
        )
        if len(limits.different):
            details = audited.pairs["detail"].to_numpy(float)
            alt = figures.duplicate_histogram_in_words(limits, details)
            title, figure = "Similarity of pairs of images", figures.duplicate_histogram(limits, details)
            shell.chart(figure, "copies-limit", alt=alt, title=title, caption=alt)


@st.cache_data(max_entries=4, show_spinner="Comparing different images")
def _limits(_dataset: Dataset, version: str) -> Limits:
    return duplicate_pairs.limits(shell.workspace(), _dataset)


def _pick_split(dataset: Dataset) -> tuple[str, Mapping[str, str]]:
    """The split that is chosen, that of a run or one that a new run would get: its method, the part of every image."""
    runs = {one.run.id: one.run for one in run_cache.listed()[0] if one.is_usable and one.run.dataset.id == dataset.id}
    names = dict(zip(runs, candidates.unique_names(list(runs.values())), strict=True))
    words = {way: f"A new run, {SPLIT_LABELS[way].lower()}" for way in WAYS}
    words |= {identifier: f"The run {name}" for identifier, name in names.items()}
    help_text = "Duplicates across the training, validation and test parts of this split are counted."
    chosen = url_state.choice(st.selectbox, "Split", words, "split", width=360, help=help_text)
    with shell.errors_shown():
        split = runs[chosen].split() if chosen in runs else _new_split(dataset, dataset.version, chosen)
        method = runs[chosen].spec.split.method if chosen in runs else chosen
        return method, dict(zip(split["image_id"], split["part"], strict=True))
    return chosen, {}


@st.cache_data(max_entries=8, show_spinner="Splitting the images")
def _new_split(_dataset: Dataset, version: str, method: str) -> pd.DataFrame:
    images = audit_panel.grouped(_dataset, version) if method == "grouped" else _dataset.images
    return make_split(images, _dataset.classes, SplitSpec(method=method))


def _group_all(dataset: Dataset, pairs: pd.DataFrame, apart: pd.DataFrame) -> None:
    """Keep all listed pairs together in every group split that no cluster holds yet (``apart``)."""
    if len(apart) < len(pairs):
        st.caption(f"Clusters hold {count(len(pairs) - len(apart))} of {plural(len(pairs), 'listed pair')}.")
    if not len(apart):
        return
    label = f"Keep {'this pair' if len(apart) == 1 else f'{count(len(apart))} listed pairs'} together"
    help_text = "The data set gets a new version. Its group splits put both images of a pair into the same part."
    if shell.button(label, access.DECIDE, icon=":material/link:", key="group-all", help=help_text):
        groups = list(zip(apart["first"], apart["second"], strict=True))
        decision_form.confirm(dataset, decision_form.grouping(groups))


def _actions(dataset: Dataset, row: pd.Series, is_apart: bool) -> None:
    """What can be decided about one pair; ``is_apart``: no cluster holds it."""
    pair = (row["first"], row["second"])
    proposals = {"Keep together": lambda: decision_form.grouping([pair])} if is_apart else {}
    for side in ("first", "second"):
        proposals[f"Leave out the {side}"] = partial(decision_form.leaving_out, [row[side]], dataset)
        proposals[f"Change class of the {side}"] = partial(decision_form.relabelling, [row[side]], dataset)
    proposals["Dismiss"] = lambda: decision_form.pair_dismissal(*pair)
    with st.container(horizontal=True):
        decision_form.buttons(dataset, proposals, "pair")
