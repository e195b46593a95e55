"""Which images stand behind a figure."""

import numpy as np
import pandas as pd
import pytest
from made_runs import all_parts, scored

from covid_core.evaluation import calibration, image_selection, metrics
from covid_core.evaluation.image_selection import ImageAnswers, image_answers

LABELS = ["A", "A", "B", "B", "B"]
FIRST = [0.9, 0.3, 0.2, 0.6, 0.99]  # scores of A
SECOND = [0.8, 0.7, 0.4, 0.1, 0.97]


def table(of_a: list[float]) -> pd.DataFrame:
    scores = np.array(of_a)
    return scored(LABELS, np.stack([scores, 1 - scores], axis=1), ["A", "B"])


@pytest.fixture
def found() -> ImageAnswers:
    return image_answers({"first": table(FIRST), "second": table(SECOND).sample(frac=1, random_state=1)})


def test_answers_of_all_runs_stand_in_the_order_of_the_images(found):
    assert found.labels.tolist() == LABELS
    assert found.called.tolist() == [["A", "A"], ["B", "A"], ["B", "B"], ["A", "B"], ["A", "A"]]
    assert found.own[:, 1] == pytest.approx([0.8, 0.7, 0.6, 0.9, 0.03])


def test_a_cell_holds_its_images_the_surest_first(found):
    assert image_selection.in_cell(found, 0, "B", "A").tolist() == [4, 3]


def test_a_bin_holds_its_images_wrong_ones_first(found):
    assert image_selection.in_bin(found, 0, 14).tolist() == [4]


def test_the_images_of_all_bins_are_all_images(found):
    assert sorted(np.concatenate([image_selection.in_bin(found, 1, number) for number in range(15)])) == [0, 1, 2, 3, 4]


def test_a_bin_of_the_calibrated_scores_holds_the_images_that_its_diagram_counts():
    tables = {name: all_parts({"validation": 60, "test": 200}, 1.5, seed) for seed, name in enumerate("ab")}
    warm = calibration.tempered(tables["b"], 2.5)
    found = image_selection.on_scale(image_answers(tables), 1, image_answers({"b": warm}), "b, calibrated")
    diagram = calibration.reliability(metrics.answers(warm, "test"))
    assert [len(image_selection.in_bin(found, 1, one.number)) for one in diagram] == [one.right.n for one in diagram]
    assert found.runs == ("a", "b, calibrated")


def test_the_scale_of_one_run_leaves_the_others_and_every_answer():
    tables = {name: all_parts({"test": 50}, 1.5, seed) for seed, name in enumerate("ab")}
    before = image_answers(tables)
    after = image_selection.on_scale(before, 1, image_answers({"b": calibration.tempered(tables["b"], 2.5)}), "b")
    for name in ("score", "own", "scores"):
        np.testing.assert_array_equal(getattr(after, name)[:, 0], getattr(before, name)[:, 0])
        assert not np.allclose(getattr(after, name)[:, 1], getattr(before, name)[:, 1])
    assert (after.called == before.called).all()


@pytest.mark.parametrize(("score", "bar"), [(0.0, 0), (0.0999, 0), (0.1, 1), (0.95, 9), (1.0, 9)])
def test_a_bar_of_the_score_histogram_holds_its_lower_end_and_the_last_one_both(score, bar):
    assert image_selection.bar_of(np.array([score])).tolist() == [bar]


def test_the_score_histogram_counts_the_images_of_each_label_in_each_bar(found):
    counts = image_selection.score_counts(found, 0, "A")
    assert len(counts) == image_selection.BARS
    assert counts["A"].to_dict() == {**dict.fromkeys(range(10), 0), 3: 1, 9: 1}
    assert counts["B"].to_dict() == {**dict.fromkeys(range(10), 0), 2: 1, 6: 1, 9: 1}


def test_the_images_of_a_bar_are_those_that_it_counts_wrong_ones_first(found):
    counts = image_selection.score_counts(found, 1, "B")
    for label in "AB":
        for bar in range(image_selection.BARS):
            assert len(image_selection.in_bar(found, 1, "B", label, bar)) == counts[label].iat[bar]
    assert image_selection.in_bar(found, 0, "A", "B", 9).tolist() == [4]
    both = image_answers({"run": scored(["A"] * 3, np.array([[0.58, 0.42], [0.41, 0.59], [0.6, 0.4]]), ["A", "B"])})
    assert image_selection.in_bar(both, 0, "B", "A", 4).tolist() == [0, 2]
    assert image_selection.in_bar(both, 0, "B", "A", 5).tolist() == [1]


def test_images_that_one_run_has_right_and_another_wrong(found):
    assert image_selection.right_in_one(found, 1, 0).tolist() == [1, 3]
    assert image_selection.right_in_one(found, 0, 1).tolist() == []


def test_the_hardest_image_is_the_one_with_the_lowest_mean_score_of_its_class(found):
    assert image_selection.hardest(found).tolist() == [4, 1, 3]


def test_errors_come_surest_first(found):
    assert image_selection.confident_errors(found, 0).tolist() == [4, 1, 3]


def test_a_label_that_all_runs_deny_is_doubtful(found):
    assert image_selection.doubtful_labels(found).tolist() == [4]


def test_one_run_alone_makes_no_label_doubtful():
    assert not len(image_selection.doubtful_labels(image_answers({"first": table(FIRST)})))


def test_a_image_without_an_answer_is_in_no_cell_and_no_bin():
    torn = table(FIRST)
    torn.loc[0, "score_A"] = np.nan
    found = image_answers({"torn": torn})
    cells = [image_selection.in_cell(found, 0, label, called) for label in "AB" for called in "AB"]
    assert 0 not in np.concatenate(cells)
    assert 0 not in np.concatenate([image_selection.in_bin(found, 0, number) for number in range(15)])
    assert 0 not in np.concatenate(
        [image_selection.in_bar(found, 0, "A", "A", bar) for bar in range(image_selection.BARS)]
    )
    assert image_selection.score_counts(found, 0, "A").to_numpy().sum() == len(LABELS) - 1
