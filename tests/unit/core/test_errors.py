"""Sentences for everybody name no folder of this machine."""

from pathlib import Path

import pytest
from made_runs import all_parts, made_run

from covid_core.data.imports import importing
from covid_core.errors import CovidCoreError, cause
from covid_core.runs import store
from covid_core.runs.store import Run

FILE = Path("/srv/second look/model.h5")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError(2, "No such file", str(FILE)), "No such file"),
        (OSError(f"Cannot open '{FILE}'\nand more"), "Cannot open 'model.h5'"),
        (ValueError("It is no model."), "It is no model"),
        (KeyError(), "KeyError"),
    ],
)
def test_a_cause_is_one_line_without_places(error, text):
    assert cause(error, FILE) == text


@pytest.mark.parametrize("name", ["status.json", "history.csv", "spec.json"])
def test_a_folder_where_a_file_of_a_run_should_be_is_refused_without_its_place(workspace, name):
    run = made_run(workspace, all_parts({"train": 12, "validation": 6, "test": 6}, skill=1), "Made")
    (run.path / name).unlink(missing_ok=True)
    (run.path / name).mkdir()
    with pytest.raises(CovidCoreError) as refusal:
        opened: Run = store.open_run(workspace, run.id)
        opened.status()
        opened.history()
    assert str(workspace.root) not in str(refusal.value)


@pytest.mark.parametrize("inside", [{}, {"train/x.png": b"x"}, {"a.zip": b"PK"}, {"a.csv": b""}])
def test_a_folder_that_holds_no_data_set_is_refused_without_its_place(workspace, tmp_path, inside):
    folder = tmp_path / "images"
    for name, content in inside.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    with pytest.raises(CovidCoreError) as refusal:
        importing.import_path(workspace, folder)
    assert str(tmp_path) not in str(refusal.value)
