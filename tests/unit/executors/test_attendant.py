"""Jobs in the hands of an engine: done, lost and done again, refused, and taken out of its queue."""

import os
import time

import pytest
from made_engine import MadeEngine
from waiting import until

from covid_core import __version__, files
from covid_core.executors import attendant, node
from covid_core.executors.attendant import Attendance
from covid_core.executors.choice import Choice
from covid_core.executors.engines import End
from covid_core.jobs.reporter import Reporter
from covid_core.runs import store
from covid_core.runs.store import JobFolder

ELSEWHERE = Choice(engine="ray")


@pytest.fixture
def job(workspace) -> JobFolder:
    """A small job, of which this process holds the lock as its attendant does."""
    folder = store.create_job(workspace, "phantom", {"images": 6})
    folder.write_launch(os.getpid(), 1, engine="ray")
    lock = folder.lock
    assert lock.try_acquire()
    yield folder
    lock.release()


@pytest.fixture
def handed(job):
    """Hand the job over to an engine."""

    def hand(engine) -> Attendance:
        one = Attendance(job, 1, ELSEWHERE)
        one.hand_over(engine)
        return one

    return hand


def test_a_job_is_done_by_the_engine_and_says_where(job, handed):
    engine = MadeEngine()
    one = handed(engine)
    assert (job.status().state, job.status().place) == (store.QUEUED, "Ray")
    until(lambda: one.is_done(engine), "a job that is done")
    status = job.status()
    assert (status.state, status.attempt, status.place) == (store.COMPLETED, 1, f"Made, node {node.platform.node()}")
    assert job.result["dataset"]


def test_a_lost_job_is_handed_over_again_as_the_next_attempt(job, handed):
    engine = MadeEngine()
    one = handed(engine)
    engine.tasks[0].process.kill()
    until(lambda: one.is_done(engine), "a job that is done at the second attempt")
    assert len(engine.tasks) == 2
    assert (job.status().state, job.status().attempt, job.next_attempt()) == (store.COMPLETED, 2, 3)


def test_a_job_that_is_lost_again_and_again_fails(job, handed, monkeypatch):
    engine = MadeEngine(rooms=0)
    monkeypatch.setattr("made_engine.MadeTask.end", lambda task: End(is_lost=True, reason="no power"))
    one = handed(engine)
    until(lambda: one.is_done(engine), "a job that is given up")
    assert len(engine.tasks) == attendant.TRIES
    status = job.status()
    assert status.state == store.FAILED and "no power" in status.reason


def test_a_worker_without_a_last_word_counts_as_lost(job, handed, monkeypatch):
    monkeypatch.setattr(attendant, "SETTLE", 0.0)
    monkeypatch.setattr("made_engine.MadeTask.end", lambda task: End())
    engine = MadeEngine(rooms=0)
    one = handed(engine)
    until(lambda: one.is_done(engine), "a job that is given up")
    assert len(engine.tasks) == attendant.TRIES and job.status().state == store.FAILED


def test_a_job_that_has_not_begun_is_taken_out_of_the_queue(job, handed):
    engine = MadeEngine(rooms=0)
    one = handed(engine)
    assert not one.is_done(engine)
    job.request_stop()
    until(lambda: one.is_done(engine), "a job that is taken back")
    assert engine.tasks[0].is_cancelled
    assert (job.status().state, job.status().reason) == (store.STOPPED, attendant.OUT_OF_QUEUE)


def test_a_job_that_waits_for_others_is_handed_over_when_they_have_ended_however(workspace, job, handed):
    engine = MadeEngine(rooms=0)
    first = handed(engine)
    later = store.create_job(workspace, "phantom", {"images": 6})
    second = Attendance(later, 1, ELSEWHERE, (first,))
    assert not second.is_done(engine) and len(engine.tasks) == 1
    job.request_stop()
    until(lambda: first.is_done(engine), "a job that is taken back")
    assert not second.is_done(engine) and len(engine.tasks) == 2


def test_a_job_that_waits_for_others_can_be_stopped(workspace, handed):
    engine = MadeEngine(rooms=0)
    later = store.create_job(workspace, "phantom", {"images": 6})
    second = Attendance(later, 1, ELSEWHERE, (handed(engine),))
    later.request_stop()
    assert second.is_done(engine)
    assert later.status().state == store.STOPPED


def test_of_several_jobs_each_lock_is_let_go_with_its_end(workspace, monkeypatch):
    monkeypatch.setattr(attendant, "POLL", 0.01)
    folders = [store.create_job(workspace, "phantom", {"images": 6}) for _ in range(2)]
    engine, locks = MadeEngine(rooms=1), {folder: folder.lock for folder in folders}
    for lock in locks.values():
        assert lock.try_acquire()
    attended = [Attendance(folder, 1, ELSEWHERE) for folder in folders]
    for one in attended:
        one.hand_over(engine)
    held, pause = [], time.sleep

    def noted(seconds: float) -> None:
        held.append([folder.lock.is_held() for folder in folders])
        if held[-1] == [False, True]:
            folders[1].request_stop()
        pause(0.01)

    monkeypatch.setattr(attendant.time, "sleep", noted)
    attendant.attend(engine, attended, locks)
    assert [True, True] in held and [False, True] in held
    assert [folder.status().state for folder in folders] == [store.COMPLETED, store.STOPPED]


def test_the_lock_of_a_job_that_has_ended_before_is_let_go_while_the_others_are_done(workspace, tmp_path, monkeypatch):
    ended, other = (store.create_job(workspace, "phantom", {"images": 6}) for _ in range(2))
    ended.write_status(store.Status(store.STOPPED, attempt=1))
    other.write_launch(os.getpid(), 1, engine="ray")
    engine, held, pause = MadeEngine(), [], time.sleep
    monkeypatch.setattr(attendant.engines, "opened", lambda choice: engine)
    monkeypatch.setattr(attendant.time, "sleep", lambda _: (held.append(ended.lock.is_held()), pause(0.01)))
    with open(tmp_path / "out", "w") as out:  # in place of the output that it sends to its log
        monkeypatch.setattr(attendant.sys, "stdout", out)
        monkeypatch.setattr(attendant.sys, "stderr", out)
        words = [word for folder in (ended, other) for word in (str(folder.path), "1")]
        assert attendant.main([ELSEWHERE.model_dump_json(), *words]) == 0
    assert other.status().state == store.COMPLETED
    assert len(engine.tasks) == 1 and set(held) == {False}


@pytest.mark.parametrize("how", ["deleted", "an engine that breaks"])
def test_a_job_that_goes_wrong_takes_no_other_along(workspace, monkeypatch, how):
    monkeypatch.setattr(attendant, "POLL", 0.01)
    folders = [store.create_job(workspace, "phantom", {"images": 6}) for _ in range(2)]
    locks = {folder: folder.lock for folder in folders}
    assert all(lock.try_acquire() for lock in locks.values())
    engine, attended = MadeEngine(), [Attendance(folder, 1, ELSEWHERE) for folder in folders]
    for one in attended:
        one.hand_over(engine)
    engine.tasks[0].process.kill()
    engine.tasks[0].process.communicate()
    if how == "deleted":
        files.remove_folder(folders[0].path)
    else:
        monkeypatch.setattr(engine.tasks[0], "end", lambda: 1 / 0)
    attendant.attend(engine, attended, locks)
    assert folders[1].status().state == store.COMPLETED
    assert how == "deleted" or folders[0].status().state == store.FAILED


def test_a_node_refuses_what_it_cannot_do_safely(workspace, job):
    words = ("Made", str(job.path), 1, __version__)
    assert "no folder" in node.work("Made", "/no/such/place/jobs/x", 1, __version__)
    assert "version" in node.work(*words[:3], "0.0.1")
    free = store.create_job(workspace, "phantom", {"images": 6})
    assert "locks" in node.work("Made", str(free.path), 1, __version__)
    assert not (free.path / "status.json").exists()


def test_a_job_that_a_node_refuses_has_failed_with_the_reason(workspace, monkeypatch):
    folder = store.create_job(workspace, "phantom", {"images": 6})  # nobody holds its lock
    engine = MadeEngine()
    one = Attendance(folder, 1, ELSEWHERE)
    one.hand_over(engine)
    until(lambda: one.is_done(engine), "a job that is refused")
    assert folder.status().state == store.FAILED and "locks" in folder.status().reason


@pytest.mark.parametrize("how", ["a later attempt", "no attendant"])
def test_a_worker_that_the_others_have_lost_ends_without_a_word(workspace, job, monkeypatch, how):
    class Ended(BaseException):
        pass

    def ended(code: int) -> None:
        raise Ended

    monkeypatch.setattr(os, "_exit", ended)
    folder = job if how == "a later attempt" else store.create_job(workspace, "phantom", {"images": 6})
    folder.write_launch(os.getpid(), 2 if how == "a later attempt" else 1, engine="ray")
    with pytest.raises(Ended):
        Reporter(folder, 1, "Ray, node x")
    assert not (folder.path / "status.json").exists()


def test_a_task_has_what_the_choice_gives_it_and_nothing_else_of_this_computer(job, monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("KERAS_HOME", "/weights")
    given = []
    monkeypatch.setattr(MadeEngine, "submit", lambda engine, folder, attempt, environment: given.append(environment))
    for gpus in (0, 1):
        Attendance(job, 1, Choice(engine="ray", cores=3, gpus=gpus)).hand_over(MadeEngine())
    assert "SECRET" not in given[0] and given[0]["KERAS_HOME"] == "/weights"
    assert given[0]["COVID_CORE_CORES"] == "3"
    assert given[0]["CUDA_VISIBLE_DEVICES"] == "-1" and "CUDA_VISIBLE_DEVICES" not in given[1]


def test_a_run_that_another_computer_has_started_is_at_work_while_it_gives_signs_of_life(job, monkeypatch):
    folder = store.create_job(job.workspace, "phantom", {"images": 6})  # its lock is not seen here
    with monkeypatch.context() as there:
        there.setattr(store.platform, "node", lambda: "elsewhere")
        folder.write_launch(1, 1)
    assert folder.status().state == store.QUEUED
    folder.write_status(store.Status(store.RUNNING))
    assert folder.status().state == store.RUNNING
    silent = time.time() - 2 * store.SILENT_AFTER
    for name in ("status.json", "launch.json"):
        os.utime(folder.path / name, (silent, silent))
    assert folder.status().state == store.INTERRUPTED


def test_a_launch_of_an_earlier_version_is_of_this_computer(job):
    record = files.read_json(job.path / "launch.json")
    files.write_json(job.path / "launch.json", {name: record[name] for name in ("pid", "process_started", "attempt")})
    assert (job.engine, job.process) == ("", os.getpid())
