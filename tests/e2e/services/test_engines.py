"""Jobs on real engines: a Ray cluster of two nodes of which one is lost, submitit's local executor, and SLURM."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from ray_cluster import RayCluster, ray_cluster
from slurm_cluster import slurm_cluster
from waiting import until

from covid_core import presets
from covid_core.data.imports import importing
from covid_core.executors import choice, engines, slurm
from covid_core.executors.attendant import Attendance
from covid_core.executors.choice import VARIABLE, Choice
from covid_core.executors.slurm import SlurmClient
from covid_core.jobs import queue
from covid_core.jobs.kinds import AuditRequest, RobustnessRequest
from covid_core.runs import store
from covid_core.runs.store import JobFolder, Run
from covid_core.specs import TrainingSpec
from covid_core.workspace import Workspace

EPOCHS, SEEDS = 60, 7
SAME = 1e-5  # of a score or logit


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("engines"))


@pytest.fixture(scope="module")
def spec(home) -> TrainingSpec:
    dataset = importing.import_phantom(home, 60, 1)
    settings = {"backbone": "baseline_cnn", "image_size": 32, "epochs": EPOCHS, "patience": 0, "name": "Seven"}
    return TrainingSpec(dataset=dataset.id, classes=dataset.classes, **settings)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[RayCluster]:
    with ray_cluster(tmp_path_factory.mktemp("ray")) as running:
        yield running


@pytest.fixture
def on_ray(cluster, monkeypatch) -> RayCluster:
    monkeypatch.setenv(VARIABLE, "ray")
    monkeypatch.setenv("COVID_CORE_RAY_ADDRESS", cluster.address)
    return cluster


def members(home: Workspace, study: store.Study) -> list[Run]:
    return [store.open_run(home, identifier) for identifier in study.runs]


def state(folder: JobFolder) -> str:
    return folder.status().state


def is_in_the_middle(run: Run) -> bool:
    return run.status().state == store.RUNNING and 1 < len(run.history()) < EPOCHS


# Ray


def test_a_study_of_seven_runs_outlives_the_loss_of_a_node_with_equal_figures(home, spec, on_ray, tmp_path):
    study = queue.submit_study(home, presets.repeated(spec, seeds=SEEDS))
    until(lambda: sum(map(is_in_the_middle, members(home, study))) == 2, "a run in the middle on each node")
    before = {run.id: run.history() for run in members(home, study)}
    on_ray.lose_a_node()
    for run in members(home, study):
        assert queue.wait(run).state == store.COMPLETED, run.log_tail()
    runs = members(home, study)
    assert all(run.status().place.startswith("Ray, node ") for run in runs)
    assert 2 in {run.status().attempt for run in runs}, "no run was on the node that was lost"
    for run in runs:
        assert run.history()["epoch"].tolist() == list(range(1, EPOCHS + 1))
    lost = next(run for run in runs if run.status().attempt == 2)
    done = len(before[lost.id]) - 1  # the last one may not have been in the checkpoint
    assert lost.history().head(done).equals(before[lost.id].head(done)), "an epoch was trained twice"
    other = Workspace(tmp_path)
    shutil.copytree(home.datasets, other.datasets, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as here:
        here.setenv(VARIABLE, "local")
        for name in ("COVID_CORE_CORES", "TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
            here.setenv(name, "1")  # as on a node: more threads sum in another order, and 60 epochs make much of it
        local = queue.submit_training(other, lost.spec)
        assert queue.wait(local).state == store.COMPLETED, local.log_tail()
    figures = [run.predictions().select_dtypes("number") for run in (lost, local)]
    np.testing.assert_allclose(figures[0], figures[1], atol=SAME)


def test_audits_and_curves_go_to_nodes_too(home, on_ray, copy_of_trained):
    run = copy_of_trained(Workspace(home.root / "trained"))
    jobs = [
        *queue.submit_all(run.workspace, [RobustnessRequest(run=run.id)]),
        *queue.submit_all(run.workspace, [AuditRequest(dataset=run.dataset.id)]),
    ]
    for job in jobs:
        assert queue.wait(job).state == store.COMPLETED, job.log_tail()
        assert job.status().place.startswith("Ray, node ")


def test_a_run_on_a_node_stops_where_it_is_asked_to_and_is_resumed(home, spec, on_ray):
    run = queue.submit_training(home, spec.model_copy(update={"seed": 100, "epochs": 400}))
    until(lambda: len(run.history()) > 2, "some epochs")
    queue.stop(run)
    assert queue.wait(run).state == store.STOPPED
    done = len(run.history())
    queue.resume(run)
    until(lambda: len(run.history()) > done or run.status().is_final, "one epoch more")
    queue.stop(run)
    assert queue.wait(run).state == store.STOPPED and len(run.history()) > done


def test_where_the_attendant_is_killed_the_worker_on_the_node_ends_too(home, spec, on_ray):
    run = queue.submit_training(home, spec.model_copy(update={"seed": 101, "epochs": 400}))
    until(lambda: len(run.history()) > 1, "some epochs")
    os.kill(run.process, signal.SIGKILL)
    until(lambda: not run.lock.is_held() and not run.node_lock.is_held(), "a worker that has ended")
    assert state(run) == store.INTERRUPTED


def test_a_cluster_that_is_not_there_is_named_in_a_sentence(home, spec, monkeypatch):
    monkeypatch.setenv(VARIABLE, "ray")
    monkeypatch.setenv("COVID_CORE_RAY_ADDRESS", "127.0.0.1:1")
    run = queue.submit_training(home, spec.model_copy(update={"seed": 102}))
    status = queue.wait(run)
    assert status.state == store.FAILED and "127.0.0.1:1" in status.reason


def test_nodes_are_listed(cluster):
    code = (
        "from covid_core.executors import engines; from covid_core.executors.choice import Choice; "
        f"print([tuple(one) for one in engines.opened(Choice(engine='ray', address={cluster.address!r})).nodes()])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ", 1, 0)" in done.stdout


# SLURM


class Processes:
    """The queue of submitit's local executor."""

    def has(self, job) -> bool:
        return not job.done()


def test_submitits_local_executor_does_a_job_and_a_killed_one_again(home, monkeypatch):
    monkeypatch.setattr("covid_core.executors.slurm.GONE_FOR", 0.5)
    monkeypatch.setattr("covid_core.executors.slurm.SQUEUE_EVERY", 0.1)
    engine = SlurmClient(Choice(engine="slurm"), "local", Processes())
    folder = store.create_job(home, "phantom", {"images": 24})
    lock = folder.lock
    assert lock.try_acquire()
    try:
        folder.write_launch(os.getpid(), 1, engine="slurm")
        one = Attendance(folder, 1, Choice(engine="slurm"))
        one.hand_over(engine)
        one._task._job._process.kill()
        until(lambda: one.is_done(engine), "a job that is done at the second attempt")
    finally:
        lock.release()
    status = folder.status()
    assert (status.state, status.attempt) == (store.COMPLETED, 2), folder.log_tail()
    assert status.place.startswith("SLURM, node ")


def test_sbatch_is_told_to_leave_the_environment_of_this_computer(home, tmp_path, monkeypatch):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\necho Submitted batch job 7\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    folder = store.create_job(home, "phantom", {"images": 6})
    SlurmClient(Choice(engine="slurm")).submit(folder, 1, {"COVID_CORE_CORES": "1"})
    (batch,) = (home.root / slurm.FOLDER / folder.id).glob("7_*.sh")
    assert "#SBATCH --export=NONE" in batch.read_text().splitlines()


def test_debians_slurm_trains_a_run_stops_one_and_starts_a_cancelled_one_again(home, spec, tmp_path, monkeypatch):
    with slurm_cluster(tmp_path) as conf:
        monkeypatch.setenv("SLURM_CONF", str(conf))
        monkeypatch.setenv(VARIABLE, "slurm")
        (node,) = engines.opened(choice.chosen(home)).nodes()
        assert node.cores == os.cpu_count()
        slow = {"seed": 200, "image_size": 96}  # it is still at work when it is cancelled
        run = queue.submit_training(home, spec.model_copy(update=slow))
        until(lambda: len(run.history()) > 1, "some epochs")
        subprocess.run(["scancel", "--name", run.id, "--signal=KILL", "--full"], check=True)
        status = queue.wait(run)
        assert (status.state, status.attempt) == (store.COMPLETED, 2), run.log_tail()
        assert status.place.startswith("SLURM, node ")
        assert run.history()["epoch"].tolist() == list(range(1, 61))
        stopped = queue.submit_training(home, spec.model_copy(update={"seed": 201, "epochs": 400}))
        until(lambda: len(stopped.history()) > 1, "some epochs")
        queue.stop(stopped)
        assert queue.wait(stopped).state == store.STOPPED
        monkeypatch.setenv("COVID_CORE_SLURM_PARTITION", "none-such")
        refused = queue.submit_training(home, spec.model_copy(update={"seed": 202}))
        assert queue.wait(refused).state == store.FAILED and "partition" in refused.status().reason.lower()
