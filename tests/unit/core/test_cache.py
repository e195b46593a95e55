"""What is kept only to save time: within its limit, least recently used first, and nothing that is in use."""

import os
import shutil
import time
from collections import namedtuple

import numpy as np
import pytest
from made_runs import all_parts, made_run

from covid_core import cache, files
from covid_core.access import activity
from covid_core.errors import InvalidChoice, JobRefused, NoRoom
from covid_core.runs import storage, store
from covid_core.runs.store import Status
from covid_core.workspace import Workspace

TABLE = all_parts({"train": 12, "validation": 6, "test": 6}, skill=1)
BLOCK = 65_536  # bytes
DAY = 24 * 3600.0
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def keep(workspace):
    """Put a file of some blocks into a folder of the workspace, last used so many seconds ago."""

    def made(name: str, blocks: int = 1, ago: float = 0.0, folder: str = "features"):
        path = getattr(workspace, folder) / name
        files.write_bytes(path, os.urandom(blocks * BLOCK))  # flushed: some systems count bytes only on the disk
        os.utime(path, (time.time() - ago, time.time() - ago))
        return path

    return made


@pytest.fixture
def room_for(monkeypatch):
    """Set the limit to a number of blocks."""
    return lambda blocks: monkeypatch.setenv(cache.VARIABLE, str(blocks * BLOCK / cache.GB))


def names(workspace: Workspace) -> list[str]:
    return [entry.path.name for entry in cache.entries(workspace)]


def busy(run: store.Run, started: float) -> files.FileLock:
    """Let a run look as if its worker had begun then. Release the lock that is returned."""
    lock = run.lock
    assert lock.try_acquire()
    run.write_status(Status(store.RUNNING, started=started, updated=time.time()))
    return lock


# The limit


def test_the_limit_is_ten_gigabytes_where_nothing_is_said(monkeypatch):
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    assert cache.limit() == 10_000_000_000


def test_the_limit_is_what_the_environment_says(monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, "0.5")
    assert cache.limit() == 500_000_000


@pytest.mark.parametrize("told", ["0", "-1", "ten", "nan", "inf", "1 GB"])
def test_a_limit_that_is_no_positive_number_is_refused_with_what_was_received(monkeypatch, told):
    monkeypatch.setenv(cache.VARIABLE, told)
    with pytest.raises(InvalidChoice, match=f"COVID_CORE_CACHE_GB must be a number.*received: '{told}'"):
        cache.limit()


# What is there


def test_entries_tell_kind_bytes_and_last_use(workspace, keep):
    path = keep("a.u8", 2, ago=100, folder="pixels")
    (entry,) = cache.entries(workspace)
    assert (entry.kind, entry.path, entry.bytes) == ("pixels", path, 2 * BLOCK)
    assert entry.used == pytest.approx(time.time() - 100, abs=10)


def test_a_table_counts_what_is_filled_of_it(workspace):
    table = np.memmap(workspace.features / "a.f32", np.float32, "w+", shape=(1000, 1000))
    del table
    (entry,) = cache.entries(workspace)
    assert entry.bytes < 1_000_000


@pytest.mark.parametrize("name", ["a.lock", ".a.f32.1234.tmp.f32"])
def test_locks_and_half_written_files_are_not_listed(workspace, keep, name):
    keep(name)
    assert names(workspace) == []


def test_a_half_written_file_is_listed_once_its_writer_is_surely_gone(workspace, keep):
    keep(".a.tmp", ago=2 * DAY)
    assert names(workspace) == [".a.tmp"]


def test_folders_and_dangling_links_are_passed_over(workspace, keep):
    keep("a.f32")
    (workspace.features / "folder").mkdir()
    (workspace.features / "link").symlink_to("nowhere")
    assert names(workspace) == ["a.f32"]


def test_a_touched_file_is_the_last_to_go(workspace, keep):
    first, _ = keep("a.f32", ago=200), keep("b.f32", ago=100)
    assert names(workspace) == ["a.f32", "b.f32"]
    cache.touch(first)
    assert names(workspace) == ["b.f32", "a.f32"]


def test_touching_a_file_that_is_gone_does_nothing(workspace):
    cache.touch(workspace.features / "gone.f32")
    assert names(workspace) == []


# Making room


def test_nothing_goes_while_there_is_room(workspace, keep, room_for):
    keep("a.f32")
    room_for(2)
    cache.make_room(workspace, BLOCK)
    assert names(workspace) == ["a.f32"]


def test_what_was_not_used_for_longest_goes_first_and_no_more_than_needed(workspace, keep, room_for):
    keep("old.f32", ago=300)
    keep("older.u8", ago=400, folder="pixels")
    keep("new.f32", ago=100)
    room_for(3)
    cache.make_room(workspace, BLOCK)
    assert names(workspace) == ["old.f32", "new.f32"]


def test_what_the_caller_names_stays_however_old_it_is(workspace, keep, room_for):
    own = keep("own.f32", ago=300)
    keep("other.f32", ago=100)
    room_for(2)
    cache.make_room(workspace, BLOCK, needed=[own])
    assert names(workspace) == ["own.f32"]


def test_features_that_a_worker_fills_stay(workspace, keep, room_for):
    keep("filled.f32", ago=300)
    keep("other.f32", ago=100)
    room_for(2)
    lock = files.FileLock(workspace.features / "filled.lock")
    assert lock.try_acquire()
    cache.make_room(workspace, BLOCK)
    lock.release()
    assert names(workspace) == ["filled.f32"]


def test_a_reader_goes_on_with_a_map_whose_file_was_removed(workspace, keep, room_for):
    mapped = np.memmap(keep("a.u8", folder="pixels"), np.uint8, "r")
    before = mapped[:100].copy()
    room_for(1)
    cache.make_room(workspace, BLOCK)
    assert names(workspace) == []
    assert np.array_equal(mapped[:100], before)


def test_what_is_larger_than_the_limit_is_refused_and_nothing_is_removed(workspace, keep, room_for):
    keep("a.f32")
    room_for(2)
    with pytest.raises(
        NoRoom, match=r"196.6 kB have to be kept .* may take 131.1 kB. Try smaller images.*_CACHE_GB\.$"
    ):
        cache.make_room(workspace, 3 * BLOCK)
    assert names(workspace) == ["a.f32"]


def test_it_is_refused_when_what_stays_leaves_too_little(workspace, keep, room_for):
    own = keep("own.f32")
    keep("other.f32")
    room_for(2)
    with pytest.raises(NoRoom, match="may take 131.1 kB, 65.5 kB of it in use"):
        cache.make_room(workspace, 2 * BLOCK, needed=[own])
    assert len(names(workspace)) == 2


def test_a_full_disk_is_refused_with_what_it_has(workspace, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12 - 300_000_000, 300_000_000))
    with pytest.raises(NoRoom, match="100.0 MB have to be kept .* the disk has 300.0 MB free, of which 256.0 MB"):
        cache.make_room(workspace, 100_000_000)


def test_a_disk_that_is_nearly_full_is_emptied_below_the_limit(workspace, keep, monkeypatch):
    keep("old.f32", ago=300)
    keep("new.f32", ago=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, cache.SPARE))
    cache.make_room(workspace, BLOCK)
    assert names(workspace) == ["new.f32"]


def test_a_file_that_the_system_holds_is_passed_over(workspace, keep, room_for, monkeypatch):
    """Windows does not remove a file that a process has mapped."""
    held = keep("held.f32", ago=300)
    keep("other.f32", ago=100)
    room_for(2)
    hold(monkeypatch, held)
    cache.make_room(workspace, BLOCK)
    assert names(workspace) == ["held.f32"]


def hold(monkeypatch, held) -> None:
    unlink = type(held).unlink

    def refuse(path, missing_ok=False):
        if path == held:
            raise PermissionError("in use")
        unlink(path, missing_ok)

    monkeypatch.setattr(type(held), "unlink", refuse)


# Clearing


def test_clearing_removes_every_kind_and_says_how_much(workspace, keep):
    for folder in cache.KINDS:
        keep("a", folder=folder)
    assert storage.clear(workspace) == cache.Cleared(len(cache.KINDS) * BLOCK, ())
    assert names(workspace) == []


def test_one_kind_can_be_cleared_alone(workspace, keep):
    keep("a.u8", folder="pixels")
    keep("b.f32")
    assert storage.clear(workspace, ["pixels"]).freed == BLOCK
    assert names(workspace) == ["b.f32"]


def test_what_a_running_job_has_opened_stays_and_is_named(workspace, keep):
    keep("before.f32", ago=500)
    opened = keep("opened.f32", ago=100)
    lock = busy(made_run(workspace, TABLE, state=store.QUEUED), started=time.time() - 300)
    cleared = storage.clear(workspace)
    lock.release()
    assert cleared == cache.Cleared(BLOCK, (opened,))
    assert names(workspace) == ["opened.f32"]


def test_a_running_job_whose_status_is_torn_keeps_everything(workspace, keep):
    path = keep("a.f32", ago=500)
    run = made_run(workspace, TABLE)
    lock = busy(run, started=time.time())
    (run.path / "status.json").write_text("{")
    assert storage.clear(workspace).in_use == (path,)
    lock.release()


def test_a_file_that_the_system_holds_is_named(workspace, keep, monkeypatch):
    held = keep("held.f32")
    hold(monkeypatch, held)
    assert storage.clear(workspace) == cache.Cleared(0, (held,))


def test_clearing_leaves_data_sets_runs_and_networks_alone(workspace, keep):
    run = made_run(workspace, TABLE)
    keep("net-1.tflite", folder="trunks")
    before = {path for path in workspace.root.rglob("*") if path.is_file()}
    storage.clear(workspace)
    after = {path for path in workspace.root.rglob("*") if path.is_file()}
    assert after == before | {workspace.root / activity.FILE}
    assert store.open_run(workspace, run.id).result


def test_only_records_of_jobs_that_ended_a_week_ago_are_forgotten(workspace):
    recent, old, working = (store.create_job(workspace, "import", {}) for _ in range(3))
    lock = working.lock
    assert lock.try_acquire()
    for job, state in ((recent, store.COMPLETED), (old, store.COMPLETED), (working, store.RUNNING)):
        job.write_status(Status(state))
    for job in (old, working):
        os.utime(job.path, (0, time.time() - 8 * DAY))
    storage.clear(workspace)
    lock.release()
    assert {job.id for job in store.list_jobs(workspace)} == {recent.id, working.id}


# Exported networks


def test_networks_that_a_run_names_are_needed_with_all_their_files(workspace, keep):
    made_run(workspace, TABLE, result={"trunk": "net-1"})
    for name in ("net-1.tflite", "net-1.npz", "net-1.json", "net-1-head.keras", "net-2.tflite", "net-2.npz"):
        keep(name, folder="trunks")
    assert {entry.path.name for entry in storage.unused_trunks(workspace)} == {"net-2.tflite", "net-2.npz"}


def test_a_run_whose_settings_are_damaged_still_keeps_its_network(workspace, keep):
    run = made_run(workspace, TABLE, result={"trunk": "net-1"})
    (run.path / "spec.json").write_text("{")
    keep("net-1.tflite", folder="trunks")
    assert storage.unused_trunks(workspace) == []


def test_a_run_whose_result_is_damaged_does_not_disturb(workspace, keep):
    run = made_run(workspace, TABLE)
    (run.path / "result.json").write_text("{")
    keep("net-1.tflite", folder="trunks")
    assert len(storage.unused_trunks(workspace)) == 1


def test_networks_are_removed_only_when_asked_for(workspace, keep):
    keep("net-1.tflite", folder="trunks")
    keep("a.f32")
    assert storage.clear(workspace, [storage.TRUNKS]).freed == BLOCK
    assert os.listdir(workspace.trunks) == []
    assert names(workspace) == ["a.f32"]


def test_no_network_is_removed_while_a_training_has_not_ended(workspace, keep):
    keep("net-1.tflite", folder="trunks")
    keep("a.f32", ago=500)
    lock = busy(made_run(workspace, TABLE, state=store.QUEUED), started=time.time())
    assert storage.unused_trunks(workspace) == []
    with pytest.raises(JobRefused, match="A run waits or trains"):
        storage.clear(workspace, [*cache.KINDS, storage.TRUNKS])
    lock.release()
    assert os.listdir(workspace.trunks) == ["net-1.tflite"]
    assert names(workspace) == ["a.f32"]
