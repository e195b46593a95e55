"""What the layers below put as a typed reason, in words: each kind has some, and words stored earlier stay."""

from typing import get_args

import pytest

from covid_core.audit.dataset_audit import Outdated
from covid_core.audit.shortcuts.probe_ladder import Ladder, Probe, Reason, Rung, Why
from covid_core.data.masks import NoLungs
from covid_core.evaluation.assessment import Mark
from covid_core.evaluation.metrics import Cause, Gap, Measure
from covid_core.evaluation.repeats import ImageChoice
from covid_core.reports import audit_text, comparison_text, run_text
from covid_core.reports.encode import encode
from covid_core.runs.pinned_dataset import Missing, Version

EARLIER = "Words of an earlier version."


@pytest.mark.parametrize(
    ("table", "kinds"),
    [
        (comparison_text.GAPS, Cause),
        (comparison_text.MARKS, Mark),
        (run_text.MISSING, Missing),
        (audit_text.OUTDATED, Outdated),
    ],
    ids=["gaps", "marks", "missing", "outdated"],
)
def test_every_kind_of_reason_has_words(table, kinds):
    assert set(table) == set(get_args(kinds))


def test_every_reason_of_an_audit_has_words():
    assert set(audit_text.REASONS) == {*get_args(Why), *get_args(NoLungs)}
    reasons = [Reason(why, ("A", "B"), (3, 2), 35, 70, 10, "It is damaged.") for why in audit_text.REASONS]
    written = [audit_text.reason(one) for one in reasons]
    assert all(text.endswith(".") and "{" not in text for text in written)
    assert "Too few images have known lungs: 3 of A, 2 of B." in written
    assert "Measured on 35 of 70 images, drawn by class." in written


def test_a_gap_in_words():
    measure = Measure(0.5, note=(Gap("none of class", "A", left_out=True), Gap("not numbers", "B", left_out=True)))
    words = "A is left out: no image of this part is A; B is left out: some scores are not numbers"
    assert comparison_text.note(measure) == encode(measure)["note"] == words


def test_words_that_an_earlier_version_stored_are_written_as_they_are():
    rung = Rung(Probe("border", "Border pixels", "the border", "no lungs"), reason=EARLIER)
    stored = encode(Ladder(("A", "B"), 0, (rung,), EARLIER))
    assert (stored["note"], stored["rungs"][0]["reason"], encode(Measure(0.5, note=EARLIER))["note"]) == (EARLIER,) * 3


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (ImageChoice("X", 50, (), 1, 0, 0.2, True, 3, True), "X, 50 per class: 20 % of the images, groups kept "),
        (
            ImageChoice("X", 0, ("a", "b"), 1, 0, 0.2, True, 3, False),
            "X: held-out 2 sources a, b, groups kept together",
        ),
        (ImageChoice("X", 0, (), 5, 1, 0.2, False, 3, False), "X: fold 2 of 5, seed 3"),
        (ImageChoice("X", 0, (), 5, None, 0.2, False, 3, False), "X: 5 folds, seed 3"),
    ],
)
def test_the_images_of_a_run_in_words(chosen, words):
    assert run_text.images(chosen).startswith(words)


@pytest.mark.parametrize(
    ("used", "words"),
    [
        (Version(0, 0), "as imported"),
        (Version(0, 1), "before its decision"),
        (Version(1, 1), "after its decision"),
        (Version(2, 5), "before 3 of 5 decisions"),
        (Version(0, 5), "before all 5 decisions"),
        (Version(5, 5), "after all 5 decisions"),
        (Version(None), "its data set is not here any more"),
        (Version(None, missing="replaced"), "another data set has its place"),
    ],
    ids=lambda value: "" if isinstance(value, str) else f"{value.before} of {value.decided}",
)
def test_the_version_of_a_data_set_in_words(used, words):
    assert run_text.version(used) == words
