"""The Train page: empty, with images, with runs in every state, with a broken run; and that a click makes the run."""

import time
from dataclasses import replace

import added_backbones
import pytest
import streamlit as st
from made_data import made_database
from made_runs import all_parts, history, made_repeats, made_run, run_on_shifted_labels
from page_tests import opened, words
from streamlit.testing.v1 import AppTest

from covid_core import presets
from covid_core.backbones import BACKBONES, BackboneFile
from covid_core.data.dataset import Dataset
from covid_core.data.imports import importing
from covid_core.jobs import queue
from covid_core.jobs.kinds import BackboneRequest
from covid_core.reports.elsewhere import drift_text
from covid_core.runs import backbone_files, store, test_set_access
from covid_core.runs.store import Run, Status, Study
from covid_core.specs import DEFAULT_BACKBONE, InputSpec
from covid_core.workspace import Workspace
from pages.server import access

PARTS = {"train": 12, "validation": 6, "test": 6}
NEW, STUDIES, RUNS = ":material/play_arrow: New run", ":material/playlist_play: Studies", ":material/list: Runs"


pytestmark = pytest.mark.usefixtures("jobs_wait", "no_weights")


@pytest.fixture
def dataset(workspace, image_folder) -> Dataset:
    return importing.import_folder(workspace, image_folder({"COVID": 10, "Normal": 14}), "Images")


@pytest.fixture
def cached_weights(tmp_path):
    """MobileNetV2's weights lie in the cache, as far as anybody looks."""
    folder = tmp_path / "keras" / "models"
    folder.mkdir(parents=True)
    for size in (128, 224):
        (folder / BACKBONES["mobilenet_v2"].weights_name(size)).touch()


def at(section: str = NEW, **address: str) -> AppTest:
    return opened("train", {"train-sections": section}, **address)


def labels(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def click(page: AppTest, key: str) -> AppTest:
    page.button(key=key).click().run()
    assert not page.exception
    return page


def only_run(workspace: Workspace) -> Run:
    runs, _ = store.list_runs(workspace)
    assert len(runs) == 1
    return runs[0]


def ended(workspace: Workspace, state: str, name: str = "Mine", **status) -> Run:
    run = made_run(workspace, all_parts(PARTS, 2), name, state=state, result={"accuracy": {"test": 5 / 6}})
    run.write_status(replace(run.status(), **status))
    return run


def running(workspace: Workspace, **status) -> Run:
    """A run whose status says that it trains; hold ``run.lock`` to make it true."""
    run = made_run(workspace, all_parts(PARTS, 2), "Mine", state=store.FAILED)
    now = time.time()
    run.write_status(Status(store.RUNNING, progress=0.62, seconds_left=40, started=now - 60, updated=now, **status))
    return run


# Nothing yet


# A new run


def test_one_click_trains_the_default(workspace, dataset, cached_weights):
    click(at(), "train")
    assert only_run(workspace).spec.backbone == "mobilenet_v2"


def test_without_weights_the_default_is_the_baseline_and_the_page_says_why(workspace, dataset):
    page = at()
    assert "Baseline CNN, because the ImageNet weights of MobileNetV2 are not on" in words(page)


def test_a_started_run_is_shown_at_once(workspace, dataset):
    assert "How far is Baseline CNN?" in words(click(at(), "train"))


def test_a_run_without_a_name_is_called_after_its_backbone_and_numbered(workspace, dataset):
    for _ in range(2):
        click(at(), "train")
    assert {run.name for run in store.list_runs(workspace)[0]} == {"Baseline CNN", "Baseline CNN 2"}


def test_before_a_training_its_layers_parameters_loss_and_time_are_shown(workspace, dataset):
    page = at()  # without weights: the baseline CNN, two classes
    (layers,) = [one for one in page.expander if one.label.startswith("Layers")]
    assert layers.label == "Layers: 7,392,002 parameters; all are trained"
    assert "Loss: sparse categorical cross-entropy, weighted by class." in words(page)
    assert layers.dataframe[0].value["Layer"].tolist()[:3] == ["image", "rescaling", "conv_1"]
    assert "Expected time: about " in words(page)
    assert "18,816 parameters without the head" in str(page.radio(key="new_backbone").proto.captions)


def test_a_form_that_gets_augmentation_makes_a_handful_of_copies_and_a_run_that_had_one_per_epoch_still_does(
    workspace, dataset, cached_weights
):
    page = at()
    page.segmented_control(key="new_recipe").set_value("best-here").run()
    page.slider(key="new_rotation").set_value(10.0).run()
    assert page.number_input(key="new_views").value == presets.FEW_VIEWS
    run = made_run(workspace, all_parts(PARTS, 2), "Old", augmentation={"rotation": 10})
    assert click(at(run=run.id), f"variant-{run.id}").number_input(key="new_views").value == 0


def test_a_class_with_few_test_images_is_named_before_the_training(workspace, dataset):
    told = words(at())
    assert drift_text.too_few_own(4) in told
    assert "Only 2 test images of COVID: even without an error, its sensitivity can be 34 % to 100 %." in told


def test_fields_end_up_in_the_spec(workspace, dataset):
    page = at()
    page.number_input(key="new_epochs").set_value(3)
    page.number_input(key="new_test").set_value(20)
    page.text_input(key="new_units").set_value("64, 32")
    page.slider(key="new_zoom").set_value(10)
    page.text_input(key="new_name").set_value("Small").run()
    click(page, "train")
    spec = only_run(workspace).spec
    found = spec.epochs, spec.split.test, spec.head.units, spec.augmentation.zoom, spec.name
    assert found == (3, 0.2, (64, 32), 0.1, "Small")


def test_folds_and_seeds_make_a_study_of_runs(workspace, dataset):
    page = at()
    page.number_input(key="new_seeds").set_value(2)
    page.number_input(key="new_folds").set_value(2).run()
    assert "A study of 4 runs: 2 folds x 2 seeds" in words(page)
    assert "Train 4 runs" in labels(page)
    click(page, "train")
    specs = [run.spec for run in store.list_runs(workspace)[0]]
    assert {(spec.split.fold, spec.seed) for spec in specs} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert len(store.list_studies(workspace)) == 1


def test_with_folds_the_share_to_test_is_a_folds(workspace, dataset):
    page = at()
    page.number_input(key="new_folds").set_value(2).run()
    assert page.number_input(key="new_test").disabled
    assert "34 / 16 / 50, 2 folds" in " ".join(expander.label for expander in page.expander)


def test_the_last_epoch_can_be_kept(workspace, dataset):
    page = at()
    page.selectbox(key="new_keep").select("last").run()
    click(page, "train")
    assert only_run(workspace).spec.keep == "last"


def test_a_backbone_chosen_after_the_baseline_starts_from_imagenet_and_frozen(workspace, dataset):
    page = at()
    page.radio(key="new_backbone").set_value("resnet50").run()
    assert (page.segmented_control(key="new_weights").value, page.radio(key="new_mode").value) == ("imagenet", "frozen")


def test_another_backbone_brings_its_own_settings(workspace, dataset):
    page = at()
    page.radio(key="new_backbone").set_value("resnet50").run()
    assert (page.number_input(key="new_image_size").value, page.number_input(key="new_epochs").value) == (224, 60)


def test_fine_tuning_asks_for_its_own_layers_and_rate(workspace, dataset):
    page = at()
    page.radio(key="new_backbone").set_value("resnet50").run()
    page.radio(key="new_mode").set_value("fine_tune").run()
    assert page.number_input(key="new_tuned_layers").value == 10


def test_missing_weights_are_told_beside_the_choice(workspace, dataset):
    page = at()
    page.radio(key="new_backbone").set_value("vgg16").run()
    assert "ImageNet weights of VGG16 at 224 px" in words(page)


def test_a_run_that_lacks_its_weights_is_refused(workspace, dataset):
    page = at()
    page.radio(key="new_backbone").set_value("vgg16").run()
    click(page, "train")
    assert "choose a random start" in page.error[0].value.replace("\\", "") and not store.list_runs(workspace)[0]


def test_a_random_start_is_taken_when_it_is_chosen(workspace, dataset):
    page = at()
    page.radio(key="new_backbone").set_value("vgg16").run()
    page.segmented_control(key="new_weights").set_value("random").run()
    click(page, "train")
    assert only_run(workspace).spec.weights == "random"


def test_settings_that_break_a_rule_are_told_and_cannot_be_trained(workspace, dataset):
    page = at()
    page.text_input(key="new_units").set_value("many").run()
    assert page.button(key="train").disabled and "whole numbers such as 256" in words(page)


def test_a_split_without_images_to_train_on_is_told(workspace, dataset):
    page = at()
    page.number_input(key="new_test").set_value(60)
    page.number_input(key="new_validation").set_value(60).run()
    assert "leave at least 10 % for training" in words(page)


def test_the_preview_shows_each_class_as_it_is_and_changed(workspace, dataset):
    page = at()
    page.slider(key="new_rotation").set_value(20.0).run()
    assert len(page.get("image")) == 2 * 4


@pytest.mark.parametrize("region", ["centre", "lungs"])
def test_the_preview_shows_the_region_also_without_augmentation(workspace, dataset, region):
    page = at()
    page.selectbox(key="new_region").set_value(region).run()
    assert not page.exception
    assert len(page.get("image")) == 2
    assert InputSpec(region=region).in_words in words(page)


def test_without_changes_there_is_no_preview(workspace, dataset):
    assert not at().get("image")


def test_fields_keep_their_values_in_another_section(workspace, dataset):
    page = at()
    page.number_input(key="new_epochs").set_value(3).run()
    for section in (RUNS, NEW):
        page.session_state["train-sections"] = section
        page.run()
    assert page.number_input(key="new_epochs").value == 3


def test_a_data_set_of_one_class_asks_for_another_data_set(workspace, image_folder):
    importing.import_folder(workspace, image_folder({"COVID": 10}), "Single")
    assert "Choose another data set above: this one has a single class" in words(at())


def test_one_class_is_not_enough(workspace, dataset):
    page = at()
    page.pills(key=f"classes-{dataset.id}").set_value(["COVID"]).run()
    assert "Choose at least two classes" in words(page)


# Studies


def test_the_course_study_without_weights_names_the_backbones(workspace, dataset):
    assert "ResNet50, VGG16, DenseNet121, MobileNetV2" in words(at(STUDIES))


def test_the_course_study_without_weights_is_refused(workspace, dataset):
    page = click(at(STUDIES), "queue-study")
    assert "ImageNet weights of ResNet50" in words(page) and not store.list_runs(workspace)[0]


def test_the_course_study_may_start_at_random_when_that_is_ticked(workspace, dataset):
    page = at(STUDIES)
    page.checkbox(key="study_random").check().run()
    click(page, "queue-study")
    assert {run.spec.weights for run in store.list_runs(workspace)[0]} == {"random"}


def test_the_runs_of_a_study_are_queued_on_one_split(workspace, dataset, cached_weights):
    page = at(STUDIES)
    page.radio(key="study_preset").set_value("quick").run()
    click(page, "queue-study")
    assert len({run.split_hash for run in store.list_runs(workspace)[0]}) == 1


def test_leaving_sources_out_is_offered_where_two_have_images_of_two_classes(
    workspace, dataset, tmp_path, cached_weights
):
    assert "Each source left out" not in at(STUDIES).radio(key="study_preset").options
    counts = {"COVID": 40, "Normal": 40}
    _, sourced = made_database(tmp_path, workspace, counts=counts, sources={label: ["A", "B"] for label in counts})
    page = at(STUDIES, dataset=sourced.id)
    page.radio(key="study_preset").set_value("sources").run()
    click(page, "queue-study")
    assert {run.spec.split.held_out for run in store.list_runs(workspace)[0]} == {("A",), ("B",)}


def test_settings_for_all_runs_reach_every_run(workspace, dataset, cached_weights):
    page = at(STUDIES)
    page.radio(key="study_preset").set_value("quick").run()
    page.text_area(key="study_settings").set_value("epochs=2\n").run()
    click(page, "queue-study")
    assert {run.spec.epochs for run in store.list_runs(workspace)[0]} == {2}


def test_a_setting_that_does_not_exist_is_told(workspace, dataset):
    page = at(STUDIES)
    page.text_area(key="study_settings").set_value("epoch=2").run()
    assert "There is no setting 'epoch'" in words(page)


def test_the_plan_says_which_runs_start_at_random(workspace, dataset):
    page = at(STUDIES)
    page.checkbox(key="study_random").check().run()
    assert all("random start" in strategy for strategy in page.dataframe[0].value["Special strategy"][1:])


def test_where_the_course_was_left_is_stated(workspace, dataset):
    assert presets.STUDY_PRESETS["course"].deviations[0] in words(at(STUDIES))


def made_study(workspace: Workspace, *runs: Run) -> Study:
    study = Study("study-1", "Two runs", "quick", time.time(), tuple(run.id for run in runs))
    store.write_study(workspace, study)
    return study


def test_a_study_tells_how_its_runs_ended(workspace):
    made_study(workspace, ended(workspace, store.COMPLETED), ended(workspace, store.STOPPED))
    assert "1 finished, 1 stopped" in words(at(STUDIES))


def test_a_study_shows_beside_each_accuracy_what_the_largest_class_reaches(workspace):
    run = ended(workspace, store.COMPLETED)
    waiting = made_run(workspace, all_parts(PARTS, 2), "Other", state=store.FAILED)
    made_study(workspace, run, waiting)
    table = next(one.value for one in at(STUDIES).dataframe if "Progress" in one.value.columns)
    assert table["Test accuracy"].tolist() == ["83.3 %", "–"]
    assert table["Majority baseline"].tolist() == ["33.3 % (COVID)", "–"]


def test_a_study_resumes_the_runs_that_ended_early(workspace):
    runs = ended(workspace, store.COMPLETED), ended(workspace, store.STOPPED)
    study = made_study(workspace, *runs)
    click(at(STUDIES), f"resume-{study.id}")
    assert [run.status().state for run in runs] == [store.COMPLETED, store.QUEUED]


def test_a_finished_study_ends_in_its_table_and_a_sentence(workspace):
    runs = [
        made_run(workspace, all_parts({**PARTS, "test": 90}, skill), name) for name, skill in (("Off", 0), ("On", 4))
    ]
    made_study(workspace, *runs)
    page = at(STUDIES)
    assert "On is significantly better than Off by" in words(page)
    assert any("p (Holm)" in one.value.columns for one in page.dataframe)


def test_finished_repeats_tell_their_mean_spread_and_pooled_figure(workspace):
    made_repeats(workspace, "Folds", 9)
    told = words(at(STUDIES))
    assert "Test accuracy 100.0 % on average, SD 0.0 points, 100.0 % to 100.0 % over 3 folds" in told
    assert "pooled over all folds 100.0 % [95.9, 100.0] of 90 images" in told


def test_repeats_of_which_one_has_ended_tell_no_mean_yet(workspace):
    made_repeats(workspace, "Folds", 9, ended=1)
    assert "on average" not in words(at(STUDIES))


def test_a_damaged_run_among_repeats_does_not_break_the_page(workspace):
    study = made_repeats(workspace, "Folds", 9)
    store.open_run(workspace, study.runs[0]).predictions_path.write_bytes(b"?")
    assert "over 2 folds" in words(at(STUDIES))


def test_a_study_can_be_dissolved_and_leaves_its_runs(workspace):
    study = made_study(workspace, ended(workspace, store.COMPLETED))
    click(at(STUDIES), f"dissolve-{study.id}")
    assert (len(store.list_studies(workspace)), len(store.list_runs(workspace)[0])) == (0, 1)


def test_a_study_with_a_deleted_run_says_so(workspace):
    kept, gone = ended(workspace, store.COMPLETED), ended(workspace, store.COMPLETED)
    made_study(workspace, kept, gone)
    queue.delete(gone)
    assert "1 finished, 1 deleted or damaged" in words(at(STUDIES))


def test_a_study_resumes_although_one_of_its_runs_was_deleted(workspace):
    gone, stopped = ended(workspace, store.COMPLETED), ended(workspace, store.STOPPED)
    study = made_study(workspace, gone, stopped)
    queue.delete(gone)
    click(at(STUDIES), f"resume-{study.id}")
    assert stopped.status().state == store.QUEUED


def test_a_deleted_study_takes_its_runs_along(workspace):
    study = made_study(workspace, ended(workspace, store.COMPLETED))
    click(at(STUDIES), f"delete-{study.id}")
    assert not store.list_runs(workspace)[0]


# The list of runs


@pytest.mark.parametrize(
    ("state", "word"),
    [(store.COMPLETED, "Finished"), (store.STOPPED, "Stopped"), (store.FAILED, "Failed"), ("running", "Interrupted")],
)
def test_the_list_names_the_state_of_a_run(workspace, state, word):
    ended(workspace, state)
    assert f"-badge[{word}]" in words(at(RUNS))


def test_the_list_tells_the_test_accuracy(workspace):
    ended(workspace, store.COMPLETED)
    assert "test accuracy 83.3 %" in words(at(RUNS))


def test_a_waiting_run_tells_its_place(workspace, dataset):
    for _ in range(2):
        click(at(), "train")
    assert "Waits; 1 run before it" in words(at(RUNS))


def test_a_long_queue_is_shown_in_part_and_counted(workspace, dataset):
    for _ in range(6):
        click(at(), "train")
    assert "2 more runs wait; see Runs below." in words(at())


def test_a_damaged_run_is_named_and_the_others_stay(workspace):
    ended(workspace, store.COMPLETED, "Whole")
    broken = ended(workspace, store.COMPLETED, "Torn")
    (broken.path / "result.json").write_text("{")
    page = at(RUNS)
    assert "result.json is missing or damaged" in words(page) and "**Whole**" in words(page)


def test_a_run_name_is_shown_letter_by_letter(workspace):
    ended(workspace, store.COMPLETED, "**loud** [link](http://x)")
    page = at(RUNS)
    assert any(r"\*\*loud\*\* \[link\]\(http" in element.value for element in page.markdown)


def test_a_run_whose_graphics_card_failed_goes_on_on_the_processor_with_one_click(workspace):
    run = made_run(workspace, all_parts(PARTS, skill=1), state=store.FAILED)
    run.write_status(replace(run.status(), fault="device"))
    page = click(at(RUNS, run=run.id), f"processor-{run.id}")
    assert run.processor_requested()
    assert run.status().state == store.QUEUED
    assert f"processor-{run.id}" not in [button.key for button in page.button]


def test_delete_asks_and_says_what_will_be_gone(workspace):
    ended(workspace, store.COMPLETED)
    assert "its model, its scores for every image" in words(at(RUNS))


def test_delete_removes_the_run(workspace):
    run = ended(workspace, store.COMPLETED)
    click(at(RUNS), f"delete-{run.id}")
    assert not store.list_runs(workspace)[0]


def test_a_stop_before_the_first_epoch_promises_no_weights(workspace):
    run = running(workspace)
    with run.lock.held(1, AssertionError()):
        run.request_stop()
        told = [one.proto.text for one in at(run=run.id).get("progress")]
        run.append_history(history(1).iloc[0].to_dict())
        later = [one.proto.text for one in at(run=run.id).get("progress")]
    assert told == ["Stopping, before the first epoch has ended: nothing is kept"]
    assert later == ["Stopping, the best weights are kept"]


def test_stop_asks_the_run_to_stop(workspace, dataset):
    page = click(at(), "train")
    run = only_run(workspace)
    click(page, f"stop-top-{run.id}")
    assert run.stop_requested()


# One run


def test_a_finished_run_tells_what_came_of_it(workspace):
    run = ended(workspace, store.COMPLETED)
    assert "Test accuracy: **83.3 %** of 6 images" in words(at(run=run.id))


def test_a_finished_run_tells_who_looked_at_its_test_images(workspace):
    run = made_run(workspace, all_parts(PARTS, 2), "Mine")
    assert "Test set viewed 0 times" in [one.label for one in opened("train", run=run.id).expander]
    run.note_view(test_set_access.FIGURES)
    (told,) = [one for one in opened("train", run=run.id).expander if "viewed 1 time" in one.label]
    assert told.dataframe[0].value["What"].tolist() == [test_set_access.FIGURES]


def test_a_run_without_a_result_has_no_test_images_to_look_at(workspace):
    run = made_run(workspace, all_parts(PARTS, 2), "Mine", state=store.FAILED)
    assert not [one for one in opened("train", run=run.id).expander if "test images" in one.label]


def test_looking_at_a_run_is_no_look_at_its_test_images(workspace):
    run = made_run(workspace, all_parts(PARTS, 2), "Mine")
    opened("train", run=run.id)
    assert run.openings() == []


def test_a_finished_run_leads_to_compare_and_predict(workspace):
    run = ended(workspace, store.COMPLETED)
    assert {"Compare", "Predict"} <= set(labels(at(run=run.id)))


def test_a_run_shows_its_curves(workspace):
    run = ended(workspace, store.COMPLETED)
    assert len(at(run=run.id).get("plotly_chart")) == 2


def test_a_failed_run_tells_its_reason_and_its_log(workspace):
    run = ended(workspace, store.FAILED, reason="The loss is not a number.")
    run.log_path.write_text("last words")
    page = at(run=run.id)
    assert "The loss is not a number." in words(page) and "last words" in page.code[0].value


def test_a_training_that_diverged_after_good_epochs_leads_to_their_model(workspace):
    run = ended(workspace, store.STOPPED)
    run.write_status(Status(store.FAILED, reason="The loss is not a number.", fault="diverged"))
    offered = labels(at(run=run.id))
    assert {"Compare", "Predict"} <= set(offered) and "Resume" not in offered


def test_an_interrupted_run_can_be_resumed(workspace):
    run = running(workspace)
    click(at(run=run.id), f"resume-{run.id}")
    assert run.status().state == store.QUEUED


def test_a_run_that_was_stopped_too_early_says_that_nothing_is_kept(workspace):
    run = ended(workspace, store.FAILED)
    run.write_status(Status(store.STOPPED))
    assert "Stopped before the first epoch ended." in words(at(run=run.id))


def test_the_run_view_tells_the_origin_of_the_weights_and_the_check(workspace):
    facts = {"weights": {"origin": "random"}, "parity": {"largest_difference": 2e-7, "images": 6}}
    run = made_run(workspace, all_parts(PARTS, 2), "Mine", result=facts)
    page = at(run=run.id)
    assert "Starting weights: random." in words(page) and "differ by at most 2e-07" in words(page)


def test_a_run_that_took_another_ones_outcome_says_so(workspace):
    result = {"accuracy": {"test": 5 / 6}, "taken_over_from": "first-12345"}
    run = made_run(workspace, all_parts(PARTS, 2), "Mine", result=result)
    assert "taken over from first-12345" in words(at(run=run.id))


def test_a_result_that_was_taken_over_is_no_training_in_a_tenth_of_a_second(workspace):
    first = ended(workspace, store.COMPLETED, "First")
    run = made_run(workspace, all_parts(PARTS, 2), "Again", result={"taken_over_from": first.id})
    told = words(at(run=run.id))
    assert "Nothing was trained: the result is that of **First**" in told and "Finished in" not in told


def test_a_run_says_what_it_found_ready(workspace):
    result = {"accuracy": {"test": 5 / 6}, "reused": ["frozen network", "features"]}
    run = made_run(workspace, all_parts(PARTS, 2), "Mine", result=result)
    assert "Reused from earlier runs: frozen network, features." in words(at(run=run.id))


def test_a_run_says_what_it_found_ready_had_taken(workspace):
    result = {"accuracy": {"test": 5 / 6}, "reused": {"frozen network": 4.0, "features": None}}
    run = made_run(workspace, all_parts(PARTS, 2), "Mine", result=result)
    assert "Reused from earlier runs: frozen network (4.0 s), features." in words(at(run=run.id))


def test_an_address_of_a_run_that_is_gone_is_told(workspace):
    assert "There is no run with the id 'gone'" in words(at(run="gone"))


def test_an_address_of_a_damaged_run_is_told(workspace):
    run = ended(workspace, store.COMPLETED)
    (run.path / "spec.json").write_text("{")
    assert "spec.json is missing or damaged" in words(at(run=run.id))


def test_a_variant_starts_from_the_settings_of_its_run(workspace, dataset):
    run = made_run(workspace, all_parts(PARTS, 2), "Mine", epochs=None, learning_rate=0.02)
    page = click(at(run=run.id), f"variant-{run.id}")
    assert page.number_input(key="new_learning_rate").value == 0.02


# Labels of other images

ON_PURPOSE = "It is a mistake made on purpose"


@pytest.mark.parametrize("state", [store.COMPLETED, store.FAILED])
def test_a_run_on_shifted_labels_says_so_and_why(workspace, state):
    run = run_on_shifted_labels(workspace, state=state)
    assert "The labels belong to the first 4,032 of 15,153 images in class order" in words(at(run=run.id))


def test_a_run_on_right_labels_does_not_speak_of_them(workspace):
    assert "labels" not in words(at(run=ended(workspace, store.COMPLETED).id))


def test_the_form_offers_no_wrong_labels(workspace, dataset):
    page = at()
    assert ON_PURPOSE not in words(page)
    assert "right-labels" not in [button.key for button in page.button]


@pytest.fixture
def uneven(workspace, image_folder) -> Dataset:
    return importing.import_folder(workspace, image_folder({"COVID": 18, "Normal": 30, "Viral": 10}), "Uneven")


def variant_on_shifted_labels(workspace: Workspace, dataset: Dataset, **choices) -> AppTest:
    run = made_run(
        workspace,
        all_parts(PARTS, 2, classes=dataset.classes),
        labels="shifted",
        split={"images_per_class": 10},
        backbone="baseline_cnn",
        **choices,
    )
    return click(at(run=run.id), f"variant-{run.id}")


def newest(workspace: Workspace) -> Run:
    return store.list_runs(workspace)[0][0]


@pytest.mark.parametrize("imbalance", ["none", "class_weights", "undersample", "oversample"])
def test_a_variant_of_a_run_on_shifted_labels_keeps_them_and_says_so(workspace, uneven, imbalance):
    page = variant_on_shifted_labels(workspace, uneven, imbalance=imbalance)
    assert ON_PURPOSE in words(page)
    click(page, "train")
    assert newest(workspace).spec.labels == "shifted"
    assert newest(workspace).split()["label"].value_counts().to_dict() == {"COVID": 18, "Normal": 12}


def test_one_click_takes_the_right_labels_again(workspace, uneven):
    page = click(variant_on_shifted_labels(workspace, uneven), "right-labels")
    assert ON_PURPOSE not in words(page)
    click(page, "train")
    assert newest(workspace).spec.labels == "folder"


def test_shifted_labels_without_a_subset_are_refused_in_the_form(workspace, uneven):
    page = variant_on_shifted_labels(workspace, uneven)
    page.number_input(key="new_images_per_class").set_value(0).run()
    assert not page.exception
    assert "shifted labels need split.images_per_class" in words(page)


def test_a_study_on_shifted_labels_says_that_it_is_a_mistake_on_purpose(workspace, uneven, cached_weights):
    page = at(STUDIES)
    page.radio(key="study_preset").set_value("quick").run()
    assert ON_PURPOSE not in words(page)
    page.text_area(key="study_settings").set_value("labels=shifted").run()
    assert ON_PURPOSE in words(page)
    click(page, "queue-study")
    assert {run.spec.labels for run in store.list_runs(workspace)[0]} == {"shifted"}


def test_a_finished_run_shows_every_part_its_layers_and_one_training_time(workspace):
    run = made_run(workspace, all_parts(PARTS, 2), "Mine", seconds=20.0)
    page = at(run=run.id)
    assert [one.label for one in page.metric] == ["Train accuracy", "Validation accuracy", "Test accuracy", "Epochs"]
    assert "Training time: 20 s" in words(page)
    cost = opened("compare", view="Cost").container(key="table-cost").dataframe[0].value
    assert cost["Training time (s)"].tolist() == [20.0] and not [name for name in cost if "Job" in name]
    assert "Network: layers and loss" in [one.label for one in page.expander]


def test_the_sidebar_leads_from_a_run_to_all_runs(workspace):
    """Links of ``st.navigation`` to the open page leave its address as it is."""
    run = made_run(workspace, all_parts(PARTS, 2), "Mine")
    (link,) = [one for one in at(run=run.id).sidebar.get("page_link") if one.proto.label == "Train"]
    assert not link.proto.query_string  # which clears the address


def test_the_page_begins_with_the_preset_for_images_from_elsewhere(workspace, dataset, cached_weights):
    assert at().session_state["new_recipe"] == presets.SAFER


def test_one_click_shows_the_network_whole_images_as_they_are(workspace, dataset, cached_weights):
    page = at()
    page.segmented_control(key="new_recipe").set_value("best-here").run()
    assert page.session_state["new_region"] == "whole"
    assert not page.session_state["new_frames"]


def test_a_choice_of_ones_own_marks_no_preset(workspace, dataset):
    page = at()
    page.selectbox(key="new_intensity").set_value("per_image").run()
    assert page.session_state["new_recipe"] is None


# Added backbones


@pytest.fixture
def added(workspace, tmp_path) -> BackboneFile:
    path = added_backbones.small_onnx(tmp_path / "small.onnx")
    added_backbones.described(path)
    return added_backbones.published(workspace, path)


def test_a_click_trains_on_an_added_backbone(workspace, dataset, added):
    page = at()
    page.radio(key="new_backbone").set_value(added.name).run()
    assert not page.exception
    click(page, "train")
    spec = only_run(workspace).spec
    assert spec.backbone_file == added and (spec.mode, spec.image_size) == ("frozen", added.sizes[0])


def test_a_built_in_backbone_can_be_chosen_after_an_added_one(workspace, dataset, added):
    page = at()
    page.radio(key="new_backbone").set_value(added.name).run()
    page.radio(key="new_backbone").set_value("baseline_cnn").run()
    click(page, "train")
    assert only_run(workspace).spec.backbone_file is None


def test_a_variant_takes_the_same_file_under_the_name_that_it_has_here(workspace, dataset, added):
    elsewhere = added.model_copy(update={"name": "as_elsewhere"})
    about = {"backbone": elsewhere.name, "backbone_file": elsewhere, "image_size": added.sizes[0]}
    run = made_run(workspace, all_parts(PARTS, 2), "Opened", **about)
    assert click(at(run=run.id), f"variant-{run.id}").radio(key="new_backbone").value == added.name


def test_there_is_no_variant_of_a_run_whose_backbone_is_not_here(workspace, dataset, added):
    gone = added.model_copy(update={"sha256": "0" * 64})  # of the same name
    about = {"backbone": gone.name, "backbone_file": gone, "image_size": gone.sizes[0]}
    run = made_run(workspace, all_parts(PARTS, 2), "Opened", **about)
    button = at(run=run.id).button(key=f"variant-{run.id}")
    assert button.disabled and gone.label in button.help


def test_the_form_of_a_removed_backbone_takes_the_usual_one(workspace, dataset, added):
    page = at()
    page.radio(key="new_backbone").set_value(added.name).run()
    backbone_files.remove(workspace, added.name)
    page.run()
    assert not page.exception
    assert page.radio(key="new_backbone").value == DEFAULT_BACKBONE


def test_a_path_on_the_server_starts_the_check(workspace, dataset, tmp_path):
    path = added_backbones.small_onnx(tmp_path / "small.onnx")
    added_backbones.described(path)
    page = at()
    page.text_input(key="backbone-path").set_value(str(path)).run()
    click(page, "add-backbone")
    (job,) = queue.jobs(workspace, BackboneRequest)
    assert job.request.source == str(path)


def test_a_file_without_a_description_is_refused(workspace, dataset, tmp_path):
    page = at()
    page.text_input(key="backbone-path").set_value(str(tmp_path / "none.onnx")).run()
    page.button(key="add-backbone").click().run()
    assert len(page.error) == 1 and queue.jobs(workspace, BackboneRequest) == []


def test_a_backbone_that_no_run_needs_is_removed_after_a_question(workspace, dataset, added):
    click(at(), f"remove-backbone-{added.name}")
    assert backbone_files.listed(workspace) == []


def test_who_may_not_administer_is_offered_no_path(dataset, added, monkeypatch):
    real = st.get_option
    monkeypatch.setattr(st, "get_option", lambda name: "0.0.0.0" if name == "server.address" else real(name))
    monkeypatch.setenv(access.OVERRIDE, "1")
    page = at()
    assert not {"add-backbone", f"remove-backbone-{added.name}"} & {button.key for button in page.button}
