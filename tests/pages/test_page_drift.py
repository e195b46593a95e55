"""Drift of the images on the Predict page: too few of them, enough, and a run whose reference has no profile."""

import shutil

import pytest
from made_profiles import with_profile
from page_tests import opened, words
from streamlit.testing.v1 import AppTest

from covid_core.images.codec import png_bytes
from covid_core.inference.drift.batch import FEWEST
from covid_core.reports.elsewhere import drift_text
from covid_core.runs import store
from covid_core.synthetic.phantom import image_at
from pages.panels.predict import drift_panel

RUN = "longer-00008"


@pytest.fixture
def run(golden, workspace) -> store.Run:
    shutil.copytree(golden, workspace.root, dirs_exist_ok=True)
    return store.open_run(workspace, RUN)


def with_images(images: int, run: str = RUN) -> AppTest:
    page = opened("predict", run=run)
    for number in range(images):
        page.file_uploader[0].upload(f"{number}.png", png_bytes(image_at(number, images, 2, size=64).pixels))
    return page.run(timeout=60)


def tables(page: AppTest) -> list[list[str]]:
    return [list(frame.value.columns) for frame in page.dataframe]


def test_of_few_images_the_page_names_how_many_are_missing(run):
    with_profile(run)
    page = with_images(FEWEST - 3)
    assert not page.exception
    assert drift_text.missing(FEWEST - 3) in words(page)
    assert not [columns for columns in tables(page) if "Aspect" in columns]


def test_of_enough_images_each_aspect_has_its_score_and_its_figure(run):
    with_profile(run)
    page = with_images(FEWEST)
    assert not page.exception
    (frame,) = [one.value for one in page.dataframe if "Aspect" in one.value.columns]
    assert set(frame.loc[frame["Score"].notna(), "Differs"]) <= {"yes", "no"}
    assert frame["Score"].notna().sum() == frame["Aspect"].nunique()
    for aspect, has_means in (("view", True), ("network", False)):
        page.selectbox(key=f"drift-aspect-{RUN}").select(aspect).run()
        assert not page.exception
        assert ("in the batch" in words(page)) == has_means


def test_drift_of_each_run_is_measured_once_though_the_page_is_drawn_again(workspace, run, monkeypatch):
    runs = [run, store.open_run(workspace, "two-seeds-seed-0-00006")]
    for one in runs:
        with_profile(one)
    measured, measure = [], drift_panel.batch.of_assessments
    monkeypatch.setattr(
        drift_panel.batch, "of_assessments", lambda one, *more: measured.append(one.id) or measure(one, *more)
    )
    page = with_images(FEWEST, run=",".join(one.id for one in runs))
    page.run(timeout=60)
    assert not page.exception
    assert sorted(measured) == sorted(one.id for one in runs)


def test_a_run_without_a_profile_offers_to_make_its_reference_again(run, jobs_wait):
    page = with_images(FEWEST)
    page.button(key=f"drift-reference-{RUN}").click().run()
    assert not page.exception
