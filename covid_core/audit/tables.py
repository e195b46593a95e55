"""Tables that an audit is read by: findings against classes, pairs against a split, classes against classes.

Counting only; what is found, and by which limit, stands in ``audit`` and ``copies``.
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from covid_core.audit.duplicates.duplicate_pairs import NEAR, PARTS, across_parts
from covid_core.evaluation.comparison import holm
from covid_core.evaluation.label_check import cramers_v

ALL, EQUAL, ALIKE, CONFLICT, ACROSS = "all", "equal", "alike", "conflict", "across"
SAME_PICTURE = "same picture"  # finding of a pair, as it is dismissed
DRAWS = 4999  # of images at random; p is never below 1 / 5,000
WEAK = 0.1  # Cramér's V; below it finding and class hardly go together (Cohen 1988, w for one degree of freedom)


def findings_by_class(findings: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """How often each finding is in each class, those that go most with the class first.

    Args:
        findings: columns image_id and finding; files that are no image of ``labels`` are left out.
        labels: class of every image by its id.

    Returns:
        Columns finding, label, found, images (of that class), share (of them), association: Cramér's V of having the
        finding and of the class over all images, and p, how often as much or more comes by chance, corrected (Holm) for
        all findings; both the same in every row of a finding (nan with a single class, or where all images have it).
    """
    images = pd.Series(labels, dtype=object)
    classes, sizes = np.unique(images.to_numpy(str), return_counts=True)
    known = findings[findings["image_id"].isin(images.index)]
    parts = []
    for finding, of_kind in known.groupby("finding", sort=False):
        has = images.index.isin(of_kind["image_id"])
        found = np.array([int(has[(images == label).to_numpy()].sum()) for label in classes])
        association = cramers_v(has.astype(int), pd.factorize(images)[0])
        table = pd.DataFrame({"finding": finding, "label": classes, "found": found, "images": sizes})
        p = _by_chance(found, sizes) if not math.isnan(association) else math.nan
        parts.append(table.assign(share=found / sizes, association=association, p=p))
    if not parts:
        return pd.DataFrame(columns=["finding", "label", "found", "images", "share", "association", "p"])
    asked = [part for part in parts if not math.isnan(part["p"].iat[0])]
    for part, corrected in zip(asked, holm(np.array([part["p"].iat[0] for part in asked])), strict=True):
        part["p"] = corrected
    parts.sort(key=lambda part: -np.nan_to_num(part["association"].iat[0], nan=-1))
    return pd.concat(parts, ignore_index=True)


def _by_chance(found: np.ndarray, sizes: np.ndarray) -> float:
    """How often as many images with a finding, drawn from all at random, go with the classes (images of each:
    ``sizes``) as closely as those ``found`` of each. DRAWS draws, so that rare findings need no large numbers."""
    drawn = np.random.default_rng(0).multivariate_hypergeometric(sizes, int(found.sum()), DRAWS, method="marginals")
    closeness = (np.square(np.vstack([found, drawn])) / sizes).sum(
        axis=1
    )  # grows with chi-squared, margins being given
    return float((1 + np.count_nonzero(closeness[1:] >= closeness[0] * (1 - 1e-9))) / (1 + DRAWS))


def with_parts(pairs: pd.DataFrame, parts: Mapping[str, str]) -> pd.DataFrame:
    """Pairs of images with the part of a split that each image is in by ``parts``; empty where it is in none."""
    sides = zip(PARTS, ("first", "second"), strict=True)
    return pairs.assign(**{part: pairs[side].map(lambda name: parts.get(name, "")) for part, side in sides})


def of_kind(pairs: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Pairs that are ALL, of EQUAL files, merely ALIKE, of two classes (CONFLICT), or ACROSS parts of a split."""
    if kind == ALL:
        return pairs
    if kind == ACROSS:
        return across_parts(pairs)
    alike = pairs["kind"] == NEAR
    return pairs[{EQUAL: ~alike, ALIKE: alike, CONFLICT: pairs["conflict"]}[kind]]


def class_crosstab(pairs: pd.DataFrame) -> pd.DataFrame:
    """Pairs of two data sets by the class here (index) and the class there (columns)."""
    return pd.crosstab(pairs["first_label"], pairs["second_label"]).rename_axis(index="here", columns=None)


def with_labels(pairs: pd.DataFrame, labels: Mapping[str, str], others: Mapping[str, str]) -> pd.DataFrame:
    """Pairs with the classes that their images have by ``labels`` (the first) and ``others`` (the second)."""
    first, second = (pairs[side].map(of).astype(str) for side, of in (("first", labels), ("second", others)))
    conflict = first.str.casefold() != second.str.casefold()
    return pairs.assign(first_label=first, second_label=second, conflict=conflict)
