"""Every page in every state of a workspace: empty, at work, full, and with damaged files."""

import shutil
import time
from collections.abc import Iterator

import made_lessons
import pytest
from made_data import made_dataset
from made_runs import all_parts, made_run
from page_tests import opened, words
from streamlit.testing.v1 import AppTest

from covid_core.jobs import queue
from covid_core.jobs.kinds import AuditRequest
from covid_core.runs import store
from covid_core.runs.store import Status
from covid_core.workspace import Workspace

pytestmark = pytest.mark.usefixtures("jobs_wait")

DAMAGED_IMAGES = "is damaged: delete it and import it again."
DAMAGED_RUN = "longer-00008: result.json is missing or damaged."
# Of each page what is on it in that state, among its words, buttons and links.
STATES = {
    "empty": {
        "home": ("no trained model yet", "Draw 600 synthetic images"),
        "dataset": ("Nothing yet", "Draw the images"),
        "audit": ("No data set yet.",),
        "train": ("Nothing has been trained yet.", "No data set yet."),
        "compare": ("No finished run yet.", "Train a model"),
        "predict": ("No finished run yet.", "Train a model"),
        "lessons": ("0 of 4 lessons are prepared", "Open “The duplicate”"),
    },
    "loading": {
        "home": ("24 images in 1 data set, 1 run running or waiting.", "Drawing 9 synthetic images", "Stop"),
        "dataset": ("Drawing 9 synthetic images", "so far, about", "Stop"),
        "audit": ("Audit of ", "so far, about", "Stop"),
        "train": ("Mine trains: **62 %, 40 s left**", "Watch", "Stop"),
        "compare": ("1 run still at work.", "Watch them on the Train page"),
        "predict": ("No finished run yet.",),
        "lessons": ("Being prepared: 62 %.",),
    },
    "full": {
        "home": ("140 images in 2 data sets, 3 trained models.", "Compare the models"),
        "dataset": ("89 images in 3 classes", "These images are synthetic"),
        "audit": ("89 images have findings of 3 kinds", "5 pairs of images show the same picture"),
        "train": ("Nothing trains now. 3 runs have ended.", "Train"),
        "compare": ("Longer is the best of 3 runs: 87.0 %", "Try it on an image"),
        "predict": ("Or try an image of the run's test part",),
        "lessons": ("1 of 4 lessons is prepared",),
    },
    "broken": {
        "home": ("140 images in 2 data sets, no trained model yet.", "View the images"),
        "dataset": (DAMAGED_IMAGES,),
        "audit": (DAMAGED_IMAGES,),
        "train": ("Nothing has been trained yet.", DAMAGED_IMAGES),
        "compare": ("No finished run yet.", DAMAGED_RUN),
        "predict": ("No finished run yet.", DAMAGED_RUN),
        "lessons": ("0 of 4 lessons are prepared",),
    },
}


@pytest.fixture
def empty(workspace) -> None:
    """Nothing was ever imported."""


@pytest.fixture
def loading(workspace, tmp_path) -> Iterator[None]:
    """Images whose audit is being made, and others being drawn; a run that trains; a lesson being prepared."""
    _, dataset = made_dataset(tmp_path, workspace, counts={"COVID": 10, "Normal": 14})
    jobs = [
        queue.submit(workspace, AuditRequest(dataset=dataset.id)),
        store.create_job(workspace, "phantom", {"images": 9, "seed": 0, "name": "Drawn", "plant": []}),
        made_run(workspace, all_parts({"train": 12, "validation": 6, "test": 6}, 1), "Mine", state=store.FAILED),
        made_lessons.job(workspace, "twin", store.FAILED),
    ]
    locks, now = [job.lock for job in jobs], time.time()
    for job, lock in zip(jobs, locks, strict=True):
        assert lock.try_acquire()
        job.write_status(Status(store.RUNNING, progress=0.62, started=now - 60, updated=now, seconds_left=40))
    yield
    for lock in locks:
        lock.release()


@pytest.fixture
def full(workspace, golden) -> Workspace:
    """What an earlier version made: two data sets, of which one is audited, three runs, a study; and a lesson."""
    shutil.copytree(golden, workspace.root, dirs_exist_ok=True)
    made_lessons.corner_tag(workspace, without=20)
    return workspace


@pytest.fixture
def broken(full) -> None:
    """The same with a file torn in every data set, run, study and lesson."""
    torn = ("datasets/*/manifest.parquet", "runs/*/result.json", "studies/*/study.json", "lessons/*/jobs/*/status.json")
    for pattern in torn:
        paths = list(full.root.glob(pattern))
        assert paths
        for path in paths:
            path.write_bytes(b"{")


def shown(page: AppTest) -> str:
    labels = [one.label for kind in ("button", "page_link") for one in page.get(kind)]
    return "\n".join([words(page), *labels])


@pytest.mark.parametrize(("state", "page"), [(state, page) for state, pages in STATES.items() for page in pages])
def test_a_page_shows_the_state_and_no_error_beside(request, state, page):
    request.getfixturevalue(state)
    address = {"dataset": "drawn-films-00002"} if state in ("full", "broken") else {}
    app = opened("" if page == "home" else page, **address)
    on_it = shown(app)
    assert [element for element in STATES[state][page] if element not in on_it] == [], on_it
    assert len(app.error) == (DAMAGED_IMAGES in STATES[state][page])


@pytest.mark.parametrize("page", ["train", "compare", "predict"])
def test_a_run_that_another_tab_deletes_is_gone_from_a_page_that_shows_it(full, page):
    runs, _ = store.list_runs(full)
    shown = opened(page, **({"runs": runs[0].id} if page == "compare" else {"run": runs[0].id}))
    queue.delete(runs[0])
    shown.run()
    assert not shown.exception
    assert runs[0].name not in [option for box in shown.selectbox for option in box.options]
