"""Whether labels are those of their images: right, cut, moved, exchanged and random ones, on short lists."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats.contingency import association

from covid_core.evaluation.label_check import LabelCheck, check, cramers_v
from covid_core.reports import run_text
from covid_core.reports.run_text import label_cause

CLASSES = ("a", "b", "c")
COURSE = {"COVID": 3616, "Normal": 10192, "Viral Pneumonia": 1345}


def of(labels: str, folders: str, **in_list: int) -> LabelCheck:
    """The check of one label and one folder per letter."""
    table = pd.DataFrame({"label": list(labels), "folder_label": list(folders)})
    return check(table, CLASSES, in_list or None)


def test_right_labels_say_nothing():
    found = of("abcabcabba", "abcabcabba", a=4, b=4, c=2)
    assert (found.images, found.wrong, label_cause(found), run_text.labels(found)) == (10, 0, "", "")


def test_right_labels_of_images_that_are_sorted_by_class_say_nothing_although_they_go_with_the_place():
    found = of("a" * 100 + "b" * 100 + "c" * 100, "a" * 100 + "b" * 100 + "c" * 100, a=900, b=900, c=900)
    assert (found.by_folder, found.by_place) == (pytest.approx(1), pytest.approx(1, abs=0.05))
    assert (found.wrong, run_text.labels(found)) == (0, "")


def test_the_courses_cut_is_named_with_its_numbers():
    table = pd.DataFrame(
        {"label": ["COVID"] * 3616 + ["Normal"] * 416, "folder_label": [label for label in COURSE for _ in range(1344)]}
    )
    assert run_text.labels(check(table, tuple(COURSE), COURSE)) == (
        "The labels belong to the first 4,032 of 15,153 images in class order, not to the training images: "
        "2,688 of 4,032 images (66.7 %) have a label that is not the class of their folder. None has the label "
        "Viral Pneumonia. Labels go with the place in the list (Cramér's V 0.98) more than with the folder (0.48)."
    )


def test_a_cut_is_found_where_the_images_are_not_sorted_by_class():
    found = of("baabaabaabab", "cabcabcabcab", a=7, b=20, c=4)
    assert label_cause(found).startswith("The labels belong to the first 12 of 31 images in class order")


def test_a_cut_to_one_class_is_named_and_goes_with_nothing():
    found = of("aaaaaa", "aabbcc", a=7, b=20, c=4)
    assert label_cause(found).startswith("The labels belong to the first 6 of 31 images")
    assert math.isnan(found.by_folder) and math.isnan(found.by_place)
    assert run_text.labels(found).endswith("4 of 6 images (66.7 %) have a label that is not the class of their folder. "
                                   "None has the label b or c.")  # fmt: skip


def test_where_the_whole_list_is_not_known_blocks_in_class_order_are_named():
    found = of("aaaaaaabbbbb", "aaaabbbbcccc")
    assert label_cause(found) == (
        "In class order the labels form 2 blocks that differ from the folders, as if taken from another list of images"
    )


@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        ("aababcbacabbacbcabca", "1 row further up"),  # something else moved in at the top
        ("babcbacabbacbcabcaaa", "1 row further down"),
        ("caaababcbacabbacbcab", "3 rows further up"),  # what moved out came in again at the other end
    ],
)
def test_labels_that_were_moved_by_some_rows_are_named_with_their_number(labels, rows):
    assert label_cause(of(labels, "ababcbacabbacbcabcaa")) == f"The labels are those of the images {rows} in the list"


def test_labels_that_were_moved_in_a_sorted_list_are_named_although_few_are_wrong():
    found = of("aaaaabbbbccc", "aaaabbbbcccc")
    assert (found.wrong, label_cause(found)) == (2, "The labels are those of the images 1 row further up in the list")


def test_exchanged_classes_are_named():
    found = of("bbbaaaccc", "aaabbbccc")
    assert (
        label_cause(found) == "All images of a folder have the label of another class: a is labelled b, b is labelled a"
    )
    assert found.by_folder == 1


def test_random_mislabelling_has_a_share_and_no_cause():
    rng = np.random.default_rng(0)
    folders = rng.permutation(list("aaaabbbbcccc" * 50))
    labels = np.where(rng.random(600) < 0.1, rng.permutation(folders), folders)
    wrong = int((labels != folders).sum())
    found = of("".join(labels), "".join(folders), a=200, b=200, c=200)
    assert (found.images, found.wrong, label_cause(found)) == (600, wrong, "")
    share = f"{100 * wrong / 600:.1f} %"
    assert (
        run_text.labels(found) == f"{wrong} of 600 images ({share}) have a label that is not the class of their folder."
    )


def test_labels_that_are_mostly_random_do_not_pass_for_those_of_places():
    rng = np.random.default_rng(3)
    found = of("".join(rng.choice(list("abc"), 90)), "a" * 30 + "b" * 30 + "c" * 30)
    assert found.by_place > found.by_folder
    assert "place" not in run_text.labels(found)


def test_a_single_wrong_label_at_the_edge_of_a_class_has_no_cause():
    found = of("aaaaabbbcccc", "aaaabbbbcccc")
    assert (found.wrong, label_cause(found)) == (1, "")


def test_without_the_class_of_the_folder_nothing_is_known():
    found = check(pd.DataFrame({"label": ["a", "b"]}), CLASSES)
    assert (found.images, found.wrong, run_text.labels(found)) == (0, 0, "")


def test_no_images_have_no_wrong_labels():
    assert run_text.labels(of("", "")) == ""


def test_cramers_v_agrees_with_scipy():
    rng = np.random.default_rng(1)
    one, other = rng.integers(0, 3, 200), rng.integers(0, 5, 200)
    table = pd.crosstab(one, other).to_numpy()
    assert cramers_v(one, other) == pytest.approx(association(table, method="cramer"), abs=1e-12)


def test_cramers_v_of_a_single_value_is_undefined():
    assert math.isnan(cramers_v(np.zeros(5, int), np.arange(5)))
