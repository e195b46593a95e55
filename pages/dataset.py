"""What is in a data set: classes, images, grey levels, sizes, sources, and what was left out."""

import math
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from covid_core.data import dataset as data
from covid_core.data import decisions, summary
from covid_core.data.dataset import Dataset
from covid_core.data.imports.importing import SUMMARY_SIZE
from covid_core.data.pixels import decode_rows, open_pixels
from covid_core.data.summary import PixelSummary
from covid_core.figures import data as figures
from covid_core.formatting import count, decimals, moment, plural, share
from covid_core.reports.layout_text import left_out, shared_sources
from covid_core.work import Progress
from pages.panels.dataset import import_form
from pages.shared import cards, gallery, import_jobs, shell

Result = TypeVar("Result")

QUESTION = "What is in this data set?"
OVERVIEW, IMAGES, PIXELS, SIZES, LEFT_OUT = "Overview", "Images", "Pixels", "Sizes and sources", "Left out"
BALANCED_BELOW = 1.1  # ratio of the largest to the smallest class that no remedy would change noticeably
SAMPLE = 4  # images per class; a row at 1280 px, two on a phone
SAMPLE_SIZE = 512  # pixels of one, which may be shown as large as the screen
PER_PAGE = 30  # images of one class
FEW_IMAGES = 30  # per class; a mean image of fewer still shows single images
SAMPLES = "Sample of each class"
RESAMPLING_COLUMNS = {
    "label": "Class",
    "images": "Images",
    "weight": "Class weight",
    "kept": "Undersampling: images used",
    "thrown_away": "Undersampling: images removed",
    "repeated": "Oversampling: repeats",
    "times": "Oversampling: times per epoch",
}
FIGURE_COLUMNS = {
    **{"label": "Class", "images": "Images", "mean": "Mean", "median": "Median", "first": "First class"},
    **{"p5": "5th percentile", "p25": "25th percentile", "p75": "75th percentile", "p95": "95th percentile"},
    **{"second": "Second class", "border": "Along the edge", "inside": "Inside"},
    **{"width": "Width", "height": "Height", "mode": "Pixel format", "source": "Source"},
}
PIXEL_PARTS = ("Exposure", "Grey levels", "Mean images", "Differences")  # of its tab, with their anchors
EXPOSURES = {"Brightness": "image_means", "Contrast": "image_deviations"}
BOXES = "Line: median. Box: the middle half of the images. Whiskers: 5th to 95th percentile."


def main() -> None:
    shell.heading(QUESTION)
    if st.query_params.pop("add", ""):  # the address that Home and empty pages lead to
        st.session_state.update({"manage": True, import_form.WAY: import_form.OWN})
    summary_line = st.container()
    if import_jobs.panel():
        st.session_state["manage"] = False  # the new data set is there: make room for it
    if not data.list_datasets(shell.workspace()):
        with summary_line.container(border=True):
            import_jobs.offer_demonstration(
                "**Nothing yet.** Try everything with synthetic images, or import your own."
            )
        import_form.add_dataset()
        return
    dataset = shell.pick_dataset()
    _manage()
    if dataset is None:
        return
    summary_line.markdown(_in_words(dataset))
    _show_tabs(dataset)
    shell.note_view(dataset.id)
    gallery.show_open_image(dataset)
    st.divider()
    cards.show(dataset)
    st.page_link("audit.py", label="Next: audit these images", icon=":material/fact_check:")
    st.page_link("train.py", label="Or train a classifier on these images", icon=":material/arrow_forward:")


def _manage() -> None:
    manage = st.expander("Add or remove data sets", icon=":material/library_add:", on_change="rerun", key="manage")
    if manage.open:
        with manage:
            import_form.add_dataset()
            st.divider()
            import_form.remove_dataset()


def _show_tabs(dataset: Dataset) -> None:
    """Only the open tab computes; its name is in the address."""
    contents = {
        OVERVIEW: [_overview],
        IMAGES: [_images],
        PIXELS: [_pixels],
        SIZES: [_sizes, _sources, _facts],
        LEFT_OUT: [_left_out],
    }
    tabs = st.tabs(list(contents), key="tab", bind="query-params")
    for tab, parts in zip(tabs, contents.values(), strict=True):
        if tab.open:
            with tab, shell.errors_shown():
                for part in parts:
                    part(dataset)


def _in_words(dataset: Dataset) -> str:
    """The data set in two sentences."""
    unread = left_out(dataset).removesuffix(".") or "Every file could be read"
    out = len(dataset.taken_out)
    decided = f"; {plural(out, 'image is', 'images are')} left out by decision" if out else ""
    return f"**{plural(len(dataset.images), 'image')} {_balance_in_words(dataset.counts)}** {unread}{decided}."


def _balance_in_words(counts: dict[str, int]) -> str:
    if len(counts) == 1:
        return f"in a single class, {shell.plain(next(iter(counts)))}: there is nothing to classify."
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[largest] == counts[smallest]:
        return f"in {len(counts)} classes of {count(counts[largest])} each."
    part = share(counts[largest] / sum(counts.values()))
    times = f"{decimals(summary.imbalance_ratio(counts), 1)} times as many as {shell.plain(smallest)}"
    return f"in {len(counts)} classes; {shell.plain(largest)} holds {part}, {times}."


# Overview


def _overview(dataset: Dataset) -> None:
    table = summary.class_table(dataset.counts)
    st.subheader("Images per class")
    if len(table) > 1:
        majority = shell.plain(table.loc[table["images"].idxmax(), "label"])
        st.markdown(
            f"The majority baseline is {share(table['share'].max())}: the accuracy of always predicting {majority}. A "
            "useful classifier is clearly above it. The Compare page shows it beside the models."
        )
    balance = "; ".join(f"{row.label} {count(row.images)} ({share(row.share)})" for row in table.itertuples())
    shell.chart(figures.class_bars(table), "images-per-class", alt=f"Images per class: {balance}")
    if len(dataset.counts) > 1:
        _imbalance(dataset.counts)
    _who_benefits()


def _imbalance(counts: dict[str, int]) -> None:
    st.subheader("Four ways to handle class imbalance")
    if summary.imbalance_ratio(counts) < BALANCED_BELOW:
        st.markdown("These classes are balanced already, so the four ways change almost nothing.")
    table = summary.resampling_table(counts)
    ways: dict[str, Callable[[pd.DataFrame], tuple[str, go.Figure | None]]] = {
        "Class weights": _class_weights,
        "Undersampling": _undersampling,
        "Oversampling": _oversampling,
        "Augmentation": _augmentation,
    }
    way = st.segmented_control(
        "Way",
        list(ways),
        required=True,
        default="Class weights",
        key="imbalance",
        label_visibility="collapsed",
        wrap=True,
    )
    text, figure = ways[way](table)
    st.markdown(text)
    if figure is not None:
        shell.chart(figure, way.lower().replace(" ", "-"), alt=f"Effect of {way.lower()} on each class")
    with st.expander("All figures"):
        exact = table["weight"].map(repr)  # every digit, to compare it with another program
        shell.table(table.assign(weight=exact).rename(columns=RESAMPLING_COLUMNS), "class-imbalance")
    st.caption(
        "The figures are for all images together. In training, each way changes the training part only: validation and "
        "test keep their class shares."
    )


def _class_weights(table: pd.DataFrame) -> tuple[str, go.Figure]:
    rare, frequent = table.loc[table["weight"].idxmax()], table.loc[table["weight"].idxmin()]
    times = rare["weight"] / frequent["weight"]
    example = (
        f"An image of {shell.plain(rare['label'])} has the weight {decimals(rare['weight'], 2)}, "
        f"{decimals(times, 1)} times that of {shell.plain(frequent['label'])} ({decimals(frequent['weight'], 2)})."
    )
    if times == 1:
        example = "Here every image has the weight 1.00."
    text = (
        "Errors on rare classes cost more. The weight of an image is n / (k · n of its class), for n images in k "
        f"classes. {example} The risk: in a small class, one wrong label has the same high weight."
    )
    return text, figures.weight_bars(dict(zip(table["label"], table["weight"], strict=True)))


def _undersampling(table: pd.DataFrame) -> tuple[str, go.Figure]:
    used, removed = table["kept"].sum(), table["thrown_away"].sum()
    text = (
        f"Every class is reduced to the size of the smallest: {count(table['kept'].min())} images of each class, "
        f"{count(used)} in all. {count(removed)} images, {share(removed / (used + removed))} of all, are not used. "
        "Training is quick and balanced, but learns nothing from the unused images."
    )
    return text, figures.resampling_bars(table, "undersample")


def _oversampling(table: pd.DataFrame) -> tuple[str, go.Figure]:
    rare = table.loc[table["times"].idxmax()]
    text = (
        f"Images of rare classes are repeated, {count(table['repeated'].sum())} repeats in all: each image of "
        f"{shell.plain(rare['label'])} occurs {decimals(rare['times'], 1)} times per epoch. No image is lost. The "
        "risk: the network memorises the repeated images (overfitting)."
    )
    return text, figures.resampling_bars(table, "oversample")


def _augmentation(table: pd.DataFrame) -> tuple[str, None]:
    shares = ", ".join(
        f"{shell.plain(row.label)} {share(row.images / table['images'].sum())}" for row in table.itertuples()
    )
    text = (
        "In each epoch, the images are rotated, shifted, zoomed or flipped at random. The class shares stay "
        f"{shares}: augmentation alone does not balance classes. It reduces overfitting, also on oversampled images. "
        "It adds no new patient and no new hospital, and a flipped chest has its heart on the wrong side."
    )
    return text, None


def _who_benefits() -> None:
    st.subheader("Who would benefit from such a classifier?")
    st.markdown(
        "- **Triage:** where images wait for hours, a score could move suspicious images to the front.\n"
        "- **Second opinion:** where a radiologist reads alone or at night, it could request a second reading.\n"
        "- **Surveillance:** weekly counts of suspicious images could show a wave before laboratory reports do.\n\n"
        "Nothing on these pages proves any of the three. Public images come from archives, often one archive per "
        "class, so a classifier can learn the archive (*shortcut learning*). The *prevalence* here is not that of a "
        "hospital, and PPV and NPV depend on it. A proof needs an *external test set*: consecutive patients of other "
        "hospitals, with labels from a test that does not use the image."
    )


# Images


def _images(dataset: Dataset) -> None:
    st.markdown(
        "View the images before you train. Do letters, arrows, cables or black margins occur in one class only? Do "
        "the patients of one class lie down (AP view, large heart), or are they children? A network can use all of "
        "this. Click a name to open an image."
    )
    view = SAMPLES
    if len(dataset.classes) > 1:
        views, key = [SAMPLES, *dataset.classes], f"images-view-{dataset.id}"
        view = st.segmented_control(
            "Show", views, required=True, default=SAMPLES, format_func=shell.plain, key=key, wrap=True
        )
    if (dataset.images["width"] != dataset.images["height"]).any():
        st.caption("The small images are squares, as a network gets them. An opened image has its own proportions.")
    if view == SAMPLES:
        _sample(dataset)
    else:
        _pages_of(dataset, view)


def _sample(dataset: Dataset) -> None:
    """A few images of each class, drawn again at the press of a button."""
    drawn = st.session_state.get("images-sample", 0)
    rng = np.random.default_rng(drawn)
    labels = dataset.images["label"].to_numpy()
    chosen = {
        label: np.sort(rng.permutation(np.flatnonzero(labels == label))[:SAMPLE]).tolist() for label in dataset.classes
    }
    for label, rows in chosen.items():
        st.markdown(f"**{shell.plain(label)}**, {plural(dataset.counts[label], 'image')}")
        images = _large(dataset, dataset.version, tuple(rows))
        gallery.image_grid(dataset, rows, images, "sample", tile=gallery.LARGE_TILE)
    with st.container(horizontal=True):
        st.button(
            "Another sample",
            icon=":material/shuffle:",
            on_click=lambda: st.session_state.update({"images-sample": drawn + 1}),
        )
        gallery.offer_sheet(dataset, chosen, "sample-images")


@st.cache_data(max_entries=32, show_spinner=False)
def _large(_dataset: Dataset, version: str, rows: tuple[int, ...]) -> dict[int, np.ndarray]:
    """Some images at SAMPLE_SIZE."""
    return dict(zip(rows, decode_rows(_dataset, rows, SAMPLE_SIZE), strict=True))


def _pages_of(dataset: Dataset, label: str) -> None:
    """All images of one class, page by page, or those whose name holds a text."""
    wanted = st.text_input("Search by name", placeholder="COVID-12", key="images-search").strip()
    images = dataset.images
    chosen = images["label"] == label
    if wanted:
        chosen &= images["image_id"].str.contains(wanted, case=False, regex=False)
    rows = np.flatnonzero(chosen)
    if not len(rows):
        st.info(
            f"No image of {shell.plain(label)} has {shell.plain(wanted)} in its name.", icon=":material/search_off:"
        )
        return
    pages = -(-len(rows) // PER_PAGE)
    page = st.pagination(pages, key=f"images-page-{dataset.id}-{label}-{wanted}") if pages > 1 else 1
    first = (page - 1) * PER_PAGE
    shown = rows[first : first + PER_PAGE]
    st.caption(f"{count(first + 1)} to {count(first + len(shown))} of {plural(len(rows), 'image')}")
    pixels = _with_progress(lambda progress: open_pixels(shell.workspace(), dataset, SUMMARY_SIZE, progress))
    gallery.image_grid(dataset, shown, pixels, "page")
    gallery.offer_sheet(dataset, {label: shown}, "images")


def _with_progress(work: Callable[[Progress], Result]) -> Result:
    """Do what may have to decode all images first, with a bar that shows only then."""
    place = st.empty()
    result = work(lambda done, message: place.progress(done, text=shell.plain(message)))
    place.empty()
    return result


# Pixels


def _pixels(dataset: Dataset) -> None:
    pixels = _with_progress(lambda progress: summary.pixel_summary(shell.workspace(), dataset, progress))
    if pixels.images.min() < FEW_IMAGES:
        st.info(
            f"A class here has only {plural(int(pixels.images.min()), 'image')}: some differences below are chance.",
            icon=":material/info:",
        )
    jumps = PIXEL_PARTS if len(pixels.classes) > 1 else PIXEL_PARTS[:-1]
    st.markdown("On this page: " + " · ".join(f"[{name}](#{name.lower().replace(' ', '-')})" for name in jumps))
    _exposure(pixels)
    _histograms(dataset, pixels)
    _mean_images(dataset, pixels)
    if len(pixels.classes) > 1:
        _differences(dataset, pixels)


def _exposure(pixels: PixelSummary) -> None:
    st.subheader("Can the class be predicted from the exposure?", anchor="exposure")
    chosen = st.segmented_control(
        "Quantity", list(EXPOSURES), required=True, default="Brightness", key="exposure", label_visibility="collapsed"
    )
    table = summary.exposure_table(pixels, EXPOSURES[chosen])
    means = ", ".join(f"{shell.plain(row.label)} {decimals(row.mean, 0)}" for row in table.itertuples())
    meaning = "mean grey of an image" if chosen == "Brightness" else "standard deviation of the greys within an image"
    st.markdown(
        f"{chosen} is the {meaning}. Means: {means} (0 black, 255 white). The disease hardly changes these numbers; "
        "the X-ray device, the dose and the archive's export do. Where the boxes are far apart, a classifier can use "
        "the exposure instead of the lungs."
    )
    figure = figures.exposure_boxes(table, f"{chosen} of an image (grey levels)")
    shell.chart(figure, f"exposure-{chosen.lower()}", alt=f"{chosen} per class", caption=BOXES)
    st.caption(BOXES)
    with st.expander("Figures"):
        shell.table(table.rename(columns=FIGURE_COLUMNS), f"exposure-figures-{chosen.lower()}", table, digits=1)


def _histograms(dataset: Dataset, pixels: PixelSummary) -> None:
    st.subheader("Which grey levels does each class have?", anchor="grey-levels")
    shares = summary.histogram_shares(pixels)
    black = ", ".join(f"{shell.plain(c)} {share(row[0])}" for c, row in zip(pixels.classes, shares, strict=True))
    st.markdown(
        "The chart counts all pixels of a class by grey level: air and lungs on the left, bone and soft tissue on the "
        f"right. Pure black is margin or lost exposure, not anatomy: {black}. Spikes and gaps come from the way an "
        "archive stored its images. A network can use them like a watermark."
    )
    figure = shell.drawn("greys", dataset.version, lambda: figures.intensity_lines(shares, pixels.classes))
    shell.chart(figure, "grey-levels", alt="Grey levels per class", caption="Share of all pixels of the class")


def _mean_images(dataset: Dataset, pixels: PixelSummary) -> None:
    st.subheader("What is the average image of each class?", anchor="mean-images")
    parts = (
        (
            "mean",
            pixels.means,
            "Mean image per class",
            "Each pixel is the mean over all images of the class. Sharp edges: the images have the same framing. Blur: "
            "they do not. A margin or a letter that is still visible is common in the class: a classifier can use it.",
        ),
        (
            "deviation",
            pixels.deviations,
            "Standard deviation of the images of each class, pixel by pixel",
            "The standard deviation (SD) shows where the images of a class differ: bright pixels differ most. A dark "
            "corner is the same in all images of the class.",
        ),
    )
    for quantity, images, alt, text in parts:
        st.markdown(text)
        figure = shell.drawn(
            quantity, dataset.version, partial(figures.class_pictures, images, pixels.classes, quantity)
        )
        shell.chart(figure, f"{quantity}-images", alt=alt)


def _differences(dataset: Dataset, pixels: PixelSummary) -> None:
    st.subheader("Where do the classes differ?", anchor="differences")
    table = summary.difference_table(pixels)
    st.markdown(_differences_in_words(table))
    st.markdown(
        "Orange: the first class is brighter. Blue: the second. Black: no difference. Pneumonia changes the lungs. "
        "Differences in corners, shoulders or along the edge come from framing, posture and exposure. They allow "
        "*shortcut learning*."
    )
    figure = shell.drawn(
        "differences", dataset.version, lambda: figures.difference_pictures(summary.mean_differences(pixels))
    )
    shell.chart(
        figure,
        "mean-differences",
        alt="Differences of the mean images, for every pair of classes",
        caption="Orange: the first is brighter. Blue: the second",
    )
    with st.expander("Figures"):
        shell.table(table.rename(columns=FIGURE_COLUMNS), "mean-differences-figures", table, digits=1)


def _differences_in_words(table: pd.DataFrame) -> str:
    """The pair that differs most along the edge, where hardly any lung is."""
    row = table.loc[table["border"].idxmax()]
    first, second = shell.plain(row["first"]), shell.plain(row["second"])
    text = (
        f"**The mean images of {first} and {second} differ by {decimals(row['border'], 0)} grey levels along the edge "
        f"and by {decimals(row['inside'], 0)} inside.** The edge shows hardly any lung."
    )
    if row["border"] > row["inside"]:
        text += " Framing and exposure separate these two at least as much as the lungs do."
    return text


# Sizes and sources


def _sizes(dataset: Dataset) -> None:
    st.subheader("Do all files have the same format?")
    sizes, modes = summary.format_table(dataset.images, "width", "height"), summary.format_table(dataset.images, "mode")
    kinds = sizes.groupby(["width", "height"]).ngroups
    of_modes = modes.groupby("mode")["images"].sum().sort_values(ascending=False)
    pixel_kinds = ", ".join(f"{gallery.mode_in_words(mode)} {count(images)}" for mode, images in of_modes.items())
    size = sizes.iloc[0]
    text = f"All images are {size['width']} x {size['height']} pixels."
    if kinds > 1:
        text = f"The images have {plural(kinds, 'different size')}."
    shapes = sizes["width"] / sizes["height"]
    meaning = "All have the same proportions, so their shape cannot reveal the class."
    if shapes.max() > shapes.min():
        meaning = (
            "Their proportions differ. A network gets every image as a square, so wide images have narrow chests. A "
            "class with wider files can be predicted by that alone."
        )
    st.markdown(f"{text} Pixel formats: {shell.plain(pixel_kinds)}. {meaning}")
    if kinds > 1:
        shell.chart(figures.size_dots(sizes), "image-sizes", alt="Width and height of the images, by class")
    with st.expander("Figures"):
        shell.table(sizes.rename(columns=FIGURE_COLUMNS), "image-sizes-figures", sizes)
        shell.table(modes.rename(columns=FIGURE_COLUMNS), "image-modes-figures", modes)


def _sources(dataset: Dataset) -> None:
    st.subheader("Does the source reveal the class?")
    table = summary.source_table(dataset.images, dataset.classes)
    facts = summary.source_summary(table)
    if not facts.with_source:
        st.markdown(
            "No image here has a source on record, so the question stays open. In the COVID-19 Radiography Database, "
            "nearly every class has its own source. The table of sources in its archive (CLASS.metadata.xlsx) is "
            "imported with the images."
        )
        return
    unknown = f" The source of {plural(facts.without_source, 'image')} is unknown." if facts.without_source else ""
    st.markdown(
        f"**The source alone predicts the class of {share(facts.guessed)} of the images.** The majority baseline is "
        f"{share(facts.majority)}. {share(facts.one_class)} of the images come from a source with a single class "
        f"({plural(facts.sources, 'source')} in all).{unknown}"
    )
    if of_one := summary.classes_of_one_source(table):
        st.markdown(
            f"**Classes with one source: {shell.plain(', '.join(of_one))}.** For them, the source could be learned "
            "instead of the disease."
        )
    if shared := shared_sources(dataset):
        st.markdown(shared)
    st.markdown(
        "A bar in one colour is a source with one class. If every bar has one colour, the source is a *confounder*: no "
        "split of these images separates disease and source. Only an *external test set* does."
    )
    shell.chart(figures.source_bars(table), "sources", alt="Images per source and class")
    with st.expander("Figures"):
        shell.table(table.reset_index().rename(columns=FIGURE_COLUMNS), "sources-figures", table.reset_index())


def _facts(dataset: Dataset) -> None:
    """What else is on record of the images, against the class; nothing where nothing is."""
    facts = summary.recorded_facts(dataset.images, dataset.classes)
    patients = dataset.images["patient_id"].replace("", pd.NA).dropna().value_counts()
    if not facts and patients.empty:
        return
    st.subheader("Does anything else on record reveal the class?")
    if len(patients):
        st.markdown(
            f"{plural(len(patients), 'patient')} have {decimals(patients.mean(), 1)} images each on average, "
            f"{count(patients.max())} at most. Without a patient: "
            f"{plural(len(dataset.images) - int(patients.sum()), 'image')}."
        )
    rows = [
        {
            "On record": fact.name,
            "Values": len(fact.counts),
            "Images": int(fact.counts.to_numpy().sum()),
            "Missing": fact.missing,
            "Cramér's V with the class": fact.association,
        }
        for fact in facts
    ]
    measured = [fact for fact in facts if not math.isnan(fact.association)]
    if measured:
        strongest = max(measured, key=lambda fact: fact.association)
        st.markdown(
            f"{shell.plain(strongest.name)} has the strongest association with the class: Cramér's V is "
            f"{decimals(strongest.association, 2)}, from 0 for no association to 1 where it gives the class away. "
            "V also rises where a value only rules out a class."
        )
    if rows:
        shell.table(pd.DataFrame(rows), "on-record")
        with st.expander("Figures"):
            for fact in facts:
                shell.table(fact.counts.reset_index(), f"on-record-{fact.name}")


# Left out


def _left_out(dataset: Dataset) -> None:
    table, decided = dataset.left_out, dataset.taken_out
    if table.empty and decided.empty:
        st.markdown(f"Every file could be read: {plural(len(dataset.images), 'image')}, none left out.")
        return
    if not table.empty:
        st.markdown(
            f"{left_out(dataset)} Of {plural(len(table) + len(dataset.imported.images), 'file')}, these are in no "
            "class, no split and no figure."
        )
        shell.table(table.rename(columns={"path": "File", "reason": "Reason"}), "left-out")
    if decided.empty:
        return
    valid = {one.image_id: one for one in decisions.in_force(dataset.decisions) if one.action == decisions.LEAVE_OUT}
    rows = [(one.image_id, one.before, one.author, moment(one.seconds), one.note) for one in valid.values()]
    st.markdown(
        f"{plural(len(rows), 'image was', 'images were')} left out by decision. The files are unchanged. Each "
        "decision can be reversed on the Audit page."
    )
    shell.table(pd.DataFrame(rows, columns=["Image", "Class", "Decided by", "When", "Note"]), "left-out-by-decision")


main()
