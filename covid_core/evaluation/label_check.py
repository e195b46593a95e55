"""Whether the labels that a run learned are those of its images, and if they are not, whose they are.

A label that is wrong by chance makes a figure a little worse. Labels that belong to other images make it meaningless,
and accuracy does not show it: a list of labels in class order has few classes left where it is cut, so that answering
the first of them is right nearly always. The class of the folder, kept beside each label, shows it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

STRETCHES = 20  # of the list, equally long: places that a label may go with
LEAST_IN_STRETCH = 20  # images; labels go with shorter ones by chance
MOST_MOVED = 0.1  # of the list; labels moved by more agree in what is left of the overlap too easily
LEAST_WRONG = 2  # images; a single one at the edge of a class is moved and mislabelled alike


Cause = Literal["cut", "exchanged", "moved", "blocks"]


@dataclass(frozen=True)
class LabelCheck:
    """What the labels of ``images`` images are: ``wrong`` of them are not the class of the image's folder.

    ``by_folder`` and ``by_place`` say how closely the label goes with the folder and with the place in the list in
    class order (Cramér's V from 0 to 1, nan where all images have one label, or are too few). Labels in class order go
    with both; where they are wrong and go with the place, they are those of other images. ``unused`` are classes that
    have images and no label.

    ``cause`` says whose labels these are, where an explanation fits every image: those at the beginning of the list in
    class order ("cut"; ``number`` images are in the whole list), another class's ("exchanged"; ``pairs`` of folder and
    label), those ``number`` rows further down ("moved"; negative: up), or in class order those of ``number`` whole
    blocks that are not the folders' ("blocks").
    """

    images: int = 0
    wrong: int = 0
    unused: tuple[str, ...] = ()
    by_folder: float = math.nan
    by_place: float = math.nan
    cause: Cause | None = None
    number: int = 0
    pairs: tuple[tuple[str, str], ...] = ()


def check(table: pd.DataFrame, classes: tuple[str, ...], in_list: Mapping[str, int] | None = None) -> LabelCheck:
    """Compare the labels of a split with the folders of its images.

    Args:
        table: one row per image, in the order of the list: label, and folder_label, the class of its folder. Without
            the second, which earlier versions did not keep, nothing is known.
        classes: in the order in which lists name them.
        in_list: images of each class in the whole data set, drawn or not; None: not known.
    """
    if "folder_label" not in table:
        return LabelCheck()
    index = pd.Index(classes)
    labels, folders = (index.get_indexer(table[name]).astype(np.int8) for name in ("label", "folder_label"))
    wrong = int((labels != folders).sum())
    in_class_order = np.argsort(folders, kind="stable")
    place = np.empty(len(labels), int)
    stretches = min(STRETCHES, len(labels) // LEAST_IN_STRETCH)
    place[in_class_order] = np.arange(len(labels)) * stretches // max(1, len(labels))
    return LabelCheck(
        images=len(labels),
        wrong=wrong,
        unused=tuple(classes[code] for code in np.setdiff1d(folders, labels)),
        by_folder=cramers_v(labels, folders),
        by_place=cramers_v(labels, place),
        **(_cause(labels, folders, in_class_order, classes, in_list) if wrong >= LEAST_WRONG else {}),
    )


def cramers_v(one: np.ndarray, other: np.ndarray) -> float:
    """How closely two codes of shape (images,) go together: 0 not at all, 1 as far as their numbers of values allow.

    The root of chi-squared / (n * (values - 1)), values being the smaller of the two numbers of values. Source: Cramér,
    "Mathematical Methods of Statistics" (1946), section 21.9. nan where one of them has one value only.
    """
    rows, columns = (np.unique(codes, return_inverse=True)[1] for codes in (one, other))
    values = min(rows.max(initial=0), columns.max(initial=0))
    if not values:
        return math.nan
    observed = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(observed, (rows, columns), 1)
    expected = np.outer(observed.sum(axis=1), observed.sum(axis=0)) / len(rows)
    return math.sqrt(float(((observed - expected) ** 2 / expected).sum()) / (len(rows) * values))


def _cause(
    labels: np.ndarray,
    folders: np.ndarray,
    in_class_order: np.ndarray,
    classes: tuple[str, ...],
    in_list: Mapping[str, int] | None,
) -> dict[str, Any]:
    """The explanation that fits every image: the list was cut, classes were exchanged, or labels were moved."""
    listed = labels[in_class_order]
    if in_list is not None:
        whole = np.repeat(np.arange(len(classes)), [in_list.get(label, 0) for label in classes])
        if np.array_equal(listed, whole[: len(listed)]):
            return {"cause": "cut", "number": len(whole)}
    pairs = tuple((classes[folder], classes[label]) for folder, label in _exchanged(labels, folders))
    if pairs:
        return {"cause": "exchanged", "pairs": pairs}
    moved = _moved(labels, folders)
    if moved:
        return {"cause": "moved", "number": moved}
    changes = int(np.count_nonzero(np.diff(listed)))
    return {"cause": "blocks", "number": changes + 1} if changes == len(np.unique(listed)) - 1 else {}


def _exchanged(labels: np.ndarray, folders: np.ndarray) -> list[tuple[int, int]]:
    """Folders whose images all have one label, and another one, with that label; nothing where a folder has several."""
    pairs = np.unique(np.column_stack([folders, labels]), axis=0)
    if len(pairs) > len(np.unique(folders)):
        return []
    return [(int(folder), int(label)) for folder, label in pairs if folder != label]


def _moved(labels: np.ndarray, folders: np.ndarray) -> int:
    """How many rows further down (negative: up) the image stands whose label each image has; 0 where that fits not all.

    What is moved over one end of the list may have come in again at the other, or its place be taken by anything.
    """
    listed, right = labels.tobytes(), folders.tobytes()  # a byte an image: texts compare and search fast
    n = len(labels)
    for rows in range(1, int(MOST_MOVED * n) + 1):
        if listed[:-rows] == right[rows:]:
            return rows
        if listed[rows:] == right[:-rows]:
            return -rows
    rows = max(0, (right + right).find(listed, 1))  # moved around the end of the list
    return rows if rows <= n // 2 else rows - n
