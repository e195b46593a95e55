"""Files that survive a crash, and locks that a dead process lets go of."""

import math
import mmap
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from covid_core import files

HOLD_LOCK = """
import sys, time
from pathlib import Path
from covid_core.files import FileLock
lock = FileLock(Path(sys.argv[1]))
print(lock.try_acquire(), flush=True)
time.sleep(3600)
"""


@pytest.fixture
def lock_of_another_process(tmp_path):
    """A lock that is held by a process of its own: its path and the process."""
    path = tmp_path / "lock"
    process = subprocess.Popen([sys.executable, "-c", HOLD_LOCK, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    yield path, process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_published_file_replaces_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    files.write_bytes(path, b"old")
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    files.write_bytes(path, b"old")
    with pytest.raises(ZeroDivisionError), files.published(path) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_temporary_file_keeps_the_suffix_that_libraries_look_at(tmp_path):
    with files.published(tmp_path / "model.keras") as temporary:
        assert temporary.suffix == ".keras"
        temporary.touch()


def test_a_file_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch):
    order = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: order.append("fsync"))
    monkeypatch.setattr(os, "replace", lambda old, new: (order.append("rename"), replace(old, new)))
    files.write_bytes(tmp_path / "a.txt", b"a")
    assert order == ["fsync", "rename", "fsync"]


def test_json_comes_back_as_it_was(tmp_path):
    content = {"name": "Lünge 肺", "values": [1, 2.5, None, True]}
    files.write_json(tmp_path / "a.json", content)
    assert files.read_json(tmp_path / "a.json") == content


def test_json_refuses_what_json_has_no_word_for(tmp_path):
    with pytest.raises(ValueError, match="Out of range"):
        files.write_json(tmp_path / "a.json", {"loss": math.nan})
    assert os.listdir(tmp_path) == []


def test_a_folder_is_published_whole(tmp_path):
    with files.published_folder(tmp_path / "run") as staging:
        (staging / "a").touch()
        assert not (tmp_path / "run").exists()
    assert os.listdir(tmp_path / "run") == ["a"]


def test_an_error_while_a_folder_is_filled_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), files.published_folder(tmp_path / "run") as staging:
        (staging / "a").touch()
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_a_folder_never_replaces_another(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "kept").touch()
    with pytest.raises(OSError, match="not empty"), files.published_folder(tmp_path / "run"):
        pass
    assert os.listdir(tmp_path) == ["run"]


def test_a_folder_that_cannot_be_emptied_is_gone_under_its_name(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(files.shutil, "rmtree", lambda *_, **__: None)
    files.remove_folder(tmp_path / "run")
    assert all(name.startswith(".") for name in os.listdir(tmp_path))


def test_a_lock_that_is_held_elsewhere_cannot_be_taken(lock_of_another_process):
    path, _ = lock_of_another_process
    assert files.FileLock(path).is_held()
    assert not files.FileLock(path).try_acquire()


def test_a_killed_process_lets_its_lock_go(lock_of_another_process):
    path, process = lock_of_another_process
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not files.FileLock(path).is_held()


def test_a_lock_can_be_taken_again_after_release(tmp_path):
    lock = files.FileLock(tmp_path / "lock")
    assert lock.try_acquire()
    lock.release()
    again = files.FileLock(tmp_path / "lock")
    assert again.try_acquire()
    again.release()


def test_a_lock_that_nobody_ever_took_is_free(tmp_path):
    assert not files.FileLock(tmp_path / "lock").is_held()


def test_releasing_a_lock_that_is_not_held_does_nothing(tmp_path):
    files.FileLock(tmp_path / "lock").release()


def test_without_the_system_call_locks_work_by_filelock(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    lock = files.FileLock(tmp_path / "lock")
    assert lock.try_acquire()
    assert not files.FileLock(tmp_path / "lock").try_acquire()
    lock.release()
    assert not files.FileLock(tmp_path / "lock").is_held()


def test_the_hash_is_that_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux tells where a file is mapped.")
def test_memory_of_a_mapped_file_is_given_back_and_its_content_stays(tmp_path):
    path = tmp_path / "a mapped file"
    path.write_bytes(bytes(range(256)) * 4096)
    with open(path, "rb") as handle, mmap.mmap(handle.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        content = bytes(mapped)
        assert resident(path) > 0
        assert files.release_mapped(path) >= len(content)
        assert resident(path) == 0
        assert bytes(mapped) == content


def test_nothing_is_given_back_of_a_file_that_is_not_mapped(tmp_path):
    (tmp_path / "file").write_bytes(b"image")
    assert files.release_mapped(tmp_path / "file") == 0


def resident(path: Path) -> int:
    """Bytes of the mapped file that are in this process's memory."""
    return sum(found.rss for found in psutil.Process().memory_maps() if found.path == str(path))


def test_a_file_is_linked_or_else_copied_beside_the_first(tmp_path, monkeypatch):
    source = tmp_path / "a.png"
    source.write_bytes(b"pixels")
    files.link_or_copy(source, tmp_path / "linked.png")
    assert (tmp_path / "linked.png").samefile(source)

    def no_links(*_):
        raise OSError("the file system has no links")

    monkeypatch.setattr(os, "link", no_links)
    files.link_or_copy(source, tmp_path / "copied.png")
    assert (tmp_path / "copied.png").read_bytes() == b"pixels"
    assert not (tmp_path / "copied.png").samefile(source)
