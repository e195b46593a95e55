"""Who is in which part. A split is a table with a hash, stored with every run."""

import hashlib
import math

import numpy as np
import pandas as pd

from covid_core.errors import DataError
from covid_core.specs import SplitSpec

PARTS = ("train", "validation", "test")


def make_split(films: pd.DataFrame, classes: tuple[str, ...], spec: SplitSpec) -> pd.DataFrame:
    """Assign films of ``classes`` to parts, stratified by label.

    Args:
        films: columns image_id and label, one row per film.
        classes: labels to keep.
        spec: shares, seed, and the size of a balanced subset where one is wanted.

    Returns:
        Columns image_id, label, group, part, in the order of ``films``. ``group`` is the film itself until patients or
        duplicates are known. The test part has ceil(n * test) films, the validation part round(n * validation), as the
        course study counted (4,032 films: 2,741 / 645 / 646). With folds the test part is the wanted fold: all folds
        of a seed together test every film once.

    Raises:
        DataError: a class has too few films for every part to hold one of it.
    """
    chosen = films.loc[films["label"].isin(classes), ["image_id", "label"]].reset_index(drop=True)
    rng = np.random.default_rng(spec.seed)
    if spec.films_per_class is not None:
        chosen = _balanced(chosen, spec.films_per_class, rng)
    counts = chosen["label"].value_counts()
    for label in classes:
        least = max(len(PARTS), spec.folds)
        if counts.get(label, 0) < least:
            raise DataError(f"The class {label!r} has {counts.get(label, 0)} films; this split needs {least} at least.")
    total = len(chosen)
    labels, part = chosen["label"].to_numpy(), np.full(total, "train", dtype=object)
    if spec.folds > 1:
        part[_dealt(labels, spec.folds, rng) == spec.fold] = "test"
        rng = np.random.default_rng((spec.seed, spec.fold))
    else:  # films of each class stay for the later parts
        part[_draw_stratified(labels, part == "train", math.ceil(total * spec.test), 2, rng)] = "test"
    part[_draw_stratified(labels, part == "train", round(total * spec.validation), 1, rng)] = "validation"
    return chosen.assign(group=chosen["image_id"], part=part)


def split_hash(split: pd.DataFrame) -> str:
    """Hash over (image_id, label, part): runs with the same hash were tested on the same films."""
    rows = "\n".join("\t".join(row) for row in split[["image_id", "label", "part"]].itertuples(index=False, name=None))
    return hashlib.sha256(rows.encode("utf-8", "surrogatepass")).hexdigest()


def _balanced(films: pd.DataFrame, per_class: int, rng: np.random.Generator) -> pd.DataFrame:
    """At most ``per_class`` films of each class, drawn without replacement, in the order of ``films``."""
    kept = []
    for _, rows in films.groupby("label", sort=True).groups.items():
        kept.append(rng.permutation(np.asarray(rows))[:per_class])
    return films.loc[np.sort(np.concatenate(kept))].reset_index(drop=True)


def _dealt(labels: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each film: every class is shuffled and dealt in turn, going on where the class before it ended."""
    order = np.concatenate([rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)])
    fold = np.empty(len(labels), dtype=int)
    fold[order] = np.arange(len(labels)) % folds
    return fold


def _draw_stratified(
    labels: np.ndarray, free: np.ndarray, size: int, kept: int, rng: np.random.Generator
) -> np.ndarray:
    """Positions of ``size`` free films, every class by its share (largest remainders), at least one of each.

    ``kept`` films of every class stay free; where that binds, fewer than ``size`` are drawn.
    """
    classes, codes = np.unique(labels, return_inverse=True)
    available = np.bincount(codes[free], minlength=len(classes))
    exact = np.bincount(codes, minlength=len(classes)) * (size / len(labels))
    wanted = np.maximum(1, np.floor(exact)).astype(int)
    for code in np.argsort(wanted - exact, kind="stable")[: max(0, size - wanted.sum())]:
        wanted[code] += 1
    wanted = np.minimum(wanted, available - kept)
    drawn = [rng.permutation(np.flatnonzero(free & (codes == code)))[:n] for code, n in enumerate(wanted)]
    return np.concatenate(drawn)
