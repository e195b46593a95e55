"""The map of a data set as a chart: a click shows an image beside it, a lasso or a rectangle chooses images.

The image beside the map is in the address, so that a link leads to it. The choice belongs to the session.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from covid_core.audit import dataset_audit
from covid_core.audit.embedding.embedding_map import Map
from covid_core.data.dataset import Dataset
from covid_core.data.summary import UNKNOWN_SOURCE
from covid_core.figures import audit as figures
from covid_core.figures.audit import Group
from covid_core.figures.theme import NEUTRAL, RUN_COLOURS, class_colours
from covid_core.formatting import count, plural, share
from pages.shared import gallery, shell

POINT = "point"  # query parameter: the image beside the map
CHOSEN = "map_chosen"  # session: data set, its version, the chosen rows, and the chart they were drawn on
MOST_GROUPS = 7  # colours that people keep apart, beside a grey for the rest
TSNE, PCA = "Neighbours (t-SNE)", "Differences (PCA)"
CLASS, SOURCE, FINDING, LABELS, OUTLIERS = "Class", "Source", "Finding", "Suspicious labels", "Outliers"
STANDS_OUT = "#E69F00"
HELP = {
    TSNE: "Similar images lie side by side. Islands have a meaning, their distances and sizes have none.",
    PCA: "The two directions in which the images differ most, true to scale. They hold {share} of the variance. Images "
    "that differ in another direction may overlap.",
}
HINT = (
    "Click a point to see its image here. The wheel zooms, dragging moves. Lasso and box (above the map) choose "
    "images; Pan returns to clicking."
)


def show(dataset: Dataset, shown: Map, pixels: np.ndarray) -> None:
    """The chart with its controls and the image beside it. ``pixels``: all images, uint8 (n, size, size)."""
    arranged, coloured = _controls(dataset, shown)
    codes, groups = _coloured(dataset, shown, coloured)
    rows = shown.images["row"].to_numpy()
    traces = [rows[codes == code] for code in range(len(groups))]
    drawing = f"{arranged}/{coloured}"
    # Streamlit marks what was drawn on this chart until the chart changes; rings mark any other choice.
    ringed = None if _choice(dataset)[1] in (None, drawing) else np.isin(rows, chosen(dataset, shown))
    figure = figures.image_map(
        shown.images[["tsne_x", "tsne_y"] if arranged == TSNE else ["pca_x", "pca_y"]].to_numpy(),
        codes,
        groups,
        [gallery.short_name(identifier) for identifier in shown.images["image_id"]],
        ringed,
    )
    key = f"chart-map-{dataset.id}"
    chart, beside = st.columns([3, 1])
    with chart:
        shell.chart(
            figure,
            "map",
            {"scrollZoom": True},
            key=key,
            alt=_alt(arranged, coloured, codes, groups),
            on_select=lambda: _select(dataset, key, traces, drawing if ringed is None else ""),
        )
        st.caption(HELP[arranged].format(share=share(shown.facts["pca_share"])))
    with beside:
        _beside(dataset, shown, pixels)
    _choose_a_group(dataset, traces, groups)


def _controls(dataset: Dataset, shown: Map) -> tuple[str, str]:
    """How images are arranged, and what colours mean; both are in the address."""
    offered = {
        CLASS: True,
        SOURCE: (dataset.images["source"] != "").any(),
        FINDING: dataset_audit.stored(shell.workspace(), dataset) is not None,
        LABELS: shown.facts["accuracy"] is not None,
        OUTLIERS: True,
    }
    colours = [name for name, is_offered in offered.items() if is_offered]
    options = {"required": True, "bind": "query-params", "wrap": True}
    with st.container(horizontal=True):
        arranged = st.segmented_control("Arranged by", [TSNE, PCA], default=TSNE, key="map", **options)
        coloured = st.segmented_control("Coloured by", colours, default=CLASS, key="colour", **options)
    return arranged, coloured


def _coloured(dataset: Dataset, embedding: Map, by: str) -> tuple[np.ndarray, list[Group]]:
    """Group of each image of the map, and the groups; later groups are drawn on top."""
    images = embedding.images
    if by == LABELS:
        disputed = images["row"].isin(embedding.suspicious["row"]).to_numpy()
        return disputed.astype(int), [Group("Plausible label", NEUTRAL), Group("Suspicious label", STANDS_OUT)]
    if by == OUTLIERS:
        far = images["is_outlier"].to_numpy()
        return far.astype(int), [Group("No outlier", NEUTRAL), Group("Outlier", STANDS_OUT)]
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
    audited = dataset_audit.stored(shell.workspace(), dataset)
    table = audited.quality.findings if audited else pd.DataFrame(columns=["image_id", "finding"])
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


def _alt(arranged: str, coloured: str, codes: np.ndarray, groups: Sequence[Group]) -> str:
    counts = np.bincount(codes, minlength=len(groups))
    named = ", ".join(f"{group.name} {count(images)}" for group, images in zip(groups, counts, strict=True))
    return f"Map of {plural(len(codes), 'image')}, arranged by {arranged}, coloured by {coloured.lower()}: {named}"


# The image beside the map


def _beside(dataset: Dataset, shown: Map, pixels: np.ndarray) -> None:
    on_map = shown.images[shown.images["image_id"] == st.query_params.get(POINT)]
    if on_map.empty:
        st.caption(HINT)
        return
    image = on_map.iloc[0]
    name = gallery.short_name(image["image_id"])
    st.image(pixels[image["row"]], width="stretch", alt=f"Image {name}, labelled {image['label']}")
    source = dataset.images["source"].iat[image["row"]] or UNKNOWN_SOURCE
    facts = [f"**{shell.plain(name)}**", f"Class: {shell.plain(image['label'])}", f"Source: {shell.plain(source)}"]
    if image["row"] in shown.suspicious["row"].to_numpy():
        facts.append(f"Suspicious label: {shell.plain(image['other'])}?")
    if image["is_outlier"]:
        facts.append("Outlier")
    st.markdown("  \n".join(facts))
    opening = {"on_click": gallery.open_image, "args": (image["image_id"],)}
    st.button("Open image", icon=":material/zoom_in:", key="map-point-open", **opening)


# The choice


def selected_rows(points: Sequence[Mapping[str, Any]], traces: Sequence[np.ndarray]) -> list[int]:
    """Rows of the points that a chart's selection holds; those of no image are left out, as anybody can send them.

    Args:
        points: of a selection event of ``st.plotly_chart``.
        traces: rows of the images in each trace.
    """
    rows = set()
    for point in points:
        trace, index = point.get("curve_number"), point.get("point_index")
        if type(trace) is int and type(index) is int and 0 <= trace < len(traces) and 0 <= index < len(traces[trace]):
            rows.add(int(traces[trace][index]))
    return sorted(rows)


def _select(dataset: Dataset, key: str, traces: Sequence[np.ndarray], drawing: str) -> None:
    """One point goes beside the map; several, and those within a lasso or a rectangle, become the choice."""
    selection = st.session_state[key].selection
    rows = selected_rows(selection.points, traces)
    if len(rows) == 1 and not selection.lasso and not selection.box:
        st.query_params[POINT] = dataset.images["image_id"].iat[rows[0]]
    else:
        choose(dataset, rows, drawing)


def _choice(dataset: Dataset) -> tuple[list[int], str | None]:
    of, version, rows, drawing = st.session_state.get(CHOSEN) or ("", "", [], None)
    return (rows, drawing) if (of, version) == (dataset.id, dataset.version) else ([], None)


def chosen(dataset: Dataset, embedding: Map) -> list[int]:
    """Rows of the chosen images; a choice from another version of the data set is void."""
    return [row for row in _choice(dataset)[0] if row in set(embedding.images["row"])]


def choose(dataset: Dataset, rows: list[int], drawing: str = "") -> None:
    """Choose images by their rows. ``drawing``: the chart that shows the choice already."""
    st.session_state[CHOSEN] = (dataset.id, dataset.version, rows, drawing)


def _choose_a_group(dataset: Dataset, traces: Sequence[np.ndarray], groups: Sequence[Group]) -> None:
    """A choice without drawing one."""
    names = [group.name for group in groups]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        which = st.selectbox("Or choose all images of", names, key="map-group", width=280)
        of_group = traces[names.index(which)].tolist() if which in names else []
        choosing = {"on_click": choose, "args": (dataset, of_group)}
        st.button("Choose them", icon=":material/select_all:", key="map-choose-group", **choosing)
