"""Who is trained, validated and tested on: the fields of the split, who is where, and what that can and cannot show."""

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from covid_core import presets
from covid_core.audit import tables
from covid_core.data.dataset import Dataset
from covid_core.data.split import (
    HALVED_FROM,
    HALVES,
    PARTS,
    TEST,
    TRAIN,
    VALIDATION,
    make_split,
    sources_that_stay,
    validation_for,
)
from covid_core.data.summary import UNKNOWN_SOURCE, part_balance
from covid_core.errors import InvalidChoice
from covid_core.evaluation import metrics
from covid_core.figures import data as figures
from covid_core.formatting import count, decimals, plural, share
from covid_core.reports import audit_text, layout_text, run_text
from covid_core.specs import SPLIT_LABELS, Labels, SplitSpec, parse
from pages.panels.train.spec_fields import FIELDS, field, now, split_fields
from pages.shared import audit_panel, shell

MOST_SPLITS = 8  # each of 21,165 images takes 6 MB


def show(dataset: Dataset, classes: tuple[str, ...]) -> None:
    """The fields, then who is where. Raises DataError or InvalidChoice for a split that cannot be made."""
    offered = {
        "given": {TRAIN, TEST} <= set(dataset.images["given_part"]),
        "by_source": dataset.images["source"].nunique() > 1,
    }
    ways = {way: label for way, label in SPLIT_LABELS.items() if offered.get(way, True)}
    captions = dict(zip(SPLIT_LABELS, FIELDS["split_method"]["captions"], strict=True))
    field("split_method", options=ways, captions=[captions[way] for way in ways])
    if not offered["by_source"]:
        st.caption("An external split needs images of two sources; this data set has no such record.")
    if now("split_method") == "by_source":
        _pick_sources(dataset, classes)
        if not now("held_out"):
            st.info("Choose at least one test source.", icon=":material/arrow_upward:")
            return
    by_authors = now("split_method") == "given"
    with st.grid(4, min_column_width=150):
        field("validation", disabled=by_authors and VALIDATION in set(dataset.images["given_part"]))
        field("test", disabled=by_authors or now("folds") > 1)
        field("images_per_class")
        field("split_seed")
        field("folds", max_value=presets.MOST_FOLDS, disabled=now("split_method") in ("by_source", "given"))
    split = parse(SplitSpec, split_fields())
    made = _made(dataset, classes, split)
    has_patients = bool((dataset.images["patient_id"] != "").any())
    st.markdown(shell.plain(_in_words(made, split, has_patients)))
    if split.method == "by_source" and (shared := layout_text.shared_sources(dataset)):
        st.warning(shared, icon=":material/warning:")
    _copies_that_cross(dataset, made, split)
    _who_is_where(made, classes)
    _balance(dataset, made)


def in_short() -> str:
    """The split in a few words, for the folded form; fields that fit no split keep the form, so they can be mended."""
    if now("split_method") == "by_source" and not now("held_out"):
        return "by source"
    try:
        split = parse(SplitSpec, split_fields())
    except InvalidChoice:
        return "not possible"
    parts = " / ".join(f"{decimals(100 * part, 0)}" for part in (split.train, split.validation, split.tested))
    folds = f", {plural(split.folds, 'fold')}" if split.folds > 1 else ""
    if split.method == "given":
        return f"as given by the authors, seed {split.seed}"
    how = {"grouped": "group split", "stratified": "random split", "by_source": "by source"}[split.method]
    dealt = plural(len(split.held_out), "source") if split.method == "by_source" else f"{parts}{folds}"
    return f"{how}, {dealt}, seed {split.seed}"


def part_table(dataset: Dataset, classes: tuple[str, ...], split: SplitSpec) -> pd.DataFrame:
    """Rows train, validation, test; columns Part, Images and one per class. Raises DataError for too small a class."""
    return _counted(_made(dataset, classes, split), "label", list(classes))


def few_test_images(dataset: Dataset, classes: tuple[str, ...], split: SplitSpec) -> str:
    """What the smallest class of the test part cannot show; empty where it is large enough. Raises DataError."""
    tested = part_table(dataset, classes, split).set_index("Part").loc["Test", list(classes)]
    label, images = shell.plain(tested.idxmin()), int(tested.min())
    if images >= metrics.FEWEST_OF_SHARE:
        return ""
    if not images:
        return f"No test image of {label}: its sensitivity cannot be measured."
    low = share(metrics.wilson(images, images).low, 0)
    return (
        f"Only {plural(images, 'test image')} of {label}: even without an error, its sensitivity can be {low} "
        "to 100 %. Use more images, or folds."
    )


def _pick_sources(dataset: Dataset, classes: tuple[str, ...]) -> None:
    images = dataset.images[dataset.images["label"].isin(classes)]
    sources = images["source"].value_counts()
    names = {source: f"{source or UNKNOWN_SOURCE} ({plural(int(n), 'image')})" for source, n in sources.items()}
    field("held_out", options=names)


def _made(dataset: Dataset, classes: tuple[str, ...], split: SplitSpec) -> pd.DataFrame:
    return _cached(dataset, dataset.version, classes, split.model_dump_json(), now("labels"))


@st.cache_data(max_entries=MOST_SPLITS, show_spinner="Grouping duplicates and patients")
def _cached(_dataset: Dataset, version: str, classes: tuple[str, ...], split: str, labels: Labels) -> pd.DataFrame:
    spec = parse(SplitSpec, split)
    grouped = spec.method != "stratified"
    images = audit_panel.grouped(_dataset, version) if grouped else _dataset.images
    return make_split(images, classes, spec, labels)


def _counted(made: pd.DataFrame, by: str, columns: list[str]) -> pd.DataFrame:
    table = pd.crosstab(made["part"], made[by]).reindex(index=PARTS, columns=columns, fill_value=0)
    table.insert(0, "Images", table.sum(axis=1))
    table.index = [part.capitalize() for part in PARTS]
    return table.rename_axis("Part", axis=0).rename_axis(None, axis=1).reset_index()


def _in_words(made: pd.DataFrame, split: SplitSpec, has_patients: bool) -> str:
    mix = "All parts have nearly the same class proportions."
    first = " The table shows the first fold." if split.folds > 1 else ""
    if split.method == "stratified":
        return (
            f"{mix}{first} The test result may be too good: duplicates and images of one patient may lie in training "
            "and test (data leakage)."
        )
    if split.method == "given":
        crossing = int((made.groupby("group")["part"].nunique() > 1).sum())
        if not crossing:
            return "The parts are those of the authors. No patient and no plain duplicate lies in two of them."
        return (
            f"The parts are those of the authors. {plural(crossing, 'cluster')} of images (duplicates, one patient) "
            "lie in several parts (data leakage): the test result may be too good. A group split deals them anew."
        )
    groups = audit_text.clusters(made)
    if not has_patients:
        groups += " Patients are unknown here: one patient may lie in training and test."
    if split.method == "grouped":
        return f"{mix}{first} {groups} The test measures performance on new images of the same sources, not of others."
    stay = sources_that_stay(made, split)
    lacking = (
        f" {', '.join(stay)} come from one source only, which stays in training too. For them the test is not external."
        if stay
        else ""
    )
    return f"The test measures performance on unseen sources.{lacking} {groups}"


def _copies_that_cross(dataset: Dataset, made: pd.DataFrame, split: SplitSpec) -> None:
    """What the audit found to be one picture, cropped or turned as well, and this split would part."""
    audited = audit_panel.latest(dataset)
    if audited.audit is None:
        st.caption(
            "The audit of the images has not been made yet. It finds duplicates that were cropped, rotated or mirrored."
        )
        return
    pairs = tables.with_parts(
        audited.pairs[~audited.pairs["dismissed"]], dict(zip(made["image_id"], made["part"], strict=True))
    )
    crossing = tables.of_kind(pairs, tables.ACROSS)
    if len(crossing):
        ungrouped = tables.ungrouped(crossing, audit_panel.grouped(dataset, dataset.version))
        text = audit_text.leakage(len(crossing), len(ungrouped), split.method)
        st.warning(text, icon=":material/copy_all:")
        address = {"dataset": dataset.id, "tab": "Duplicates", "pairs": tables.ACROSS}
        st.page_link("audit.py", label="Keep them together", icon=":material/arrow_forward:", query_params=address)


def _who_is_where(made: pd.DataFrame, classes: tuple[str, ...]) -> None:
    """Class by part, and source by part where more than one source is known."""
    sources = made["source"].where(made["source"] != "", UNKNOWN_SOURCE)
    several = sources.nunique() > 1
    places = st.columns(2, gap="medium") if several else [st.container()]
    with places[0]:
        _picture(made, "label", list(classes), "Images per part and class")
    if several:
        with places[1]:
            names = list(sources.value_counts().index)
            _picture(made.assign(source=sources), "source", names, "Images per part and source")
    table = _counted(made, "label", list(classes))
    remain = f"{share(float(table['Images'].iloc[0] / table['Images'].sum()), 0)} of the images are training images."
    st.caption(f"{remain} {_halves_in_words(made)}")
    numbers = {column: st.column_config.NumberColumn(format="localized") for column in table.columns.drop("Part")}
    st.dataframe(table, hide_index=True, width="stretch", column_config=numbers, alt="Images per part and class")


def _balance(dataset: Dataset, made: pd.DataFrame) -> None:
    """What each part holds of what is on record, patients first."""
    title = "Balance of the parts: patients, sex, age, source"
    with st.expander(title, icon=":material/balance:", on_change="rerun", key="split-balance") as opened:
        if not opened.open:
            return
        table = part_balance(made, dataset.images)
        st.markdown(shell.plain(run_text.balance(table)))
        shell.table(run_text.balance_table(table), "parts", table, alt="What each part of the split holds")


def _halves_in_words(made: pd.DataFrame) -> str:
    choose, calibrate = (int(validation_for(made, half).sum()) for half in HALVES)
    if (made["half"] != "").any():
        return (
            f"Validation is halved: {plural(choose, 'image')} choose the epoch and the run, {count(calibrate)} "
            "calibrate the scores."
        )
    why = f"only {HALVED_FROM} or more are halved" if choose < HALVED_FROM else "one half would lack a class"
    return f"All {plural(choose, 'validation image')} choose the epoch and calibrate the scores, because {why}."


def _picture(made: pd.DataFrame, by: str, names: list[str], title: str) -> None:
    counts = pd.crosstab(made[by], made["part"]).reindex(index=names, columns=list(PARTS), fill_value=0)
    figure: go.Figure = figures.part_bars(counts)
    shell.chart(figure, f"split-{by}", alt=title)
