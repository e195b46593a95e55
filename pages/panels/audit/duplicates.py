"""The Audit page's view of images that are there twice: copies, label conflicts, copies across a split."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from covid_core.audit import tables
from covid_core.audit.duplicates import duplicate_pairs
from covid_core.audit.duplicates.threshold import Limits
from covid_core.audit.tables import ACROSS, ALIKE, ALL, CONFLICT, EQUAL
from covid_core.data import duplicates
from covid_core.data.dataset import Dataset
from covid_core.data.decisions import TOGETHER
from covid_core.data.split import make_split
from covid_core.figures import audit as figures
from covid_core.formatting import count, plural
from covid_core.runs import candidates
from covid_core.specs import SPLIT_LABELS, SplitSpec
from pages.panels.audit import decision_form, pair_view, url_state
from pages.shared import run_cache, shell
from pages.shared.audit_panel import Audited

KINDS = {
    ALL: "All",
    CONFLICT: "Two classes",
    ACROSS: "Across parts",
    EQUAL: "Equal files",
    ALIKE: "Near copies",
}
WAYS = ("grouped", "stratified")


def show(audited: Audited) -> None:
    pairs = audited.pairs[~audited.pairs["dismissed"]]
    st.markdown(
        "Two files with the same picture are one image: they count twice, and where one is trained on and the other is "
        "tested on, the test knows its answers. Where their classes differ, one label is wrong."
    )
    put_aside = int(audited.pairs["dismissed"].sum())
    if put_aside:
        st.caption(f"{plural(put_aside, 'pair')} dismissed; the tab Decisions takes that back.")
    if not len(pairs):
        st.info("No two images show the same picture.", icon=":material/check:")
        _limit(audited)
        return
    pairs = tables.with_parts(pairs, _pick_split(audited.dataset))
    st.markdown(f"**{_in_words(pairs)}**")
    if len(tables.of_kind(pairs, ACROSS)):
        st.markdown(
            "What crosses the split was tested on after a copy of it was trained on, or would be. A split that keeps "
            "groups together knows plain copies by itself; cropped, turned and mirrored ones it learns from your "
            "decision below."
        )
    listed = {kind: tables.of_kind(pairs, kind) for kind in KINDS}
    words = {one: f"{KINDS[one]} ({count(len(listed[one]))})" for one in KINDS}
    kind = url_state.pills("Which pairs", words, "pairs")
    chosen = listed[kind].sort_values("conflict", ascending=False, kind="stable")
    if not len(chosen):
        st.info("No pair is like that.", icon=":material/check:")
        return
    _group_all(audited.dataset, chosen)
    sides = pair_view.Sides(audited.dataset, audited.dataset)
    pair_view.show(chosen, sides, "copies", lambda row: _actions(audited.dataset, row))
    _limit(audited)


def _limit(audited: Audited) -> None:
    """From which likeness on two images are called one, and how alike images are that certainly are not."""
    title = "From when on are two images one picture?"
    place = st.expander(title, icon=":material/balance:", on_change="rerun", key="copies-limit")
    if not place.open:
        return
    with place, shell.errors_shown():
        limits = _limits(audited.dataset, audited.dataset.version)
        st.markdown(
            "Two images are laid over each other, also cropped, turned a little or mirrored, and what counts is how "
            f"far their fine detail agrees (1 is perfect). {limits.reason} Equal files are copies whatever they show."
        )
        if len(limits.different):
            details = audited.pairs["detail"].to_numpy(float)
            alt = figures.duplicate_histogram_in_words(limits, details)
            shell.chart(figures.duplicate_histogram(limits, details), "copies-limit", alt=alt)


@st.cache_data(max_entries=4, show_spinner="Laying different images over each other")
def _limits(_dataset: Dataset, version: str) -> Limits:
    return duplicate_pairs.limits(shell.workspace(), _dataset)


def _in_words(pairs: pd.DataFrame) -> str:
    parts = [f"{plural(len(pairs), 'pair')} of images with the same picture"]
    conflicts, crossing = (len(tables.of_kind(pairs, kind)) for kind in (CONFLICT, ACROSS))
    parts.append(f"{count(conflicts)} under two classes" if conflicts else "all under one class each")
    if (pairs["first_part"] != "").any():
        parts.append(f"{count(crossing)} in two parts of the split" if crossing else "none in two parts of the split")
    return f"{', '.join(parts)}."


def _pick_split(dataset: Dataset) -> Mapping[str, str]:
    """The part of every image by the split that is chosen: that of a run, or one that a new run would get."""
    runs = {one.run.id: one.run for one in run_cache.listed()[0] if one.is_usable and one.run.dataset.id == dataset.id}
    names = dict(zip(runs, candidates.unique_names(list(runs.values())), strict=True))
    words = {way: f"A new run, {SPLIT_LABELS[way].lower()}" for way in WAYS}
    words |= {identifier: f"The run {name}" for identifier, name in names.items()}
    help_text = "Whose training, validation and test parts copies are looked for across."
    chosen = url_state.selectbox("Split", words, "split", help_text)
    with shell.errors_shown():
        split = runs[chosen].split() if chosen in runs else _new_split(dataset, dataset.version, chosen)
        return dict(zip(split["image_id"], split["part"], strict=True))
    return {}


@st.cache_data(max_entries=8, show_spinner="Dealing the images")
def _new_split(_dataset: Dataset, version: str, method: str) -> pd.DataFrame:
    images = duplicates.with_groups(shell.workspace(), _dataset) if method == "grouped" else _dataset.images
    return make_split(images, _dataset.classes, SplitSpec(method=method))


def _group_all(dataset: Dataset, pairs: pd.DataFrame) -> None:
    """Keep all listed pairs together in every split."""
    pairs_of_ids = zip(pairs["first"], pairs["second"], strict=True)
    groups = [pair for pair in pairs_of_ids if not _are_together(dataset, *pair)]
    if len(groups) < len(pairs):
        st.caption(f"Kept together by decision: {count(len(pairs) - len(groups))} of {plural(len(pairs), 'pair')}.")
    if not groups:
        return
    label = f"Keep {'this pair' if len(groups) == 1 else f'all {count(len(groups))} pairs'} together"
    help_text = "Then every split that keeps groups together puts both images of a pair into one part."
    if st.button(label, icon=":material/link:", key="group-all", help=help_text):
        decision_form.confirm(dataset, decision_form.grouping(groups))


def _are_together(dataset: Dataset, first: str, second: str) -> bool:
    """Whether somebody decided that two images belong together."""
    if TOGETHER not in dataset.images:
        return False
    groups = dataset.images[TOGETHER].to_numpy()
    one, two = groups[dataset.row_of(first)], groups[dataset.row_of(second)]
    return one == two != ""


def _actions(dataset: Dataset, row: pd.Series) -> None:
    """What can be done about one pair."""
    pair = (row["first"], row["second"])
    together = ("Keep together", ":material/link:", lambda: decision_form.grouping([pair]))
    made = (
        *([] if _are_together(dataset, *pair) else [together]),
        ("Leave out the first", ":material/block:", lambda: decision_form.leaving_out([row["first"]], dataset)),
        ("Leave out the second", ":material/block:", lambda: decision_form.leaving_out([row["second"]], dataset)),
        ("Change the first's class", ":material/label:", lambda: decision_form.relabelling([row["first"]], dataset)),
        ("Change the second's class", ":material/label:", lambda: decision_form.relabelling([row["second"]], dataset)),
        ("Dismiss", ":material/visibility_off:", lambda: decision_form.pair_dismissal(row["first"], row["second"])),
    )
    with st.container(horizontal=True):
        for label, icon, wish in made:
            if st.button(label, icon=icon, key=f"pair-{label}"):
                decision_form.confirm(dataset, wish())
