"""Looks at test films: noted once a day, counted over the runs that share the films."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from made_runs import all_parts, made_run

from covid_core.errors import RunDamaged, RunError
from covid_core.runs import looks
from covid_core.runs.store import OPENINGS, UNREADABLE, Run

TABLE = all_parts({"train": 6, "validation": 6, "test": 6}, 1)
DAY = 24 * 3600


@pytest.fixture
def run(workspace) -> Run:
    return made_run(workspace, TABLE)


def noted(run: Run, *lines: str) -> None:
    (run.path / OPENINGS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def test_the_same_look_is_noted_once_a_day(run):
    for _ in range(3):
        run.note_look(looks.FIGURES)
    (only,) = run.openings()
    assert (only.what, only.day) == (looks.FIGURES, date.today())


def test_another_kind_of_look_is_noted_too(run):
    run.note_look(looks.FIGURES)
    run.note_look(looks.FILMS)
    assert [one.what for one in run.openings()] == [looks.FIGURES, looks.FILMS]


def test_a_look_on_another_day_is_another_look(run):
    noted(run, f'{time.time() - 2 * DAY:.0f},"{looks.FIGURES}"')
    run.note_look(looks.FIGURES)
    assert len(run.openings()) == 2


def test_lines_that_are_written_at_once_stay_whole(run):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: run.note_opening(f"outside test: {number}"), range(200)))
    assert {one.what for one in run.openings()} == {f"outside test: {number}" for number in range(200)}


@pytest.mark.parametrize("line", ["1764", "not a time", '1764000000,"torn', '1764000000,"a"1764000001,"b"'])
def test_a_torn_line_counts_as_a_look_at_an_unknown_time(run, line):
    noted(run, '1764000000,"outside test: A"', line)
    first, second = run.openings()
    assert first.what == "outside test: A"
    assert (second.what, second.day) == (UNREADABLE, None)


def test_a_run_that_cannot_be_written_is_named_and_the_others_are_noted(run, workspace):
    other = made_run(workspace, TABLE)
    other.note_opening("outside test: A")
    (run.path / OPENINGS).mkdir()  # as good as a folder without the right to write, for a test run by root too
    with pytest.raises(RunError, match="cannot be noted"):
        run.note_opening(looks.FIGURES)
    assert looks.note([run, other], looks.FIGURES) == [run]
    assert len(other.openings()) == 2


def test_looks_that_cannot_be_read_are_an_error_of_the_run(run):
    (run.path / OPENINGS).mkdir()
    with pytest.raises(RunDamaged, match="cannot be read"):
        looks.of([run])


def test_one_look_at_several_runs_is_one_look(run, workspace):
    other = made_run(workspace, TABLE)
    looks.note([run, other], looks.FIGURES)
    looks.note([run], looks.FILMS)
    found = looks.of([run, other])
    assert found[["what", "runs"]].to_numpy().tolist() == [[looks.FIGURES, 2], [looks.FILMS, 1]]


def test_looks_stand_in_the_order_of_time_those_of_unknown_time_first(run):
    noted(run, f'1764000000,"{looks.FILMS}"', f'1563000000,"{looks.FIGURES}"', "?")
    assert looks.of([run])["what"].tolist() == [UNREADABLE, looks.FIGURES, looks.FILMS]
    assert looks.of([run])["time"].tolist()[1:] == [1563000000, 1764000000]


def test_a_run_that_nobody_looked_at_has_no_looks(run):
    assert looks.of([run]).empty
    assert list(looks.of([run]).columns) == list(looks.COLUMNS)
