"""Which engine does the jobs of a workspace, and which jobs go to it."""

from pathlib import Path

import pytest
from made_runs import all_parts, made_run

from covid_core.access import Role
from covid_core.data.imports.importing import import_folder
from covid_core.errors import InvalidChoice, NotPermitted
from covid_core.executors import attendant, choice, local
from covid_core.executors.choice import VARIABLE, Choice, choose, chosen
from covid_core.jobs import queue
from covid_core.jobs.kinds import KINDS, FeaturesRequest, PhantomRequest
from covid_core.runs import store
from covid_core.specs import StudySpec, TrainingSpec

TABLE = all_parts({"train": 12, "validation": 6, "test": 6}, skill=1)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in (VARIABLE, f"{VARIABLE}_CORES", *choice.ENGINES["ray"].variables):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def installed(monkeypatch):
    """Every engine's package is there."""
    monkeypatch.setattr(choice.util, "find_spec", lambda name: object())


@pytest.fixture
def processes(monkeypatch) -> list[tuple[str, list[str]]]:
    """The modules that would have been started, and their words."""
    started = []
    monkeypatch.setattr(local, "started", lambda module, words, *_: started.append((module, list(words))) or 2**22 + 1)
    return started


def test_jobs_are_done_here_unless_somebody_chooses(workspace, installed):
    assert chosen(workspace) == Choice()
    choose(workspace, Choice(engine="slurm", address="gpu", gpus=1))
    assert chosen(workspace) == Choice(engine="slurm", address="gpu", gpus=1)


def test_the_environment_wins(workspace, installed, monkeypatch):
    choose(workspace, Choice(engine="slurm"))
    monkeypatch.setenv(VARIABLE, "ray")
    monkeypatch.setenv("RAY_ADDRESS", "head:1")
    monkeypatch.setenv(f"{VARIABLE}_CORES", "4")
    assert chosen(workspace) == Choice(engine="ray", address="head:1", cores=4)
    monkeypatch.setenv("COVID_CORE_RAY_ADDRESS", "head:2")
    assert chosen(workspace).address == "head:2"
    monkeypatch.setenv(VARIABLE, "abacus")
    with pytest.raises(InvalidChoice, match="abacus"):
        chosen(workspace)


def test_an_engine_that_is_not_installed_is_refused_with_the_command_that_adds_it(workspace, monkeypatch):
    monkeypatch.setattr(choice.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidChoice, match=r"second-look\[slurm\]"):
        choose(workspace, Choice(engine="slurm"))
    assert not choice.is_chosen(workspace)
    monkeypatch.setenv(VARIABLE, "slurm")
    with pytest.raises(InvalidChoice, match=r"second-look\[slurm\]"):
        chosen(workspace)


def test_a_damaged_setting_is_no_silent_return_to_this_computer(workspace):
    workspace.root.mkdir()
    (workspace.root / choice.FILE).write_text('{"engine": "ra')
    with pytest.raises(InvalidChoice, match="damaged"):
        chosen(workspace)


def test_the_address_of_an_engine_has_an_end(workspace, installed, monkeypatch):
    monkeypatch.setenv(VARIABLE, "ray")
    monkeypatch.setenv("RAY_ADDRESS", "h" * choice.MOST_LETTERS)
    assert len(chosen(workspace).address) == choice.MOST_LETTERS == 200
    monkeypatch.setenv("RAY_ADDRESS", "h" * (choice.MOST_LETTERS + 1))
    with pytest.raises(InvalidChoice, match="address"):
        chosen(workspace)


def test_only_an_administrator_chooses(workspace, acts):
    acts(Role.TRAINER)
    with pytest.raises(NotPermitted):
        choose(workspace, Choice())


def test_what_needs_more_than_the_workspace_stays_on_this_computer():
    stay = {"import", "merge", "kaggle", "phantom", "backbone", "lesson", "handout", "demonstration", "open", "export"}
    assert {name for name, kind in KINDS.items() if not kind.is_portable} == stay


def test_a_run_goes_to_the_engine_and_an_import_does_not(workspace, installed, processes):
    choose(workspace, Choice(engine="ray"))
    run = made_run(workspace, TABLE, state=store.FAILED)
    queue.resume(run)
    job = queue.submit(workspace, PhantomRequest(images=6))
    assert [module for module, _ in processes] == [attendant.__name__, local.WORKER]
    assert (run.engine, job.engine) == ("ray", "")


def test_an_engine_gets_a_whole_study_at_once(workspace, installed, processes, image_folder):
    dataset = import_folder(workspace, image_folder({"a": 8, "b": 8}))
    choose(workspace, Choice(engine="ray"))
    spec = TrainingSpec(dataset=dataset.id, classes=("a", "b"), backbone="baseline_cnn", image_size=32)
    runs = tuple(spec.model_copy(update={"seed": seed}) for seed in range(3))
    queue.submit_study(workspace, StudySpec(name="Three", runs=runs))
    ((module, words),) = processes
    assert module == attendant.__name__ and len(words) == 1 + 2 * len(runs)


def test_what_runs_share_is_computed_in_parts_before_them(workspace, installed, processes, image_folder):
    dataset = import_folder(workspace, image_folder({"a": 8, "b": 8}))
    choose(workspace, Choice(engine="ray", parts=3))
    of = {"dataset": dataset.id, "classes": ("a", "b"), "backbone": "mobilenet_v2", "weights": "random"}
    heads = [TrainingSpec(**of, image_size=32, seed=1, epochs=epochs) for epochs in (2, 3)]
    whole = TrainingSpec(**of | {"backbone": "baseline_cnn"}, image_size=32)
    queue.submit_study(workspace, StudySpec(name="Three", runs=(*heads, whole)))
    ((_, words),) = processes
    cut = words.index(attendant.THEN)
    assert (cut, len(words)) == (1 + 2 * 3, 1 + 2 * 3 + 1 + 2 * 3)
    requests = [job.request for job in queue.jobs(workspace, FeaturesRequest)]
    assert sorted(one.part for one in requests) == [0, 1, 2]
    assert len({one.run for one in requests}) == 1
    assert requests[0].run in [Path(words[cut + 1 + 2 * place]).name for place in range(len(heads))]


def test_features_in_parts_stop_with_their_run_and_no_others(workspace, installed, processes, image_folder):
    dataset = import_folder(workspace, image_folder({"a": 8, "b": 8}))
    choose(workspace, Choice(engine="ray", parts=2))
    of = {"dataset": dataset.id, "classes": ("a", "b"), "backbone": "mobilenet_v2", "weights": "random"}
    run, _ = (queue.submit_training(workspace, TrainingSpec(**of, image_size=size)) for size in (32, 64))
    parts = queue.jobs(workspace, FeaturesRequest)
    locks = [folder.lock for folder in (run, *(part.folder for part in parts))]
    assert all(lock.try_acquire() for lock in locks)  # as their attendants do
    try:
        queue.stop(run)
    finally:
        for lock in locks:
            lock.release()
    assert [part.folder.stop_requested() for part in parts] == [part.request.run == run.id for part in parts]
    assert len(parts) == 4


def test_without_its_engine_a_study_leaves_nothing_behind(workspace, monkeypatch, image_folder):
    dataset = import_folder(workspace, image_folder({"a": 8, "b": 8}))
    monkeypatch.setattr(choice.util, "find_spec", lambda name: None)
    monkeypatch.setenv(VARIABLE, "ray")
    spec = TrainingSpec(dataset=dataset.id, classes=("a", "b"), backbone="baseline_cnn", image_size=32)
    with pytest.raises(InvalidChoice, match="not installed"):
        queue.submit_study(workspace, StudySpec(name="One", runs=(spec,)))
    assert store.list_runs(workspace) == ([], [])


def test_what_waits_for_an_engine_keeps_no_training_here_from_its_slot(workspace):
    older, run = (made_run(workspace, TABLE, state=store.QUEUED) for _ in range(2))
    for one, engine in ((older, "ray"), (run, "")):
        one.write_launch(2**22 + 1, 1, engine=engine)
    lock = older.lock
    assert lock.try_acquire()
    try:
        slot = queue.take_slot(workspace, run)
        assert slot is not None
        slot.release()
        older.write_launch(2**22 + 1, 1)
        assert queue.take_slot(workspace, run) is None
    finally:
        lock.release()
