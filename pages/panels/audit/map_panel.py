"""The map of a data set on a page: made or not yet, its answer in words, the map itself, and images that stand out.

A page calls ``tab`` once, at its top level: while a map is made, one fragment polls.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from covid_core.audit import dataset_audit
from covid_core.audit.embedding import embedding_map
from covid_core.audit.embedding.embedding_map import Map
from covid_core.audit.embedding.outlier_detection import BY, FAR
from covid_core.data import decisions
from covid_core.data.dataset import Dataset
from covid_core.data.pixels import SUMMARY_SIZE, open_pixels
from covid_core.data.summary import UNKNOWN_SOURCE
from covid_core.figures.theme import NEUTRAL, RUN_COLOURS, class_colours
from covid_core.formatting import count, duration, moment, number, plural, share
from covid_core.jobs import queue
from covid_core.jobs.kinds import MapRequest
from pages.panels.audit import decision_form, scatter
from pages.panels.audit.scatter import Group, Points
from pages.shared import gallery, job_panel, shell

CHOSEN = "map_chosen"  # session: data set, its version, and the rows that are chosen
PER_PAGE, PER_LIST = 24, 12  # images of a choice, and of a list
MOST_GROUPS = 7  # colours that people keep apart, beside a grey for the rest
TSNE, PCA = "Neighbours (t-SNE)", "Differences (PCA)"
CLASS, SOURCE, FINDING, LABELS, OUTLIERS = "Class", "Source", "Finding", "Suspicious labels", "Outliers"
SUSPICIOUS, OUTLIER = "suspicious label", "outlier"  # findings, as they are dismissed
STANDS_OUT = "#E69F00"
HELP = {
    TSNE: "Images that are alike lie side by side. Islands mean something; how far apart they lie, and how large they "
    "are, means nothing.",
    PCA: "Along the two directions in which the images differ most, true to scale. Images that differ in another "
    "way may lie on one spot; these two hold {share} of all differences.",
}
WHAT_IT_DOES = (
    "It draws every image as a point, images that are alike side by side, and lists images unlike all others and "
    "labels "
    "that do not fit. It looks at what a network answered for the images where a training has left that, otherwise at "
    "the images themselves. Nothing is changed."
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
    st.markdown(" ".join([f"**{found.in_words[0]}**", *found.in_words[1:]] if found.in_words else []))
    told = (
        f"Made {moment(found.facts['made'])} in {duration(found.facts['seconds'])}, from {shell.plain(found.features)}."
    )
    st.caption(f"{told} “By chance” is what images drawn at random would have; intervals are 95 %.")
    if not found.is_current:
        st.info(
            "This map is of an earlier version of the data set: images or classes have changed since. What it says of "
            "neighbours and labels is what held then.",
            icon=":material/history:",
        )
    if not at_work and (not found.is_current or found.features == embedding_map.PLAIN):
        help_text = "From what a network answered, where a training has left that for all images since."
        _button(dataset, "Make it again", "tertiary" if found.is_current else "secondary", help_text)
    pixels = open_pixels(shell.workspace(), dataset, SUMMARY_SIZE)
    arranged, coloured = _choices(dataset, found)
    codes, groups = _coloured(dataset, found, coloured)
    places = found.images[["tsne_x", "tsne_y"] if arranged == TSNE else ["pca_x", "pca_y"]].to_numpy()
    chosen = _chosen(dataset, found)
    here = {row: at for at, row in enumerate(found.images["row"].tolist())}
    shown = Points(
        places,
        codes,
        groups,
        [_name(identifier) for identifier in found.images["image_id"]],
        _words(dataset, found),
        "Map of the data set",
        _alt(arranged, coloured, codes, groups),
        [here[row] for row in chosen],
    )
    rows = found.images["row"].to_numpy()
    scatter.show(
        shown,
        pixels if len(rows) == len(pixels) else pixels[rows],
        f"map-{dataset.id}",
        lambda at: _choose(dataset, rows[at].tolist()),
        lambda at: gallery.open_image(dataset.images["image_id"].iat[int(rows[at])]),
    )
    st.caption(HELP[arranged].format(share=share(found.facts["pca_share"])))
    _choose_a_group(dataset, rows, codes, groups)
    _show_chosen(dataset, chosen, pixels)
    _show_suspicious(dataset, found, pixels)
    _show_outliers(dataset, found, pixels)


def _name(identifier: str) -> str:
    return identifier.rpartition("/")[2].rpartition(".")[0]


def _choices(dataset: Dataset, found: Map) -> tuple[str, str]:
    """How images are arranged and what colours tell; both are in the address."""
    colours = [CLASS]
    if (dataset.images["source"] != "").any():
        colours.append(SOURCE)
    if dataset_audit.known(shell.workspace(), dataset) is not None:
        colours.append(FINDING)
    if found.facts["accuracy"] is not None:
        colours.append(LABELS)
    colours.append(OUTLIERS)
    with st.container(horizontal=True):
        arranged = st.segmented_control(
            "Arranged by", [TSNE, PCA], required=True, default=TSNE, key="map", bind="query-params", wrap=True
        )
        coloured = st.segmented_control(
            "Coloured by", colours, required=True, default=CLASS, key="colour", bind="query-params", wrap=True
        )
    return arranged, coloured


def _coloured(dataset: Dataset, found: Map, by: str) -> tuple[np.ndarray, list[Group]]:
    """Group of each image of the map, and the groups; what is drawn last lies on top."""
    images = found.images
    if by == LABELS:
        disputed = images["row"].isin(found.suspicious["row"]).to_numpy()
        return disputed.astype(int), [Group("Not disputed", NEUTRAL), Group("Label is disputed", STANDS_OUT)]
    if by == OUTLIERS:
        far = images["is_outlier"].to_numpy()
        return far.astype(int), [Group("Among others", NEUTRAL), Group("Far from all others", STANDS_OUT)]
    if by == CLASS:
        colours = class_colours(dataset.classes)
        codes = pd.Categorical(images["label"], dataset.classes).codes
        return np.asarray(codes), [Group(label, colours[label]) for label in dataset.classes]
    if by == SOURCE:
        sources = dataset.images["source"].iloc[images["row"]].to_numpy()
        return _most_frequent(sources, UNKNOWN_SOURCE, "Other sources")
    return _most_frequent(_findings(dataset, images["image_id"]), "No finding", "Other findings")


def _findings(dataset: Dataset, image_ids: pd.Series) -> np.ndarray:
    """The finding of each image that fewest images have; empty where it has none."""
    audited = dataset_audit.known(shell.workspace(), dataset)
    table = audited.audit.findings if audited else pd.DataFrame(columns=["image_id", "finding"])
    frequency = table["finding"].map(table["finding"].value_counts())
    rarest = table.assign(frequency=frequency).sort_values("frequency", kind="stable").drop_duplicates("image_id")
    return image_ids.map(rarest.set_index("image_id")["finding"]).fillna("").to_numpy()


def _most_frequent(values: np.ndarray, none: str, others: str) -> tuple[np.ndarray, list[Group]]:
    """Groups of equal values, the most frequent with a colour each, the rest and "" in grey and drawn first."""
    counts = pd.Series(values[values != ""]).value_counts()
    named = counts.index[:MOST_GROUPS].tolist()
    rest = [none] if (values == "").any() else []
    rest += [others] if len(counts) > len(named) else []
    groups = [Group(name, NEUTRAL) for name in rest]
    groups += [Group(str(name), colour) for name, colour in zip(named, RUN_COLOURS, strict=False)]
    code = {name: len(rest) + at for at, name in enumerate(named)}
    other = rest.index(others) if others in rest else 0
    return np.array([0 if value == "" else code.get(value, other) for value in values]), groups


def _words(dataset: Dataset, found: Map) -> list[str]:
    """What the card says of each image beside its name."""
    sources = dataset.images["source"].iloc[found.images["row"]]
    told = found.images["label"] + ". Source: " + sources.where(sources != "", UNKNOWN_SOURCE).to_numpy() + "."
    disputed = found.images["row"].isin(found.suspicious["row"])
    told = told.where(~disputed, told + " Its label is disputed: " + found.images["other"] + "?")
    return told.where(~found.images["is_outlier"], told + " Far from all others.").tolist()


def _alt(arranged: str, coloured: str, codes: np.ndarray, groups: Sequence[Group]) -> str:
    counts = np.bincount(codes, minlength=len(groups))
    named = ", ".join(f"{group.name} {count(images)}" for group, images in zip(groups, counts, strict=True))
    return f"Map of {plural(len(codes), 'image')}, arranged by {arranged}, coloured by {coloured.lower()}: {named}"


# What is chosen


def _chosen(dataset: Dataset, found: Map) -> list[int]:
    """Rows of the images that are chosen; a choice from another version of the data set is forgotten."""
    of, version, rows = st.session_state.get(CHOSEN) or ("", "", [])
    if (of, version) != (dataset.id, dataset.version):
        return []
    return [row for row in rows if row in set(found.images["row"])]


def _choose(dataset: Dataset, rows: list[int]) -> None:
    st.session_state[CHOSEN] = (dataset.id, dataset.version, rows)


def _choose_a_group(dataset: Dataset, rows: np.ndarray, codes: np.ndarray, groups: Sequence[Group]) -> None:
    """The way to a choice without drawing one."""
    names = [group.name for group in groups]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        which = st.selectbox("Or choose all images of", names, key="map-group", width=280)
        of_group = rows[codes == names.index(which)].tolist() if which in names else []
        st.button(
            "Choose them",
            icon=":material/select_all:",
            key="map-choose-group",
            on_click=_choose,
            args=(dataset, of_group),
        )


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
                    decision_form.ask(dataset, wish())
            key = "map-chosen-none"
            st.button("Clear the choice", icon=":material/close:", key=key, on_click=_choose, args=(dataset, []))
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
    st.subheader("Which labels do not fit?")
    facts = found.facts
    reason = shell.plain(facts["reason"])
    if facts["accuracy"] is None:
        st.markdown(reason)
        return
    table = _open_ones(dataset, found.suspicious, SUSPICIOUS)
    wrong = 1 - facts["accuracy"]
    of = count(facts["judged"]) if found.is_current else f"the {count(facts['judged'])} images that the map was made of"
    st.markdown(
        f"**{plural(len(table), 'label is', 'labels are')} disputed, of {of}.** A classifier that "
        "had not seen the image gives another class a score as high as that class usually has. It is "
        f"itself wrong about {share(wrong)} of these images, so much of what it disputes may well be labelled rightly: "
        f"look at the first of the list, which fit least. {reason}"
    )
    st.caption(
        "Scores of a classifier, from 0 to 1, no probabilities. Learned on four fifths of the images, groups kept."
    )
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
    st.subheader("Which images are unlike all others?")
    table = _open_ones(dataset, found.outliers, OUTLIER)
    st.markdown(
        f"**{plural(len(table), 'image lies', 'images lie')} far from all others, of {count(len(found.images))}:** the "
        f"{BY}th nearest image is farther away than is usual in the class, by more than {FAR:.0f} robust "
        f"deviations. It "
        "may be no chest image, another view, or an image with a fault; or a rare patient, whom a classifier should "
        "see."
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
