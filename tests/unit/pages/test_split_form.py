"""What the Train page says of the halves of the validation part."""

import pandas as pd
import pytest

from covid_core.data.split import make_split
from covid_core.specs import SplitSpec
from pages.panels.train import split_form


def told(**counts: int) -> str:
    rows = [(f"{label}-{i}", label) for label, images in counts.items() for i in range(images)]
    images = pd.DataFrame(rows, columns=["image_id", "label"])
    return split_form._halves_in_words(make_split(images, tuple(counts), SplitSpec()))


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (
            {"a": 500, "b": 500, "c": 500},
            "Validation is halved: 120 images choose the epoch and the run, 120 calibrate the scores.",
        ),
        (
            {"a": 100, "b": 100, "c": 100},
            "All 48 validation images choose the epoch and calibrate the scores, because only 200 or more are halved.",
        ),
        (
            {"a": 1500, "b": 5},
            "All 241 validation images choose the epoch and calibrate the scores, because one half would lack a class.",
        ),
    ],
    ids=["many", "few", "a small class"],
)
def test_the_split_says_which_validation_images_choose_and_which_calibrate(counts, words):
    assert told(**counts) == words
