"""The course's label mistake: a list of all labels, cut to the number of images drawn and put beside these."""

import numpy as np
import pytest

from covid_core.data.label_shift import cut_off
from covid_core.errors import DataError

CLASSES = ("a", "b", "c")


def cut(folders: str, classes: tuple[str, ...] = CLASSES, **in_list: int) -> str:
    return "".join(cut_off(np.array(list(folders), dtype=object), in_list, classes))


def test_the_first_labels_of_the_list_stand_beside_the_images_in_class_order():
    assert cut("aabbcc", a=4, b=9, c=2) == "aaaabb"


def test_images_in_another_order_get_the_labels_of_their_places_in_class_order():
    assert cut("cabcab", a=4, b=9, c=2) == "baabaa"


def test_the_order_of_the_classes_decides_which_come_first():
    assert cut("aabbcc", ("c", "b", "a"), a=4, b=9, c=2) == "bbbbcc"


def test_a_long_first_class_leaves_no_label_for_the_others():
    assert cut("aabbcc", a=100, b=9, c=2) == "aaaaaa"


def test_a_cut_that_shifts_nothing_is_refused():
    with pytest.raises(DataError, match="The first 6 labels of the list are those of the images that were drawn"):
        cut("aabbcc", a=2, b=2, c=9)
