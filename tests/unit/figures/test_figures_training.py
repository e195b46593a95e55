"""Curves of one run."""

import pandas as pd
import pytest

from covid_core.figures import training
from covid_core.runs.store import HISTORY_COLUMNS


def history(*rows: tuple[str, float]) -> pd.DataFrame:
    """Epochs given as (stage, validation loss)."""
    values = [(stage, i, 1.0, 0.5, loss, 0.6, 1e-3, 2.0) for i, (stage, loss) in enumerate(rows, start=1)]
    return pd.DataFrame(values, columns=list(HISTORY_COLUMNS))


def test_the_epoch_with_the_lowest_validation_loss_is_kept():
    assert training.weights_epoch(history(("head", 0.9), ("head", 0.4), ("head", 0.6))) == 1


def test_a_new_stage_starts_its_own_search_for_the_epoch_to_keep():
    assert training.weights_epoch(history(("head", 0.3), ("last layers", 0.5), ("last layers", 0.7))) == 1


@pytest.mark.parametrize(("quantity", "highest"), [("accuracy", 60), ("loss", 0.9)])
def test_validation_is_drawn_as_per_cent_only_where_it_is_a_share(quantity, highest):
    figure = training.run_curves(history(("head", 0.9), ("head", 0.4)), quantity)
    assert max(figure.data[1].y) == highest


def test_the_last_epoch_is_marked_where_it_is_kept():
    assert training.weights_epoch(history(("head", 0.9), ("head", 0.4), ("head", 0.6)), "last") == 2


def test_epochs_of_a_second_stage_are_counted_on():
    figure = training.run_curves(history(("head", 0.9), ("last layers", 0.4)), "loss")
    assert list(figure.data[0].x) == [1, 2]


def test_a_line_marks_where_a_stage_begins():
    figure = training.run_curves(history(("head", 0.9), ("head", 0.5), ("last layers", 0.4)), "loss")
    assert [shape.x0 for shape in figure.layout.shapes] == [2.5]


def test_a_run_of_one_stage_has_no_such_line():
    assert not training.run_curves(history(("head", 0.9), ("head", 0.5)), "loss").layout.shapes
