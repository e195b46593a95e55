"""Tables that an audit is read by: findings against classes, pairs against a split.

Counting only; findings and their limits are in ``quality.findings``, pairs in ``duplicates.duplicate_pairs``.
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from covid_core.audit.duplicates.duplicate_pairs import EXACT, NEAR, PARTS
from covid_core.data import decisions
from covid_core.data.decisions import Decision
from covid_core.evaluation.comparison import holm
from covid_core.evaluation.label_check import cramers_v

ALL, EQUAL, ALIKE, CONFLICT, ACROSS = "all", "equal", "alike", "conflict", "across"
SAME_PICTURE = "same picture"  # finding of a pair, as it is dismissed
DRAWS = 4999  # of images at random; p is never below 1 / 5,000
KINDS = {
    ALL: lambda pairs: pairs["kind"].notna(),
    EQUAL: lambda pairs: pairs["kind"] == EXACT,
    ALIKE: lambda pairs: pairs["kind"] == NEAR,
    CONFLICT: lambda pairs: pairs["conflict"],
    ACROSS: lambda pairs: (pairs[[*PARTS]] != "").all(axis=1) & (pairs[PARTS[0]] != pairs[PARTS[1]]),
}
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
    sizes = images.value_counts().sort_index()
    parts = [pd.DataFrame(columns=["finding", "label", "found", "images", "share", "association", "p"])]
    for finding, of_finding in findings[findings["image_id"].isin(images.index)].groupby("finding", sort=False):
        has = images.index.isin(of_finding["image_id"])
        counts = images[has].value_counts().reindex(sizes.index, fill_value=0)
        part = {"finding": finding, "label": sizes.index, "found": counts, "images": sizes, "share": counts / sizes}
        association = cramers_v(has.astype(int), pd.factorize(images)[0])
        p = math.nan if math.isnan(association) else _by_chance(counts.to_numpy(), sizes.to_numpy())
        parts.append(pd.DataFrame({**part, "association": association, "p": p}))
    table = pd.concat(parts[1:] or parts).sort_values("association", ascending=False, kind="stable", ignore_index=True)
    p_of = table.groupby("finding")["p"].first().dropna()
    return table.assign(p=table["finding"].map(pd.Series(holm(p_of.to_numpy(float)), p_of.index, dtype=float)))


def _by_chance(counts: np.ndarray, sizes: np.ndarray) -> float:
    """How often as many images with a finding, drawn from all at random, go with the classes (images of each:
    ``sizes``) as closely as those in ``counts``. DRAWS draws, so that rare findings need no large numbers."""
    drawn = np.random.default_rng(0).multivariate_hypergeometric(sizes, int(counts.sum()), DRAWS, method="marginals")
    closeness = (np.square(np.vstack([counts, drawn])) / sizes).sum(axis=1)  # grows with chi-squared, margins given
    return float((1 + np.count_nonzero(closeness[1:] >= closeness[0] * (1 - 1e-9))) / (1 + DRAWS))


def contradicting_patients(images: pd.DataFrame) -> pd.DataFrame:
    """Patients whose images have several classes, those with most images first: columns patient_id, counts (images by
    class) and image_ids. An image without a patient is nobody's."""
    of_patients = images[images["patient_id"] != ""]
    several = of_patients.groupby("patient_id")["label"].transform("nunique") > 1
    rows = [
        (patient, of_patient["label"].value_counts().sort_index().to_dict(), of_patient["image_id"].to_list())
        for patient, of_patient in of_patients[several].groupby("patient_id")
    ]
    rows.sort(key=lambda row: -len(row[2]))
    return pd.DataFrame(rows, columns=["patient_id", "counts", "image_ids"])


def with_parts(pairs: pd.DataFrame, parts: Mapping[str, str]) -> pd.DataFrame:
    """Pairs of images with the part of a split that each image is in by ``parts``; empty where it is in none."""
    sides = zip(PARTS, ("first", "second"), strict=True)
    return pairs.assign(**{part: pairs[side].map(lambda name: parts.get(name, "")) for part, side in sides})


def ungrouped(pairs: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Pairs that no group of ``images`` (columns image_id, group) holds: a group split may part them."""
    groups = images.set_index("image_id")["group"]
    return pairs[pairs["first"].map(groups).to_numpy() != pairs["second"].map(groups).to_numpy()]


def with_dismissed(pairs: pd.DataFrame, made: Iterable[Decision]) -> pd.DataFrame:
    """Pairs with a column dismissed: whether somebody decided that they are not one picture."""
    out = decisions.dismissed(made)
    sides = zip(pairs["first"], pairs["second"], strict=True)
    return pairs.assign(dismissed=np.array([(one, SAME_PICTURE, other) in out for one, other in sides], bool))


def of_kind(pairs: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Pairs that are ALL, of EQUAL files, merely ALIKE, of two classes (CONFLICT), or ACROSS parts of a split."""
    return pairs[KINDS[kind](pairs)]
