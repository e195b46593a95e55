"""What is in a data set, in numbers: classes, ways out of imbalance, sizes, sources, grey levels.

Everything about pixels comes from one pass over the cache of decoded images (``SUMMARY_SIZE`` pixels a side) and is
kept beside it, so it is computed once per version of a data set.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from covid_core import derived
from covid_core.data import masks
from covid_core.data.dataset import Dataset
from covid_core.data.pixels import SUMMARY_SIZE, open_pixels
from covid_core.data.split import PARTS
from covid_core.errors import ImageError
from covid_core.evaluation.label_check import cramers_v
from covid_core.images.codec import PICTURES, jpeg_bytes, png_bytes, read_image, thumbnail
from covid_core.work import Progress, silent
from covid_core.workspace import Workspace

FORMAT = 1  # of the cached file; a change of its content takes the next number
CHUNK = 64  # images at a time: 1 MB of pixels and 2 MB of squares at 128 px, which stay in the processor's cache
GREYS = np.arange(256)
BORDER_SHARE = 10 / 128  # of the side; as wide as the border that the course study's classifiers were given
UNKNOWN = UNKNOWN_SOURCE = "unknown"
STRIPE = 1 / 32  # of a thumbnail's height, below it in the colour of its class
LARGEST_VIEW = 1024  # pixels; no screen shows an image larger than this in a dialog
MASK_COLOUR = np.array([86, 180, 233])  # sky blue: stands out on grey
MASK_STRENGTH = 0.18  # of the colour inside the lungs; the outline is drawn in full


# Classes


def class_table(counts: Mapping[str, int]) -> pd.DataFrame:
    """Columns label, images, share (of all images, in [0, 1]), in the order of ``counts``."""
    table = pd.DataFrame({"label": list(counts), "images": [int(n) for n in counts.values()]})
    return table.assign(share=table["images"] / table["images"].sum())


def imbalance_ratio(counts: Mapping[str, int]) -> float:
    """How many times as many images the largest class has as the smallest; 1 is balanced."""
    return max(counts.values()) / min(counts.values())


def class_weights(counts: Mapping[str, int]) -> dict[str, float]:
    """What one image of each class counts so that all classes weigh the same: n / (k * n_c), with a mean of 1."""
    total = sum(counts.values())
    return {label: total / (len(counts) * images) for label, images in counts.items()}


def resampling_table(counts: Mapping[str, int]) -> pd.DataFrame:
    """What each way out of imbalance would do if it were applied to all images.

    Returns:
        Columns label, images, weight (class weights), kept and thrown_away (undersampling to the smallest class),
        repeated (images drawn again by oversampling to the largest class) and times (how often an image is seen then).
    """
    smallest, largest = min(counts.values()), max(counts.values())
    images = np.array(list(counts.values()))
    return pd.DataFrame(
        {
            "label": list(counts),
            "images": images,
            "weight": list(class_weights(counts).values()),
            "kept": smallest,
            "thrown_away": images - smallest,
            "repeated": largest - images,
            "times": largest / images,
        }
    )


# Files and sources


def format_table(images: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """How many files are alike: ``columns`` ("width" and "height" in pixels, or "mode", the kind of pixel, "L" is 8-bit
    grey), label, images; the most frequent first."""
    counted = images.groupby([*columns, "label"], sort=True).size().rename("images").reset_index()
    return counted.sort_values("images", ascending=False, kind="stable", ignore_index=True)


def source_table(images: pd.DataFrame, classes: Iterable[str]) -> pd.DataFrame:
    """Images per source (index, the largest first, UNKNOWN_SOURCE last) and class (columns)."""
    source = images["source"].replace("", UNKNOWN_SOURCE)
    table = pd.crosstab(source, images["label"]).reindex(columns=list(classes), fill_value=0)
    order = sorted(table.index, key=lambda name: (name == UNKNOWN_SOURCE, -table.loc[name].sum(), name))
    return table.loc[order].rename_axis(index="source", columns=None)


@dataclass(frozen=True)
class SourceSummary:
    """What the source alone says about the class, over the images whose source is known.

    ``one_class`` is the share of images whose source holds a single class; ``guessed`` the share that is right when
    every source is called by its most frequent class; ``majority`` the share that is right when all are called the
    most frequent class. All three are nan where no source is known.
    """

    with_source: int
    without_source: int
    sources: int
    one_class: float
    guessed: float
    majority: float


def source_summary(table: pd.DataFrame) -> SourceSummary:
    """Summary of a table from ``source_table``."""
    named = table.drop(index=UNKNOWN_SOURCE, errors="ignore")
    total, unknown = int(named.to_numpy().sum()), int(table.to_numpy().sum() - named.to_numpy().sum())
    alone = named[(named > 0).sum(axis=1) == 1].to_numpy().sum()
    counts = (alone, named.max(axis=1).sum(), named.sum().max())
    return SourceSummary(total, unknown, len(named), *(n / total if total else math.nan for n in counts))


def classes_of_one_source(table: pd.DataFrame) -> list[str]:
    """Classes of a table from ``source_table`` whose images all come from one known source; none where all do."""
    named = table.drop(index=UNKNOWN_SOURCE, errors="ignore")
    if len(named) < 2:
        return []
    alone = ((named > 0).sum() == 1) & (named.sum() == table.sum())
    return [str(label) for label in table.columns[alone]]


# What is on record of each image beside its class

AGE_BANDS = (0, 18, 40, 60, 80, math.inf)  # years; the lower bound is in the band
RECORDED = {
    **{"sex": "Sex", "age": "Age", "view": "View", "device": "Device", "spacing": "Pixel spacing (mm)"},
    **{"given_part": "Part of the authors' split", "source": "Source"},
}


OF_SUBGROUPS = ("sex", "age", "view", "source", "device")  # facts by which figures and parts are divided


@dataclass(frozen=True)
class RecordedFact:
    """A fact against the class: ``counts`` has a row per value and a column per class, for the images that have it;
    ``missing`` have none. ``association`` is Cramér's V of the two, nan where one of them has a single value."""

    name: str
    counts: pd.DataFrame
    missing: int
    association: float


def recorded_facts(images: pd.DataFrame, classes: Iterable[str]) -> list[RecordedFact]:
    """The facts of RECORDED that any image has, age in bands."""
    facts = []
    for column, values in fact_values(images).items():
        name, has = RECORDED[column], (values != "").to_numpy()
        recorded, labels = values[has], images.loc[has, "label"]
        counts = pd.crosstab(recorded, labels).reindex(columns=list(classes), fill_value=0).rename_axis(columns=None)
        association = cramers_v(pd.factorize(recorded)[0], pd.factorize(labels)[0])
        facts.append(RecordedFact(name, counts.rename_axis(index=name), int((~has).sum()), association))
    return facts


def fact_values(images: pd.DataFrame, wanted: Iterable[str] = RECORDED) -> dict[str, pd.Series]:
    """The facts of RECORDED that any image has, by column: the value of each image, age in bands, "" where unknown."""
    values = {column: images[column] for column in RECORDED if column in wanted and column in images}
    if "age" in values:
        values["age"] = _in_bands(values["age"])
    return {column: of_images for column, of_images in values.items() if (of_images != "").any()}


def part_balance(split: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """What each part of a split holds: columns fact, value and PARTS (images; of "patients", their number).

    Rows: images, patients (where any is known), then every class and every value of what is on record, the most
    frequent first; UNKNOWN where it is not known.

    Args:
        split: columns image_id, label, part.
        images: of the data set; those of the split are looked up by their ids.
    """
    recorded = images.set_index("image_id").reindex(split["image_id"]).fillna("").reset_index()
    part = split["part"].to_numpy()
    named = recorded["patient_id"] != ""
    rows = [("images", "", pd.Series(part).value_counts())]
    if named.any():
        rows.append(("patients", "", recorded["patient_id"][named].groupby(part[named]).nunique()))
    of_images = {"label": split["label"], **fact_values(recorded, OF_SUBGROUPS)}
    for fact, values in of_images.items():
        counts = pd.crosstab(np.where(values == "", UNKNOWN, values), part)
        order = sorted(counts.index, key=lambda value: (value == UNKNOWN, -counts.loc[value].sum(), value))
        rows += [(fact, value, counts.loc[value]) for value in order]
    table = pd.DataFrame([(fact, value, *counts.reindex(PARTS, fill_value=0)) for fact, value, counts in rows])
    return table.set_axis(["fact", "value", *PARTS], axis=1)


def _in_bands(ages: pd.Series) -> pd.Series:
    names = [f"{low} to {high} years" for low, high in pairwise(AGE_BANDS[:-1])]
    names.append(f"{AGE_BANDS[-2]} years and more")
    return pd.cut(pd.to_numeric(ages, errors="coerce"), AGE_BANDS, right=False, labels=names).astype(object).fillna("")


# Pixels


@dataclass(frozen=True)
class PixelSummary:
    """Grey levels of a data set at SUMMARY_SIZE. Black is 0, white is 255.

    ``images`` int64 (k,); ``histograms`` int64 (k, 256), pixels per grey level; ``means`` and ``deviations`` float32
    (k, size, size), over the images of each class; ``image_means`` and ``image_deviations`` float32 (n,), over the
    pixels of each image, in the order of ``dataset.images``; ``codes`` int64 (n,), the position of each image's class
    in ``classes``. Standard deviations divide by n.
    """

    classes: tuple[str, ...]
    images: np.ndarray
    histograms: np.ndarray
    means: np.ndarray
    deviations: np.ndarray
    image_means: np.ndarray
    image_deviations: np.ndarray
    codes: np.ndarray


def summary_path(workspace: Workspace, dataset: Dataset) -> Path:
    """Where the pixel summary of this version of a data set is kept."""
    return workspace.tables / f"{dataset.version[:32]}-pixels-{FORMAT}.npz"


def pixel_summary(workspace: Workspace, dataset: Dataset, progress: Progress = silent) -> PixelSummary:
    """The pixel summary, from the cache where it is there and whole, else computed and kept.

    Raises DataError when images have to be decoded again and are gone.
    """
    path = summary_path(workspace, dataset)
    codes = np.searchsorted(dataset.classes, dataset.images["label"].to_numpy(dtype=str))
    names = [one.name for one in fields(PixelSummary) if one.name not in ("classes", "codes")]
    arrays = derived.read_arrays(path, names)
    if arrays is None:
        pixels = open_pixels(workspace, dataset, SUMMARY_SIZE, progress)
        arrays = summarise(pixels, codes, len(dataset.classes), progress)
        derived.write_arrays(workspace, path, arrays, optional=True)
    return PixelSummary(dataset.classes, codes=codes, **arrays)


def summarise(
    pixels: np.ndarray, codes: np.ndarray, classes: int, progress: Progress = silent
) -> dict[str, np.ndarray]:
    """The arrays of a PixelSummary in one pass over ``pixels``, uint8 (n, size, size), a chunk in memory at a time.

    All sums are of whole numbers and exact, so the result does not depend on the size of the chunk.
    """
    total, area = len(pixels), pixels.shape[1] * pixels.shape[2]
    histograms = np.zeros((classes, 256), np.int64)
    sums, squares = np.zeros((2, classes, area), np.int64)
    of_images = np.empty((2, total), np.float32)
    for start in range(0, total, CHUNK):
        chunk, chunk_codes = np.asarray(pixels[start : start + CHUNK]).reshape(-1, area), codes[start : start + CHUNK]
        per_image = np.stack([np.bincount(image, minlength=256) for image in chunk])
        of_images[:, start : start + len(chunk)] = _moments(per_image @ GREYS, per_image @ GREYS**2, area)
        for code in np.unique(chunk_codes):
            mine = chunk_codes == code
            images = chunk if mine.all() else chunk[mine]
            histograms[code] += per_image[mine].sum(axis=0)
            sums[code] += images.sum(axis=0, dtype=np.uint32)
            squares[code] += np.square(images, dtype=np.uint16).sum(axis=0, dtype=np.uint32)  # 255 squared fits
        progress(min(1.0, (start + CHUNK) / total), f"Reading grey levels: {min(start + CHUNK, total):,} of {total:,}")
    images = np.bincount(codes, minlength=classes)
    means, deviations = _moments(sums, squares, images[:, None])
    shape = (classes, *pixels.shape[1:])
    return {
        "images": images,
        "histograms": histograms,
        "means": means.reshape(shape).astype(np.float32),
        "deviations": deviations.reshape(shape).astype(np.float32),
        "image_means": of_images[0],
        "image_deviations": of_images[1],
    }


def _moments(sums: np.ndarray, squares: np.ndarray, n: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    mean = sums / n
    return mean, np.sqrt(np.maximum(squares / n - mean**2, 0))


def histogram_shares(summary: PixelSummary) -> np.ndarray:
    """Share of the pixels of each class at each grey level: float64 (k, 256), rows sum to 1."""
    return summary.histograms / summary.histograms.sum(axis=1, keepdims=True)


def exposure_table(summary: PixelSummary, of: str = "image_means") -> pd.DataFrame:
    """How the images of each class spread in "image_means" (brightness) or "image_deviations" (contrast), in grey
    levels: columns label, images, mean, p5, p25, median, p75, p95."""
    values = pd.Series(getattr(summary, of).astype(float))
    table = values.groupby(np.take(summary.classes, summary.codes)).describe([0.05, 0.25, 0.5, 0.75, 0.95])
    names = {"count": "images", "mean": "mean", "5%": "p5", "25%": "p25", "50%": "median", "75%": "p75", "95%": "p95"}
    return table[list(names)].rename(columns=names).rename_axis("label").reset_index().astype({"images": int})


def mean_differences(summary: PixelSummary) -> dict[tuple[str, str], np.ndarray]:
    """Mean image of the first class less that of the second, for every pair: float32 (size, size), in grey levels."""
    pairs = combinations(range(len(summary.classes)), 2)
    return {(summary.classes[a], summary.classes[b]): summary.means[a] - summary.means[b] for a, b in pairs}


def border_mask(size: int) -> np.ndarray:
    """Bool (size, size): the frame along the four sides, BORDER_SHARE of the side wide, where hardly any lung is."""
    width = max(1, round(BORDER_SHARE * size))
    mask = np.ones((size, size), bool)
    mask[width:-width, width:-width] = False
    return mask


def difference_table(summary: PixelSummary) -> pd.DataFrame:
    """Mean absolute difference of the mean images, in grey levels: columns first, second, border, inside."""
    border = border_mask(summary.means.shape[1])
    rows = [
        (first, second, float(np.abs(image[border]).mean()), float(np.abs(image[~border]).mean()))
        for (first, second), image in mean_differences(summary).items()
    ]
    return pd.DataFrame(rows, columns=["first", "second", "border", "inside"])


# Pictures


def thumbnails(
    pixels: np.ndarray | Mapping[int, np.ndarray], rows: Iterable[int], colours: Iterable[str]
) -> list[bytes]:
    """JPEG files of some images, by row in ``pixels``, each on a stripe in its class's colour (``#RRGGBB``)."""
    pictures = []
    for row, colour in zip(rows, colours, strict=True):
        grey = np.repeat(np.asarray(pixels[row])[:, :, None], 3, axis=2)
        stripe = np.frombuffer(bytes.fromhex(colour.removeprefix("#")), np.uint8)
        pictures.append(
            jpeg_bytes(np.concatenate([grey, np.broadcast_to(stripe, (round(STRIPE * len(grey)), *grey.shape[1:]))]))
        )
    return pictures


@dataclass(frozen=True)
class ImageView:
    """An image for a large view: a PNG file, the file's size in bytes, and what was changed to read it, in words."""

    content: bytes
    file_bytes: int
    notes: tuple[str, ...]


def image_view(dataset: Dataset, row: int, with_mask: bool = False) -> ImageView:
    """One image straight from its file, the lungs marked where that is wanted.

    Raises ImageError when it cannot be read, DataError when its mask cannot be used. Its proportions are kept, on
    a black square of at most LARGEST_VIEW pixels.
    """
    path = dataset.path_of(row)
    image = read_image(path, kinds=PICTURES)
    side = min(LARGEST_VIEW, max(image.pixels.shape))
    picture = thumbnail(image.pixels, side)
    if with_mask:
        mask = masks.mask_of(dataset, dataset.images["image_id"].iat[row])
        if mask is None:
            raise ImageError("This image has no lung mask.")
        picture = _with_lungs(picture, thumbnail(np.where(mask, np.uint8(255), np.uint8(0)), side) > 127)
    return ImageView(png_bytes(picture), path.stat().st_size, image.notes)


def _with_lungs(picture: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """An image, uint8 (h, w), with the lungs faintly coloured and outlined: uint8 (h, w, 3)."""
    shrunk = lungs.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            shrunk &= np.roll(lungs, step, axis)
    colour = np.where(lungs, MASK_STRENGTH, 0.0)
    colour[lungs & ~shrunk] = 1.0
    mixed = picture[:, :, None] * (1 - colour[:, :, None]) + MASK_COLOUR * colour[:, :, None]
    return mixed.astype(np.uint8)
