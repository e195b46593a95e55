"""A PACS on the pages: not there until somebody names one, and asked by its button alone."""

from collections.abc import Iterator

import numpy as np
import pytest
from dicomweb_server import NAME, STUDY, Service, service
from made_dicom import as_dicom
from made_runs import all_parts, made_run
from page_tests import opened, words
from streamlit.testing.v1 import AppTest

FETCH = f"Fetch from {NAME}"


@pytest.fixture
def pacs(monkeypatch) -> Iterator[Service]:
    with service() as made:
        pixels = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
        made.files = [("DX", as_dicom(pixels, PatientID="CANARY-4711"))]
        monkeypatch.setenv("COVID_CORE_PACS", f"{NAME}={made.address}")
        yield made


@pytest.fixture
def page(workspace) -> AppTest:
    made_run(workspace, all_parts({"train": 12, "validation": 6, "test": 6}, 1))
    return opened("predict")


def has_query(page: AppTest) -> bool:
    return FETCH in [one.label for one in page.button]


def fetch(page: AppTest, study: str = STUDY) -> AppTest:
    next(one for one in page.text_input if one.label == "Study Instance UID").set_value(study)
    return next(one for one in page.button if one.label == FETCH).click().run()


def test_without_the_setting_there_is_no_way_to_a_pacs(page):
    assert not has_query(page) and not page.exception
    ways = opened("dataset", add="own").segmented_control[0].options
    assert "From a PACS" not in ways


def test_images_are_asked_for_by_the_button_alone_and_then_on_the_page(pacs, page):
    assert has_query(page) and pacs.requests == []
    fetch(page)
    assert not page.exception
    assert [file.getvalue() for file in page.session_state["predict_files"]] == [pacs.files[0][1]]
    assert "CANARY" not in words(page)


def test_a_query_without_a_value_asks_nothing(pacs, page):
    fetch(page, "")
    assert len(page.error) == 1 and pacs.requests == []


def test_images_for_a_data_set_are_fetched_once_their_class_is_written(pacs, page):
    page = opened("dataset", add="own")
    page.segmented_control[0].set_value("From a PACS").run()
    (before,) = (one for one in page.button if one.label == FETCH)
    page.text_input(key="import-pacs-class").set_value("COVID").run()
    (after,) = (one for one in page.button if one.label == FETCH)
    assert (before.disabled, after.disabled) == (True, False)


def test_an_error_of_the_pacs_is_one_sentence(pacs, page):
    pacs.answers = {"^/studies$": lambda request: request.send_error(500)}
    assert "answers with the error 500" in " ".join(one.value for one in fetch(page).error)


def test_a_wrong_setting_is_one_sentence(page, monkeypatch):
    monkeypatch.setenv("COVID_CORE_PACS", "http://pacs.example.org")
    page.run()
    assert not page.exception and "COVID" in " ".join(one.value for one in page.error)
