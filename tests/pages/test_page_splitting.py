"""The split's part of the Train page: who is where in pictures and words, sources held out, splits that cannot be."""

import pytest
from made_data import database_folders
from made_images import write_images
from page_tests import opened, words
from streamlit.testing.v1 import AppTest

from covid_core.audit import dataset_audit
from covid_core.data.dataset import Dataset
from covid_core.data.imports import importing
from covid_core.runs import store

IMAGES = {"COVID": 12, "Normal": 12, "Viral Pneumonia": 12}
SOURCES = {"COVID": ("one", "two", "two"), "Normal": ("one", "two", "two"), "Viral Pneumonia": "three"}


pytestmark = pytest.mark.usefixtures("jobs_wait", "no_weights")


@pytest.fixture
def dataset(workspace, tmp_path) -> Dataset:
    return importing.import_folder(workspace, database_folders(tmp_path / "images", IMAGES, SOURCES), "Images")


def train_page(**fields: object) -> AppTest:
    """The form of a new run with some of its fields chosen already."""
    return opened("train", {f"new_{name}": value for name, value in fields.items()})


def parts(page: AppTest) -> dict[str, list[int]]:
    """Images of each class, by part, as the split's table shows them."""
    table = next(one.value for one in page.dataframe if "Part" in one.value.columns)
    return {row["Part"]: [row[label] for label in IMAGES] for row in table.to_dict("records")}


def test_every_image_is_in_one_part_of_the_table(dataset):
    shown = parts(train_page())
    assert list(shown) == ["Train", "Validation", "Test"]
    assert [sum(column) for column in zip(*shown.values(), strict=True)] == list(IMAGES.values())


def test_the_balance_of_the_parts_counts_every_source_of_the_images(dataset):
    page = opened("train", {"split-balance": True})
    table = next(one.value for one in page.dataframe if "On record" in one.value.columns)
    assert table["On record"].tolist() == ["Images", *["Class"] * 3, *["Source"] * 3]


def test_parts_are_drawn_by_class_and_by_source(dataset):
    drawn = train_page().get("plotly_chart")
    assert len([chart for chart in drawn if "split-" in chart.proto.id]) == 2


def test_a_grouped_split_says_that_it_shows_nothing_about_other_sources(dataset):
    assert "new images of the same sources, not of others" in words(train_page())


@pytest.mark.parametrize("method", ["grouped", "by_source"])
def test_where_no_patient_is_on_record_a_split_does_not_promise_that_patients_stay_together(dataset, method):
    fields = {"held_out": ["two"]} if method == "by_source" else {}
    assert "Patients are unknown here" in words(train_page(split_method=method, **fields))


def test_a_image_by_image_split_says_that_copies_are_not_looked_for(dataset):
    assert "The test result may be too good" in words(train_page(split_method="stratified"))


def test_without_a_source_it_asks_for_one_and_nothing_can_be_trained(dataset):
    page = train_page(split_method="by_source")
    assert "Choose at least one test source." in words(page)
    assert page.button(key="train").disabled


def test_sources_are_offered_with_their_images(dataset):
    page = train_page(split_method="by_source")
    assert page.multiselect(key="new_held_out").options == ["two (16 images)", "three (12 images)", "one (8 images)"]


def test_a_held_out_source_is_tested_on_and_in_no_other_part(dataset, workspace):
    page = train_page(split_method="by_source", held_out=["two"])
    assert parts(page)["Test"][:2] == [8, 8]
    page.button(key="train").click().run()
    (run,) = store.list_runs(workspace)[0]
    assert set(run.split().query("source == 'two'")["part"]) == {"test"}


def test_a_class_of_one_source_is_named_where_that_source_is_held_out(dataset):
    told = words(train_page(split_method="by_source", held_out=["two", "three"]))
    assert "Viral Pneumonia come from one source only" in told
    assert "For them the test is not external." in told


def test_a_split_that_cannot_be_is_refused_at_the_button_and_beside_its_fields(dataset):
    page = train_page(split_method="by_source", held_out=["one", "two"])
    refusals = [one.value.replace("\\", "") for one in page.error]
    assert len(refusals) == 2
    assert all("All images of the class 'COVID' come from held-out sources" in text for text in refusals)
    assert page.button(key="train").disabled


@pytest.mark.parametrize("fields", [{"images_per_class": 2}, {"validation": 60, "test": 50}])
def test_fields_that_fit_no_split_stay_on_the_page_and_can_be_mended(dataset, fields):
    page = train_page(**fields)
    assert page.error
    assert page.button(key="train").disabled
    for name, value in {"images_per_class": 0, "validation": 16, "test": 16}.items():
        page.number_input(key=f"new_{name}").set_value(value)
    page.run()
    assert not page.error
    assert not page.button(key="train").disabled


def test_without_sources_on_record_no_external_split_is_offered_and_one_chosen_before_is_gone(workspace, tmp_path):
    importing.import_folder(workspace, write_images(tmp_path / "images", IMAGES, 64), "Images")
    page = train_page(split_method="by_source")
    assert page.radio(key="new_split_method").options == ["Group split", "Random split"]
    assert page.radio(key="new_split_method").value == "grouped"
    assert "An external split needs images of two sources" in words(page)


def test_images_of_no_known_source_are_called_unknown(workspace, tmp_path):
    folder = database_folders(tmp_path / "images", IMAGES, {"COVID": "one", "Normal": "one"})
    importing.import_folder(workspace, folder, "Images")
    page = train_page(split_method="by_source")
    assert any(option.startswith("unknown (12") for option in page.multiselect(key="new_held_out").options)


def test_another_data_set_of_the_same_classes_has_its_own_split(workspace, dataset, tmp_path):
    more = {label: 3 * images for label, images in IMAGES.items()}
    other = importing.import_folder(workspace, database_folders(tmp_path / "more", more, SOURCES), "More")

    told = [parts(opened("train", dataset=one.id)) for one in (dataset, other)]

    assert [sum(map(sum, of.values())) for of in told] == [len(dataset.images), len(other.images)]


def test_copies_that_the_audit_found_and_a_split_parts_are_told_with_the_way_to_keep_them(workspace, tmp_path):
    images = write_images(tmp_path / "images", {"COVID": 12, "Normal": 12}, 64)
    for path in sorted((images / "COVID").iterdir()):
        path.with_name(f"again-{path.name}").write_bytes(path.read_bytes())
    dataset = importing.import_folder(workspace, images)
    assert "has not been made yet" in words(train_page())
    dataset_audit.make(workspace, dataset)

    parted, kept = train_page(split_method="stratified"), train_page(split_method="grouped")

    assert "cross the parts of this split" in words(parted)
    assert parted.get("page_link")
    assert "cross the parts of this split" not in words(kept)
