"""How long a training is expected to take, and that an ended run corrects it."""

import pytest
from made_runs import all_parts, made_run

from covid_core.data.imports import importing
from covid_core.runs import training_time
from covid_core.specs import AugmentationSpec, InputSpec, TrainingSpec
from covid_core.work import cores


@pytest.fixture
def spec(workspace, image_folder) -> TrainingSpec:
    made = importing.import_folder(workspace, image_folder({"a": 60, "b": 60}, 32), "Images")
    return TrainingSpec(dataset=made.id, classes=made.classes, weights="random")


def test_each_augmented_copy_costs_a_pass_and_what_runs_share_counts_once(workspace, spec):
    def seconds(*specs: TrainingSpec) -> float:
        return training_time.expected_seconds(workspace, specs)

    turned = spec.model_copy(update={"augmentation": AugmentationSpec(rotation=5)})
    plain, four, sixty = seconds(spec), seconds(turned.model_copy(update={"views": 4})), seconds(turned)
    assert sixty - plain == pytest.approx(15 * (four - plain))
    assert plain < seconds(spec, spec.model_copy(update={"seed": 1})) < 1.1 * plain


def test_boxes_around_the_lungs_take_their_time_once(workspace, spec):
    def seconds(*specs: TrainingSpec) -> float:
        return training_time.expected_seconds(workspace, specs)

    boxed = spec.model_copy(update={"input": InputSpec(region="lungs")})
    longer = seconds(boxed) - seconds(spec)
    assert longer == pytest.approx(120 * training_time.BOX / min(cores(), 8))
    again = boxed.model_copy(update={"seed": 1})
    assert seconds(boxed, again) - seconds(spec, again.model_copy(update={"input": spec.input})) == pytest.approx(
        longer
    )


def test_the_last_run_of_the_same_network_and_mode_sets_the_pace(workspace, spec):
    full = spec.model_copy(update={"mode": "full", "taps": "last", "epochs": 5})
    before = training_time.expected_seconds(workspace, [full])
    table = all_parts({"train": 200, "validation": 50, "test": 50}, 1, classes=("a", "b"))
    made_run(workspace, table, seconds=before * 4, mode="full", taps="last", weights="random")
    learned = training_time.expected_seconds(workspace, [full])
    made_run(workspace, table, seconds=1.0, backbone="vgg16", mode="full", taps="last", weights="random")
    assert training_time.expected_seconds(workspace, [full]) == learned != before
