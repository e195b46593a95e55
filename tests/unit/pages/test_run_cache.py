"""The runs that pages see: opened once, and never older than their files."""

import shutil
import time
from dataclasses import replace

import pytest
from made_runs import all_parts, made_run

from covid_core.errors import UnknownId
from covid_core.runs import store
from covid_core.runs.store import Run, Status
from pages.shared import run_cache

SIZES = {"train": 6, "validation": 3, "test": 3}


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Ids of the runs that were opened from their files."""
    ids: list[str] = []
    really = store.open_run

    def noted(workspace, identifier: str) -> Run:
        ids.append(identifier)
        return really(workspace, identifier)

    monkeypatch.setattr(store, "open_run", noted)
    return ids


def states() -> dict[str, str]:
    return {one.run.name: one.status.state for one in run_cache.listed()[0]}


def test_a_finished_run_is_opened_once(workspace, opened):
    run = made_run(workspace, all_parts(SIZES, 1))
    opened.clear()
    assert run_cache.listed()[0][0].run is run_cache.listed()[0][0].run
    assert opened == [run.id]


def test_a_look_at_its_test_images_is_no_reason_to_open_a_run_again(workspace, opened):
    run = made_run(workspace, all_parts(SIZES, 1))
    run_cache.listed()
    opened.clear()
    run.note_view("figures compared")
    run_cache.listed()
    assert opened == []


def test_runs_come_newest_first(workspace):
    for name in ("old", "new"):
        made_run(workspace, all_parts(SIZES, 1), name)
        time.sleep(0.01)
    assert list(states()) == ["new", "old"]


def test_a_state_that_is_written_is_seen(workspace):
    run = made_run(workspace, all_parts(SIZES, 1), "mine")
    assert states() == {"mine": store.COMPLETED}
    run.write_status(replace(run.status(), state=store.STOPPED))
    assert states() == {"mine": store.STOPPED}


def test_a_result_that_is_written_is_seen(workspace):
    run = made_run(workspace, all_parts(SIZES, 1))
    assert run_cache.listed()[0][0].accuracy is None
    run.write_result({**run.result, "accuracy": {"test": 0.5}})
    assert run_cache.listed()[0][0].accuracy == 0.5


def test_a_process_that_died_without_a_word_is_seen(workspace):
    run = made_run(workspace, all_parts(SIZES, 1), "mine", state=store.RUNNING)
    lock = run.lock
    assert lock.try_acquire()
    assert states() == {"mine": store.RUNNING}
    lock.release()
    assert states() == {"mine": store.INTERRUPTED}


def test_all_sessions_together_ask_for_a_process_twice_a_second_at_most(workspace, monkeypatch):
    run = made_run(workspace, all_parts(SIZES, 1), state=store.QUEUED)
    asked = []
    monkeypatch.setattr(Run, "status", lambda _run: asked.append(1) or Status(store.QUEUED))
    for now, times in ((100.0, 1), (100.1, 2), (100.5, 2), (100.7, 3)):
        monkeypatch.setattr(run_cache.time, "monotonic", lambda now=now: now)
        assert [one.run.id for one in run_cache.listed()[0]] == [run.id]
        assert len(asked) == times


def test_a_run_that_is_deleted_is_gone(workspace):
    run = made_run(workspace, all_parts(SIZES, 1))
    assert run_cache.listed()[0]
    shutil.rmtree(run.path)
    assert run_cache.listed() == ([], [])
    with pytest.raises(UnknownId):
        run_cache.named(run.id)


def test_a_damaged_run_is_told_and_seen_again_when_it_is_mended(workspace):
    run = made_run(workspace, all_parts(SIZES, 1), "mine")
    spec = run.path / "spec.json"
    content = spec.read_bytes()
    assert states() == {"mine": store.COMPLETED}
    spec.write_bytes(b"{")
    seen, broken = run_cache.listed()
    assert not seen
    assert [entry.id for entry in broken] == [run.id]
    spec.write_bytes(content)
    assert states() == {"mine": store.COMPLETED}


def test_the_queue_takes_what_runs_and_then_the_oldest(workspace):
    runs = [made_run(workspace, all_parts(SIZES, 1), name, state=store.QUEUED) for name in ("a", "b", "c")]
    locks = [run.lock for run in runs]
    assert all(lock.try_acquire() for lock in locks)
    runs[1].write_status(Status(store.RUNNING))
    seen, _ = run_cache.listed()
    assert [one.run.name for one in run_cache.queue_of(seen)] == ["b", "a", "c"]
    assert {one.run.name: one.place for one in seen} == {"b": 0, "a": 1, "c": 2}
    for lock in locks:
        lock.release()
