"""Two thousand mutations of a run's files."""

import damaged_runs
from made_runs import all_parts, made_run


def test_damage_of_any_kind_is_told_and_never_raised_as_something_else(workspace):
    run = made_run(workspace, all_parts({"train": 12, "validation": 6, "test": 6}, skill=1), "Made")
    damaged_runs.damaged(workspace, run, times=2000, seed=1)
