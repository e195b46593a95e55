"""Who is in which part: sizes, shares, chance, and the hash that says that two runs were tested on the same images."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from covid_core.data.split import (
    CALIBRATION,
    HALVED_FROM,
    HALVES,
    PARTS,
    SELECTION,
    halves,
    make_split,
    sources_that_stay,
    sources_to_hold_out,
    split_hash,
    validation_for,
)
from covid_core.errors import DataError
from covid_core.specs import SplitSpec


def images(**counts: int) -> pd.DataFrame:
    rows = [(f"{label}/{i}", label) for label, count in counts.items() for i in range(count)]
    return pd.DataFrame(rows, columns=["image_id", "label"])


def sizes(split: pd.DataFrame) -> dict[str, int]:
    return split["part"].value_counts().to_dict()


def split_of(spec: SplitSpec | None = None, **counts: int) -> pd.DataFrame:
    return make_split(images(**counts), tuple(counts), spec or SplitSpec())


def test_parts_have_the_sizes_of_the_course_study():
    split = split_of(a=1344, b=1344, c=1344)
    assert sizes(split) == {"train": 2741, "validation": 645, "test": 646}


def test_every_image_of_the_classes_is_in_exactly_one_part():
    table = images(a=30, b=20, c=10)
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
    split = split_of(SplitSpec(images_per_class=20), a=100, b=50, c=15)
    assert split["label"].value_counts().to_dict() == {"a": 20, "b": 20, "c": 15}


def test_a_balanced_subset_is_not_just_the_first_images():
    split = split_of(SplitSpec(images_per_class=20), a=1000, b=20)
    numbers = split.loc[split["label"] == "a", "image_id"].str.removeprefix("a/").astype(int)
    assert numbers.max() > 100


@pytest.mark.parametrize("share", [(0.6, 0.3), (0.3, 0.6), (0.02, 0.02), (0.16, 0.16)], ids=str)
def test_no_part_lacks_a_class_however_small(share):
    validation, test = share
    rng = np.random.default_rng(0)
    for seed in range(50):
        counts = {label: int(rng.integers(3, 40)) for label in "abcde"[: rng.integers(2, 6)]}
        split = split_of(SplitSpec(validation=validation, test=test, seed=seed), **counts)
        assert split.groupby("part")["label"].nunique().to_dict() == dict.fromkeys(PARTS, len(counts)), counts


@pytest.mark.parametrize("count", [0, 2])
def test_a_class_with_fewer_images_than_parts_is_refused(count):
    with pytest.raises(DataError, match=f"The class 'b' has {count} images; this split needs 3 at least"):
        make_split(images(a=10, b=count), ("a", "b"), SplitSpec())


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


# Labels


def shifted(per_class: int, **counts: int) -> pd.DataFrame:
    """The split of the course's label mistake."""
    return make_split(images(**counts), tuple(counts), SplitSpec(images_per_class=per_class), "shifted")


def test_the_courses_mistake_has_its_counts():
    split = shifted(1344, COVID=3616, Normal=10192, Viral=1345)
    assert sizes(split) == {"train": 2741, "validation": 645, "test": 646}
    assert split["label"].value_counts().to_dict() == {"COVID": 3616, "Normal": 416}
    assert split["folder_label"].value_counts().to_dict() == {"COVID": 1344, "Normal": 1344, "Viral": 1344}
    assert (split[split["part"] == "test"]["label"] == "COVID").sum() == 579


def test_shifted_labels_stand_beside_the_images_that_right_ones_would_have_been_drawn_for():
    right = split_of(SplitSpec(images_per_class=20), a=90, b=40, c=25)
    wrong = shifted(20, a=30, b=40, c=25)
    assert right["folder_label"].equals(right["label"])
    assert wrong["folder_label"].equals(right["label"])
    assert wrong["label"].tolist() == ["a"] * 30 + ["b"] * 30


def test_a_class_that_the_cut_leaves_too_few_labels_is_refused_and_one_without_any_is_not():
    assert set(shifted(20, a=57, b=40, c=25)["label"]) == {"a", "b"}
    with pytest.raises(DataError, match="The class 'b' has 2 images"):
        shifted(20, a=58, b=40, c=25)


def test_shifted_labels_are_another_split_than_right_ones():
    right = split_of(SplitSpec(images_per_class=20), a=90, b=40, c=25)
    assert split_hash(right) != split_hash(shifted(20, a=90, b=40, c=25))


# Folds


def test_the_folds_of_a_seed_test_every_image_once():
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


def test_a_class_with_fewer_images_than_folds_is_refused():
    with pytest.raises(DataError, match="The class 'b' has 4 images; this split needs 5 at least"):
        split_of(SplitSpec(folds=5), a=50, b=4)


# Groups


def grouped(groups: list[tuple[str, int]]) -> pd.DataFrame:
    """Images in groups: the class and the number of images of each."""
    rows = [(f"{g}-{i}", label, f"{g}") for g, (label, size) in enumerate(groups) for i in range(size)]
    return pd.DataFrame(rows, columns=["image_id", "label", "group"])


@some.composite
def tables(draw) -> pd.DataFrame:
    """Images of three classes in groups of one to five, some of them across classes, from up to four sources."""
    images = grouped([(label, draw(some.integers(1, 5))) for label in "abc" for _ in range(draw(some.integers(8, 30)))])
    rng = np.random.default_rng(draw(some.integers(0, 2**32 - 1)))
    source = rng.choice(list("wxyz")[: draw(some.integers(2, 4))], len(images))
    crossing = rng.random(len(images)) < draw(some.sampled_from([0.0, 0.02]))
    return images.assign(source=source, label=np.where(crossing, rng.choice(list("abc"), len(images)), images["label"]))


SEEDS = some.integers(0, 2**32 - 1)


def or_refused(images: pd.DataFrame, spec: SplitSpec) -> pd.DataFrame | None:
    """The split; nothing where it says that these images cannot be split so."""
    try:
        return make_split(images, ("a", "b", "c"), spec)
    except DataError:
        return None


@given(images=tables(), seed=SEEDS, folds=some.sampled_from([1, 2, 5]))
def test_no_group_crosses_parts(images, seed, folds):
    split = or_refused(images, SplitSpec(seed=seed, folds=folds))
    if split is not None:
        assert split.groupby("group")["part"].nunique().max() == 1
        assert split["image_id"].tolist() == images["image_id"].tolist()


@given(images=tables(), seed=SEEDS, held_out=some.sampled_from([("w",), ("x",), ("w", "x")]))
def test_no_held_out_source_is_trained_or_validated_on(images, seed, held_out):
    spec = SplitSpec(method="by_source", held_out=held_out, seed=seed)
    split = or_refused(images, spec)
    if split is not None:
        away = split[split["source"].isin(held_out) & ~split["label"].isin(list(sources_that_stay(split, spec)))]
        assert set(away["part"]) <= {"test"}
        assert split.groupby("group")["part"].nunique().max() == 1


@given(images=tables(), seed=SEEDS)
def test_the_folds_of_grouped_images_test_every_image_once(images, seed):
    splits = [or_refused(images, SplitSpec(seed=seed, folds=3, fold=fold)) for fold in range(3)]
    if all(split is not None for split in splits):
        assert (sum((split["part"] == "test").astype(int) for split in splits) == 1).all()


def test_grouped_parts_have_nearly_the_sizes_that_were_asked_for():
    images = grouped([(label, size) for label in "ab" for size in [1, 2, 3] * 100])
    split = make_split(images, ("a", "b"), SplitSpec(test=0.2, validation=0.1))
    assert sizes(split) == pytest.approx({"train": 840, "validation": 120, "test": 240}, abs=3)


def test_images_without_twins_are_split_as_they_always_were():
    table = images(a=53, b=31)
    alone = make_split(table.assign(group=table["image_id"]), ("a", "b"), SplitSpec())
    assert split_hash(alone) == split_hash(make_split(table, ("a", "b"), SplitSpec(method="stratified")))


def test_image_by_image_ignores_groups():
    images = grouped([(label, 4) for label in "ab" for _ in range(30)])
    split = make_split(images, ("a", "b"), SplitSpec(method="stratified"))
    assert (split["group"] == split["image_id"]).all()
    assert split.assign(group=images["group"]).groupby("group")["part"].nunique().max() > 1


def test_a_class_of_too_few_groups_is_refused_with_their_number():
    images = grouped([("a", 1)] * 30 + [("b", 20), ("b", 20)])
    with pytest.raises(DataError, match="The images of the class 'b' belong to 2 groups, too few or too unequal"):
        make_split(images, ("a", "b"), SplitSpec())


# Sources


def from_sources(**counts: dict[str, int]) -> pd.DataFrame:
    rows = [
        (f"{label}/{source}/{i}", label, source)
        for label, sources in counts.items()
        for source, images in sources.items()
        for i in range(images)
    ]
    return pd.DataFrame(rows, columns=["image_id", "label", "source"])


def test_the_test_part_holds_all_images_of_the_held_out_source_and_no_other_of_these_classes():
    table = from_sources(a={"one": 50, "two": 20}, b={"one": 40, "two": 10})
    split = make_split(table, ("a", "b"), SplitSpec(method="by_source", held_out=("two",)))
    assert set(split.loc[split["part"] == "test", "source"]) == {"two"}
    assert sizes(split)["test"] == 30


def test_a_large_source_that_is_held_out_leaves_the_other_parts_their_proportion():
    table = from_sources(a={"one": 42, "two": 500}, b={"one": 42, "two": 500})
    split = make_split(table, ("a", "b"), SplitSpec(method="by_source", held_out=("two",)))
    assert sizes(split) == {"train": 68, "validation": 16, "test": 1000}


def test_sources_that_can_be_held_out_have_enough_images_of_two_classes():
    table = from_sources(a={"one": 50, "two": 20, "three": 9, "": 30}, b={"two": 100, "one": 10, "three": 40, "": 30})
    assert sources_to_hold_out(table, ("a", "b")) == ["two", "one"]
    assert sources_to_hold_out(table[table["source"] != "one"], ("a", "b")) == []


def test_a_class_with_one_source_only_gives_a_share_of_its_images():
    table = from_sources(a={"one": 50, "two": 20}, b={"two": 100})
    spec = SplitSpec(method="by_source", held_out=("two",), test=0.2)
    split = make_split(table, ("a", "b"), spec)
    assert sources_that_stay(table, spec) == {"b": "two"}
    assert split.groupby(["label", "part"]).size()[("b", "test")] == 20
    assert split.groupby(["label", "part"]).size()[("a", "test")] == 20


def test_holding_out_all_sources_of_a_class_is_refused():
    table = from_sources(a={"one": 50, "two": 20}, b={"one": 50, "three": 20})
    with pytest.raises(DataError, match="All images of the class 'a' come from held-out sources"):
        make_split(table, ("a", "b"), SplitSpec(method="by_source", held_out=("one", "two")))


def test_a_source_that_no_class_can_do_without_is_refused():
    table = from_sources(a={"one": 50}, b={"two": 50})
    with pytest.raises(DataError, match="none of them can be held out"):
        make_split(table, ("a", "b"), SplitSpec(method="by_source", held_out=("two",)))


# Halves of the validation part


def validation_of(images: pd.DataFrame) -> pd.DataFrame:
    """A split of nothing but validation images."""
    return images.assign(part="validation", group=images.get("group", images["image_id"]))


def test_a_large_validation_part_is_halved_class_by_class():
    split = split_of(a=2001, b=801, c=203)
    counts = pd.crosstab(split["label"], split["half"])
    assert (counts["selection"] - counts["calibration"]).abs().max() <= 1
    assert (split["half"] != "").equals(split["part"] == "validation")


@pytest.mark.parametrize(("images_of_a", "halved"), [(HALVED_FROM - 51, False), (HALVED_FROM - 50, True)])
def test_fewer_than_200_validation_images_stay_together(images_of_a, halved):
    half = halves(validation_of(images(a=images_of_a, b=50)), seed=0)
    assert (half != "").all() if halved else (half == "").all()


@settings(deadline=None)  # a busy machine is no failure
@given(SEEDS, some.lists(some.integers(1, 5), min_size=150, max_size=250))
def test_no_group_crosses_the_halves(seed, group_sizes):
    split = validation_of(grouped([("abc"[number % 3], size) for number, size in enumerate(group_sizes)]))
    half = halves(split, seed)
    assert split.groupby("group")["image_id"].size().sum() == len(split)
    assert pd.Series(half).groupby(split["group"].to_numpy()).nunique().max() == 1
    if len(split) >= HALVED_FROM:
        assert pd.crosstab(split["label"], half).diff(axis=1).iloc[:, 1].abs().max() <= 5


def test_the_halves_depend_on_the_seed_alone():
    split = validation_of(images(a=150, b=150))
    assert (halves(split, 1) == halves(split, 1)).all()
    assert (halves(split, 1) != halves(split, 2)).any()


def test_halving_moves_no_image_to_another_part():
    """The hash that earlier versions wrote holds for the halved split too."""
    split = split_of(a=1344, b=1344, c=1344)
    assert set(split["half"]) == {"", *HALVES}
    assert split_hash(split) == split_hash(split.drop(columns="half"))


def test_validation_stays_whole_where_a_half_would_lack_a_class():
    assert (halves(validation_of(images(a=300, b=1)), seed=0) == "").all()


@pytest.mark.parametrize("column", [True, False], ids=["not halved", "from before halves"])
def test_images_that_are_not_halved_serve_for_both(column):
    split = split_of(a=50, b=50) if column else split_of(a=50, b=50).drop(columns="half")
    for half in HALVES:
        assert (validation_for(split, half) == (split["part"] == "validation")).all()


def test_each_half_serves_for_one_thing():
    split = split_of(a=1000, b=1000)
    choose, calibrate = validation_for(split, SELECTION), validation_for(split, CALIBRATION)
    assert not (choose & calibrate).any()
    assert ((choose | calibrate) == (split["part"] == "validation")).all()


def given(parts: str, **spec) -> pd.DataFrame:
    """A split as given of images whose parts are named by letters, two classes with the same parts."""
    named = {"r": "train", "v": "validation", "t": "test", "-": ""}
    rows = [(f"{label}/{n}", label, named[part]) for label in "ab" for n, part in enumerate(parts)]
    images = pd.DataFrame(rows, columns=["image_id", "label", "given_part"])
    return make_split(images, ("a", "b"), SplitSpec(method="given", **spec))


def test_a_split_of_the_authors_is_taken_as_it_is():
    assert given("rrvt")["part"].tolist() == ["train", "train", "validation", "test"] * 2


def test_where_the_authors_validated_on_nothing_it_is_drawn_from_their_training_part():
    made = given("r" * 20 + "t" * 5, validation=0.2)
    assert (made["part"] == "validation").sum() == 10
    assert made.loc[made["image_id"].isin([f"a/{n}" for n in range(20, 25)]), "part"].tolist() == ["test"] * 5


def test_images_that_the_authors_put_nowhere_are_left_out():
    assert len(given("rrv-t")) == 8


def test_without_a_test_part_of_the_authors_there_is_no_split_as_given():
    with pytest.raises(DataError, match="no split of their authors"):
        given("rrrv")
