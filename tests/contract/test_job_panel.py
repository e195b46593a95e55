"""The panel that every page shows jobs with: empty, waiting, running, failed, stopped and done, for any kind."""

import os
import time

import pytest
from page_tests import PATIENCE, words
from streamlit.testing.v1 import AppTest

from covid_core.errors import JobRefused
from covid_core.jobs import queue
from covid_core.jobs.kinds import ImportRequest, PhantomRequest, Request
from covid_core.runs import store
from covid_core.runs.store import JobFolder, Status

APP = """
import streamlit as st
from covid_core.jobs import queue
from covid_core.jobs.kinds import PhantomRequest, Request
from pages.shared import job_panel, shell

job_panel.start_button("Draw", PhantomRequest(images=6), key="start")
under_way = job_panel.panel(lambda: queue.jobs(shell.workspace(), Request))
st.markdown(f"under way: {under_way}")
"""


@pytest.fixture(autouse=True)
def no_process(monkeypatch):
    """A launched job waits: this process stands for its own."""
    monkeypatch.setattr(queue, "launch", lambda *jobs: [job.write_launch(os.getpid(), 1) for job in jobs])


@pytest.fixture
def job(workspace) -> JobFolder:
    return queue.submit(workspace, PhantomRequest(images=6))


def panel() -> AppTest:
    page = AppTest.from_string(APP, default_timeout=PATIENCE).run()
    assert not page.exception
    return page


def keys(page: AppTest) -> set[str]:
    return {button.key for button in page.button} - {"start"}


def ended(job: JobFolder, state: str, reason: str = "") -> None:
    now = time.time()
    job.write_status(Status(state, reason=reason, started=now - 70, updated=now, ended=now))


def test_without_jobs_it_is_empty(workspace):
    page = panel()
    assert words(page) == "under way: False"
    assert not keys(page)


def test_a_job_that_waits_can_be_stopped(job):
    page = panel()
    assert "Drawing 6 synthetic images" in words(page) and "Not started yet." in words(page)
    page.button(key=f"stop-{job.id}").click().run()
    assert job.status().state == store.STOPPED


def test_a_job_at_work_shows_progress_and_time_left(job):
    lock = job.lock
    assert lock.try_acquire()
    job.write_status(Status(store.RUNNING, progress=0.4, started=time.time() - 20, seconds_left=30.0))
    try:
        page = panel()
        assert " s so far, about 30 s left." in words(page) and "under way: True" in words(page)
        page.button(key=f"stop-{job.id}").click().run()
        assert page.button(key=f"stop-{job.id}").disabled
    finally:
        lock.release()


def test_those_that_wait_behind_another_stand_in_one_line(workspace, job):
    second, third = (queue.submit(workspace, PhantomRequest(images=6)) for _ in range(2))
    lock = job.lock
    assert lock.try_acquire()
    job.write_status(Status(store.RUNNING, started=time.time()))
    try:
        page = panel()
        assert "2 jobs wait." in words(page) and keys(page) == {f"stop-{job.id}", "unqueue-"}
        page.button(key="unqueue-").click().run()
        assert [one.status().state for one in (second, third)] == [store.STOPPED] * 2
    finally:
        lock.release()


def test_each_reason_why_a_job_cannot_be_stopped_is_shown(workspace, job, monkeypatch):
    def refused(folder: JobFolder) -> None:
        raise JobRefused(f"{folder.id} goes on.")

    monkeypatch.setattr(queue, "stop", refused)
    other = queue.submit(workspace, PhantomRequest(images=6))
    page = panel()
    page.button(key="unqueue-").click().run()
    assert {one.value.replace("\\", "") for one in page.toast} == {f"{one.id} goes on." for one in (job, other)}


@pytest.mark.parametrize(
    ("state", "reason", "sentence"),
    [
        (store.FAILED, "The disk is full.", "failed. The disk is full."),
        (store.STOPPED, "", "was stopped. Nothing is kept."),
        (store.RUNNING, "", f"failed. {store.KILLED}"),
    ],
    ids=["failed", "stopped", "interrupted"],
)
@pytest.mark.parametrize("button", ["again", "dismiss", "start"])
def test_what_left_no_result_is_there_until_it_starts_again_or_is_dismissed(
    workspace, job, state, reason, sentence, button
):
    ended(job, state, reason)
    page = panel()
    assert f"**Drawing 6 synthetic images** {sentence}" in words(page)
    page.button(key="start" if button == "start" else f"{button}-{job.id}").click().run()
    assert not job.path.exists() and sentence not in words(page)
    assert len(queue.jobs(workspace, Request)) == (button != "dismiss")


def test_an_upload_that_failed_is_not_tried_again(workspace):
    ended(queue.submit(workspace, ImportRequest(source="gone.zip", remove_source=True)), store.FAILED, "No.")
    assert {key.partition("-")[0] for key in keys(panel())} == {"dismiss"}


def test_a_failure_that_a_later_job_made_good_is_not_shown(workspace, job):
    ended(job, store.FAILED, "The disk is full.")
    later = queue.submit(workspace, PhantomRequest(images=6))
    ended(later, store.COMPLETED)
    assert "failed" not in words(panel())


def test_a_job_that_is_done_is_reported_once_to_who_followed_it(job):
    page = panel()
    ended(job, store.COMPLETED)
    assert [toast.value for toast in page.run().toast] == ["Drawing 6 synthetic images: done, after 1 min 10 s."]
    assert not page.run().toast and not panel().toast
