"""Ready-made studies and the spec that one click trains."""

import pytest

from covid_core import presets
from covid_core.backbones import BACKBONES
from covid_core.data.imports import importing
from covid_core.errors import InvalidChoice
from covid_core.specs import AugmentationSpec, SplitSpec, StudySpec, TrainingSpec, parse

CLASSES = ("COVID", "Normal", "Viral Pneumonia")
COUNTS = {"COVID": 3616, "Normal": 10192, "Viral Pneumonia": 1345}


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """A machine without cached weights and without a network."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(presets, "can_be_reached", lambda url: False)
    return tmp_path


def course_augmentation() -> AugmentationSpec:
    return AugmentationSpec(rotation=15, shift_x=0.1, shift_y=0.1, zoom=0.1, flip=True)


def course(**options) -> StudySpec:
    return presets.study("course", "images", CLASSES, COUNTS, **options)


def spec(**choices) -> TrainingSpec:
    return parse(TrainingSpec, {"dataset": "images", "classes": CLASSES, **choices})


def test_the_course_study_has_its_seven_runs():
    assert [run.name for run in course().runs] == [
        "Baseline CNN",
        "ResNet50, frozen",
        "ResNet50, last 10 layers",
        "VGG16",
        "DenseNet121",
        "MobileNetV2",
        "MobileNetV2, augmented",
    ]


def test_the_course_study_takes_as_many_images_of_each_class_as_the_course():
    assert course().runs[0].split.images_per_class == 1344


def test_the_course_study_takes_no_more_images_than_the_smallest_class_has():
    counts = {"COVID": 90, "Normal": 240, "Viral Pneumonia": 35}
    assert presets.study("course", "images", CLASSES, counts).runs[0].split.images_per_class == 35


def test_only_the_chosen_classes_decide_how_many_images_are_taken():
    counts = {"COVID": 90, "Normal": 240, "Viral Pneumonia": 35}
    assert presets.study("course", "images", ("COVID", "Normal"), counts).runs[0].split.images_per_class == 90


def test_a_class_too_small_to_split_is_refused():
    with pytest.raises(InvalidChoice, match="images_per_class"):
        presets.study("course", "images", CLASSES, COUNTS | {"COVID": 2})


@pytest.mark.parametrize("preset", [name for name, one in presets.STUDY_PRESETS.items() if not one.by_source])
def test_all_runs_of_a_study_share_one_split(preset):
    runs = presets.study(preset, "images", CLASSES, COUNTS).runs
    assert len({run.split for run in runs}) == 1


def test_a_study_by_source_holds_out_each_source_in_turn():
    runs = presets.study("sources", "images", CLASSES, COUNTS, sources=["A", "B"], overrides={"split.seed": "3"}).runs
    assert [(run.name, run.split.method, run.split.held_out, run.split.seed) for run in runs] == [
        ("Without A", "by_source", ("A",), 3),
        ("Without B", "by_source", ("B",), 3),
    ]


def test_a_study_by_source_needs_two_sources():
    with pytest.raises(InvalidChoice, match="two sources"):
        presets.study("sources", "images", CLASSES, COUNTS, sources=["A"])


def test_the_course_splits_as_the_course_did():
    assert course().runs[0].split == SplitSpec(
        method="stratified", validation=0.16, test=0.16, seed=1987, images_per_class=1344
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("optimizer", "adam"),
        ("batch_size", 16),
        ("epochs", 5),
        ("image_size", 128),
        ("patience", 0),
        ("imbalance", "none"),
    ],
)
def test_all_runs_of_the_course_share_its_settings(field, value):
    assert {getattr(run, field) for run in course().runs} == {value}


def test_only_the_baseline_of_the_course_learns_at_the_higher_rate():
    assert [run.learning_rate for run in course().runs] == [1e-3] + 6 * [1e-4]


def test_pretrained_runs_of_the_course_read_the_last_layer_of_a_frozen_backbone():
    run = course().runs[1]
    assert (run.mode, run.taps, run.weights, run.head.units) == ("frozen", "last", "imagenet", (128,))


def test_the_fine_tuned_run_of_the_course_goes_on_with_ten_layers():
    tuning = course().runs[2].fine_tuning
    assert (tuning.layers, tuning.learning_rate, tuning.epochs) == (10, 1e-5, 5)


def test_only_the_last_run_of_the_course_is_augmented():
    assert [run.augmentation.is_off for run in course().runs] == 6 * [True] + [False]


def test_the_backbones_study_has_every_pretrained_backbone_once():
    runs = presets.study("backbones", "images", CLASSES, COUNTS).runs
    assert {run.backbone for run in runs} == {name for name, one in BACKBONES.items() if one.pretrained}


def test_a_study_is_called_after_its_preset_when_it_has_no_name():
    assert (course().name, course(name="Mine").name) == ("Course study", "Mine")


def test_an_unknown_preset_is_refused_with_those_that_exist():
    with pytest.raises(InvalidChoice, match="course, backbones, quick, .* received: 'best'"):
        presets.study("best", "images", CLASSES, COUNTS)


def test_an_unknown_class_is_refused():
    with pytest.raises(InvalidChoice, match="no class 'Flu'"):
        presets.study("course", "images", ("COVID", "Flu"), COUNTS)


def test_an_override_reaches_every_run():
    assert {run.epochs for run in course(overrides={"epochs": "2"}).runs} == {2}


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("epochs", "3", 3),
        ("learning_rate", "1e-5", 1e-5),
        ("optimizer", "sgd", "sgd"),
        ("name", "12", "12"),
        ("classes", '["a", "b"]', ("a", "b")),
        ("views", "null", None),
    ],
)
def test_a_text_is_read_as_what_the_setting_is(key, text, value):
    assert getattr(presets.with_overrides(spec(), {key: text}), key) == value


def test_a_dotted_key_reaches_into_a_setting():
    changed = presets.with_overrides(spec(), {"head.dropout": "0.2", "split.seed": 7})
    assert (changed.head.dropout, changed.split.seed) == (0.2, 7)


def test_overrides_leave_the_spec_as_it_was():
    original = spec()
    presets.with_overrides(original, {"epochs": 1})
    assert original == spec()


def test_fine_tuning_settings_start_from_their_defaults():
    changes = {"mode": "fine_tune", "taps": "last", "fine_tuning.layers": "20"}
    assert presets.with_overrides(spec(), changes).fine_tuning.epochs == 5


@pytest.mark.parametrize("key", ["epoch", "head.depth", "epochs.last", "fine.layers", ""])
def test_a_setting_that_does_not_exist_is_refused_by_name(key):
    with pytest.raises(InvalidChoice, match=f"no setting '{key}'"):
        presets.with_overrides(spec(), {key: 1})


def test_a_setting_named_without_its_group_is_led_to_the_full_name():
    with pytest.raises(InvalidChoice, match=r"there are input\.region\."):
        presets.with_overrides(spec(), {"region": "centre"})


def test_a_value_that_breaks_a_rule_is_refused_with_its_key():
    with pytest.raises(InvalidChoice, match=r"head\.dropout.*received: '2'"):
        presets.with_overrides(spec(), {"head.dropout": "2"})


def test_settings_that_do_not_fit_together_are_refused_with_their_keys():
    with pytest.raises(InvalidChoice, match="mode=full: taps other than the last layer"):
        presets.with_overrides(spec(), {"mode": "full"})


def test_assignments_are_split_at_the_first_equals_sign():
    assert presets.parse_assignments(["weights=file:/a=b.h5"]) == {"weights": "file:/a=b.h5"}


@pytest.mark.parametrize("text", ["epochs", "=3"])
def test_an_assignment_without_key_or_value_is_refused(text):
    with pytest.raises(InvalidChoice, match="key=value"):
        presets.parse_assignments([text])


def test_a_study_tells_which_backbones_lack_weights(no_network):
    assert presets.lacking_weights(course()) == ("resnet50", "vgg16", "densenet121", "mobilenet_v2")


def test_cached_weights_are_not_lacking(no_network):
    folder = no_network / "models"
    folder.mkdir()
    (folder / BACKBONES["vgg16"].weights_name(128)).touch()
    assert "vgg16" not in presets.lacking_weights(course())


def test_a_random_start_is_written_into_the_runs_that_it_is_meant_for(no_network):
    runs = presets.with_random_start(course(), ("vgg16",)).runs
    assert [run.weights for run in runs if run.backbone != "baseline_cnn"] == [
        "imagenet",
        "imagenet",
        "random",
        "imagenet",
        "imagenet",
        "imagenet",
    ]


def default(workspace, image_folder) -> TrainingSpec:
    dataset = importing.import_folder(workspace, image_folder({"COVID": 3, "Normal": 3}), "Images")
    return presets.default_spec(dataset.id, workspace)


def test_the_default_is_a_pretrained_backbone_where_its_weights_can_be_downloaded(
    monkeypatch, no_network, workspace, image_folder
):
    monkeypatch.setattr(presets, "can_be_reached", lambda url: True)
    assert default(workspace, image_folder).backbone == "mobilenet_v2"


def test_offline_nobody_is_asked_for_weights(monkeypatch, no_network, workspace, image_folder):
    addresses = []
    monkeypatch.setattr(presets, "can_be_reached", addresses.append)
    dataset = importing.import_folder(workspace, image_folder({"COVID": 3, "Normal": 3}), "Images")
    assert presets.default_spec(dataset.id, workspace, online=False).backbone == "baseline_cnn"
    assert "vgg16" in presets.lacking_weights(course(), online=False)
    assert addresses == []


def test_the_default_is_the_baseline_where_no_weights_are_to_be_had(no_network, workspace, image_folder):
    found = default(workspace, image_folder)
    assert (found.backbone, found.image_size, found.epochs, found.optimizer) == ("baseline_cnn", 128, 15, "adam")


def test_the_default_tells_all_classes_apart(no_network, workspace, image_folder):
    assert default(workspace, image_folder).classes == ("COVID", "Normal")


def test_the_default_without_weights_says_why_it_is_the_baseline(no_network):
    assert "A run of MobileNetV2 downloads them" in presets.default_reason(
        presets.suggested_spec("images", CLASSES, "baseline_cnn")
    )


def test_the_pretrained_default_says_that_its_weights_can_be_downloaded(no_network):
    assert "can be downloaded (9.4 MB)" in presets.default_reason(presets.suggested_spec("images", CLASSES))


@pytest.mark.parametrize("mode", ["frozen", "fine_tune", "full"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_has_settings_for_every_mode(backbone, mode):
    assert presets.suggested_spec("images", CLASSES, backbone, mode).backbone == backbone


def test_training_every_layer_starts_slowly():
    assert presets.suggested_spec("images", CLASSES, "resnet50", "full").learning_rate < 1e-4


# Repeats


def frozen() -> TrainingSpec:
    return TrainingSpec(dataset="images", classes=("a", "b"), seed=3)


def test_folds_are_runs_that_differ_in_what_they_test():
    study = presets.repeated(frozen(), folds=3)
    assert [run.split.fold for run in study.runs] == [0, 1, 2]
    assert {run.split.folds for run in study.runs} == {3}
    assert [run.name for run in study.runs] == [f"MobileNetV2, fold {n} of 3" for n in (1, 2, 3)]


def test_seeds_are_counted_up_on_one_split():
    study = presets.repeated(frozen(), seeds=3)
    assert [run.seed for run in study.runs] == [3, 4, 5]
    assert {run.split for run in study.runs} == {frozen().split}


def test_folds_and_seeds_together_are_all_pairs():
    study = presets.repeated(frozen(), folds=2, seeds=2)
    assert [(run.split.fold, run.seed) for run in study.runs] == [(0, 3), (0, 4), (1, 3), (1, 4)]


@pytest.mark.parametrize(("folds", "seeds"), [(21, 1), (0, 1), (1, 0), (20, 6)])
def test_impossible_repeats_are_refused(folds, seeds):
    with pytest.raises(InvalidChoice, match="folds must be 1 to 20 and folds x seeds at most 100"):
        presets.repeated(frozen(), folds, seeds)


def test_folds_and_seeds_are_taken_out_of_the_settings():
    settings = {"folds": "5", "epochs": "3"}
    assert presets.take_repeats(settings) == (5, 1)
    assert settings == {"epochs": "3"}


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_a_number_of_folds_that_is_none_is_refused(text):
    with pytest.raises(InvalidChoice, match="folds must be a whole number from 1"):
        presets.take_repeats({"folds": text})


# The studies that the course asks for

ASKED = {
    "imbalance": ("imbalance", ["none", "class_weights", "undersample", "oversample"]),
    "augmentation": ("augmentation", [AugmentationSpec(), course_augmentation()]),
    "start": ("weights", ["random", "imagenet"]),
    "finetuning": ("mode", ["frozen", "fine_tune", "full"]),
}
MAY_DIFFER = {"start": {"learning_rate"}, "finetuning": {"fine_tuning", "learning_rate", "epochs", "batch_size"}}


@pytest.mark.parametrize("preset", ASKED)
def test_each_question_of_the_course_has_its_study_whose_runs_differ_in_nothing_else(preset):
    field, values = ASKED[preset]
    runs = presets.study(preset, "images", CLASSES, COUNTS).runs
    assert [getattr(run, field) for run in runs] == values
    others = {"name", "views", field} | MAY_DIFFER.get(preset, set())
    assert len({run.model_copy(update={name: None for name in others}).model_dump_json() for run in runs}) == 1


# Augmented copies


def test_a_new_augmented_run_gets_a_handful_of_copies_where_the_course_and_the_only_flipped_have_what_they_had():
    turned = {"augmentation.rotation": "10"}
    assert {run.views for run in presets.study("quick", "images", CLASSES, COUNTS, overrides=turned).runs} == {None, 4}
    assert course().runs[-1].views is None
    assert presets.with_few_views(spec(augmentation={"flip": True})).views is None
    assert presets.with_few_views(spec(augmentation={"rotation": 5}, views=9)).views == 9


@pytest.mark.parametrize("recipe", presets.RECIPES)
@pytest.mark.parametrize("choices", [{}, {"backbone": "baseline_cnn"}, {"mode": "fine_tune"}], ids=str)
def test_a_recipe_fits_every_way_of_training_and_is_known_again(recipe, choices):
    chosen = presets.with_recipe(presets.suggested_spec("images", CLASSES, **choices), recipe)
    assert presets.recipe_of(chosen) == recipe


def test_own_choices_are_those_of_no_recipe():
    spec = presets.with_recipe(presets.suggested_spec("images", CLASSES), "holds-elsewhere")
    assert presets.recipe_of(presets.with_overrides(spec, {"input.share": 0.7})) is None


def test_one_recipe_leaves_nothing_of_another():
    spec = presets.suggested_spec("images", CLASSES)
    assert presets.with_recipe(presets.with_recipe(spec, "holds-elsewhere"), "best-here") == spec
