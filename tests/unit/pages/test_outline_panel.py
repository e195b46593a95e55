"""Who outlines lungs, as a page shows it: no masks, nobody yet, one who learns, one who has learned, damaged ones."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from made_data import made_database, made_dataset
from made_segmenters import made_segmenter
from page_tests import PATIENCE, words
from streamlit.testing.v1 import AppTest

from covid_core.jobs import queue
from covid_core.jobs.kinds import SegmenterRequest
from covid_core.reports import evidence_text
from covid_core.runs import segmenters, store
from covid_core.runs.store import JobFolder, Status
from pages import shared

PAGES = Path(shared.__file__).parent.parent
APP = """
import streamlit as st
from pages.shared import lung_segmenter

def page():
    lung_segmenter.show(st.session_state.get("run_dataset", ""))

st.navigation([st.Page(page, title="Lungs"), st.Page("dataset.py")]).run()
"""


pytestmark = pytest.mark.usefixtures("jobs_wait")


@pytest.fixture
def database(workspace, tmp_path):
    return made_database(tmp_path, workspace, counts={"COVID": 12, "Normal": 12})[1]


@pytest.fixture
def shown(workspace, tmp_path):
    """The component as the only thing on a page, for a run of a data set."""

    def show(dataset: str = "") -> AppTest:
        (tmp_path / "app").mkdir()
        (tmp_path / "app/dataset.py").symlink_to(PAGES / "dataset.py")
        (tmp_path / "app/app.py").write_text(APP)
        page = AppTest.from_file(str(tmp_path / "app/app.py"), default_timeout=PATIENCE)
        page.session_state["run_dataset"] = dataset
        page.run()
        assert not page.exception
        return page

    return show


def ended(job: JobFolder, state: str, **more: object) -> None:
    now = time.time()
    job.write_status(replace(Status(state), started=now - 70, updated=now, ended=now, **more))


def keys(page: AppTest) -> list[str]:
    return [button.key for button in page.button]


def test_without_masks_it_says_so_and_shows_the_way_to_some(shown, workspace, tmp_path):
    made_dataset(tmp_path, workspace)
    page = shown()
    assert segmenters.NO_MASKS in words(page)
    assert [link.label for link in page.get("page_link")] == ["Add a data set with masks"]
    assert "segment-start" not in keys(page)


def test_with_masks_the_time_is_measured_while_it_learns_and_not_promised(shown, database):
    page = shown()
    assert evidence_text.outline_by(segmenters.built_in().origin) in words(page)
    assert "From 24 images of Made database with a lung mask. While it learns, the time left" in words(page)
    assert page.button(key="segment-start").label == "Learn to outline lungs"


def test_the_runs_own_data_set_is_offered_first(shown, workspace, database, tmp_path):
    made_database(tmp_path / "newer", workspace, counts={"COVID": 24})
    page = shown(database.id)
    assert page.selectbox[0].value == database.id


def test_a_click_starts_a_job_that_is_watched_and_can_be_stopped(shown, workspace, database):
    page = shown()
    page.button(key="segment-start").click().run()
    (job,) = queue.jobs(workspace, SegmenterRequest)
    assert job.request.dataset == database.id
    assert "Learning to outline lungs from Made database" in words(page)
    assert "segment-start" not in keys(page)
    running = Status(store.RUNNING, progress=0.4, message="Learning outlines", started=time.time(), seconds_left=30.0)
    lock = job.folder.lock
    assert lock.try_acquire()
    try:
        job.folder.write_status(running)
        page.run()
        assert "about 30 s left" in words(page)
        page.button(key=f"stop-{job.folder.id}").click().run()
        assert job.folder.stop_requested()
        assert page.button(key=f"stop-{job.folder.id}").disabled
    finally:
        lock.release()


def test_a_stopped_job_is_told_until_it_is_dismissed(shown, workspace, database):
    page = shown()
    page.button(key="segment-start").click().run()
    (job,) = queue.jobs(workspace, SegmenterRequest)
    ended(job.folder, store.STOPPED)
    page.run()
    assert "was stopped. Nothing is kept." in words(page)
    page.button(key=f"dismiss-{job.folder.id}").click().run()
    assert "was stopped" not in words(page)
    assert page.button(key="segment-start")


def test_a_job_that_failed_tells_why(shown, workspace, database):
    page = shown()
    page.button(key="segment-start").click().run()
    (job,) = queue.jobs(workspace, SegmenterRequest)
    ended(job.folder, store.FAILED, reason="The disk is full.")
    page.run()
    assert "Learning to outline lungs from Made database failed. The disk is full." in words(page).replace("**", "")
    assert page.button(key="segment-start")


def test_a_job_that_ended_is_told_once_with_what_it_made(shown, workspace, database):
    page = shown()
    page.button(key="segment-start").click().run()
    (job,) = queue.jobs(workspace, SegmenterRequest)
    made_segmenter(workspace, database.id)
    ended(job.folder, store.COMPLETED)
    page.run()
    assert [toast.value for toast in page.toast] == [
        "Learning to outline lungs from Made database: done, after 1 min 10 s."
    ]
    assert not page.run().toast


def test_the_one_in_use_shows_its_dice_with_interval_and_images(shown, workspace, database):
    made = made_segmenter(workspace, database.id, left_out=2)
    page = shown(database.id)
    assert evidence_text.outline_by(made.origin) in words(page)
    figures = {metric.label: metric.value for metric in page.metric}
    assert figures["Dice, test images"] == "0.950 [0.940, 0.960]"
    assert figures["No outline shown"] == "0.0 % [0.0, 20.0]"
    assert "on images of The" in words(page)
    assert "2 masks could not be used." in words(page)
    assert page.button(key="segment-start").label == "Learn again"


def test_deleting_asks_and_then_the_built_in_one_outlines(shown, workspace, database):
    made = made_segmenter(workspace, database.id)
    page = shown(database.id)
    assert "Delete the segmenter that learned from" in words(page)
    page.button(key=f"delete-segmenter-now-{made.id}").click().run()
    assert not made.path.exists()
    assert evidence_text.outline_by(segmenters.built_in().origin) in words(page)
    assert f"delete-segmenter-now-{segmenters.BUILT_IN_FOLDER.name}" not in keys(page)


def test_another_and_a_damaged_one_are_listed_below(shown, workspace, database):
    made_segmenter(workspace, database.id)
    other, torn = made_segmenter(workspace, "another"), made_segmenter(workspace, "torn")
    torn.network_path.unlink()
    page = shown(database.id)
    below = page.container(key="other-segmenters")
    told = "\n".join(element.value for element in below.markdown).replace("\\", "")
    assert f"The {other.dataset.id}" in told
    assert "lacks its network" in told
    page.button(key=f"delete-segmenter-now-{torn.id}").click().run()
    assert not torn.path.exists()


def test_a_segmenter_goes_on_serving_when_its_data_set_is_gone(shown, workspace):
    made_segmenter(workspace, "gone")
    page = shown("another")
    assert "The gone" in words(page)
    assert segmenters.NO_MASKS in words(page)
