"""A name that nobody has written is an error: never silently one of the names that somebody has."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_data import made_dataset

from covid_core.audit import tables
from covid_core.figures import evidence
from covid_core.inference.network import pooled
from covid_core.lessons import outcomes, own_data, pictures
from covid_core.lessons.catalogue import LESSONS
from covid_core.nets import training
from covid_core.nets.optimizers import Optimizer
from covid_core.specs import TrainingSpec

UNKNOWN = "not written"
PAIRS = pd.DataFrame({"kind": ["exact"], "conflict": [False]})
SPEC = TrainingSpec(dataset="d", classes=("a", "b")).model_copy(update={"imbalance": UNKNOWN})
COVERED = {"covers": [{"name": UNKNOWN, "accuracy": {"value": 0.5}}]}


@pytest.mark.parametrize(
    "use",
    [
        lambda: pooled([np.zeros((1, 2, 2, 3), np.float32)], UNKNOWN),
        lambda: Optimizer(UNKNOWN, 0.1, 3),
        lambda: training._order(SPEC, np.zeros(3, int), 0)(0),
        lambda: tables.of_kind(PAIRS, UNKNOWN),
        lambda: evidence.covers(COVERED),
        lambda: pictures.of_story(replace(LESSONS[0], key=UNKNOWN)),
        lambda: outcomes.of(replace(LESSONS[0], key=UNKNOWN, trainings=()), None),
    ],
    ids=["pooling", "optimizer", "imbalance", "pairs", "cover", "story", "outcome"],
)
def test_an_unknown_name_is_an_error_that_says_it(use):
    with pytest.raises((KeyError, ValueError), match=UNKNOWN):
        use()


def test_an_unknown_lesson_finds_nothing_in_a_data_set(tmp_path):
    workspace, dataset = made_dataset(tmp_path)
    with pytest.raises(KeyError, match=UNKNOWN):
        own_data.check(replace(LESSONS[0], key=UNKNOWN), workspace, dataset)
