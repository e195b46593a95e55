"""The files of segmenters, which one serves, and the start of their job. No process is started here."""

import os
import time

import pytest
from made_data import made_database, made_dataset
from made_segmenters import made_segmenter

from covid_core import files
from covid_core.data.imports import importing
from covid_core.data.masks import BUILT_IN
from covid_core.errors import DataError, RunDamaged, UnknownId
from covid_core.jobs import queue
from covid_core.jobs.kinds import SegmenterRequest
from covid_core.runs import segmenters, store

ENOUGH = {"COVID": 10, "Normal": 12}


@pytest.fixture
def database(workspace, tmp_path):
    return made_database(tmp_path, workspace, counts=ENOUGH)[1]


def test_a_workspace_of_an_earlier_version_has_the_built_in_segmenter(workspace):
    workspace.root.mkdir()
    assert segmenters.list_segmenters(workspace) == ([], [])
    assert segmenters.serving(workspace).origin.kind == BUILT_IN


def test_the_newest_is_listed_first(workspace):
    old, new = made_segmenter(workspace, "old", age=60), made_segmenter(workspace, "new")
    found, broken = segmenters.list_segmenters(workspace)
    assert [one.id for one in found] == [new.id, old.id]
    assert not broken


def test_the_runs_own_data_set_goes_before_real_images_and_these_before_the_built_in_one(workspace):
    own = made_segmenter(workspace, "own", synthetic=True, age=30)
    real = made_segmenter(workspace, "real", age=20)
    made_segmenter(workspace, "drawn", synthetic=True, age=10)
    assert segmenters.serving(workspace, "own").id == own.id
    assert segmenters.serving(workspace, "another").id == real.id
    segmenters.delete_segmenter(workspace, real.id)
    assert segmenters.serving(workspace, "another").origin.kind == BUILT_IN


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        (segmenters.RECORD, b"{", "is damaged"),
        (segmenters.RECORD, b'{"schema": 1}', "is damaged"),
        (segmenters.RECORD, b"[]", "is damaged"),
        (segmenters.RECORD, b'{"schema": 99}', "another version"),
        (segmenters.RECORD, None, "is damaged"),
        (segmenters.NETWORK, None, "lacks its network"),
    ],
    ids=["torn", "empty", "a list", "another version", "no record", "no network"],
)
def test_a_damaged_one_is_told_hides_no_other_and_can_be_deleted(workspace, file, content, words):
    whole, broken = made_segmenter(workspace, "whole", age=60), made_segmenter(workspace, "broken")
    path = broken.path / file
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(RunDamaged, match=words):
        segmenters.open_segmenter(workspace, broken.id)
    found, damaged = segmenters.list_segmenters(workspace)
    assert [one.id for one in found] == [whole.id]
    assert [entry.id for entry in damaged] == [broken.id]
    assert segmenters.serving(workspace).id == whole.id
    segmenters.delete_segmenter(workspace, broken.id)
    assert segmenters.list_segmenters(workspace)[1] == []


def test_what_fails_in_the_making_leaves_nothing(workspace):
    place = workspace.segmenters / "lungs-x-1"
    with pytest.raises(ValueError, match="dice"), files.published_folder(place) as folder:
        (folder / segmenters.NETWORK).write_bytes(b"a network")
        segmenters.write_record(folder, {"size": 128})
    assert list(workspace.segmenters.iterdir()) == []


def test_a_limit_of_an_outline_that_is_missing_is_damage(workspace):
    """Without it, an outline that is no pair of lungs would be given unseen."""
    made = made_segmenter(workspace)
    record = files.read_json(made.path / segmenters.RECORD)
    del record["limits"]["unsure"]
    files.write_json(made.path / segmenters.RECORD, record)
    with pytest.raises(RunDamaged, match="is damaged"):
        segmenters.open_segmenter(workspace, made.id)


def test_what_a_killed_training_left_is_swept_after_a_day(workspace):
    old, new = workspace.segmenters / ".lungs-x-1.2.tmp", workspace.segmenters / ".lungs-y-1.2.tmp"
    for folder in (old, new):
        folder.mkdir()
    yesterday = time.time() - importing.LEFTOVER_AGE - 60
    os.utime(old, (yesterday, yesterday))
    importing.sweep(workspace)
    assert [path.name for path in workspace.segmenters.iterdir()] == [new.name]


def test_one_that_is_not_there_cannot_be_deleted(workspace):
    with pytest.raises(UnknownId, match="no segmenter with the id"):
        segmenters.delete_segmenter(workspace, "nothing")


def test_a_data_set_without_masks_is_refused(workspace, tmp_path, launched):
    _, dataset = made_dataset(tmp_path, workspace)
    with pytest.raises(DataError, match="Made images has no lung masks"):
        queue.submit(workspace, SegmenterRequest(dataset=dataset.id))
    assert not launched


def test_too_few_masks_are_refused(workspace, tmp_path, launched):
    _, dataset = made_database(tmp_path, workspace, counts={"COVID": 5, "Normal": 6})
    with pytest.raises(DataError, match="has 11 lung masks; at least 20 are needed"):
        queue.submit(workspace, SegmenterRequest(dataset=dataset.id))
    assert not launched


def test_other_jobs_and_torn_ones_are_no_trainings_of_segmenters(workspace, database, launched):
    store.create_job(workspace, "phantom", {"images": 30})
    torn = store.create_job(workspace, "segment", {"dataset": "x"})
    files.write_bytes(torn.path / "request.json", b"{")
    assert queue.jobs(workspace, SegmenterRequest) == []
