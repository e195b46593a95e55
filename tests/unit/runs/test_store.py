"""The files of runs, jobs and studies: what a reader may believe, and what it does with damage."""

import json
import os
import shutil
import sys
import time
from dataclasses import replace

import damaged_runs
import numpy as np
import psutil
import pytest
from made_runs import all_parts, history, made_run

from covid_core.errors import RunDamaged, UnknownId
from covid_core.jobs import queue
from covid_core.jobs.reporter import Reporter
from covid_core.runs import store
from covid_core.runs.store import Status

TABLE = all_parts({"train": 12, "validation": 6, "test": 6}, skill=1)
NOT_A_PID = 2**22 + 1  # above the largest pid that Linux gives


@pytest.fixture
def run(workspace):
    return made_run(workspace, TABLE, "Made")


def rewrite(run, name: str, content: str | bytes) -> None:
    (run.path / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def running(run, attempt: int = 1) -> None:
    run.write_status(Status(store.RUNNING, started=time.time(), attempt=attempt))


def test_a_run_opens_as_it_was_made(workspace, run):
    opened = store.open_run(workspace, run.id)
    assert opened.spec == run.spec
    assert opened.name == "Made"
    assert opened.split()["part"].tolist() == TABLE["part"].tolist()
    assert opened.predictions().equals(TABLE)
    assert opened.history().equals(history())
    assert opened.status().state == store.COMPLETED


def test_a_run_without_a_name_is_called_by_its_id(workspace):
    run = made_run(workspace, TABLE)
    assert run.name == run.id


def test_runs_are_listed_newest_first(workspace):
    made = [made_run(workspace, TABLE, name).id for name in ("one", "two", "three")]
    runs, broken = store.list_runs(workspace)
    assert [run.id for run in runs] == made[::-1]
    assert broken == []


@pytest.mark.parametrize("identifier", ["../etc", "nothing-12345"])
def test_a_run_that_is_not_there_is_not_found(workspace, identifier):
    with pytest.raises(UnknownId):
        store.open_run(workspace, identifier)


def test_running_is_believed_while_the_lock_is_held(run):
    running(run)
    lock = run.lock
    assert lock.try_acquire()
    assert run.status().state == store.RUNNING
    lock.release()


def test_running_with_a_free_lock_is_interrupted(run):
    running(run)
    status = run.status()
    assert (status.state, status.reason) == (store.INTERRUPTED, store.KILLED)
    assert status.is_final


def test_queued_with_a_free_lock_is_interrupted(run):
    run.write_status(Status(store.QUEUED))
    assert run.status().state == store.INTERRUPTED


def test_a_last_word_is_believed_whatever_the_lock(run):
    lock = run.lock
    assert lock.try_acquire()
    assert run.status().state == store.COMPLETED
    lock.release()


def test_a_folder_that_was_just_made_waits_to_start(workspace):
    run = made_run(workspace, TABLE)
    os.remove(run.path / "status.json")
    os.remove(run.path / "launch.json")
    assert run.status().state == store.QUEUED


@pytest.mark.parametrize("age", [store.START_PATIENCE + 1, -(10**7)], ids=["long ago", "clock set back since"])
def test_a_folder_that_nobody_started_is_interrupted_after_a_while(workspace, run, age):
    os.remove(run.path / "status.json")
    os.remove(run.path / "launch.json")
    os.utime(run.path, (time.time() - age, time.time() - age))
    assert run.status().state == store.INTERRUPTED


@pytest.mark.parametrize("earlier", ["", "epoch 3 of 5\n"], ids=["first attempt", "second attempt"])
def test_a_process_that_was_killed_in_the_queue_is_interrupted(workspace, launched, run, earlier):
    os.remove(run.path / "status.json")
    rewrite(run, "worker.log", earlier)
    run.write_launch(NOT_A_PID, attempt=2, log_bytes=run.log_bytes)
    assert run.status().state == store.INTERRUPTED
    queue.resume(run)
    assert launched == [run.id]


def test_a_process_that_never_started_has_failed_with_the_logs_end(run):
    os.remove(run.path / "status.json")
    run.write_launch(NOT_A_PID, attempt=1)
    rewrite(run, "worker.log", "x" * 5000 + "ModuleNotFoundError: No module named 'keras'\n")
    status = run.status()
    assert status.state == store.FAILED
    assert status.reason.startswith("The process did not start.")
    assert status.reason.endswith("No module named 'keras'")


def test_a_launched_process_that_lives_waits_to_start(run):
    os.remove(run.path / "status.json")
    run.write_launch(os.getpid(), attempt=1)
    assert run.status().state == store.QUEUED


def test_a_pid_that_was_given_to_another_process_is_not_taken_for_it(run):
    os.remove(run.path / "status.json")
    run.write_launch(os.getpid(), attempt=1)
    launch = json.loads((run.path / "launch.json").read_text())
    rewrite(run, "launch.json", json.dumps({**launch, "process_started": launch["process_started"] - 3600}))
    assert run.status().state == store.INTERRUPTED


def test_a_process_of_an_earlier_boot_is_not_taken_for_one_of_this(run):
    os.remove(run.path / "status.json")
    run.write_launch(os.getpid(), attempt=1)
    launch = json.loads((run.path / "launch.json").read_text())
    rewrite(run, "launch.json", json.dumps({**launch, "boot": "another" if launch["boot"] else ""}))
    assert run.status().state == (store.INTERRUPTED if launch["boot"] else store.QUEUED)


def test_a_launch_of_an_earlier_version_is_recognised_by_the_time_of_day(run):
    os.remove(run.path / "status.json")
    launch = {"pid": os.getpid(), "process_started": psutil.Process().create_time(), "attempt": 1}
    rewrite(run, "launch.json", json.dumps(launch))
    assert run.status().state == store.QUEUED


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, the system tells a start by the time of day")
def test_a_clock_that_was_set_takes_no_living_process_for_dead(run, monkeypatch):
    os.remove(run.path / "status.json")
    run.write_launch(os.getpid(), attempt=1)
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: time.time() + 10**7)
    assert run.status().state == store.QUEUED


def test_a_new_attempt_makes_the_old_status_old(run):
    run.write_launch(os.getpid(), attempt=2)
    assert run.status().state == store.QUEUED
    running(run, attempt=2)
    assert run.status().state == store.INTERRUPTED


def test_attempts_are_counted(run):
    assert run.next_attempt() == 2
    run.write_launch(NOT_A_PID, attempt=2)
    assert run.next_attempt() == 3


def test_a_deleted_run_is_not_found_by_one_who_still_has_it(run):
    shutil.rmtree(run.path)
    with pytest.raises(UnknownId, match=f"{run.id} has been deleted"):
        run.status()


YEAR = 365 * 24 * 3600.0


@pytest.mark.parametrize("jump", [-YEAR, YEAR], ids=["back", "ahead"])
def test_a_clock_that_is_set_changes_no_duration(run, monkeypatch, jump):
    reporter = Reporter(run, 1)
    reporter.begin()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    assert 0 <= run._written_status().elapsed < 60
    reporter.end(store.COMPLETED)
    monkeypatch.undo()
    assert 0 <= run.status().elapsed < 60


def test_a_run_at_work_counts_on_between_its_reports(monkeypatch):
    status = Status(store.RUNNING, updated=time.time() - 40, seconds=20.0, clock=time.monotonic() - 40)
    assert status.elapsed == pytest.approx(60, abs=5)


def test_the_clock_of_another_machine_makes_no_absurd_duration():
    status = Status(store.RUNNING, updated=time.time() - 40, seconds=20.0, clock=time.monotonic() - YEAR)
    assert status.elapsed == pytest.approx(60, abs=5)


@pytest.mark.parametrize("jump", [-YEAR, YEAR], ids=["back", "ahead"])
def test_a_status_of_an_earlier_version_has_no_negative_time(jump):
    assert Status(store.RUNNING, started=time.time() + jump, updated=time.time()).elapsed >= 0


def test_a_status_comes_back_as_it_was(run):
    status = Status(store.FAILED, "fit", 3, 0.5, "epoch 3", "why", 1, 1.0, 2.0, 3.0, 4.0)
    run.write_status(status)
    assert run.status() == status


@pytest.mark.parametrize(
    "content",
    ["", "{", "null", "[]", "7", '{"state": "asleep"}', '{"state": "failed", "progress": NaN}', "{}", b"\xff"]
    + ['{"state": "failed", "progress": "half"}', '{"state": "failed", "started": Infinity}'],
    ids=repr,
)
def test_a_status_that_cannot_be_read_is_damage_with_a_reason(run, content):
    rewrite(run, "status.json", content)
    with pytest.raises(RunDamaged, match=f"The status of {run.id} cannot be read"):
        run.status()


def test_unknown_fields_of_a_later_version_are_read_past(run):
    content = json.loads((run.path / "status.json").read_text())
    rewrite(run, "status.json", json.dumps({**content, "mood": "good"}))
    assert run.status().state == store.COMPLETED


@pytest.mark.parametrize("content", ["", "[]", "null", "7", "{}", '{"pid": "x", "process_started": 0, "attempt": 1}'])
def test_a_torn_launch_is_as_good_as_none(run, content):
    rewrite(run, "launch.json", content)
    assert run.status().state == store.COMPLETED
    assert run.next_attempt() == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "spec.json is missing or damaged"),
        ("{", "spec.json is missing or damaged"),
        ("[]", "another version"),
        ("null", "another version"),
        ('{"schema": 99}', "written by another version .schema 99."),
        ('{"schema": 1}', "spec.json is damaged"),
        (b"\xff\xfe", "spec.json is missing or damaged"),
    ],
    ids=repr,
)
def test_a_broken_run_is_listed_with_its_reason_beside_the_sound_ones(workspace, run, content, reason):
    broken = made_run(workspace, TABLE)
    rewrite(broken, "spec.json", content)
    runs, told = store.list_runs(workspace)
    assert [sound.id for sound in runs] == [run.id]
    assert [entry.id for entry in told] == [broken.id]
    with pytest.raises(RunDamaged, match=reason):
        store.open_run(workspace, broken.id)


@pytest.mark.parametrize(
    "change", [{"created": "today"}, {"created": float("nan")}, {"split_hash": None}, {"dataset": {}}, {"spec": []}]
)
def test_a_record_with_a_wrong_entry_is_damaged(workspace, run, change):
    record = json.loads((run.path / "spec.json").read_text())
    rewrite(run, "spec.json", json.dumps({**record, **change}))
    with pytest.raises(RunDamaged, match="spec.json is damaged|settings are damaged"):
        store.open_run(workspace, run.id)


def test_settings_that_break_a_rule_are_damage_that_names_the_rule(workspace, run):
    record = json.loads((run.path / "spec.json").read_text())
    rewrite(run, "spec.json", json.dumps({**record, "spec": {**record["spec"], "epochs": 10**9}}))
    with pytest.raises(RunDamaged, match="epochs"):
        store.open_run(workspace, run.id)


def test_a_split_that_was_changed_is_not_believed(run):
    split = run.split()
    split.assign(part=np.roll(split["part"], 1)).to_parquet(run.path / "split.parquet")
    with pytest.raises(RunDamaged, match="split of Made was changed"):
        run.split()


def test_a_split_without_a_column_is_damaged(run):
    run.split().drop(columns="part").to_parquet(run.path / "split.parquet")
    with pytest.raises(RunDamaged):
        store.open_run(run.workspace, run.id).split()


@pytest.mark.parametrize("name", ["split.parquet", "predictions.parquet"])
@pytest.mark.parametrize("damage", ["gone", "torn", "text"])
def test_a_table_that_cannot_be_read_is_damage_that_names_it(run, name, damage):
    path = run.path / name
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[: len(content) // 2] if damage == "torn" else b"image")
    with pytest.raises(RunDamaged, match=f"{run.id}: {name} is missing or damaged"):
        run.split() if name.startswith("split") else run.predictions()


def test_a_torn_last_line_of_the_history_is_dropped(run):
    with open(run.path / "history.csv", "a") as handle:
        handle.write("head,6,0.5,0.")
    assert run.history().equals(history())


def test_a_history_before_the_first_epoch_is_an_empty_table(run):
    os.remove(run.path / "history.csv")
    assert run.history().empty
    assert tuple(run.history().columns) == store.HISTORY_COLUMNS


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"a,b,c,d,e,f,g,h\n", b'"\n', b"head,1,2\n\xff\n"], ids=repr)
def test_a_history_that_is_no_table_is_damage(run, content):
    rewrite(run, "history.csv", content)
    with pytest.raises(RunDamaged, match="history of Made cannot be read"):
        run.history()


def test_epochs_after_the_checkpoint_are_taken_out_of_the_history(run):
    run.rewrite_history(3)
    assert run.history().equals(history().head(3))
    run.append_history(history().iloc[3].to_dict())
    assert run.history().equals(history().head(4))


def test_a_history_can_be_emptied(run):
    run.rewrite_history(0)
    run.append_history(history().iloc[0].to_dict())
    assert len(run.history()) == 1


def test_a_result_is_empty_until_it_is_written(workspace):
    run = made_run(workspace, TABLE, state=store.RUNNING)
    assert run.result == {}
    run.write_result({"accuracy": 1.0})
    assert store.open_run(workspace, run.id).result == {"accuracy": 1.0}


def test_only_the_end_of_a_long_log_is_read(run):
    rewrite(run, "worker.log", b"\xff" * 10**6 + b"end")
    assert run.log_tail(10).endswith("end")
    assert len(run.log_tail(10)) == 10


def test_the_size_of_a_run_is_that_of_its_files(run):
    assert store.size_of(run) == sum(path.stat().st_size for path in run.path.iterdir())


def test_a_study_comes_back_as_it_was(workspace):
    study = store.Study("study-1", "Course", "course", 1.5, ("run-1", "run-2"))
    store.write_study(workspace, study)
    assert store.open_study(workspace, "study-1") == study
    assert store.list_studies(workspace) == [study]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": "x", "preset": "", "created": "now", "runs": []}'])
def test_a_damaged_study_hides_nothing(workspace, content):
    sound = store.Study("study-1", "Course", "course", 1.5, ())
    store.write_study(workspace, sound)
    store.write_study(workspace, replace(sound, id="study-2"))
    (workspace.studies / "study-2" / "study.json").write_text(content)
    assert store.list_studies(workspace) == [sound]
    with pytest.raises(RunDamaged):
        store.open_study(workspace, "study-2")


def test_a_deleted_study_leaves_its_runs(workspace, run):
    store.write_study(workspace, store.Study("study-1", "Course", "course", 1.5, (run.id,)))
    store.delete_study(workspace, "study-1")
    assert store.list_studies(workspace) == []
    assert store.open_run(workspace, run.id)


def test_a_jobs_request_comes_back(workspace):
    job = store.create_job(workspace, "import", {"source": "/images"})
    opened = store.open_job(workspace, job.id)
    assert opened.request()["kind"] == "import"
    assert opened.request()["source"] == "/images"
    assert [listed.id for listed in store.list_jobs(workspace)] == [job.id]


def test_damage_of_any_kind_is_told_and_never_raised_as_something_else(workspace, run):
    damaged_runs.damaged(workspace, run, times=60, seed=0)


def test_many_runs_are_listed_by_their_small_files_alone(workspace, run):
    content = {path.name: path.read_bytes() for path in run.path.iterdir()}
    for number in range(300):
        folder = workspace.runs / f"copy-{number}"
        folder.mkdir()
        for name in ("spec.json", "status.json", "launch.json"):
            (folder / name).write_bytes(content[name])
    runs, _ = store.list_runs(workspace)
    assert len([run.status() for run in runs]) == 301


def test_counts_that_are_no_numbers_are_damage(workspace, run):
    content = json.loads((run.path / "spec.json").read_text())
    content["dataset"]["counts"] = {"COVID": "many"}
    rewrite(run, "spec.json", json.dumps(content))
    with pytest.raises(RunDamaged):
        store.open_run(workspace, run.id)


def test_a_run_keeps_how_many_images_of_each_class_its_data_set_has(run):
    assert run.dataset.counts == {"COVID": 8, "Normal": 8, "Viral Pneumonia": 8}


def test_an_outside_test_with_a_wrong_entry_is_damaged(run):
    record = store.EvaluationRecord(created=1.0, dataset=store.OutsideDataset(name="Elsewhere"))
    written = run.write_evaluation(record, run.predictions())
    (opened,) = run.evaluations()
    assert (opened.id, opened.record.created, opened.record.dataset) == (written.id, 1.0, record.dataset)
    rewrite(run, f"evaluations/{written.id}.json", json.dumps({**record.as_written, "created": "today"}))
    with pytest.raises(RunDamaged, match="missing or damaged"):
        run.evaluations()


def test_an_outside_test_that_was_half_written_at_a_kill_is_not_there(run):
    record = store.EvaluationRecord(created=1.0, dataset=store.OutsideDataset(name="Elsewhere"))
    written = run.write_evaluation(record, run.predictions())
    rewrite(run, "evaluations/.other.json.0123abcd.tmp.json", "{")
    assert [one.id for one in run.evaluations()] == [written.id]
