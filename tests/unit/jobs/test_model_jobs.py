"""The images of a run are those of its own version of the data set, before and after decisions."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from local_jobs import work
from made_dicom import as_dicom
from made_runs import made_run, scored, with_dataset
from made_segmenters import made_segmenter
from page_tests import opened, words
from trained_runs import dataset_of, tiny_run

from covid_core.audit.model import heatmap_sanity, model_audit, pictures
from covid_core.commands import main
from covid_core.data import dataset as data
from covid_core.data import decisions
from covid_core.data.dataset import Dataset
from covid_core.data.decisions import LEAVE_OUT, RELABEL, Decision
from covid_core.data.imports import importing
from covid_core.data.masks import OWN, Origin
from covid_core.data.split import TEST, make_split
from covid_core.errors import DataError, UnknownId
from covid_core.images.codec import read_image
from covid_core.inference import external_test, lungs, reference_fit
from covid_core.inference.predictor import Predictor
from covid_core.runs import pinned_dataset, store
from covid_core.runs.pinned_dataset import Version
from covid_core.specs import SplitSpec, TrainingSpec
from covid_core.synthetic import phantom
from covid_core.work import silent

ME = "A reader"


@pytest.fixture(scope="module")
def drawn(place) -> Dataset:
    return importing.import_phantom(place, 30, 1)


@pytest.fixture
def images(workspace, place, drawn) -> Dataset:
    shutil.copytree(place.datasets, workspace.datasets, dirs_exist_ok=True)
    return data.open_dataset(workspace, drawn.id)


def run_on(workspace, dataset: Dataset) -> store.Run:
    """A run's folder, as one that is queued, on the data set as it is given."""
    spec = TrainingSpec(dataset=dataset.id, classes=dataset.classes, backbone="baseline_cnn", image_size=32, epochs=1)
    split = make_split(dataset.images, dataset.classes, SplitSpec(method="stratified"))
    return store.create_run(workspace, spec, dataset, split)


def left_out(workspace, dataset: Dataset, *names: str) -> Dataset:
    return data.decide(workspace, dataset.id, [Decision(LEAVE_OUT, name) for name in names], ME)


def test_a_run_made_before_a_decision_keeps_its_images(workspace, images):
    run = run_on(workspace, images)
    name = images.images["image_id"].iat[4]
    now = left_out(workspace, images, name)
    own = pinned_dataset.dataset_of(workspace, run)
    assert name in own.images["image_id"].tolist() and name not in now.images["image_id"].tolist()
    assert own.version == run.dataset.version


def test_a_run_made_between_two_decisions_has_the_first_alone(workspace, images):
    first, second = images.images["image_id"].iloc[[2, 8]]
    run = run_on(workspace, left_out(workspace, images, first))
    left_out(workspace, images, second)
    own = pinned_dataset.dataset_of(workspace, run).images["image_id"].tolist()
    assert first not in own and second in own


def test_a_data_set_that_was_never_the_runs_is_refused(workspace, images):
    run = with_dataset(run_on(workspace, images), version="another")
    with pytest.raises(DataError, match="is not the one that .* was trained on"):
        pinned_dataset.dataset_of(workspace, run)
    assert pinned_dataset.used_by(workspace, run).missing == "replaced"


def test_a_data_set_that_is_gone_is_said_to_be(workspace, images):
    run = run_on(workspace, images)
    data.delete_dataset(workspace, images.id)
    with pytest.raises(UnknownId):
        pinned_dataset.dataset_of(workspace, run)
    assert pinned_dataset.used_by(workspace, run) == Version(None, missing="gone")


def test_decisions_that_were_taken_back_leave_the_run_on_the_present_images(workspace, images):
    run = run_on(workspace, images)
    left_out(workspace, images, images.images["image_id"].iat[0])
    assert pinned_dataset.used_by(workspace, run) == Version(0, 1)
    data.take_back(workspace, images.id, [1], ME)
    assert pinned_dataset.used_by(workspace, run).is_present


def test_the_command_line_tells_the_version(workspace, images, capsys):
    run = run_on(workspace, images)
    names = images.images["image_id"].tolist()
    data.decide(workspace, images.id, decisions.together(names[:2]), ME)
    assert main.main(["show", run.id, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["dataset_version"]
    assert told == {"version": images.version, "before": 0, "decisions": 2, "in_words": "before all 2 decisions"}


def test_the_mask_of_a_image_that_was_left_out_is_still_known(workspace, images):
    name = images.images["image_id"].iat[3]
    left_out(workspace, images, name)
    image = read_image(images.path_of(3))
    assert lungs.outline_of(workspace, image, images.id, name).mask is not None


def made_on(workspace, dataset: Dataset, name: str = "Made") -> store.Run:
    """A finished run without a model whose record names a real data set, with a split of its images."""
    split = make_split(dataset.images, dataset.classes, SplitSpec(method="stratified"))
    table = scored(split["label"], np.full((len(split), 3), 1 / 3), dataset.classes).assign(
        image_id=split["image_id"], part=split["part"]
    )
    run = made_run(workspace, table, name, parts=split)
    path = run.path / "spec.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["dataset"] |= {"id": dataset.id, "version": dataset.version, "name": dataset.name}
    record["spec"] |= {"dataset": dataset.id, "image_size": 32}
    path.write_text(json.dumps(record), encoding="utf-8")
    return store.open_run(workspace, run.id)


def test_the_page_of_a_run_says_before_which_decisions_it_was_made(workspace, images):
    run = made_on(workspace, images)
    assert "No decision has been made since" in words(opened("train", run=run.id))
    left_out(workspace, images, *images.images["image_id"].iloc[:2])
    assert "before all 2 decisions on the Audit page: not the current version" in words(opened("train", run=run.id))


def test_the_settings_that_compare_shows_name_the_version(workspace, images):
    made_on(workspace, images, "Before")
    now = left_out(workspace, images, images.images["image_id"].iat[0])
    made_on(workspace, now, "After")
    told = set()
    for one in store.list_runs(workspace)[0]:
        page = opened("compare", view="Hyper-parameters", runs=one.id)
        told.add(page.container(key="table-hyperparameters").dataframe[0].value["Images"].iat[0])
    assert told == {"Phantom images, before its decision", "Phantom images, after its decision"}


def test_compare_says_first_that_a_run_has_seen_the_images_as_they_were(workspace, images):
    run = made_on(workspace, images)
    told = f"{run.name} used the data set as it was before its decision"
    assert told not in words(opened("compare"))
    left_out(workspace, images, images.images["image_id"].iat[4])
    assert told in words(opened("compare"))


def test_the_images_behind_a_figure_are_shown_though_one_was_left_out_since(workspace, images):
    run = made_on(workspace, images)
    test = run.split().query("part == 'test'")["image_id"]
    left_out(workspace, images, test.iat[0])
    page = opened("compare", view="Images", runs=run.id)
    assert "The images cannot be shown" not in words(page)
    assert "Under each image: its label and the predicted class" in words(page)


def test_the_pictures_of_an_audit_are_of_the_runs_own_images(workspace, images):
    run = made_on(workspace, images)
    test = run.split().query("part == 'test'")["image_id"].tolist()
    left_out(workspace, images, *test)
    shown = pictures.examples(workspace, run)
    assert [one.name for one in shown][0] == "as they are" and shown[-1].name == "lungs of another image"
    assert len(shown) == 8 and all(one.pixels.shape == (32, 32) for one in shown)
    assert len({one.pixels.tobytes() for one in shown}) == 8


def test_without_masks_the_pictures_are_those_that_need_none(workspace, image_folder):
    plain = importing.import_folder(workspace, image_folder({"COVID": 12, "Normal": 12, "Viral Pneumonia": 12}))
    shown = pictures.examples(workspace, made_on(workspace, plain))
    assert [one.name for one in shown] == ["as they are", "border only", "tags covered", "centre only", "low-pass"]


def test_a_models_audit_asks_no_segmenter_where_only_some_images_have_a_mask(workspace, images):
    run = made_on(workspace, images)
    having = images.images["label"] == images.classes[0]
    some = replace(images, images=images.images.assign(mask_path=images.images["mask_path"].where(having, "")))
    made_segmenter(workspace).network_path.write_bytes(b"another network")  # whoever asks it is told so
    of_audit = model_audit._images(workspace, run, some, silent)
    assert of_audit.has_lungs.tolist() == (of_audit.labels == 0).tolist()
    assert of_audit.origin == Origin(OWN)
    assert pictures.examples(workspace, run)[-1].name == "lungs of another image"


@pytest.mark.slow
def test_after_decisions_a_run_is_audited_checked_tested_outside_and_given_a_reference_on_its_own_images(
    workspace, copy_of_trained
):
    run = copy_of_trained(workspace)
    images = dataset_of(workspace, run)
    elsewhere = importing.import_phantom(workspace, 30, 4, name="Elsewhere")
    of_test = run.split().query(f"part == '{TEST}'")["image_id"].tolist()
    other = next(label for label in images.classes if label != images.images["label"].iat[images.row_of(of_test[1])])
    data.decide(workspace, images.id, [Decision(LEAVE_OUT, of_test[0]), Decision(RELABEL, of_test[1], other)], ME)
    audit = model_audit.make(workspace, run)
    assert audit["images"] == audit["with_lungs"] == len(of_test)
    plain = next(row for row in audit["covers"] if row["name"] == "as they are")
    assert plain["accuracy"]["value"] == pytest.approx(run.accuracy(TEST))
    assert heatmap_sanity.of(workspace, run).images > 0
    reference_fit.make(workspace, store.open_run(workspace, run.id))
    run = store.open_run(workspace, run.id)
    reference = Predictor.open(workspace, run).reference
    assert set(reference.neighbourhood.image_ids) == set(run.split().query("part == 'train'")["image_id"])
    assert len(external_test.evaluate(workspace, run, elsewhere).table()) == 30


@pytest.mark.slow
def test_a_folder_of_dicom_files_is_an_external_test_set(workspace, copy_of_trained, tmp_path):
    run = copy_of_trained(workspace)
    for number in range(12):
        image = phantom.image_at(number, 12, 99)
        (tmp_path / "outside" / image.label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "outside" / image.label / f"IM{number:06d}").write_bytes(as_dicom(image.pixels))
    outside = importing.import_path(workspace, tmp_path / "outside")
    assert len(external_test.evaluate(workspace, run, outside).table()) == 12


@pytest.mark.slow
def test_a_run_that_waited_while_a_image_was_left_out_still_trains_on_it_and_is_no_twin_of_a_later_one(
    workspace, images
):
    run = run_on(workspace, images)
    names = images.images["image_id"].tolist()
    left_out(workspace, images, names[0])
    work(run)
    assert set(run.predictions()["image_id"]) == set(names)
    later = tiny_run(workspace, data.open_dataset(workspace, images.id), head=run.spec.head, epochs=run.spec.epochs)
    assert "taken_over_from" not in later.result and names[0] not in later.predictions()["image_id"].tolist()
