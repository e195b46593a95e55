"""Predictions from elsewhere on the pages: their own page, Compare, Predict, and the section that takes them."""

import made_predictions
import pytest
from page_tests import opened

from covid_core.data.dataset import Dataset
from covid_core.data.imports import importing
from covid_core.exchange import predictions
from covid_core.runs.store import Run
from pages.shared import shell

ELSEWHERE = ":material/upload_file: Trained elsewhere"

pytestmark = pytest.mark.usefixtures("jobs_wait", "no_weights")


@pytest.fixture
def dataset(workspace, image_folder) -> Dataset:
    return importing.import_folder(workspace, image_folder({"COVID": 20, "Normal": 20}), "Images")


@pytest.fixture
def trained(workspace, dataset) -> Run:
    return made_predictions.finished_on(workspace, dataset)


@pytest.fixture
def theirs(workspace, trained) -> Run:
    """All but the first test image."""
    table = made_predictions.handed_in(trained)
    return made_predictions.imported(workspace, trained, table[table["image"] != first_test_image(trained)])


def first_test_image(run: Run) -> str:
    return run.split().query("part == 'test'")["image_id"].iat[0]


def labels(page) -> list[str]:
    return [button.label for button in page.button]


def test_their_page_shows_what_was_matched_and_offers_nothing_that_needs_a_model(theirs):
    page = opened("train", run=theirs.id)
    assert "Compare" in labels(page)
    assert not {"Predict", "Train a variant", "Audit this model", "Measure robustness"} & set(labels(page))
    assert any(shell.plain(first_test_image(theirs)) in one.value for one in page.markdown)
    assert not any(one.label == "Test images without prediction" for one in page.expander)  # it is named already


def test_names_that_a_sentence_leaves_out_have_a_list(workspace, trained):
    table = made_predictions.handed_in(trained)
    lacking = set(trained.split().query("part == 'test'")["image_id"].head(predictions.MOST_NAMED + 1))
    run = made_predictions.imported(workspace, trained, table[~table["image"].isin(lacking)])
    page = opened("train", run=run.id)
    assert any(one.label == "Test images without prediction" for one in page.expander)


@pytest.mark.parametrize("view", ["", "Pairs", "Calibration", "Robustness", "Evidence check", "Outside test", "Curves"])
def test_compare_shows_both_runs_on_the_images_of_both(trained, theirs, view):
    page = opened("compare", runs=f"{trained.id},{theirs.id}", **({"view": view} if view else {}))
    tested = (trained.split()["part"] == "test").sum() - 1
    assert any(f"{tested} test images" in one.value for one in page.markdown)
    assert not page.error


def test_predict_leaves_them_out(theirs, trained):
    page = opened("predict", run=theirs.id)
    assert len(page.warning) == 1
    assert page.session_state["predict_runs"] == [trained.id]


def test_the_section_offers_the_splits_of_the_data_sets_runs_trained_ones_first(workspace, trained, theirs):
    page = opened("train", {"train-sections": ELSEWHERE})
    (split,) = (one for one in page.selectbox if one.label == "Split")
    assert split.value == trained.id
    assert len(split.options) == 3
