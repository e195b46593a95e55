"""Two images of a patient are never in two parts, whatever the tree or table that names patients looks like."""

import csv
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from covid_core.data import duplicates
from covid_core.data.dataset import Dataset
from covid_core.data.imports import importing
from covid_core.data.split import make_split
from covid_core.errors import DataError
from covid_core.images.codec import png_bytes
from covid_core.specs import LayoutSpec, SplitSpec
from covid_core.workspace import Workspace

LABELS, SOURCES, AUTHORS = ("COVID", "Normal", "Other"), ("north", "south"), ("train", "val", "test")
TREES = (
    "{label}/patient{patient:05}/study{study}/{number}.png",
    "{label}/person{patient}_virus_{number}.png",
    "set/{label}/images/{patient:08}_{number:03}.png",
    "{part}/{label}/person{patient}_bacteria_{number}.png",
    "{label}/{part}/p{patient:08}/s{study}/{number}.png",
)
SPLITS = (
    {"method": "grouped"},
    {"method": "grouped", "folds": 3, "fold": 1},
    {"method": "by_source", "held_out": ("south",)},
)
places = itertools.count()


def people(seed: int) -> pd.DataFrame:
    """Images of patients: some have several, and some images are copies of an image of another patient, whatever its
    class; ``picture`` numbers the pictures."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(30), rng.integers(1, 5, 30))
    picture = np.where(rng.random(len(of)) < 0.06, rng.integers(0, len(of), len(of)), np.arange(len(of)))
    one = {"patient": 1 + of, "label": rng.choice(LABELS, 30)[of], "source": rng.choice(SOURCES, 30)[of]}
    any_one = {"part": rng.choice(AUTHORS, len(of)), "study": rng.integers(1, 3, len(of)), "number": np.arange(len(of))}
    return pd.DataFrame(one | any_one | {"picture": picture}).sample(frac=1, random_state=seed)


def write(root: Path, images: pd.DataFrame, pattern: str) -> list[str]:
    """The images as files. Returns their paths below ``root``."""
    paths = [pattern.format(**row) for row in images.to_dict("records")]
    for path, picture in zip(paths, images["picture"], strict=True):
        pixels = np.random.default_rng(picture).integers(0, 256, (32, 32), dtype=np.uint8)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(png_bytes(pixels))
    return paths


def assert_whole(workspace: Workspace, dataset: Dataset, images: pd.DataFrame, paths: list[str], split: SplitSpec):
    """That no patient and no picture lies in two parts."""
    try:
        made = make_split(duplicates.with_groups(workspace, dataset), dataset.classes, split)
    except DataError:
        return  # too few groups for every part: that is said, and nothing is parted
    part = pd.Series(made["part"].to_numpy(), made["image_id"].map(dataset.images.set_index("image_id")["path"]))
    parts = part.reindex(paths)
    assert parts.notna().all()
    for name in ("patient", "picture"):
        assert parts.groupby(images[name].to_numpy()).nunique().max() == 1, name
    patients = dataset.images.set_index("path")["patient_id"].reindex(paths)
    assert patients.groupby(images["patient"].to_numpy()).nunique().eq(1).all()
    assert patients.nunique() == images["patient"].nunique()


@settings(max_examples=15)
@given(some.integers(0, 10**6), some.sampled_from(TREES), some.sampled_from(SPLITS[:2]), some.integers(0, 99))
def test_a_tree_that_names_patients_parts_none(tmp_path_factory, seed, pattern, split, split_seed):
    root, images = tmp_path_factory.mktemp(f"tree{next(places)}"), people(seed)
    paths = write(root / "images", images, pattern)
    workspace = Workspace(root / "workspace")
    dataset = importing.import_folder(workspace, root / "images")
    assert_whole(workspace, dataset, images, paths, SplitSpec(**split, seed=split_seed))


@settings(max_examples=15)
@given(
    some.integers(0, 10**6),
    some.sampled_from(("images/{number}.png", "{study}/{number}.png", "{source}/{label}-{number}.png")),
    some.sampled_from(SPLITS),
    some.sampled_from((",", ";", "\t")),
)
def test_a_table_that_names_patients_parts_none(tmp_path_factory, seed, pattern, split, separator):
    root, images = tmp_path_factory.mktemp(f"table{next(places)}"), people(seed)
    paths = write(root / "images", images, pattern)
    table = root / "images" / ("labels.tsv" if separator == "\t" else "labels.csv")
    with table.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, delimiter=separator)
        lines.writerow(["File", "Diagnosis", "Who", "Where"])
        lines.writerows(zip(paths, images["label"], images["patient"], images["source"], strict=True))
    columns = {"path": "File", "label": "Diagnosis", "patient": "Who", "source": "Where"}
    workspace = Workspace(root / "workspace")
    spec = LayoutSpec(tables=(str(table),), columns=columns)
    dataset = importing.import_folder(workspace, root / "images", spec=spec)
    assert_whole(workspace, dataset, images, paths, SplitSpec(**split, seed=seed % 100))


def test_a_random_split_makes_no_such_promise(tmp_path):
    images = people(0)
    paths = write(tmp_path / "images", images, TREES[0])
    workspace = Workspace(tmp_path / "workspace")
    dataset = importing.import_folder(workspace, tmp_path / "images")
    with pytest.raises(AssertionError, match="patient"):
        assert_whole(workspace, dataset, images, paths, SplitSpec(method="stratified"))
