"""A run that would repeat another number by number takes its outcome over."""

from dataclasses import replace
from importlib import metadata

import pytest
from made_runs import all_parts, made_run, with_dataset
from made_segmenters import made_segmenter

from covid_core import files
from covid_core.jobs import reuse
from covid_core.runs import segmenters, store
from covid_core.runs.store import Run
from covid_core.specs import InputSpec
from covid_core.workspace import Workspace

TABLE = all_parts({"train": 12, "validation": 6, "test": 6}, skill=1)


@pytest.fixture
def finished(workspace) -> Run:
    return completed(workspace)


def completed(workspace: Workspace, **choices) -> Run:
    run = made_run(workspace, TABLE, "First", **choices)
    made = {"model": run.model_path, "head": run.head_path, "reference": run.reference_path}
    for path in made.values():
        path.write_bytes(b"made")
    sums = {f"{name}_sha256": files.sha256_of(path) for name, path in made.items()}
    versions = {name: metadata.version(name) for name in ("keras", "tensorflow", "numpy")}
    run.write_result({**run.result, **sums, "versions": versions, "training": store.TRAINING})
    return store.open_run(workspace, run.id)


@pytest.fixture
def waiting(workspace, finished) -> Run:
    return made_run(workspace, TABLE, "Second", state=store.QUEUED)


def test_equal_settings_on_equal_images_have_a_twin_whatever_the_name(workspace, finished, waiting):
    assert reuse.equal_run(workspace, waiting).id == finished.id


@pytest.mark.parametrize("change", [{"seed": 9}, {"epochs": 9}, {"backbone": "vgg16"}], ids=str)
def test_another_setting_has_no_twin(workspace, finished, waiting, change):
    assert reuse.equal_run(workspace, replace(waiting, spec=waiting.spec.model_copy(update=change))) is None


def test_another_split_has_no_twin(workspace, finished, waiting):
    assert (
        reuse.equal_run(workspace, replace(waiting, record=waiting.record.model_copy(update={"split_hash": "other"})))
        is None
    )


def test_a_run_whose_validation_images_did_other_things_is_no_twin(workspace, finished, waiting):
    assert (
        reuse.equal_run(workspace, replace(waiting, record=waiting.record.model_copy(update={"halved": True}))) is None
    )


def test_other_images_have_no_twin(workspace, finished, waiting):
    assert reuse.equal_run(workspace, with_dataset(waiting, version="other")) is None


def test_boxes_by_another_segmenter_have_no_twin(workspace, finished):
    lungs = {"input": InputSpec(region="lungs")}
    first, waiting = completed(workspace, **lungs), made_run(workspace, TABLE, "Third", state=store.QUEUED, **lungs)
    segmenters.bind(workspace, first)
    assert reuse.equal_run(workspace, waiting).id == first.id
    made_segmenter(workspace)
    assert reuse.equal_run(workspace, waiting) is None


def test_a_run_of_an_earlier_way_to_train_has_no_twin(workspace, finished, waiting):
    finished.write_result({**finished.result, "training": store.TRAINING - 1})
    assert reuse.equal_run(workspace, waiting) is None


@pytest.mark.parametrize("state", [store.STOPPED, store.FAILED])
def test_a_run_that_did_not_complete_is_no_twin(workspace, finished, waiting, state):
    finished.write_status(replace(finished.status(), state=state))
    assert reuse.equal_run(workspace, waiting) is None


@pytest.mark.parametrize("name", ["head_path", "reference_path"])
def test_a_run_whose_files_were_changed_is_no_twin(workspace, finished, waiting, name):
    getattr(finished, name).write_bytes(b"changed")
    assert reuse.equal_run(workspace, waiting) is None


def test_a_run_from_before_references_is_no_twin(workspace, finished, waiting):
    """Training it again is how a user gets what newer versions can do; a copy of the old run would not."""
    finished.reference_path.unlink()
    finished.write_result({key: value for key, value in finished.result.items() if key != "reference_sha256"})
    assert reuse.equal_run(workspace, waiting) is None


def test_a_run_of_other_versions_is_no_twin(workspace, finished, waiting):
    finished.write_result({**finished.result, "versions": {**finished.result["versions"], "keras": "1.0"}})
    assert reuse.equal_run(workspace, waiting) is None


def test_an_outcome_that_was_taken_over_says_whose_it_was(workspace, finished, waiting):
    reuse.take_over(waiting, finished)
    taken = store.open_run(workspace, waiting.id)
    assert taken.result["taken_over_from"] == finished.id
    assert taken.result["versions"] == finished.result["versions"]
    assert taken.result.get("seconds") == finished.result.get("seconds")
    assert taken.predictions().equals(finished.predictions())
    assert taken.history().equals(finished.history())
    assert taken.model_path.read_bytes() == taken.reference_path.read_bytes() == b"made"
