"""Who is in which part. A split is a table with a hash, stored with every run.

Images that belong together (duplicates; one patient, where that is known) have the same *group*, and a group never
crosses parts: an image whose twin was trained on is no test. Where every image is its own group, that is an ordinary
stratified split.
"""

import itertools
import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from covid_core.data import label_shift
from covid_core.errors import DataError
from covid_core.hashing import hash_of
from covid_core.specs import Labels, SplitSpec

PARTS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = PARTS
SELECTION, CALIBRATION = HALVES = ("selection", "calibration")
HALVED_FROM = 200  # validation images; the halves of fewer would be too small to choose by and to calibrate on
FEWEST_HELD_OUT = 10  # images of a class: of fewer, its share says too little of a source
COLUMNS = ["image_id", "label", "folder_label", "source", "group", "part"]


def make_split(
    images: pd.DataFrame, classes: tuple[str, ...], spec: SplitSpec, labels: Labels = "folder"
) -> pd.DataFrame:
    """Assign images of ``classes`` to parts, stratified by label.

    Args:
        images: columns image_id and label, one row per image; ``group`` where images belong together, else each image
            is its own group; ``source`` and ``given_part`` where they are known.
        classes: labels to keep.
        spec: method, shares, seed, and the size of a balanced subset where one is wanted.
        labels: "folder" takes those of ``images``, "shifted" those of ``label_shift.cut_off``.

    Returns:
        Columns image_id, label (the one to learn), folder_label (that of ``images``), source, group, part, half, in the
        order of ``images``; half is that of the validation part (see ``halves``). The test part has ceil(n * test)
        images, the validation part round(n * validation), as the course study counted (4,032 images: 2,741 / 645 /
        646); a group that is drawn comes whole, so groups of several images may make a part a little larger. With folds
        the test part is the wanted fold: all folds of a seed together test every image once. By source, the test part
        holds the images of the chosen sources, and of each class that has one source only the share ``test``. As given,
        images without a part are left out, and groups lie where the authors put their images.

    Raises:
        DataError: a class has too few images, or too few groups, for every part to hold one of it.
    """
    chosen = _chosen(images, classes, spec)
    rng = np.random.default_rng(spec.seed)
    if spec.images_per_class is not None:
        of_class = chosen.groupby("label").groups.values()
        drawn = [rng.permutation(np.asarray(rows))[: spec.images_per_class] for rows in of_class]
        chosen = chosen.loc[np.sort(np.concatenate(drawn))].reset_index(drop=True)
    if labels == "shifted":
        in_list = images["label"].value_counts().to_dict()
        chosen["label"] = label_shift.cut_off(chosen["folder_label"].to_numpy(), in_list, classes)
        # classes behind the cut have no label left; that is what the mistake did, so it is no reason to refuse
        classes = tuple(label for label in classes if (chosen["label"] == label).any())
    least = max(len(PARTS), spec.folds)
    counts = chosen["label"].value_counts()
    for label in classes:
        if counts.get(label, 0) < least:
            raise DataError(
                f"The class {label!r} has {counts.get(label, 0)} images; this split needs {least} at least."
            )
    drawing = _Drawing(chosen)
    if spec.method == "given":
        drawing.part[:] = chosen["given_part"]
    elif spec.method == "by_source":
        _hold_out(drawing, chosen, spec, rng)
    elif spec.folds > 1:
        drawing.part[drawing.dealt(spec.folds, rng) == spec.fold] = TEST
        rng = np.random.default_rng((spec.seed, spec.fold))
    else:  # images of each class stay for the later parts
        drawing.draw(TEST, math.ceil(len(chosen) * spec.test), 2, rng)
    if not (drawing.part == VALIDATION).any():
        dealt = len(chosen)
        if spec.method in ("by_source", "given"):  # a large test part makes the two others smaller alike
            dealt = min(dealt, np.count_nonzero(drawing.part != TEST) / (1 - spec.test))
        drawing.draw(VALIDATION, round(dealt * spec.validation), 1, rng)
    made = chosen.assign(part=drawing.part)[COLUMNS]
    _check(made, classes, spec)
    return made.assign(half=halves(made, spec.seed))


def halves(split: pd.DataFrame, seed: int) -> np.ndarray:
    """Who of the validation part chooses and who calibrates, so that neither judges what it has made itself.

    Of a split with columns label, group, part, and its seed. Returns of shape (images,): "selection" (early stopping,
    the best epoch, the choice between runs) or "calibration" (temperature and thresholds) for validation images,
    stratified by label, groups whole; empty for all others, and for all where the part has fewer than HALVED_FROM
    images or a half would lack a class: it then serves for both.
    """
    validation = (split["part"] == VALIDATION).to_numpy()
    half = np.full(len(split), "", dtype=object)
    if validation.sum() < HALVED_FROM:
        return half
    images = split[validation]
    stream = np.random.default_rng((seed, 0, 1))  # no part is drawn by it
    dealt = _Drawing(images).dealt(len(HALVES), stream)
    if images.groupby(dealt)["label"].nunique().tolist() == [images["label"].nunique()] * len(HALVES):
        half[validation] = np.array(HALVES, dtype=object)[dealt]
    return half


def folds_of(images: pd.DataFrame, folds: int, seed: int) -> np.ndarray:
    """Fold of each image, int (images,), from 0: stratified by ``label``, images of one ``group`` in one fold."""
    return _Drawing(images).dealt(folds, np.random.default_rng(seed))


def validation_for(split: pd.DataFrame, half: str) -> np.ndarray:
    """Of shape (images,): whether an image is of the validation part and serves for ``half``: a split that is not
    halved, or was made before halves were known, has all of them serve for both."""
    halved = split["half"] if "half" in split else pd.Series("", index=split.index)
    return ((split["part"] == VALIDATION) & halved.isin(["", half])).to_numpy()


def split_hash(split: pd.DataFrame) -> str:
    """Hash over (image_id, label, part): runs with the same hash were tested on the same images."""
    return hash_of(split[["image_id", "label", "part"]])


def sources_that_stay(images: pd.DataFrame, spec: SplitSpec) -> dict[str, str]:
    """Classes whose only source is held out: they cannot be without it, so it stays. Label to source."""
    sources = images.groupby("label")["source"].unique()
    return {label: of[0] for label, of in sources.items() if len(of) == 1 and of[0] in spec.held_out}


def sources_to_hold_out(images: pd.DataFrame, classes: Iterable[str]) -> list[str]:
    """Sources that can be tested on one by one, the largest first: each has enough images of two classes for a figure.
    Fewer than two such sources are none: there would be nothing to compare."""
    of_class = pd.crosstab(images["source"], images["label"]).reindex(columns=list(classes), fill_value=0)
    enough = of_class[(of_class >= FEWEST_HELD_OUT).sum(axis=1) >= 2].drop(index="", errors="ignore")
    return enough.sum(axis=1).sort_values(ascending=False, kind="stable").index.tolist() if len(enough) > 1 else []


def _chosen(images: pd.DataFrame, classes: tuple[str, ...], spec: SplitSpec) -> pd.DataFrame:
    """The images of the classes with all columns that a split has but the part."""
    chosen = images.loc[images["label"].isin(classes)].reset_index(drop=True)
    own = chosen["image_id"]
    group = chosen["group"] if "group" in chosen and spec.method != "stratified" else own
    source = chosen["source"] if "source" in chosen else pd.Series("", index=chosen.index)
    label = chosen["label"]
    columns = {"image_id": own, "label": label, "folder_label": label, "source": source, "group": group}
    if spec.method != "given":
        return pd.DataFrame(columns)
    of_authors = chosen["given_part"] if "given_part" in chosen else pd.Series("", index=chosen.index)
    if not {TRAIN, TEST} <= set(of_authors):
        raise DataError("The images have no split of their authors: folders named train and test would be one.")
    return pd.DataFrame({**columns, "given_part": of_authors})[of_authors != ""].reset_index(drop=True)


def _hold_out(drawing: "_Drawing", images: pd.DataFrame, spec: SplitSpec, rng: np.random.Generator) -> None:
    """The chosen sources into the test part; classes that cannot be without theirs give a share of their images."""
    single = images.groupby("label")["source"].nunique()
    away = images["source"].isin(spec.held_out) & ~images["label"].isin(list(sources_that_stay(images, spec)))
    if not away.any():
        raise DataError("Every class has images of the chosen sources only, so none of them can be held out.")
    drawing.part[drawing.with_their_groups(away.to_numpy())] = TEST
    for label in single.index[single == 1]:
        images_of = (images["label"] == label).to_numpy()
        tested = int((images_of & (drawing.part == TEST)).sum())
        wanted = math.ceil(int(images_of.sum()) * spec.test) - tested
        drawing.draw_of(label, TEST, wanted, 2, rng)


def _check(split: pd.DataFrame, classes: tuple[str, ...], spec: SplitSpec) -> None:
    """Raise DataError where a part lacks a class."""
    held = split.groupby("label")["part"].unique()
    for label in classes:
        lacking = [part for part in PARTS if part not in held[label]]
        if lacking and spec.method == "by_source" and lacking[0] == TRAIN:
            raise DataError(f"All images of the class {label!r} come from held-out sources: none is left to train on.")
        if lacking and not (lacking == [TEST] and spec.method == "by_source"):
            groups = split.loc[split["label"] == label, "group"].nunique()
            raise DataError(
                f"The images of the class {label!r} belong to {groups} groups, too few or too unequal for every "
                f"part to hold one."
            )


class _Drawing:
    """Images on their way into parts, ``part`` of shape (images,); a group is moved whole."""

    def __init__(self, images: pd.DataFrame):
        self.part = np.full(len(images), TRAIN, dtype=object)
        self.labels = images["label"].to_numpy()
        self._classes, self._codes = np.unique(self.labels, return_inverse=True)
        _, self._group = np.unique(images["group"].to_numpy(), return_inverse=True)
        order = np.argsort(self._group, kind="stable")
        self._members = np.split(order, np.cumsum(np.bincount(self._group))[:-1])

    def with_their_groups(self, rows: np.ndarray) -> np.ndarray:
        """Of shape (images,): the images of all groups that have one of ``rows``."""
        return np.isin(self._group, self._group[rows])

    def dealt(self, folds: int, rng: np.random.Generator) -> np.ndarray:
        """Fold of each image: every class is shuffled and dealt, each image and its group to the fold that has the
        fewest of its class, of equal ones to that with the fewest images."""
        fold = np.full(len(self.labels), -1)
        of_class = np.zeros((len(self._classes), folds), int)
        for image in itertools.chain.from_iterable(
            rng.permutation(np.flatnonzero(self.labels == label)) for label in self._classes
        ):
            if fold[image] < 0:
                counts = of_class[self._codes[image]]
                target = int(np.lexsort((of_class.sum(axis=0), counts))[0])
                members = self._members[self._group[image]]
                fold[members] = target
                np.add.at(of_class, (self._codes[members], target), 1)
        return fold

    def draw(self, part: str, size: int, reserve: int, rng: np.random.Generator) -> None:
        """``size`` free images into ``part``, every class by its share (largest remainders), at least one of each.

        ``reserve`` images of every class stay free; where that binds, fewer than ``size`` are drawn.
        """
        exact = np.bincount(self._codes, minlength=len(self._classes)) * (size / len(self.labels))
        wanted = np.maximum(1, np.floor(exact)).astype(int)
        for code in np.argsort(wanted - exact, kind="stable")[: max(0, size - wanted.sum())]:
            wanted[code] += 1
        for label, images in zip(self._classes, wanted, strict=True):
            self.draw_of(label, part, int(images), reserve, rng)

    def draw_of(self, label: str, part: str, wanted: int, reserve: int, rng: np.random.Generator) -> None:
        """Free images of one class into ``part``, each with its group, until it has ``wanted`` of the class.

        A group that would overshoot by more than it brings near is passed over, unless the part had none otherwise.
        """
        of_class = self.labels == label
        free = np.flatnonzero(of_class & (self.part == TRAIN))
        missing = wanted - int((of_class & (self.part == part)).sum())
        may_go = len(free) - reserve
        passed_over: dict[int, int] = {}
        for image in rng.permutation(free):
            if missing <= 0:
                break
            brings = int(of_class[self._members[self._group[image]]].sum())
            if self.part[image] != TRAIN or brings > may_go:
                continue
            if brings > 2 * missing:
                passed_over[image] = brings
                continue
            self.part[self._members[self._group[image]]] = part
            missing -= brings
            may_go -= brings
        if passed_over and not (of_class & (self.part == part)).any():
            smallest = min(passed_over, key=passed_over.__getitem__)
            self.part[self._members[self._group[smallest]]] = part
