"""What a crash in the middle of a write leaves, by strace: see ``benchmarks.reliability.crashes``."""

from pathlib import Path

import pytest
from system_tools import require

from benchmarks.reliability import crashes, traces

ROOT = Path("/w")
SYNCED = [("openat", '3, "/w/.a.tmp", O_WRONLY|O_CREAT'), ("write", "3</w/.a.tmp>, ..."), ("fsync", "3</w/.a.tmp>")]
RENAMED = ("rename", '"/w/.a.tmp", "/w/a"')
FOLDER = ("fsync", "3</w>")


@pytest.fixture(autouse=True)
def strace():
    require("strace")


def test_every_publish_is_on_the_disk_before_its_name_is(tmp_path):
    answer = crashes.publishing_order(tmp_path)
    assert answer["broken"] == {}
    assert answer["publishes"] >= 20


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["signal=KILL", "error=ENOSPC", "error=EIO"])
def test_a_publish_that_is_ended_at_any_call_leaves_old_or_new_and_can_be_done_again(fault):
    answer = crashes.each_call("epoch", 8, fault)  # all steps and calls: benchmarks.reliability.crashes
    assert answer["torn"] == answer["stuck"] == 0, answer["places"]
    assert answer["points"] >= 3


@pytest.mark.parametrize(
    "calls",
    [
        [SYNCED[0], SYNCED[1], RENAMED, FOLDER],
        [*SYNCED, ("write", "3</w/.a.tmp>, ..."), RENAMED, FOLDER],
        [*SYNCED, RENAMED],
        [FOLDER, *SYNCED, RENAMED],
        [("mkdir", '"/w/.a.tmp"'), ("openat", '3, "/w/.a.tmp/b", O_CREAT'), ("fsync", "3</w/.a.tmp>"), RENAMED, FOLDER],
        [("write", "3</x>, ..."), ("link", '"/x", "/w/.a.tmp"'), RENAMED, FOLDER],
    ],
    ids=["not synced", "written after", "folder never synced", "folder synced before", "file of a folder", "link"],
)
def test_a_publish_out_of_order_is_recognised(calls):
    assert [*traces.order_of(calls, ROOT).broken] == ["a"]


def test_a_publish_in_order_is_recognised():
    assert traces.order_of([*SYNCED, RENAMED, FOLDER], ROOT) == traces.Order(["a"], {})
