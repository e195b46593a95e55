"""The score card's own rules: what was not measured is neither held nor missed."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import scorecard
from benchmarks.reliability import dependencies, load
from benchmarks.reliability.place import Measured, Place, Unmeasured

SOUND = {"name": "a", "version": "1", "vulns": []}
FLAWED = {"name": "b", "version": "1", "vulns": [{"id": "CVE-1"}]}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


def answered(monkeypatch, tmp_path: Path, measure) -> dict:
    monkeypatch.setitem(scorecard.CHECKS, 7, scorecard.Check("what", "target", measure))
    return scorecard.answered(Place(tmp_path, quick=True), 7)


def breaks_off(_place: Place) -> Measured:
    raise OSError("no such thing")


def cannot(_place: Place) -> Measured:
    raise Unmeasured("no browser")


def test_the_checks_are_numbered_without_a_gap():
    assert list(scorecard.CHECKS) == list(range(1, len(scorecard.CHECKS) + 1))


@pytest.mark.parametrize("measure", [breaks_off, cannot])
def test_what_was_not_measured_is_neither_held_nor_missed_and_says_why(monkeypatch, tmp_path, measure):
    answer = answered(monkeypatch, tmp_path, measure)
    assert answer["held"] is None and answer["reason"]


def test_a_line_is_json_with_check_figure_target_and_held(monkeypatch, tmp_path):
    answer = answered(monkeypatch, tmp_path, lambda _: Measured({"files": 3}, True))
    assert json.loads(json.dumps(answer)) == answer
    assert (answer["check"], answer["figure"], answer["target"], answer["held"]) == (7, {"files": 3}, "target", True)


def test_the_table_shows_held_missed_and_not_measured_apart(monkeypatch, tmp_path):
    answers = {
        held: {"what": "w", "figure": {}, "reason": "", "target": "t", "held": held} for held in (True, False, None)
    }
    rows = scorecard.table(dict(enumerate(answers.values()))).splitlines()[2:]
    assert len({row.rpartition("t |")[2] for row in rows}) == 3


@pytest.mark.parametrize(
    ("packages", "held"),
    [([SOUND], True), ([SOUND, FLAWED], False), ([SOUND, UNKNOWN], None), ([FLAWED, UNKNOWN], False)],
)
def test_dependencies_are_held_where_the_database_knows_all_and_blames_none(packages, held):
    assert dependencies.judged(packages).held is held


def test_a_database_that_knows_no_package_is_none():
    with pytest.raises(Unmeasured):
        dependencies.judged([UNKNOWN])


def test_a_slope_is_that_of_the_line_with_no_error():
    hours = np.linspace(0, 1, 20)
    slope, error = load.slope_of(hours, 3 * hours + 5)
    assert (slope, error) == (pytest.approx(3), pytest.approx(0, abs=1e-6))


def test_what_sessions_take_is_no_part_of_the_slope():
    hours, sessions = np.linspace(0, 1, 50), np.arange(50) % 7
    assert load.slope_of(hours, 3 * hours + 0.1 * sessions, sessions)[0] == pytest.approx(3)
