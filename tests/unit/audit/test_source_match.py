"""Whether outside images look like those of a training source by their borders."""

from pathlib import Path

import numpy as np
import pytest
from made_data import made_database

from covid_core.audit.shortcuts import source_match
from covid_core.data.dataset import Dataset
from covid_core.data.imports import importing
from covid_core.data.split import make_split
from covid_core.images.codec import png_bytes
from covid_core.inference.external_test import EXTERNAL, Origin
from covid_core.reports import external_text
from covid_core.runs import store
from covid_core.runs.store import Run
from covid_core.specs import TrainingSpec
from covid_core.workspace import Workspace

COUNTS = {"COVID": 60, "Normal": 60}
SOURCES = {label: ["Bright", "Dark"] for label in COUNTS}
SIDE, FRAME = 64, 8


def framed(root: Path, greys: tuple[int, ...], seed: int) -> None:
    """Give the images below a folder, in turn, borders of these greys, each with some noise; the rest is noise."""
    rng = np.random.default_rng(seed)
    for label in COUNTS:
        for number in range(1, COUNTS[label] + 1):
            pixels = rng.integers(90, 170, (SIDE, SIDE))
            border = np.ones((SIDE, SIDE), bool)
            border[FRAME:-FRAME, FRAME:-FRAME] = False
            border_grey = greys[(number - 1) % len(greys)] + rng.integers(-20, 21, (SIDE, SIDE))
            mixed = np.where(border, border_grey, pixels).astype(np.uint8)
            (root / label / "images" / f"{label}-{number}.png").write_bytes(png_bytes(mixed))


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def images(workspace: Workspace, folder: Path, greys: tuple[int, ...], seed: int, with_sources: bool) -> Dataset:
    made_database(folder, Workspace(folder / "scratch"), counts=COUNTS, sources=SOURCES if with_sources else None)
    framed(folder / "database", greys, seed)
    return importing.import_folder(workspace, folder / "database", name=folder.name)


def run_on(workspace: Workspace, dataset: Dataset) -> Run:
    spec = TrainingSpec(dataset=dataset.id, classes=dataset.classes)
    return store.create_run(workspace, spec, dataset, make_split(dataset.images, spec.classes, spec.split))


def test_images_with_the_borders_of_a_training_source_match_and_others_do_not(workspace, tmp_path):
    run = run_on(workspace, images(workspace, tmp_path / "own", (200, 40), 0, with_sources=True))
    like = source_match.of(workspace, run, images(workspace, tmp_path / "like", (200, 40), 1, with_sources=False))
    other = source_match.of(workspace, run, images(workspace, tmp_path / "other", (120,), 2, with_sources=False))
    assert like["sources"] == 2 and like["images"] == other["images"] == 120
    assert like["accuracy"] > 0.95
    assert like["matching"] > 0.8 * 120 and other["matching"] < 0.2 * 120


def test_sources_that_borders_do_not_show_match_nothing(workspace, tmp_path):
    run = run_on(workspace, images(workspace, tmp_path / "own", (120,), 0, with_sources=True))
    assert source_match.of(workspace, run, images(workspace, tmp_path / "other", (120,), 1, with_sources=False)) is None


def test_without_sources_on_record_nothing_is_matched(workspace, tmp_path):
    run = run_on(workspace, images(workspace, tmp_path / "own", (200, 40), 0, with_sources=False))
    assert source_match.of(workspace, run, images(workspace, tmp_path / "other", (200,), 1, with_sources=False)) is None


def test_p_values_are_low_where_few_usual_figures_are_as_low():
    values = source_match.p_values(np.arange(1.0, 20.0), np.array([0.0, 10.0, 30.0]))
    assert values.tolist() == [1 / 20, 11 / 20, 1.0]


def test_a_sentence_states_a_match_and_earlier_tests_have_none():
    match = {"images": 100, "matching": 80, "sources": 2, "accuracy": 0.9}
    assert external_text.match(Origin(EXTERNAL, {}, 0, 0, 0)) == ""
    most, few = (external_text.match(Origin(EXTERNAL, {}, 0, 0, 0, {**match, "matching": n})) for n in (80, 20))
    assert "do not look" not in most and "do not look" in few
