"""Tables that an audit is read by: a finding against the class, pairs against a split."""

import numpy as np
import pandas as pd
import pytest

from covid_core.audit import tables
from covid_core.audit.duplicates.duplicate_pairs import with_labels
from covid_core.audit.tables import ACROSS, ALIKE, ALL, CONFLICT, EQUAL
from covid_core.evaluation.assessment import ALPHA

LABELS = {"a1": "A", "a2": "A", "a3": "A", "a4": "A", "b1": "B", "b2": "B", "b3": "B", "b4": "B"}
PAIRS = pd.DataFrame(
    {
        "first": ["a1", "a2", "a3"],
        "second": ["a4", "b1", "b2"],
        "kind": ["exact", "near", "near"],
        "conflict": [False, True, True],
        "first_label": ["A", "A", "A"],
        "second_label": ["A", "B", "B"],
    }
)


def found(**images: str) -> pd.DataFrame:
    """Findings from the images that have each: ``text="a1 a2"``."""
    rows = [(name, finding) for finding, names in images.items() for name in names.split()]
    return pd.DataFrame(rows, columns=["image_id", "finding"])


def test_a_finding_of_one_class_only_goes_fully_with_it():
    table = tables.findings_by_class(found(text="a1 a2 a3 a4"), LABELS)
    assert table["association"].tolist() == [1, 1]
    assert dict(zip(table["label"], table["share"], strict=True)) == {"A": 1, "B": 0}


def test_the_finding_that_goes_most_with_the_class_comes_first():
    table = tables.findings_by_class(found(dark="a1 b1", text="a1 a2 a3 b1"), LABELS)
    assert list(table["finding"].unique()) == ["text", "dark"]
    assert table["association"].iat[-1] == 0


def test_files_that_are_no_images_count_for_no_class():
    assert tables.findings_by_class(found(unreadable="torn.png"), LABELS).empty


@pytest.mark.parametrize(
    ("kind", "firsts"), [(ALL, "a1 a2 a3"), (EQUAL, "a1"), (ALIKE, "a2 a3"), (CONFLICT, "a2 a3"), (ACROSS, "a3")]
)
def test_pairs_of_each_kind(kind, firsts):
    parts = {"a1": "train", "a4": "train", "a2": "test", "a3": "train", "b2": "test"}  # b1 is in no part
    chosen = tables.of_kind(tables.with_parts(PAIRS, parts), kind)
    assert " ".join(chosen["first"]) == firsts


def test_a_pair_has_the_classes_that_its_images_have_now():
    images = pd.DataFrame({"image_id": LABELS.keys(), "label": LABELS.values()})
    changed = images.replace({"label": {"B": "a"}}).query("image_id != 'a1'")
    table = with_labels(PAIRS, changed, images)
    assert table["first"].tolist() == ["a2", "a3"]  # a1 is no longer in use
    assert with_labels(PAIRS, images, changed)["conflict"].tolist() == [False] * 3  # case of letters is no conflict


def test_findings_at_random_do_not_go_with_the_class():
    wrong = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        names = [str(number) for number in range(120)]
        rows = [(name, f"finding {kind}") for kind in range(8) for name in names if rng.random() < 0.05]
        found = pd.DataFrame(rows, columns=["image_id", "finding"])
        labels = dict(zip(names, rng.choice(["a", "b", "c"], 120), strict=True))
        table = tables.findings_by_class(found, labels)
        wrong += bool((table["p"] <= ALPHA).any())
    assert wrong <= 3
