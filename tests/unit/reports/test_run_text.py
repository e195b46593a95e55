"""A run in plain English."""

import pytest
from made_runs import all_parts, history, made_run

from covid_core.reports import run_text
from covid_core.workspace import Workspace


@pytest.mark.parametrize(("stages", "epoch"), [((), 2), ((3,), 5)])
def test_the_epoch_of_the_weights_is_counted_over_all_stages(tmp_path, stages, epoch):
    table = all_parts({"train": 6, "validation": 6, "test": 6}, 1)
    done = history(8, stages=stages)
    run = made_run(Workspace(tmp_path), table, epochs=done, result={"best_epoch": 2, "epochs_done": 8})
    assert run_text.epochs(run).endswith(f", weights of epoch {epoch}")


@pytest.mark.parametrize(
    ("recorded", "shown"),
    [
        ("CPU", "processor"),
        ("1 GPU", "1 graphics card"),
        ("2 GPU", "2 graphics cards"),
        ("an abacus", "an abacus"),
        (f"{'9' * 400} GPU", f"{'9' * 400} GPU"),
    ],
)
def test_the_device_of_a_run_is_shown_in_words(recorded, shown):
    assert run_text.device(recorded) == shown
