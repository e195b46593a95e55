"""Who is in which part: sizes, shares, chance, and the hash that says that two runs were tested on the same films."""

import numpy as np
import pandas as pd
import pytest

from covid_core.data.split import PARTS, make_split, split_hash
from covid_core.errors import DataError
from covid_core.specs import SplitSpec


def films(**counts: int) -> pd.DataFrame:
    rows = [(f"{label}/{i}", label) for label, count in counts.items() for i in range(count)]
    return pd.DataFrame(rows, columns=["image_id", "label"])


def sizes(split: pd.DataFrame) -> dict[str, int]:
    return split["part"].value_counts().to_dict()


def split_of(spec: SplitSpec | None = None, **counts: int) -> pd.DataFrame:
    return make_split(films(**counts), tuple(counts), spec or SplitSpec())


def test_parts_have_the_sizes_of_the_course_study():
    split = split_of(a=1344, b=1344, c=1344)
    assert sizes(split) == {"train": 2741, "validation": 645, "test": 646}


def test_every_film_of_the_classes_is_in_exactly_one_part():
    table = films(a=30, b=20, c=10)
    split = make_split(table, ("a", "b"), SplitSpec())
    assert split["image_id"].tolist() == table["image_id"].tolist()[:50]
    assert set(split["part"]) == set(PARTS)


def test_every_part_has_the_classes_shares():
    split = split_of(a=700, b=200, c=100)
    shares = split.groupby("part")["label"].value_counts(normalize=True).unstack()
    assert np.abs(shares - [0.7, 0.2, 0.1]).max().max() < 0.01


def test_equal_seeds_give_equal_splits_and_others_do_not():
    first, again = split_of(a=50, b=50), split_of(a=50, b=50)
    other = split_of(SplitSpec(seed=7), a=50, b=50)
    assert first.equals(again)
    assert not first["part"].equals(other["part"])


def test_a_balanced_subset_is_drawn_before_the_split():
    split = split_of(SplitSpec(films_per_class=20), a=100, b=50, c=15)
    assert split["label"].value_counts().to_dict() == {"a": 20, "b": 20, "c": 15}


def test_a_balanced_subset_is_not_just_the_first_films():
    split = split_of(SplitSpec(films_per_class=20), a=1000, b=20)
    numbers = split.loc[split["label"] == "a", "image_id"].str.removeprefix("a/").astype(int)
    assert numbers.max() > 100


@pytest.mark.parametrize("share", [(0.6, 0.3), (0.3, 0.6), (0.02, 0.02), (0.16, 0.16)], ids=str)
def test_no_part_lacks_a_class_however_small(share):
    validation, test = share
    rng = np.random.default_rng(0)
    for seed in range(200):
        counts = {label: int(rng.integers(3, 40)) for label in "abcde"[: rng.integers(2, 6)]}
        split = split_of(SplitSpec(validation=validation, test=test, seed=seed), **counts)
        assert split.groupby("part")["label"].nunique().to_dict() == dict.fromkeys(PARTS, len(counts)), counts


@pytest.mark.parametrize("count", [0, 2])
def test_a_class_with_fewer_films_than_parts_is_refused(count):
    with pytest.raises(DataError, match=f"The class 'b' has {count} films; this split needs 3 at least"):
        make_split(films(a=10, b=count), ("a", "b"), SplitSpec())


def test_the_hash_depends_on_who_is_where_and_on_nothing_else():
    split = split_of(a=10, b=10)
    moved = split.assign(part=np.roll(split["part"], 1))
    assert split_hash(split) == split_hash(split.assign(group="patient"))
    assert split_hash(split) != split_hash(moved)


def test_the_hash_of_a_known_split_stays_what_it_was():
    """Runs of earlier versions pin it: another hash would make their splits unreadable."""
    split = pd.DataFrame({"image_id": ["a/1", "b/1"], "label": ["a", "b"], "part": ["train", "test"]})
    assert split_hash(split).startswith("560732885c70400e")


def test_the_split_of_a_known_seed_stays_what_it_was():
    assert split_hash(split_of(a=12, b=9)).startswith("e6b4418637641b00")


# Folds


def test_the_folds_of_a_seed_test_every_film_once():
    parts = [split_of(SplitSpec(folds=5, fold=fold), a=53, b=31, c=17) for fold in range(5)]
    times = sum((part["part"] == "test").astype(int) for part in parts)
    assert times.tolist() == [1] * 101


def test_folds_are_equal_in_size_and_classes():
    for fold in range(5):
        test = split_of(SplitSpec(folds=5, fold=fold), a=50, b=30, c=20).query("part == 'test'")
        assert test["label"].value_counts().to_dict() == {"a": 10, "b": 6, "c": 4}


def test_a_folds_validation_part_is_drawn_from_what_is_not_tested():
    split = split_of(SplitSpec(folds=4, fold=2, validation=0.1), a=100, b=100)
    assert sizes(split) == {"train": 130, "validation": 20, "test": 50}


def test_a_class_with_fewer_films_than_folds_is_refused():
    with pytest.raises(DataError, match="The class 'b' has 4 films; this split needs 5 at least"):
        split_of(SplitSpec(folds=5), a=50, b=4)
