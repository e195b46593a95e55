"""Choices: what is accepted, what is refused and in which words, and the way to JSON and back."""

import contextlib
import copy
import math
from collections.abc import Iterator
from functools import reduce

import pytest

from covid_core.errors import InvalidChoice
from covid_core.specs import AUGMENTATIONS, AugmentationSpec, FineTuning, SplitSpec, StudySpec, TrainingSpec, parse

BASE = {"dataset": "images", "classes": ("COVID", "Normal")}
FINE = {"mode": "fine_tune", "taps": "last", "fine_tuning": {"layers": 10}}


def spec(**choices) -> TrainingSpec:
    return parse(TrainingSpec, {**BASE, **choices})


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"backbone": "baseline_cnn", "name": "Läufer", "imbalance": "oversample"},
        {**FINE, "backbone": "resnet50", "augmentation": {"rotation": 10, "flip": True}},
        {"head": {"units": [128, 64], "pooling": "mean_max"}, "split": {"images_per_class": 100}, "views": None},
    ],
    ids=["default", "baseline", "fine-tuned", "head"],
)
def test_a_spec_comes_back_from_json_as_it_was(choices):
    original = spec(**choices)
    assert parse(TrainingSpec, original.model_dump_json()) == original
    assert parse(TrainingSpec, original.model_dump(mode="json")) == original


def test_a_spec_of_an_earlier_version_takes_the_labels_of_the_folders():
    fields = spec().model_dump(mode="json")
    del fields["labels"]
    assert parse(TrainingSpec, fields).labels == "folder"


def test_a_study_comes_back_from_json_as_it_was():
    study = StudySpec(name="Two", runs=(spec(), spec(seed=1)))
    assert parse(StudySpec, study.model_dump_json()) == study


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"epochs": 10**9}, r"epochs: .*1000.*received: '1000000000'"),
        ({"batch_size": 10**9}, "batch_size: .*1024"),
        ({"image_size": 10_000}, "image_size: .*512"),
        ({"image_size": 16}, "image_size: .*32"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"learning_rate": math.inf}, "learning_rate"),
        ({"epochs": "many"}, "epochs: must be a whole number, received: 'many'"),
        ({"learning_rate": 0}, "learning_rate: must be above 0"),
        ({"name": "x" * 10**6}, "name: .*80"),
        ({"seed": -1}, "seed"),
        ({"classes": ("COVID",)}, "classes: .*at least 2"),
        ({"classes": ("COVID", "COVID")}, "classes: classes must not repeat"),
        ({"backbone": "alexnet"}, "backbone must be one of mobilenet_v2, .*'alexnet'"),
        ({"weights": "noisy"}, "weights must be imagenet, random or file:PATH"),
        ({"optimizer": "lion"}, "optimizer: .*'adam'"),
        ({"head": {"dropout": 1}}, "head.dropout: must be below 1"),
        ({"head": {"units": [0]}}, r"head.units.0: must be at least 1"),
        ({"augmentation": {"rotation": 90}}, "augmentation.rotation: .*45"),
        ({"split": {"validation": 0.6, "test": 0.4}}, "at least 10 % for training"),
        ({"epoch": 5}, "epoch: Extra inputs are not permitted"),
        ({"mode": "fine_tune", "taps": "last"}, "fine_tuning belongs to mode fine_tune"),
        ({"fine_tuning": {}}, "fine_tuning belongs to mode fine_tune"),
        ({"mode": "full"}, "taps other than the last layer need mode frozen"),
        ({"views": 3}, "views belongs to augmentation with a frozen backbone"),
        ({"test_time_flip": True, "mode": "full", "taps": "last"}, "test_time_flip needs mode frozen"),
        ({"test_time_flip": True, **FINE}, "test_time_flip needs mode frozen"),
        ({"keep": "first"}, "keep: .*'best' or 'last'"),
        ({"labels": "right"}, "labels: .*'folder' or 'shifted'"),
        ({"labels": "shifted"}, "shifted labels need split.images_per_class"),
        ({"backbone": "inception_v3", "image_size": 64}, "inception_v3 needs an image_size of at least 75"),
    ],
)
def test_a_broken_rule_is_named_with_the_value(choices, words):
    with pytest.raises(InvalidChoice, match=words):
        spec(**choices)


@pytest.mark.parametrize("text", ["", "null", "[]", "{", '{"dataset": 1}', b"\xff"], ids=repr)
def test_what_is_no_spec_at_all_is_an_invalid_choice(text):
    with pytest.raises(InvalidChoice):
        parse(TrainingSpec, text)


def test_a_refusal_shows_only_the_start_of_a_long_value():
    with pytest.raises(InvalidChoice) as refusal:
        spec(name="x" * 10**6)
    assert len(str(refusal.value)) < 250


def test_a_spec_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        spec().epochs = 7


@pytest.mark.parametrize("name", ["baseline_cnn", "Baseline CNN", "baseline-cnn", "BASELINE_CNN"])
def test_the_baseline_always_learns_everything_from_nothing(name):
    chosen = spec(backbone=name)
    assert (chosen.backbone, chosen.mode, chosen.weights, chosen.taps) == ("baseline_cnn", "full", "random", "last")


def test_total_epochs_count_both_stages():
    assert spec(epochs=10, **{**FINE, "fine_tuning": {"epochs": 4}}).total_epochs == 14


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"imbalance": "none"}, "frozen backbone, middle layers"),
        ({"imbalance": "none", "taps": "last", "weights": "random"}, "frozen backbone, random start"),
        ({"backbone": "baseline_cnn"}, "trained from scratch, class weights"),
        ({"imbalance": "none", "test_time_flip": True}, "frozen backbone, middle layers, mirrored copy at test"),
        ({"imbalance": "none", "keep": "last"}, "frozen backbone, middle layers, last epoch kept"),
        (FINE, "last 10 layers fine-tuned at 0.00001, class weights"),
        ({"imbalance": "none", "taps": "last", "labels": "shifted", "split": {"images_per_class": 9}},)
        + ("frozen backbone, labels of other images",),
        ({"taps": "last", "weights": "file:/a.h5", "augmentation": {"flip": True}, "imbalance": "oversample"},)
        + ("frozen backbone, weights from a file, augmentation, oversample",),
    ],
)
def test_the_strategy_tells_what_is_special(choices, words):
    assert spec(**choices).strategy == words


def test_augmentation_is_off_until_an_amount_is_turned_up():
    assert AugmentationSpec().is_off
    assert not AugmentationSpec(brightness=0.1).is_off


@pytest.mark.parametrize(
    ("amounts", "only"),
    [({"flip": True}, True), ({}, False), ({"rotation": 5}, False), ({"flip": True, "contrast": 0.1}, False)],
    ids=["flip", "off", "turned", "flip and contrast"],
)
def test_augmentation_by_mirroring_alone_is_told_from_others(amounts, only):
    assert AugmentationSpec(**amounts).only_flips is only


def test_every_augmentation_has_a_title_a_help_text_and_a_range():
    for name, row in AUGMENTATIONS.items():
        assert row.title and row.help and row.largest > 0, name
        assert (
            AugmentationSpec(**{name: row.largest if row.unit else True}).in_words.lower().startswith(row.title.lower())
        )


def test_the_mirrored_copy_at_test_is_off_until_it_is_asked_for():
    assert not spec().test_time_flip
    assert spec(test_time_flip=True, augmentation={"flip": True}).test_time_flip


def test_the_training_part_is_what_the_others_leave():
    assert SplitSpec(validation=0.16, test=0.16).train == pytest.approx(0.68)


def test_the_smallest_training_part_is_ten_per_cent():
    assert SplitSpec(validation=0.45, test=0.45).train == pytest.approx(0.1)


def test_fine_tuning_has_limits_of_its_own():
    with pytest.raises(InvalidChoice, match="layers"):
        parse(FineTuning, {"layers": 0})


def test_a_rule_about_several_fields_does_not_print_them_all():
    with pytest.raises(InvalidChoice) as told:
        parse(TrainingSpec, {"dataset": "d", "classes": ("a", "b"), "split": {"method": "by_source"}})
    assert str(told.value) == "split: a split by source needs at least one source to hold out."


# Added backbones

ADDED = {
    "name": "own_network",
    "label": "Own network",
    "kind": "onnx",
    "sizes": [64, 640],
    "input_range": [-1024, 1024],
    "channels": 1,
    "layout": "NCHW",
    "licence": "MIT",
    "source": "here",
    "sha256": "0" * 64,
}
ON_FILE = {"backbone_file": ADDED, "image_size": 640}


def test_a_spec_on_an_added_backbone_comes_back_from_json_as_it_was():
    original = spec(**ON_FILE)
    assert original.backbone == original.network.name == "own_network" and original.network.file.channels == 1
    assert parse(TrainingSpec, original.model_dump_json()) == original


def test_a_spec_of_an_earlier_version_has_no_added_backbone():
    fields = spec().model_dump(mode="json")
    del fields["backbone_file"]
    assert parse(TrainingSpec, fields) == spec()


def test_another_backbone_that_is_chosen_later_takes_the_place_of_the_added_one():
    chosen = spec(**{**spec(**ON_FILE).model_dump(mode="json"), "backbone": "resnet50", "image_size": 224})
    assert chosen == spec(backbone="resnet50", taps="last", image_size=224)


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ({**FINE, **ON_FILE}, "frozen"),
        ({"mode": "full", "taps": "last", **ON_FILE}, "frozen"),
        ({"backbone_file": ADDED, "image_size": 224}, "64 or 640"),
        ({"image_size": 640}, "512"),
        ({"backbone_file": {**ADDED, "name": "resnet50"}, "image_size": 64}, "name: .*comes with the app"),
        ({"backbone_file": {**ADDED, "name": "../up"}, "image_size": 64}, "name: .*letters"),
        ({"backbone_file": {**ADDED, "input_range": "imagenet_mean_std"}, "image_size": 64}, "three means"),
        ({"backbone_file": {**ADDED, "input_range": [1, 0]}, "image_size": 64}, "input_range"),
        ({"backbone_file": {**ADDED, "sha256": "none"}, "image_size": 64}, "sha256: .*64 digits"),
    ],
)
def test_what_an_added_backbone_cannot_be_is_refused(choices, reason):
    with pytest.raises(InvalidChoice, match=reason):
        spec(**choices)


def places(settings: dict, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where settings stand, those within others too."""
    for name, value in settings.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from places(value, (*above, name))


ODD = (None, "Other", 3, -1, 0.5, math.inf, True, [], ["Other"], [[1]], {}, {"name": "x"})
SETTINGS = TrainingSpec(dataset="d", classes=("a", "b")).model_dump(mode="json")


@pytest.mark.parametrize("place", [*places(SETTINGS)], ids="/".join)
def test_a_value_of_any_kind_is_taken_or_refused_in_words(place):
    """Of a file that was changed by hand, or by a disk."""
    for odd in ODD:
        changed = copy.deepcopy(SETTINGS)
        reduce(dict.__getitem__, place[:-1], changed)[place[-1]] = odd
        with contextlib.suppress(InvalidChoice):
            assert isinstance(parse(TrainingSpec, changed), TrainingSpec)
