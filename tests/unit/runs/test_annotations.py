"""What people write on a run, and the number that gives it its colour for good."""

import json

import pytest
from made_runs import course_like_runs

from covid_core import presets
from covid_core.commands.main import main
from covid_core.errors import InvalidChoice
from covid_core.reports import tables
from covid_core.runs import store
from covid_core.runs.store import Run
from covid_core.workspace import Workspace


def opened(workspace: Workspace, run: Run) -> Run:
    return store.open_run(workspace, run.id)


def test_runs_get_their_numbers_oldest_first_and_keep_them(workspace):
    runs = course_like_runs(workspace, 3)
    assert [run.number for run in runs] == [0, 1, 2]
    store.files.remove_folder(runs[0].path)
    (later,) = course_like_runs(workspace, 1)
    assert later.number == 0  # that of the deleted run is free
    assert [opened(workspace, run).number for run in runs[1:]] == [1, 2]


def test_what_is_written_on_a_run_is_kept_whole_and_changes_no_figure(workspace):
    (run,) = course_like_runs(workspace, 1)
    before = run.result
    store.annotate(run, name="Final", tags=("report",), group="frozen")
    store.annotate(run, archived=True)
    again = opened(workspace, run)
    assert (again.name, again.annotation.tags, again.annotation.archived) == ("Final", ("report",), True)
    assert again.result == before and again.spec == run.spec


def test_a_name_that_is_too_long_is_refused_in_a_sentence_and_nothing_changes(workspace):
    (run,) = course_like_runs(workspace, 1)
    with pytest.raises(InvalidChoice, match="at most 80 letters"):
        store.annotate(run, name="x" * 81)
    assert opened(workspace, run).name == run.name


def test_an_archived_run_is_left_out_of_the_list_and_stays_in_its_json(workspace, capsys, monkeypatch):
    monkeypatch.setenv("COVID_CORE_HOME", str(workspace.root))
    first, second = course_like_runs(workspace, 2)
    assert main(["annotate", first.id, "--archived", "--name", "Old"]) == 0
    capsys.readouterr()
    main(["runs"])
    listed = capsys.readouterr().out
    assert second.id in listed and first.id not in listed and "1 archived" in listed
    main(["runs", "--json"])
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)["runs"]}
    assert (rows[first.id]["name"], rows[first.id]["annotation"]["archived"]) == ("Old", True)


def test_a_new_run_is_named_by_what_differs_from_the_closest_one(workspace):
    spec = course_like_runs(workspace, 1)[0].spec
    assert tables.distinct_name(spec, []) == "Baseline CNN"
    slower = spec.model_copy(update={"learning_rate": 1e-4})
    assert tables.distinct_name(slower, [spec]) == "Baseline CNN, learning rate 0.0001"
    larger = slower.model_copy(update={"batch_size": 64})
    assert tables.distinct_name(larger, [spec, slower]) == "Baseline CNN, batch size 64"


def test_a_run_for_images_from_elsewhere_is_named_so(workspace):
    spec = course_like_runs(workspace, 1)[0].spec
    elsewhere = presets.with_recipe(spec, presets.SAFER)
    assert tables.distinct_name(elsewhere, [spec]) == "Baseline CNN, holds elsewhere"
    assert tables.distinct_name(spec, [elsewhere]) == "Baseline CNN"
    slower = elsewhere.model_copy(update={"learning_rate": 1e-4})
    assert tables.distinct_name(slower, [spec, elsewhere]) == "Baseline CNN, holds elsewhere, learning rate 0.0001"
