"""What is in a data set: classes, images, grey levels, sizes, sources, and what could not be read."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pandas as pd
import streamlit as st

from covid_core.data import dataset as data
from covid_core.data import decisions, summary
from covid_core.data.dataset import Dataset
from covid_core.data.importing import SUMMARY_SIZE
from covid_core.data.pixels import open_pixels
from covid_core.data.summary import PixelSummary
from covid_core.figures import data as figures
from covid_core.formatting import count, moment, plural, share
from covid_core.work import Progress
from pages.panels.dataset import import_form
from pages.shared import gallery, import_jobs, shell

Result = TypeVar("Result")

QUESTION = "What is in this data set?"
OVERVIEW, IMAGES, PIXELS, SIZES, LEFT_OUT = "Overview", "Images", "Pixels", "Sizes and sources", "Left out"
BALANCED_BELOW = 1.1  # ratio of the largest to the smallest class that no remedy would change noticeably
SAMPLE = 6  # images per class; a row at 1280 px, two on a phone
PER_PAGE = 30  # images of one class
FEW_IMAGES = 30  # per class; a mean image of fewer still shows single images
SAMPLES = "Sample of each class"
EXPOSURES = {"Brightness": "image_means", "Contrast": "image_deviations"}


def main() -> None:
    shell.heading(QUESTION)
    answer = st.container()
    if import_jobs.panel():
        st.session_state["manage"] = False  # what was to be added is there: make room for it
    if not data.list_datasets(shell.workspace()):
        answer.markdown("**Nothing yet.** Draw synthetic images to try everything on, or bring your own.")
        import_form.add_dataset(with_jobs=False)
        return
    dataset = shell.pick_dataset()
    _manage()
    if dataset is None:
        return
    answer.markdown(_answer(dataset))
    _show_tabs(dataset)
    shell.look_at(dataset.id)
    gallery.show_open_image(dataset)
    st.divider()
    st.page_link("audit.py", label="Next: find out what is wrong with these images", icon=":material/fact_check:")
    st.page_link("train.py", label="Or train a classifier on these images", icon=":material/arrow_forward:")


def _manage() -> None:
    manage = st.expander("Add or remove data sets", icon=":material/library_add:", on_change="rerun", key="manage")
    if manage.open:
        with manage:
            import_form.add_dataset(with_jobs=False)
            st.divider()
            import_form.remove_dataset()


def _show_tabs(dataset: Dataset) -> None:
    """Only the open tab computes; its name is in the address."""
    contents = {
        OVERVIEW: _overview,
        IMAGES: _images,
        PIXELS: _pixels,
        SIZES: _sizes_and_sources,
        LEFT_OUT: _left_out,
    }
    tabs = st.tabs(list(contents), key="tab", bind="query-params")
    for tab, show in zip(tabs, contents.values(), strict=True):
        if tab.open:
            with tab, shell.told():
                show(dataset)


def _answer(dataset: Dataset) -> str:
    """The data set in two sentences."""
    left_out = len(dataset.left_out)
    unread = f"{plural(left_out, 'file')} could not be read" if left_out else "Every file could be read"
    out = len(dataset.taken_out)
    decided = f"; {plural(out, 'image is', 'images are')} left out by decision" if out else ""
    return f"**{plural(len(dataset.images), 'image')} {_balance_in_words(dataset.counts)}** {unread}{decided}."


def _balance_in_words(counts: dict[str, int]) -> str:
    if len(counts) == 1:
        return f"in a single class, {shell.plain(next(iter(counts)))}: there is nothing to tell apart."
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[largest] == counts[smallest]:
        return f"in {len(counts)} classes of {count(counts[largest])} each."
    part = share(counts[largest] / sum(counts.values()))
    times = f"{summary.imbalance_ratio(counts):.1f} times as many as {shell.plain(smallest)}"
    return f"in {len(counts)} classes; {shell.plain(largest)} holds {part}, {times}."


# Overview


def _overview(dataset: Dataset) -> None:
    table = summary.class_table(dataset.counts)
    st.subheader("Images per class")
    majority = shell.plain(table.loc[table["images"].idxmax(), "label"])
    st.markdown(
        f"Whoever answers {majority} for every image, without a look at it, is right on {share(table['share'].max())} "
        "of them. A classifier's accuracy means nothing until it is clearly above that figure, which is why it stands "
        "beside the models on the Compare page."
    )
    shell.chart(figures.class_bars(table), "images-per-class", alt="Bar chart of images per class")
    if len(dataset.counts) > 1:
        _ways_out(dataset.counts)
    _who_benefits()


def _ways_out(counts: dict[str, int]) -> None:
    st.subheader("Four ways out of imbalance")
    if summary.imbalance_ratio(counts) < BALANCED_BELOW:
        st.markdown("These classes are balanced already; the four ways would change next to nothing here.")
    table = summary.resampling_table(counts)
    ways = {
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
        key="way-out",
        label_visibility="collapsed",
        wrap=True,
    )
    ways[way](table)
    with st.expander("All figures"):
        shell.table(_resampling_shown(table), "ways-out-of-imbalance")
    st.caption(
        "The figures are for all images together. In training, each way touches the training part only: validation and "
        "test keep the shares that they have, or their figures would be about images that do not exist."
    )


def _class_weights(table: pd.DataFrame) -> None:
    rare, frequent = table.loc[table["weight"].idxmax()], table.loc[table["weight"].idxmin()]
    told = "Here every image counts 1.00."
    if rare["weight"] > frequent["weight"]:
        times = rare["weight"] / frequent["weight"]
        told = (
            f"An image of {shell.plain(rare['label'])} counts {rare['weight']:.2f}, {times:.1f} times as much as "
            f"one of {shell.plain(frequent['label'])} ({frequent['weight']:.2f})."
        )
    st.markdown(
        "Every image stays, and a mistake on a rare one costs more: the weight is n / (k · n of the class), for n "
        f"images in k classes. {told} The price: with few images in a class, a single wrong label weighs as much."
    )
    weights = dict(zip(table["label"], table["weight"], strict=True))
    shell.chart(figures.weight_bars(weights), "class-weights", alt="Bar chart of the weight of one image per class")


def _undersampling(table: pd.DataFrame) -> None:
    kept, thrown_away = table["kept"].sum(), table["thrown_away"].sum()
    st.markdown(
        f"Every class is cut to the smallest: {count(table['kept'].min())} images of each are kept, {count(kept)} in "
        f"all, and {count(thrown_away)} are thrown away, {share(thrown_away / (kept + thrown_away))} of everything. "
        "Quick and balanced, but the images thrown away cost somebody's work and would have taught something."
    )
    figure = figures.resampling_bars(table, "undersample")
    shell.chart(figure, "undersampling", alt="Bar chart of images kept and thrown away per class")


def _oversampling(table: pd.DataFrame) -> None:
    rare = table.loc[table["times"].idxmax()]
    st.markdown(
        f"Images of rare classes are drawn again, {count(table['repeated'].sum())} draws in all: each image of "
        f"{shell.plain(rare['label'])} is seen {rare['times']:.1f} times per epoch. Nothing is lost and nothing is "
        "new: what repeats can be learned by heart, and an image drawn again before the split would be in training and "
        "test."
    )
    figure = figures.resampling_bars(table, "oversample")
    shell.chart(figure, "oversampling", alt="Bar chart of images and repeated images per class")


def _augmentation(table: pd.DataFrame) -> None:
    shares = ", ".join(
        f"{shell.plain(row.label)} {share(row.images / table['images'].sum())}" for row in table.itertuples()
    )
    st.markdown(
        "Each epoch sees the images turned, shifted, zoomed or mirrored by chance. That changes how an image looks, "
        "not "
        f"how many there are: the shares stay {shares}. It works against learning by heart, so it helps oversampling, "
        "whose repeats are then no longer the same picture; alone it is no remedy for imbalance. It brings no new "
        "patient, no new hospital, and a mirrored chest has its heart on the wrong side."
    )


def _resampling_shown(table: pd.DataFrame) -> pd.DataFrame:
    names = {
        "label": "Class",
        "images": "Images",
        "weight": "Class weight",
        "kept": "Undersampling keeps",
        "thrown_away": "Undersampling throws away",
        "repeated": "Oversampling draws again",
        "times": "Times seen when oversampled",
    }
    exact = table["weight"].map(repr)  # every digit, for whoever checks it against another program
    return table.assign(weight=exact).rename(columns=names)


def _who_benefits() -> None:
    st.subheader("Who would gain from such a classifier?")
    st.markdown(
        "- **Triage:** where images wait for hours, a score could bring the suspicious ones to the front of the list.\n"
        "- **Second opinion:** where a radiologist reads alone or at night, it could ask for a second look at an "
        "image.\n"
        "- **Surveillance:** counts of suspicious images per week could show a wave before laboratory reports do.\n\n"
        "Nothing on these pages licenses any of the three. Public images come from archives, often from one archive "
        "per class, so a classifier can score well by reading the archive; the share of each disease here is not that "
        "of a waiting room, on which PPV and NPV depend; and no figure comes from a hospital that the classifier has "
        "not seen. What it would take: images of consecutive patients from other hospitals, with labels from a test "
        "that does not look at the image."
    )


# Images


def _images(dataset: Dataset) -> None:
    st.markdown(
        "Look before you compute. Are there letters, arrows, cables or black margins that come with one class only? "
        "Are the patients of one class lying down (AP, a large heart, arms at the side) or children? A network sees "
        "all of it. Open an image by its name."
    )
    view = SAMPLES
    if len(dataset.classes) > 1:
        views, key = [SAMPLES, *dataset.classes], f"images-view-{dataset.id}"
        view = st.segmented_control(
            "Show", views, required=True, default=SAMPLES, format_func=shell.plain, key=key, wrap=True
        )
    pixels = _with_progress(lambda progress: open_pixels(shell.workspace(), dataset, SUMMARY_SIZE, progress))
    if (dataset.images["width"] != dataset.images["height"]).any():
        st.caption(
            "Small pictures are squashed to a square, as a network gets them; an opened image has its proportions."
        )
    if view == SAMPLES:
        _sample(dataset, pixels)
    else:
        _pages_of(dataset, view, pixels)


def _sample(dataset: Dataset, pixels: np.ndarray) -> None:
    """A few images of each class, drawn again at the press of a button."""
    drawn = st.session_state.setdefault("images-sample", 0)
    rng = np.random.default_rng(drawn)
    labels = dataset.images["label"].to_numpy()
    for label in dataset.classes:
        st.markdown(f"**{shell.plain(label)}**, {plural(dataset.counts[label], 'image')}")
        rows = np.flatnonzero(labels == label)
        gallery.image_grid(dataset, np.sort(rng.permutation(rows)[:SAMPLE]), pixels, "sample")
    st.button("Another sample", icon=":material/shuffle:", on_click=_draw_again)


def _draw_again() -> None:
    st.session_state["images-sample"] += 1


def _pages_of(dataset: Dataset, label: str, pixels: np.ndarray) -> None:
    """All images of one class, page by page, or those whose name holds a text."""
    wanted = st.text_input("Find by name", placeholder="COVID-12", key="images-find").strip()
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
    gallery.image_grid(dataset, shown, pixels, "page")


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
            f"A class here has only {plural(int(pixels.images.min()), 'image')}: some of what differs below is chance.",
            icon=":material/info:",
        )
    _exposure(pixels)
    _histograms(dataset, pixels)
    _mean_images(dataset, pixels)
    if len(pixels.classes) > 1:
        _differences(dataset, pixels)


def _exposure(pixels: PixelSummary) -> None:
    st.subheader("Can the class be told from the exposure?")
    chosen = st.segmented_control(
        "Quantity", list(EXPOSURES), required=True, default="Brightness", key="exposure", label_visibility="collapsed"
    )
    table = summary.exposure_table(pixels, EXPOSURES[chosen])
    means = ", ".join(f"{shell.plain(row.label)} {row.mean:.0f}" for row in table.itertuples())
    meaning = "mean grey of an image" if chosen == "Brightness" else "standard deviation of the greys within an image"
    st.markdown(
        f"{chosen} is the {meaning}; on average: {means} (0 black, 255 white). The disease hardly moves these numbers; "
        "the machine, the dose and the archive's export do. Where the boxes stand apart, a classifier can earn points "
        "without finding a lung."
    )
    figure = figures.exposure_boxes(table, f"{chosen} of an image (grey levels)")
    shell.chart(figure, f"exposure-{chosen.lower()}", alt=f"Box plot of {chosen.lower()} per class")
    st.caption("Line: the median. Box: the middle half of the images. Whiskers: nine images of ten.")
    with st.expander("Figures"):
        shell.table(table.round(1), f"exposure-figures-{chosen.lower()}")


def _histograms(dataset: Dataset, pixels: PixelSummary) -> None:
    st.subheader("Which greys does each class use?")
    shares = summary.histogram_shares(pixels)
    black = ", ".join(f"{shell.plain(c)} {share(row[0])}" for c, row in zip(pixels.classes, shares, strict=True))
    st.markdown(
        "All pixels of all images of a class, counted by grey level: air and lungs on the left, bone and soft "
        "tissue on "
        f"the right. Pure black is margin or lost exposure, not anatomy: {black}. Spikes and combs come from how an "
        "archive stored its images, and a network reads them like a watermark."
    )
    figure = shell.drawn("greys", dataset.version, lambda: figures.intensity_lines(shares, pixels.classes))
    shell.chart(figure, "grey-levels", alt="Grey-level histogram per class")


def _mean_images(dataset: Dataset, pixels: PixelSummary) -> None:
    st.subheader("What does the average image of a class look like?")
    st.markdown(
        "Every pixel is the mean over all images of the class. Sharp edges mean that images are framed alike; a blur "
        "means that they are not. What stays visible here, such as a margin, a letter or a raised arm, is common to "
        "the class, and any classifier will find it."
    )
    figure = shell.drawn("means", dataset.version, lambda: figures.class_pictures(pixels.means, pixels.classes, "mean"))
    shell.chart(figure, "mean-images", alt="Mean image per class")
    st.markdown(
        "The standard deviation shows where the images of a class differ from each other: bright is where every "
        "image is different. A dark corner is a corner that looks the same in all images of the class."
    )
    figure = shell.drawn(
        "deviations", dataset.version, lambda: figures.class_pictures(pixels.deviations, pixels.classes, "deviation")
    )
    shell.chart(figure, "deviation-images", alt="Standard deviation of the images of each class, pixel by pixel")


def _differences(dataset: Dataset, pixels: PixelSummary) -> None:
    st.subheader("Where do the classes differ?")
    table = summary.difference_table(pixels)
    st.markdown(_differences_in_words(table))
    st.markdown(
        "Orange: the first class is brighter there; blue: the second; black: no difference. Pneumonia is a matter of "
        "the lungs. Differences in corners, shoulders or along the edge are differences in framing, posture and "
        "exposure, that is, in who took the image, and they can give the class away."
    )
    figure = shell.drawn(
        "differences", dataset.version, lambda: figures.difference_pictures(summary.mean_differences(pixels))
    )
    shell.chart(figure, "mean-differences", alt="Differences of the mean images, for every pair of classes")
    with st.expander("Figures"):
        shell.table(table.round(1), "mean-differences-figures")


def _differences_in_words(table: pd.DataFrame) -> str:
    """The pair that differs most along the edge, where hardly any lung is."""
    row = table.loc[table["border"].idxmax()]
    first, second = shell.plain(row["first"]), shell.plain(row["second"])
    text = (
        f"**The mean images of {first} and {second} differ by {row['border']:.0f} grey levels along the edge, where "
        f"hardly any lung is, and by {row['inside']:.0f} inside it.**"
    )
    if row["border"] > row["inside"]:
        text += " Framing and exposure set these two apart at least as much as the lungs do."
    return text


# Sizes and sources


def _sizes_and_sources(dataset: Dataset) -> None:
    _sizes(dataset)
    _sources(dataset)


def _sizes(dataset: Dataset) -> None:
    st.subheader("Are the files alike?")
    sizes, modes = summary.size_table(dataset.images), summary.mode_table(dataset.images)
    kinds = sizes.groupby(["width", "height"]).ngroups
    of_modes = modes.groupby("mode")["images"].sum().sort_values(ascending=False)
    pixel_kinds = ", ".join(f"{gallery.mode_in_words(mode)} {count(images)}" for mode, images in of_modes.items())
    size = sizes.iloc[0]
    text = (
        f"The images have {plural(kinds, 'different size')}."
        if kinds > 1
        else (f"All images are {size['width']} x {size['height']} pixels.")
    )
    shapes = sizes["width"] / sizes["height"]
    meaning = "All have the same proportions, so their shape cannot give a class away."
    if shapes.max() > shapes.min():
        meaning = (
            "Their proportions differ. Every image is squashed to the same square before a network sees it, so a class "
            "whose files are wider arrives with narrower chests: a mark that has nothing to do with the disease."
        )
    st.markdown(f"{text} Kinds of pixels: {shell.plain(pixel_kinds)}. {meaning}")
    if kinds > 1:
        shell.chart(figures.size_dots(sizes), "image-sizes", alt="Width and height of the images, by class")
    with st.expander("Figures"):
        shell.table(sizes, "image-sizes-figures")
        shell.table(modes, "image-modes-figures")


def _sources(dataset: Dataset) -> None:
    st.subheader("Is the class a matter of the source?")
    table = summary.source_table(dataset.images, dataset.classes)
    told = summary.source_summary(table)
    if not told.known:
        st.markdown(
            "No image here has a source on record, so this cannot be answered from the files. Unknown does not mean "
            "one "
            "source: in the database that most such images come from, nearly every class was collected in another "
            "place. The full archive has a table of sources (CLASS.metadata.xlsx) that is imported with the images."
        )
        return
    unknown = f" The source of {plural(told.unknown, 'image')} is unknown." if told.unknown else ""
    st.markdown(
        f"**{plural(told.sources, 'source')}; whoever knows only the source and not the image names the class rightly "
        f"for {share(told.guessed)} of the images (without it: {share(told.majority)}).** {share(told.one_class)} come "
        f"from a source that holds a single class.{unknown}"
    )
    st.markdown(
        "A bar in one colour is a source with one class. Where all bars are so, disease and data source cannot be told "
        "apart by any split of these images; only images from elsewhere can say what a model has learned."
    )
    shell.chart(figures.source_bars(table), "sources", alt="Images per source and class")
    with st.expander("Figures"):
        shell.table(table.reset_index(), "sources-figures")


# Left out


def _left_out(dataset: Dataset) -> None:
    table, decided = dataset.left_out, dataset.taken_out
    if table.empty and decided.empty:
        st.markdown(f"Every file could be read: {plural(len(dataset.images), 'image')}, none left out.")
        return
    if not table.empty:
        st.markdown(
            f"{plural(len(table), 'file')} of {count(len(table) + len(dataset.imported.images))} could not be read "
            "faithfully and belong to no class, no split and no figure. Images that a program drops without a word "
            "make two studies of the same data disagree; here each is named with its reason."
        )
        shell.table(table.rename(columns={"path": "File", "reason": "Reason"}), "left-out")
    if not decided.empty:
        _taken_out(dataset)


def _taken_out(dataset: Dataset) -> None:
    """Images that somebody decided to leave out, with who, when and why."""
    valid = {one.image_id: one for one in decisions.in_force(dataset.decisions) if one.action == decisions.LEAVE_OUT}
    rows = [(one.image_id, one.before, one.author, moment(one.seconds), one.note) for one in valid.values()]
    st.markdown(
        f"{plural(len(rows), 'image was', 'images were')} left out by decision. The files are unchanged, and each "
        "decision can be taken back on the Audit page."
    )
    shell.table(pd.DataFrame(rows, columns=["Image", "Class", "Decided by", "When", "Note"]), "left-out-by-decision")


main()
