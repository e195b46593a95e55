"""Starting, queueing, stopping and resuming. Processes that import images are real; no training starts here."""

import os
import re
import threading
import time
from functools import partial

import pytest
from made_runs import all_parts, made_run
from waiting import until

from covid_core import files, weights
from covid_core.data.dataset import open_dataset
from covid_core.data.imports.importing import import_folder
from covid_core.data.split import split_hash
from covid_core.errors import DataError, Diverged, JobRefused, RunError, Stopped, UnknownId, WeightsUnavailable
from covid_core.executors import local
from covid_core.files import FileLock
from covid_core.jobs import queue, reporter, worker
from covid_core.jobs.kinds import ImportRequest, PhantomRequest
from covid_core.jobs.reporter import Reporter
from covid_core.runs import store
from covid_core.runs.store import Status
from covid_core.specs import StudySpec, TrainingSpec

TABLE = all_parts({"train": 12, "validation": 6, "test": 6}, skill=1)
ENDED_EARLY = (store.INTERRUPTED, store.STOPPED, store.FAILED)


@pytest.fixture
def processes(monkeypatch) -> list[list[str]]:
    """Names of the runs that each process would have done in turn."""
    started = []
    monkeypatch.setattr(queue, "launch", lambda *folders: started.append([folder.name for folder in folders]))
    return started


@pytest.fixture
def dataset(workspace, image_folder):
    return import_folder(workspace, image_folder({"a": 8, "b": 8}))


@pytest.fixture
def spec(dataset) -> TrainingSpec:
    return TrainingSpec(dataset=dataset.id, classes=("a", "b"), name="Run", backbone="baseline_cnn", image_size=32)


@pytest.fixture
def at_work(workspace):
    """Make a run in that state whose lock is held, as if its process lived."""
    held = []

    def make(state: str, name: str = "Run"):
        run = made_run(workspace, TABLE, name, state=state)
        lock = run.lock
        assert lock.try_acquire()
        held.append(lock)
        return run

    yield make
    for lock in held:
        lock.release()


def waiting_behind_another(workspace):
    """A run that this process, which lives, has not come to yet."""
    run = made_run(workspace, TABLE, state=store.QUEUED)
    (run.path / "status.json").unlink()
    run.write_launch(os.getpid(), 1)
    return run


def reporter_of(run) -> Reporter:
    return Reporter(run, attempt=1)


def work(monkeypatch, run, training) -> Status:
    """Do a run's work in this process, with ``training`` in place of the training."""
    monkeypatch.setattr(worker, "train", lambda workspace, run, reporter: training(reporter))
    worker.do(run.path, 1)
    return run.status()


def in_threads(work) -> None:
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def raising(error: Exception):
    def training(reporter):
        raise error

    return training


# Starting


def test_a_started_run_has_its_spec_and_its_split(workspace, launched, spec, dataset):
    run = queue.submit_training(workspace, spec)
    opened = store.open_run(workspace, run.id)
    assert launched == [run.id]
    assert opened.spec == spec
    assert opened.dataset.version == dataset.version
    assert split_hash(opened.split()) == opened.split_hash


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"dataset": "nothing-12345"}, UnknownId, "no data set with the id"),
        ({"classes": ("a", "c")}, DataError, "has no class 'c'; it has a, b"),
        ({"backbone": "vgg16", "weights": "imagenet", "mode": "frozen"}, WeightsUnavailable, "neither in"),
        ({"backbone": "vgg16", "weights": "file:/nothing", "mode": "frozen"}, WeightsUnavailable, "no weights file"),
    ],
    ids=["data set", "class", "imagenet", "weights file"],
)
def test_what_is_known_to_fail_is_refused_before_a_folder_is_made(
    workspace, launched, spec, monkeypatch, tmp_path, change, error, words
):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "can_be_reached", lambda url: False)
    chosen = TrainingSpec(**{**spec.model_dump(), **change})
    with pytest.raises(error, match=words):
        queue.submit_training(workspace, chosen)
    assert launched == os.listdir(workspace.runs) == []


def test_a_full_queue_takes_no_more(workspace, launched, spec, at_work, monkeypatch):
    monkeypatch.setattr(queue, "MOST_WAITING", 1)
    at_work(store.QUEUED)
    with pytest.raises(JobRefused, match="1 runs are waiting already"):
        queue.submit_training(workspace, spec)


def test_a_study_starts_its_runs_in_order(workspace, launched, spec):
    study = queue.submit_study(workspace, StudySpec(name="Two", runs=(spec, spec.model_copy(update={"seed": 1}))))
    assert launched == list(study.runs)
    assert store.open_study(workspace, study.id) == study
    assert [store.open_run(workspace, run).study for run in study.runs] == [study.id] * 2


def test_heads_on_frozen_networks_are_trained_in_turn_and_all_else_by_itself(workspace, processes, spec, monkeypatch):
    monkeypatch.setattr(weights, "check", lambda spec, backbone: None)
    frozen = spec.model_copy(update={"backbone": "mobilenet_v2", "mode": "frozen"})
    kinds = {"A": frozen, "B": frozen, "C": spec, "D": spec, "E": frozen}
    runs = tuple(kind.model_copy(update={"name": name}) for name, kind in kinds.items())
    queue.submit_study(workspace, StudySpec(name="Five", runs=runs))
    assert processes == [["A", "B"], ["C"], ["D"], ["E"]]


def test_a_study_with_one_impossible_run_starts_none(workspace, launched, spec):
    wrong = spec.model_copy(update={"classes": ("a", "c")})
    with pytest.raises(DataError):
        queue.submit_study(workspace, StudySpec(name="Two", runs=(spec, wrong)))
    assert launched == os.listdir(workspace.runs) == os.listdir(workspace.studies) == []


# The queue


def test_the_queue_is_in_the_order_of_asking_behind_what_runs(workspace, at_work):
    for state, name in ((store.QUEUED, "first"), (store.QUEUED, "second"), (store.RUNNING, "runs")):
        at_work(state, name)
    made_run(workspace, TABLE, "over")
    assert [run.name for run, _ in queue.training_queue(workspace)] == ["runs", "first", "second"]


def test_a_damaged_run_holds_nobody_up(workspace, at_work):
    waiting = at_work(store.QUEUED)
    (at_work(store.QUEUED).path / "status.json").write_text("{")
    assert [run.id for run, _ in queue.training_queue(workspace)] == [waiting.id]


def test_one_training_runs_at_a_time(workspace, at_work):
    first, second = at_work(store.RUNNING, "first"), at_work(store.QUEUED, "second")
    slot = queue.take_slot(workspace, first)
    assert queue.take_slot(workspace, second) is None
    slot.release()
    queue.take_slot(workspace, second).release()


def test_nobody_is_served_before_those_who_asked_earlier(workspace, at_work):
    first, second = at_work(store.QUEUED, "first"), at_work(store.QUEUED, "second")
    assert queue.take_slot(workspace, second) is None
    queue.take_slot(workspace, first).release()


def test_who_waits_reads_no_runs_while_the_slot_is_taken(workspace, at_work, monkeypatch):
    slot = queue.take_slot(workspace, at_work(store.RUNNING, "first"))
    looked = []
    monkeypatch.setattr(queue, "training_queue", looked.append)
    assert queue.take_slot(workspace, at_work(store.QUEUED, "second")) is None
    assert looked == []
    slot.release()


def test_imports_do_not_wait_for_trainings(workspace, at_work):
    slot = queue.take_slot(workspace, at_work(store.RUNNING))
    imports = [queue.take_slot(workspace, store.create_job(workspace, "import", {})) for _ in range(3)]
    assert [taken is not None for taken in imports] == [True, True, False]
    for taken in (slot, *imports[:2]):
        taken.release()


# Stopping, resuming, deleting


def test_a_stop_is_a_request(at_work):
    run = at_work(store.RUNNING)
    queue.stop(run)
    assert run.stop_requested()


def test_what_has_ended_cannot_be_stopped(workspace):
    with pytest.raises(JobRefused, match="is not running"):
        queue.stop(made_run(workspace, TABLE))


@pytest.mark.parametrize("state", ENDED_EARLY)
def test_what_ended_early_can_be_resumed(workspace, launched, state):
    run = made_run(workspace, TABLE, state=store.RUNNING if state == store.INTERRUPTED else state)
    run.request_stop()
    queue.resume(run)
    assert launched == [run.id]
    assert not run.stop_requested()


def test_a_run_that_goes_on_on_the_processor_stays_there(workspace, monkeypatch):
    environments = []

    class Started:
        pid = 2**22 + 1

        def __init__(self, *_, env, **__):
            environments.append(env["CUDA_VISIBLE_DEVICES"])

        def wait(self):
            return 0

    monkeypatch.setattr(local.subprocess, "Popen", Started)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    run = made_run(workspace, TABLE, state=store.FAILED)
    for processor in (False, True, False):
        queue.resume(run, processor)
    assert environments == ["0", "-1", "-1"]


def test_a_complete_run_cannot_be_resumed(workspace, launched):
    with pytest.raises(JobRefused, match="is completed; only stopped, interrupted and failed"):
        queue.resume(made_run(workspace, TABLE))
    assert launched == []


@pytest.mark.parametrize("state", [store.QUEUED, store.RUNNING])
def test_a_run_at_work_cannot_be_resumed(launched, at_work, state):
    with pytest.raises(JobRefused, match=f"is {state}"):
        queue.resume(at_work(state))
    assert launched == []


def test_two_readers_cannot_resume_at_once(workspace, launched):
    run = made_run(workspace, TABLE, "Run", state=store.STOPPED)
    lock = run.launch_lock
    assert lock.try_acquire()
    with pytest.raises(JobRefused, match="Run is being resumed already"):
        queue.resume(run)
    lock.release()
    assert launched == []


@pytest.mark.usefixtures("jobs_wait")
def test_of_many_who_resume_a_run_at_once_one_does(workspace):
    run = made_run(workspace, TABLE, "Run", state=store.STOPPED)
    together, refused = threading.Barrier(8), []

    def resume():
        together.wait()
        try:
            queue.resume(run)
        except JobRefused as error:
            refused.append(error)

    in_threads([resume] * 8)
    assert (len(refused), run.next_attempt()) == (7, 3)


def test_a_study_resumes_what_ended_early(workspace, launched):
    runs = [made_run(workspace, TABLE, state=state) for state in (store.COMPLETED, store.STOPPED, store.FAILED)]
    study = store.Study("study-1", "Study", "", 1.0, tuple(run.id for run in runs))
    assert queue.resume_study(workspace, study) == launched == [run.id for run in runs[1:]]


def test_a_run_at_work_cannot_be_deleted(workspace, at_work):
    run = at_work(store.RUNNING)
    with pytest.raises(JobRefused, match="Stop it first"):
        queue.delete(run)
    assert store.open_run(workspace, run.id)


def test_a_deleted_run_is_gone(workspace):
    run = made_run(workspace, TABLE)
    queue.delete(run)
    assert os.listdir(workspace.runs) == []


def test_waiting_ends_with_the_job(workspace):
    assert queue.wait(made_run(workspace, TABLE)).state == store.COMPLETED


# What a worker tells


def test_a_worker_tells_its_last_word(workspace, monkeypatch):
    run = made_run(workspace, TABLE, state=store.QUEUED)
    status = work(monkeypatch, run, lambda reporter: True)
    assert (status.state, status.progress, status.message) == (store.COMPLETED, 1.0, "")
    assert status.ended >= status.started
    assert not run.lock.is_held()


def of_tensorflow(name: str, text: str) -> Exception:
    """As TensorFlow raises it, without TensorFlow: the name and the module are what it is known by."""
    return type(name, (Exception,), {"__module__": "tensorflow.python.framework.errors_impl"})(text)


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def model_kept(error: Diverged) -> Diverged:
    error.is_model_published = True
    return error


@pytest.mark.parametrize(
    ("error", "reason", "fault"),
    [
        (RunError("The loss is not a number."), "^The loss is not a number.$", ""),
        (model_kept(Diverged("The loss is not a number.")), "^The loss is not a number. The best model", "diverged"),
        (MemoryError(), "^Out of memory.", "memory"),
        (ImportError("libx.so: failed to map segment: Cannot allocate memory"), "^Out of memory.", "memory"),
        (of_tensorflow("ResourceExhaustedError", "OOM on host"), "^Out of memory.", "memory"),
        (of_tensorflow("ResourceExhaustedError", "OOM on device:GPU:0"), "^The graphics card is out of mem", "device"),
        (of_tensorflow("ResourceExhaustedError", "x; No space left on device"), "^The disk is full.", "disk"),
        (of_tensorflow("InternalError", "CUDA_ERROR_ILLEGAL_ADDRESS"), "^The graphics card failed", "device"),
        (of_tensorflow("InternalError", "unknown compute capability 12.1"), "^The graphics card failed", "device"),
        (of_tensorflow("InvalidArgumentError", "shapes"), "^A bug in Second Look", ""),
        (OSError(28, "No space left on device"), "^The disk is full.", "disk"),
        (caused_by(DataError("The images cannot be written."), OSError(28, "x")), "^The disk is full.", "disk"),
        (OSError(5, "Input/output error"), "^The disk failed", ""),
        (OSError(2, "No such file or directory"), "^The disk or a file failed: No such file or directory.$", ""),
        (ZeroDivisionError("/secret/path"), r"^A bug in Second Look ended the job .ZeroDivisionError.. The log", ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value or "nothing",
)
def test_a_failed_worker_tells_why(workspace, monkeypatch, capfd, error, reason, fault):
    status = work(monkeypatch, made_run(workspace, TABLE, state=store.QUEUED), raising(error))
    assert (status.state, status.fault) == (store.FAILED, fault)
    assert re.search(reason, status.reason)
    assert type(error).__name__ in capfd.readouterr().err


def test_a_run_taken_out_of_the_queue_is_stopped(workspace, monkeypatch, at_work):
    at_work(store.QUEUED, "earlier")
    run = made_run(workspace, TABLE, state=store.QUEUED)
    run.request_stop()
    status = work(monkeypatch, run, lambda reporter: pytest.fail("was trained"))
    assert (status.state, status.reason) == (store.STOPPED, "Taken out of the queue by the user.")


def test_a_second_worker_leaves_a_run_alone(monkeypatch, at_work, capfd):
    monkeypatch.setattr(worker, "LOCK_PATIENCE", 0.1)
    run = at_work(store.RUNNING)
    before = run.status()
    assert work(monkeypatch, run, lambda reporter: pytest.fail("was trained")) == before
    assert "being done by another process" in capfd.readouterr().err


def test_several_runs_are_done_in_turn_and_a_failed_one_takes_no_other_along(workspace, monkeypatch):
    runs = [made_run(workspace, TABLE, state=store.QUEUED) for _ in range(3)]
    seen = []

    def train(workspace, run, reporter):
        seen.append(run.id)
        if run.id == runs[1].id:
            raise RunError("No.")
        return True

    monkeypatch.setattr(worker, "train", train)
    code = worker.main([word for run in runs for word in (str(run.path), "1")])
    assert code == 1
    assert seen == [run.id for run in runs]
    assert [run.status().state for run in runs] == [store.COMPLETED, store.FAILED, store.COMPLETED]


def test_two_workers_with_the_same_runs_do_each_once(workspace, monkeypatch):
    runs = [made_run(workspace, TABLE, state=store.QUEUED) for _ in range(10)]
    seen = []
    monkeypatch.setattr(worker, "train", lambda workspace, run, reporter: seen.append(run.id) or True)
    in_threads([lambda: worker.main([word for run in runs for word in (str(run.path), "1")])] * 2)
    assert sorted(seen) == sorted(run.id for run in runs)


def test_a_run_that_was_deleted_while_it_waited_is_passed_over(workspace, monkeypatch, capfd):
    run = made_run(workspace, TABLE, state=store.QUEUED)
    files.remove_folder(run.path)
    assert worker.do(run.path, 1) == 0
    assert "no run with the id" in capfd.readouterr().err


def test_a_waiting_run_is_taken_out_of_the_queue_at_once(workspace, monkeypatch):
    run = waiting_behind_another(workspace)
    queue.stop(run)
    assert (run.status().state, run.status().reason) == (store.STOPPED, "Taken out of the queue by the user.")


def test_a_run_that_was_taken_out_of_the_queue_is_not_trained(workspace, monkeypatch):
    run = waiting_behind_another(workspace)
    queue.stop(run)
    assert work(monkeypatch, run, lambda reporter: pytest.fail("was trained")).state == store.STOPPED


def test_a_stop_is_told_to_the_work_once(at_work):
    """Afterwards the work must be able to report while it saves the best weights."""
    run = at_work(store.RUNNING)
    report = reporter_of(run)
    run.request_stop()
    with pytest.raises(Stopped):
        report(0.5, "fit")
    report(0.9, "Saving the model")


def test_progress_is_written_now_and_then_with_the_time_left(at_work, monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    run = at_work(store.RUNNING)
    report = reporter_of(run)
    report.begin()
    report(0.1, "too soon to write")
    assert run.status().message == "Starting"
    now += 10
    report(0.25, "fit")
    status = run.status()
    assert (status.progress, status.message) == (0.25, "fit")
    assert status.seconds_left == pytest.approx(30)


def test_the_first_estimate_is_near_what_was_expected_and_the_last_near_the_pace(at_work, monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    run = at_work(store.RUNNING)
    report = reporter_of(run)
    report.begin(55)
    now += 5
    report(0.03, "a slow part")  # by the pace alone, two minutes and a half
    assert 50 < run.status().seconds_left < 60
    now += 85
    report(0.9, "nearly done")
    assert run.status().seconds_left == pytest.approx(10, abs=1)


def test_a_worker_that_says_nothing_gives_signs_of_life(at_work, monkeypatch):
    monkeypatch.setattr(reporter, "BEAT", 0.01)
    run = at_work(store.RUNNING)
    report = reporter_of(run)
    report.begin()
    first = run.status().updated
    until(lambda: run.status().updated > first, "a sign of life")
    report.end(store.COMPLETED)
    assert run.status().state == store.COMPLETED


def test_a_halted_worker_is_shown_as_not_responding_and_goes_on(at_work, monkeypatch):
    run = at_work(store.RUNNING)
    report = reporter_of(run)
    report.begin()
    clocks = {name: getattr(time, name)() + 300 for name in ("monotonic", "time")}
    for name, later in clocks.items():
        monkeypatch.setattr(time, name, lambda later=later: later)
    status = run.status()
    assert (status.state, status.message) == (store.RUNNING, "Not responding for 5 min 00 s")
    report(0.5, "fit")
    assert run.status().message == "fit"


@pytest.mark.parametrize(("share", "written"), [(-0.5, 0.0), (1.5, 1.0)])
def test_progress_stays_within_its_range(at_work, monkeypatch, share, written):
    monkeypatch.setattr(reporter, "REPORT_EVERY", 0)
    run = at_work(store.RUNNING)
    report = reporter_of(run)
    report.begin()
    report(share, "fit")
    assert run.status().progress == written


# Real processes


def test_an_import_runs_in_a_session_of_its_own_which_no_ctrl_c_reaches(workspace):
    job = queue.submit(workspace, PhantomRequest(images=6, name="Six"))
    assert os.name == "nt" or os.getsid(job.process) == job.process
    assert queue.wait(job, 0.05).state == store.COMPLETED, job.log_tail()
    dataset = open_dataset(workspace, job.result["dataset"])
    assert (dataset.name, len(dataset.images)) == ("Six", 6)
    assert not FileLock(job.path / "lock").is_held()


def test_a_worker_has_the_code_of_whoever_started_it_and_not_that_of_the_current_folder(
    workspace, tmp_path, monkeypatch
):
    (tmp_path / "covid_core").mkdir()
    (tmp_path / "covid_core" / "__init__.py").write_text("raise SystemExit('another checkout')")
    monkeypatch.chdir(tmp_path)
    job = queue.submit(workspace, PhantomRequest(images=6, name="Six"))
    assert queue.wait(job, 0.05).state == store.COMPLETED, job.log_tail()


def test_a_failed_import_says_why_and_removes_the_upload(workspace):
    upload = workspace.uploads / "upload.zip"
    upload.write_bytes(b"image")
    job = queue.submit(workspace, ImportRequest(source=str(upload), remove_source=True))
    status = queue.wait(job, 0.05)
    assert status.state == store.FAILED
    assert status.reason.startswith("The archive")
    assert os.listdir(workspace.uploads) == []


def test_an_import_that_is_stopped_before_its_turn_removes_the_upload(workspace):
    upload = workspace.uploads / "upload.zip"
    upload.write_bytes(b"image")
    slots = list(iter(partial(queue.take_slot, workspace, store.create_job(workspace, "phantom", {"images": 6})), None))
    job = queue.submit(workspace, ImportRequest(source=str(upload), remove_source=True))
    queue.stop(job)
    status = queue.wait(job, 0.05)
    for slot in slots:
        slot.release()
    assert (status.state, os.listdir(workspace.uploads)) == (store.STOPPED, [])


def test_a_process_that_cannot_start_is_told_with_its_log(workspace, monkeypatch):
    environment = local.environment
    monkeypatch.setattr(
        local, "environment", lambda folder: {**environment(folder), "PYTHONPATH": "", "PYTHONSAFEPATH": "1"}
    )
    status = queue.wait(queue.submit(workspace, PhantomRequest(images=6)), 0.05)
    assert status.state == store.FAILED
    assert "did not start" in status.reason
    assert "covid_core" in status.reason


@pytest.mark.parametrize("told", [None, "glibc.malloc.mmap_max=7"])
def test_a_worker_keeps_its_memory_unless_the_user_tunes_glibc_otherwise(workspace, monkeypatch, told):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if told:
        monkeypatch.setenv("GLIBC_TUNABLES", told)
    folder = store.create_job(workspace, "phantom", {})
    tunables = local.environment(folder)["GLIBC_TUNABLES"].split(":")
    assert "glibc.malloc.mmap_max=0" in tunables
    assert tunables[-1] == (told or "glibc.malloc.hugetlb=1")


def test_a_study_that_does_not_fit_into_the_queue_leaves_nothing_behind(workspace, launched, spec, monkeypatch):
    monkeypatch.setattr(queue, "MOST_WAITING", 1)
    study = StudySpec(name="Two", runs=(spec, spec.model_copy(update={"seed": 1})))
    with pytest.raises(JobRefused, match="no more fit into the queue"):
        queue.submit_study(workspace, study)
    assert launched == os.listdir(workspace.runs) == os.listdir(workspace.studies) == []


def test_a_job_that_two_people_dismiss_is_gone_once(workspace):
    store.create_job(workspace, "phantom", {"images": 6})
    (job,) = queue.jobs(workspace, PhantomRequest)
    for _ in range(2):
        queue.dismiss(job)
    assert not job.folder.path.exists()
