"""Every page in every state of a workspace: empty, at work, full, and with damaged files."""

import shutil
import time
from collections.abc import Iterator

import made_lessons
import pytest
from made_data import made_dataset
from made_runs import all_parts, made_run
from page_tests import opened, words

from covid_core.jobs import queue
from covid_core.runs import store
from covid_core.runs.store import JobFolder, Status
from covid_core.workspace import Workspace

PAGES = ("home", "dataset", "audit", "train", "compare", "predict", "lessons")


pytestmark = pytest.mark.usefixtures("jobs_wait")


@pytest.fixture
def empty(workspace) -> Workspace:
    return workspace


@pytest.fixture
def loading(workspace, tmp_path) -> Iterator[Workspace]:
    """Images whose audit is being made, and others being drawn; a run that trains; a lesson being prepared."""
    _, dataset = made_dataset(tmp_path, workspace)
    audit = queue.submit_data_audit(workspace, dataset.id)
    drawn = store.create_job(workspace, "phantom", {"images": 9, "seed": 0, "name": "Drawn", "plant": []})
    run = made_run(workspace, all_parts({"train": 12, "validation": 6, "test": 6}, 1), "Mine", state=store.FAILED)
    lesson = made_lessons.job(workspace, "twin", store.FAILED)
    jobs = (audit, drawn, run, lesson)
    locks = [job.lock for job in jobs]
    for job, lock in zip(jobs, locks, strict=True):
        assert lock.try_acquire()
        at_work(job)
    yield workspace
    for lock in locks:
        lock.release()


def at_work(job: JobFolder) -> None:
    now = time.time()
    job.write_status(
        Status(store.RUNNING, progress=0.62, message="Half done", started=now - 60, updated=now, seconds_left=40)
    )


@pytest.fixture
def full(workspace, golden) -> Workspace:
    shutil.copytree(golden, workspace.root)
    return workspace


@pytest.fixture
def broken(full) -> Workspace:
    for path in full.runs.glob("*/result.json"):
        path.write_text("{")
    for path in full.datasets.glob("*/manifest.parquet"):
        path.write_bytes(b"no table")
    for path in full.studies.glob("*/study.json"):
        path.write_text("{")
    return full


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("state", ["empty", "loading", "full", "broken"])
def test_a_page_in_a_state(request, state, page):
    request.getfixturevalue(state)
    app = opened("" if page == "home" else page)
    with open("/tmp/t/tests_states.txt", "a") as out:
        print(
            "=====",
            state,
            page,
            "errors",
            [e.value for e in app.error],
            "\n",
            words(app)[:1500],
            [b.label for b in app.button],
            [b.label for b in app.get("page_link")],
            file=out,
        )
