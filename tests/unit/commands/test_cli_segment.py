"""Segmenters from the command line: start, list, stop, delete. No process is started here."""

import pytest
from made_data import made_database, made_dataset
from made_segmenters import made_segmenter

from covid_core.commands import main
from covid_core.jobs import queue
from covid_core.runs import segmenters, store
from covid_core.runs.store import Status


@pytest.fixture(autouse=True)
def home(workspace, jobs_wait):
    """Every verb works in the test's own workspace."""


@pytest.fixture
def database(workspace, tmp_path):
    return made_database(tmp_path, workspace, counts={"COVID": 12, "Normal": 12})[1]


def test_a_started_job_is_told_and_listed(answer, database):
    code, told = answer("segment", database.id, "--seed", "4")
    assert code == 0
    assert (told["state"], told["dataset"]) == (store.QUEUED, database.id)
    _, listed = answer("segmenters")
    assert [job["job"] for job in listed["jobs"]] == [told["job"]]
    assert store.open_job(segmenters.Workspace.default(), told["job"]).request()["seed"] == 4


def test_one_that_was_waited_for_is_told_with_its_figures(answer, database, workspace, monkeypatch):
    made = made_segmenter(workspace, database.id)

    def launch(job: store.JobFolder) -> None:
        job.write_result({"segmenter": made.id})
        job.write_status(Status(store.COMPLETED))

    monkeypatch.setattr(queue, "launch", launch)
    code, told = answer("segment", database.id, "--wait")
    assert code == 0
    assert (told["state"], told["segmenter"], told["dice"]["value"]) == (store.COMPLETED, made.id, 0.95)


def test_one_that_failed_exits_with_1_and_its_reason(answer, database, monkeypatch):
    failed = Status(store.FAILED, reason="The disk is full.")
    monkeypatch.setattr(queue, "launch", lambda job: job.write_status(failed))
    code, told = answer("segment", database.id, "--wait")
    assert code == 1
    assert told["reason"] == "The disk is full."


def test_a_data_set_without_masks_is_refused_in_one_sentence(answer, workspace, tmp_path):
    _, dataset = made_dataset(tmp_path, workspace)
    code, told = answer("segment", dataset.id)
    assert code == 1
    assert told["error"] == "Made images has no lung masks, so no segmenter can be trained on it."


def test_segmenters_are_listed_with_damaged_ones(answer, workspace):
    made, torn = made_segmenter(workspace), made_segmenter(workspace, "torn")
    torn.network_path.unlink()
    _, listed = answer("segmenters")
    assert [one["segmenter"] for one in listed["segmenters"]] == [made.id]
    assert [one["segmenter"] for one in listed["damaged"]] == [torn.id]


def test_the_list_in_words(capsys, workspace):
    main.main(["segmenters"])
    assert "built-in one outlines lungs" in capsys.readouterr().out
    made = made_segmenter(workspace)
    main.main(["segmenters"])
    told = capsys.readouterr().out.strip()
    assert told == f"{made.id}  Dice 0.950 [0.940, 0.960] on 16 test images  The images"


def test_a_job_is_stopped_by_its_id(answer, database):
    _, told = answer("segment", database.id)
    code, stopped = answer("stop", told["job"])
    assert code == 0
    assert stopped == {"job": told["job"], "state": store.STOPPED}


def test_a_segmenter_is_deleted(answer, workspace):
    made = made_segmenter(workspace)
    assert answer("delete-segmenter", made.id) == (0, {"segmenter": made.id, "deleted": True})
    assert not made.path.exists()
    assert answer("delete-segmenter", made.id)[0] == 1
