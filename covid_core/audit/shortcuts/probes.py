"""The probes of the ladder in one table: what each is shown of an image, as features and as a picture for people.

All pixels come from the cache at 128 px; "64 px" below are the means of two by two of them. See
``audit.shortcuts.probe_ladder`` for what a probe is, and what follows from what it reaches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from covid_core.audit.shortcuts import probe_ladder
from covid_core.audit.shortcuts.probe_ladder import (
    COARSE,
    EVERYTHING,
    GREYS,
    LUNGS,
    NO_LUNGS,
    OUTLINE,
    Ladder,
    Probe,
    Question,
    Reason,
    Rung,
    Sources,
)
from covid_core.data import duplicates, split
from covid_core.data.dataset import Dataset
from covid_core.data.masks import LungMasks, LungSource, own_lungs
from covid_core.data.pixels import SUMMARY_SIZE, open_pixels
from covid_core.errors import DataError
from covid_core.evaluation.label_check import cramers_v
from covid_core.formatting import file_size
from covid_core.runs.frozen_features import Frozen
from covid_core.work import Progress, cores, part_of, silent
from covid_core.workspace import Workspace

MOST_IMAGES = 4096  # in one ladder; of more, so many are drawn, each class by its share
LEAST_IN_CLASS = 2 * probe_ladder.FOLDS  # images; a fold of fewer would have one of the class to answer
LEAST_OF_SOURCE = 20  # images of one source within one class
SEED = 0
SIDE, BORDER = 64, 5  # pixels: the frame of the course study's classifier, 5 of 64 on each side
STRIP = 8  # pixels of 64: the width of the four borders of the six numbers; the study does not tell its own
BINS = 32  # of the histogram, 8 grey levels each
THUMBNAIL = 16
FROZEN = "frozen"  # the key of the probe that is named after its network
MARGIN = 2  # pixels of 128 by which lungs are widened before they are blacked out: an outline is not that exact


# What a probe learns from


@dataclass(frozen=True, eq=False)
class Shown:
    """Some images of a data set, ready for probes: ``pixels`` uint8 (n, 128, 128), their rows in the manifest."""

    dataset: Dataset
    rows: np.ndarray
    pixels: np.ndarray
    lungs: LungMasks
    frozen: Frozen | None = None

    @cached_property
    def squares(self) -> np.ndarray:
        """The images at 64 px, float32 (n, 64, 64)."""
        return shrunk(self.pixels, SIDE)

    def of(self, chosen: np.ndarray) -> "Shown":
        """Some of these images, by a bool (n,)."""
        lungs = replace(self.lungs, masks=self.lungs.masks[chosen], available=self.lungs.available[chosen])
        return Shown(self.dataset, self.rows[chosen], self.pixels[chosen], lungs, self.frozen)


def shrunk(images: np.ndarray, side: int) -> np.ndarray:
    """Images (n, size, size) as means of blocks: float32 (n, side, side); ``side`` divides the size."""
    n, size, _ = images.shape
    step = size // side
    return images.reshape(n, side, step, side, step).mean(axis=(2, 4), dtype=np.float32)


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def _frame() -> np.ndarray:
    """Bool (64, 64): the outermost BORDER pixels."""
    frame = np.ones((SIDE, SIDE), bool)
    frame[BORDER:-BORDER, BORDER:-BORDER] = False
    return frame


def six_numbers(squares: np.ndarray) -> np.ndarray:
    """Mean, standard deviation, means of the upper, lower, left and right border: float32 (n, 6), of (n, 64, 64)."""
    parts = (squares[:, :STRIP], squares[:, -STRIP:], squares[:, :, :STRIP], squares[:, :, -STRIP:])
    means = [part.mean(axis=(1, 2)) for part in (squares, *parts)]
    return np.stack([means[0], squares.std(axis=(1, 2)), *means[1:]], axis=1)


def histogram(pixels: np.ndarray) -> np.ndarray:
    """Share of the pixels in each of BINS equal steps of grey: float32 (n, BINS)."""
    images = _flat(pixels)
    counts = np.stack([np.bincount(image >> 3, minlength=BINS) for image in images])
    return (counts / images.shape[1]).astype(np.float32)


def widened(lungs: np.ndarray) -> np.ndarray:
    """Masks (n, size, size) grown by MARGIN pixels in every direction."""
    from scipy import ndimage  # 0.2 s to import, and only this needs it

    reach = 2 * MARGIN + 1
    return ndimage.maximum_filter(lungs, size=(1, reach, reach))


def file_facts(images: pd.DataFrame) -> np.ndarray:
    """What the manifest tells of images: float32 (n, d).

    Logarithms of width and height, their ratio, and a column for each kind of pixel and each suffix that occurs.
    """
    width, height = images["width"].to_numpy(float), images["height"].to_numpy(float)
    suffix = images["path"].map(lambda path: Path(path).suffix.lower())
    kinds = pd.get_dummies(pd.DataFrame({"mode": images["mode"], "suffix": suffix}))
    return np.column_stack([np.log(width), np.log(height), width / height, kinds]).astype(np.float32)


def file_bytes(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Logarithms of the bytes of each image's file and of its bytes per pixel: float32 (n, 2).

    Raises DataError where a file is gone.
    """
    images = dataset.images.iloc[rows]
    try:
        size = np.array([max(1, dataset.path_of(int(row)).stat().st_size) for row in rows], float)
    except OSError as error:
        raise DataError(f"An image's file is gone: {Path(error.filename).name}.") from error
    area = images["width"].to_numpy(float) * images["height"].to_numpy(float)
    return np.stack([np.log(size), np.log(size / area)], axis=1).astype(np.float32)


# What a probe is shown, as a picture of uint8 (128, 128)


def _enlarged(picture: np.ndarray) -> np.ndarray:
    """A small picture with its pixels to be seen: uint8 (128, 128)."""
    step = SUMMARY_SIZE // len(picture)
    return np.round(picture).astype(np.uint8).repeat(step, 0).repeat(step, 1)


def _picture_of_six(image: np.ndarray, lungs: np.ndarray | None) -> np.ndarray:
    """The four borders and, in the middle, the mean less and plus the standard deviation."""
    mean, deviation, top, bottom, left, right = six_numbers(shrunk(image[None], SIDE))[0]
    picture = np.empty((SIDE, SIDE), np.float32)
    picture[:, : SIDE // 2], picture[:, SIDE // 2 :] = mean - deviation, mean + deviation
    picture[:, :STRIP], picture[:, -STRIP:] = left, right
    picture[:STRIP], picture[-STRIP:] = top, bottom
    return _enlarged(np.clip(picture, 0, 255))


def _kind_of_file(dataset: Dataset, row: int) -> str:
    image = dataset.images.iloc[row]
    return f"{image['width']} x {image['height']}, {image['mode']}, {image['path'].rpartition('.')[2].upper()}"


def _size_of_file(dataset: Dataset, row: int) -> str:
    path = dataset.path_of(row)
    return file_size(path.stat().st_size) if path.exists() else "the file is gone"


# The table


@dataclass(frozen=True)
class ProbeKind:
    """A probe, what it learns from, and what people are shown of that.

    Args:
        features: float32 (n, d) of the images.
        picture: uint8 (128, 128) of an image of that shape and of its lungs, bool of that shape.
        facts: in place of a picture, what the file says of an image: of a data set and a row.
        needs_lungs: ``features`` and ``picture`` are not called without them.
        of_sources: is asked for the source within one class as well.
    """

    probe: Probe
    features: Callable[[Shown], np.ndarray]
    picture: Callable[[np.ndarray, np.ndarray | None], np.ndarray] | None = None
    facts: Callable[[Dataset, int], str] | None = None
    needs_lungs: bool = False
    of_sources: bool = False

    def __post_init__(self) -> None:
        if (self.picture is None) == (self.facts is None):
            raise ValueError(f"The probe {self.probe.key!r} needs either a picture or facts.")


def _remainder(probe: Probe, left: Callable[[np.ndarray, np.ndarray | None], np.ndarray], **more: bool) -> ProbeKind:
    """A probe of what is left of images: ``left`` takes images and lungs, both (n, 128, 128), and returns (n, s, s)."""

    def picture(image: np.ndarray, lungs: np.ndarray | None) -> np.ndarray:
        return _enlarged(left(image[None], None if lungs is None else lungs[None])[0])

    return ProbeKind(probe, lambda shown: _flat(left(shown.pixels, shown.lungs.masks)), picture, **more)


_ROWS = (
    ProbeKind(
        Probe("file", "Size and kind of the file", "width, height, kind of pixel and of file; no picture", NO_LUNGS),
        lambda shown: file_facts(shown.dataset.images.iloc[shown.rows]),
        facts=_kind_of_file,
    ),
    ProbeKind(
        Probe("bytes", "Bytes of the file", "how many it has: how well its picture can be compressed", GREYS),
        lambda shown: file_bytes(shown.dataset, shown.rows),
        facts=_size_of_file,
    ),
    ProbeKind(
        Probe("six", "Six numbers", "mean and standard deviation of the greys, and means of the four borders", GREYS),
        lambda shown: six_numbers(shown.squares),
        _picture_of_six,
        of_sources=True,
    ),
    ProbeKind(
        Probe("histogram", "An intensity histogram", "how many pixels of each grey, in 32 steps; not where", GREYS),
        lambda shown: histogram(shown.pixels),
        lambda image, _lungs: np.sort(image.ravel() >> 3).reshape(image.shape) * 8 + 4,
    ),
    ProbeKind(
        Probe("border", "Border pixels", "the outermost 5 of 64 pixels on each side", NO_LUNGS),
        lambda shown: shown.squares[:, _frame()],
        lambda image, _lungs: _enlarged(np.where(_frame(), shrunk(image[None], SIDE)[0], 0)),
        of_sources=True,
    ),
    _remainder(
        Probe("outside", "Pixels outside the lungs", "the image with black lungs; their outline stays", NO_LUNGS),
        lambda images, lungs: shrunk(np.where(widened(lungs), 0, images), SIDE),
        needs_lungs=True,
    ),
    _remainder(
        Probe("outline", "The outline of the lungs", "where the lungs are, without any pixel of the image", OUTLINE),
        lambda _images, lungs: shrunk(lungs * np.uint8(255), SIDE),
        needs_lungs=True,
    ),
    _remainder(
        Probe("lungs", "The lungs alone", "the image with all but the lungs blacked out", LUNGS),
        lambda images, lungs: shrunk(np.where(lungs, images, 0), SIDE),
        needs_lungs=True,
    ),
    _remainder(
        Probe("thumbnail", "A 16 x 16 thumbnail", "256 pixels of the whole image", COARSE),
        lambda images, _lungs: shrunk(images, THUMBNAIL),
    ),
    _remainder(
        Probe("full", "The whole image at 64 px", "the whole image at 64 x 64 pixels", EVERYTHING),
        lambda images, _lungs: shrunk(images, SIDE),
        of_sources=True,
    ),
    ProbeKind(
        Probe(FROZEN, "Frozen features of a network", "the whole image, by a network trained on photos", EVERYTHING),
        lambda shown: np.asarray(shown.frozen.table[shown.rows]),
        lambda image, _lungs: image,
    ),
)
PROBES = {row.probe.key: row for row in _ROWS}
NEED_LUNGS = tuple(key for key, row in PROBES.items() if row.needs_lungs)
OF_SOURCES = tuple(key for key, row in PROBES.items() if row.of_sources)


def picture(key: str, image: np.ndarray, lungs: np.ndarray | None = None) -> np.ndarray:
    """What is left of an image for a probe: uint8 (128, 128).

    Args:
        key: of PROBES; raises KeyError for others.
        image: uint8 (128, 128).
        lungs: its mask, bool (128, 128). Raises ValueError where the probe needs it and it is None, and for a probe
            that has no picture.
    """
    row = PROBES[key]
    if row.picture is None or (row.needs_lungs and lungs is None):
        raise ValueError(f"The probe {key!r} has no picture, or its picture needs the lung mask.")
    return row.picture(image, lungs)


# Ladders


def ladder(
    workspace: Workspace,
    dataset: Dataset,
    lung_source: LungSource = own_lungs,
    probes: Sequence[str] = tuple(PROBES),
    progress: Progress = silent,
    frozen: Frozen | None = None,
) -> Ladder:
    """Climb the ladder of a data set: from size and kind of its files to the full picture.

    Of more than MOST_IMAGES images so many are drawn, each class by its share; a class of fewer than LEAST_IN_CLASS is
    left out, and so is one whose images all belong together. ``note`` of what is returned says so. ``lung_source``
    gives the lungs of images. ``frozen``: what a network answered for the images, where that is available.

    Raises DataError where fewer than two classes are left, or images are gone.
    """
    images = duplicates.with_groups(workspace, dataset, part_of(progress, 0, 0.05))
    climbed = _climbed(workspace, dataset, images, "label", LEAST_IN_CLASS, probes, lung_source, frozen, progress)
    if climbed is None:
        raise DataError(
            f"Shortcuts can be measured where two classes have {LEAST_IN_CLASS} images or more that do not all belong "
            "together. Here they do not."
        )
    return climbed


def _climbed(
    workspace: Workspace,
    dataset: Dataset,
    images: pd.DataFrame,
    column: str,
    least: int,
    probes: Sequence[str],
    lung_source: LungSource = own_lungs,
    frozen: Frozen | None = None,
    progress: Progress = silent,
) -> Ladder | None:
    """The ladder of some images, whose classes are the values of a column; None with fewer than two classes."""
    chosen, note = _drawn(images, column, least)
    classes = tuple(sorted(chosen[column].unique()))
    if len(classes) < 2:
        return None
    rows = chosen.index.to_numpy()
    pixels = np.asarray(open_pixels(workspace, dataset, SUMMARY_SIZE, part_of(progress, 0.05, 0.1))[rows])
    lungs = LungMasks(np.zeros((len(rows), 0, 0), bool), np.zeros(len(rows), bool))
    if set(probes) & set(NEED_LUNGS):
        lungs = lung_source(workspace, dataset, rows, part_of(progress, 0.1, 0.3))
    folds = split.folds_of(chosen[["group"]].assign(label=chosen[column]), probe_ladder.FOLDS, SEED)
    codes = np.searchsorted(classes, chosen[column].to_numpy(dtype=str))
    shown = Shown(dataset, rows, pixels, lungs, frozen)
    question = Question(classes, codes, folds, pd.factorize(chosen["group"])[0])
    rungs = []
    for place, key in enumerate(probes):
        step = part_of(progress, 0.3 + 0.7 * place / len(probes), 0.3 + 0.7 * (place + 1) / len(probes))
        message = f"Probe {place + 1} of {len(probes)}: {PROBES[key].probe.name}"
        step(0, message)
        rungs.append(
            _rung(shown, PROBES[key], question, lambda share, step=step, message=message: step(share, message))
        )
    progress(1, "All probes have been run")
    return Ladder(classes, len(chosen), tuple(rungs), note)


def _drawn(images: pd.DataFrame, column: str, least: int) -> tuple[pd.DataFrame, tuple[Reason, ...]]:
    """Images of the values of a column that have ``least`` of them, MOST_IMAGES at most, in their order; and notes.

    A value whose images all belong together is left out: they are in one fold, and a class is learned in others.
    """
    counts, groups = images[column].value_counts(), images.groupby(column)["group"].nunique()
    small = sorted(counts.index[counts < least])
    single = sorted(set(groups.index[groups < 2]) - set(small))
    remaining = images[~images[column].isin([*small, *single])].reset_index(names="row")
    notes = [Reason("small class", tuple(small), least=least)] if small else []
    notes += [Reason("single group", (label,)) for label in single]
    if len(remaining) > MOST_IMAGES:
        rng = np.random.default_rng(SEED)
        taken = []
        for _, rows in sorted(remaining.groupby(column).groups.items()):
            wanted = max(least, round(MOST_IMAGES * len(rows) / len(remaining)))
            taken.append(_some_of(rng.permutation(np.asarray(rows)), remaining["group"], wanted))
        notes.append(Reason("sample", images=sum(map(len, taken)), of=len(remaining)))
        remaining = remaining.loc[np.sort(np.concatenate(taken))]
    return remaining.set_index("row"), tuple(notes)


def _some_of(shuffled: np.ndarray, group: pd.Series, wanted: int) -> np.ndarray:
    """The first of some shuffled rows, of two groups at least: the last makes room where the draw has but one."""
    chosen = shuffled[:wanted].copy()
    others = shuffled[(group.loc[shuffled] != group.loc[shuffled[0]]).to_numpy()]
    if not np.isin(others, chosen).any():
        chosen[-1] = others[0]
    return chosen


def _rung(shown: Shown, row: ProbeKind, question: Question, progress: Callable[[float], None]) -> Rung:
    probe, note = row.probe, None
    if probe.key == FROZEN:
        if shown.frozen is None:
            return Rung(probe, reason=Reason("not frozen"))
        probe = replace(probe, name=f"Frozen features of {shown.frozen.name}")
    if row.needs_lungs:
        outlined = shown.lungs.available
        if shown.lungs.reason:
            return Rung(probe, reason=Reason(shown.lungs.reason, error=shown.lungs.error))
        if reason := _too_few(question.of(outlined)):
            return Rung(probe, reason=reason)
        if not outlined.all():
            note = Reason("some outlined", images=int(outlined.sum()), of=len(outlined))
            shown, question = shown.of(outlined), question.of(outlined)
    try:
        features = row.features(shown)
    except DataError as error:
        return Rung(probe, reason=str(error))
    rung = probe_ladder.climb(probe, features, question, note or "", cores(), progress)
    return replace(rung, lungs_from=shown.lungs.origin) if row.needs_lungs else rung


def _too_few(question: Question) -> Reason | None:
    """Why images with known lungs cannot make a probe; None where they can."""
    counts = np.bincount(question.codes, minlength=len(question.classes))
    if lacking := [code for code, images in enumerate(counts) if images < LEAST_IN_CLASS]:
        labels = tuple(question.classes[code] for code in lacking)
        return Reason("few outlined", labels, tuple(int(counts[code]) for code in lacking))
    single = [
        label for k, label in enumerate(question.classes) if len(np.unique(question.groups[question.codes == k])) < 2
    ]
    return Reason("one group outlined", tuple(single)) if single else None


def sources(workspace: Workspace, dataset: Dataset, progress: Progress = silent) -> Sources:
    """How source and class go together, and whether the source can be told within one class.

    The second is asked of each class in which two sources have LEAST_OF_SOURCE images.
    """
    images = duplicates.with_groups(workspace, dataset, part_of(progress, 0, 0.1))
    sourced = images[images["source"] != ""]
    association = (
        cramers_v(*(pd.factorize(sourced[column])[0] for column in ("source", "label"))) if len(sourced) else np.nan
    )
    ladders = {}
    for label, of_class in sourced.groupby("label", sort=True):
        climbed = _climbed(workspace, dataset, of_class, "source", LEAST_OF_SOURCE, OF_SOURCES)
        if climbed is not None:
            ladders[str(label)] = climbed
        progress(1, f"Sources within {label}")
    reason = Reason("no two sources", least=LEAST_OF_SOURCE) if len(sourced) and not ladders else ""
    return Sources(len(sourced), len(images) - len(sourced), sourced["source"].nunique(), association, ladders, reason)
