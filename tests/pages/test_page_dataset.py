"""The Data set page: empty, with images, by address, and while data sets come and go."""

import io
import time
import zipfile
from pathlib import Path

import pytest
import streamlit as st
from made_collections import COLLECTIONS, write
from made_data import COUNTS, class_folders, made_database, made_dataset
from page_tests import opened, words
from streamlit.testing.v1 import AppTest

from covid_core.access import Role
from covid_core.data import dataset as data
from covid_core.data import decisions, pixels
from covid_core.data.imports import importing
from covid_core.data.imports.importing import SUMMARY_SIZE
from covid_core.files import FileLock
from covid_core.jobs import kinds, queue
from covid_core.jobs.kinds import AuditRequest, ImportRequest, MergeRequest
from covid_core.runs import store
from covid_core.runs.store import JobFolder, Status
from covid_core.synthetic.phantom import PLANTS
from covid_core.work import silent
from pages.panels.dataset.import_form import OWN, PLANT_WORDS
from pages.shared import shell

TABS = ("Overview", "Images", "Pixels", "Sizes and sources", "Left out")


@pytest.fixture
def started(monkeypatch) -> list[JobFolder]:
    """Jobs that the page started; no process is made for them."""
    launched: list[JobFolder] = []

    def launch(job: JobFolder) -> None:
        launched.append(job)
        job.write_status(Status(store.FAILED, reason="not launched"))

    monkeypatch.setattr(queue, "launch", launch)
    return launched


def pressed(page: AppTest, key: str) -> AppTest:
    page.button(key=key).click().run()
    assert not page.exception
    return page


def button_named(page: AppTest, label: str):
    return next(button for button in page.button if button.label.replace("\\", "") == label)


def adding(page: AppTest, way: str) -> AppTest:
    page.get_by_key("import-way").set_value(way).run()
    return page


def test_the_answer_names_images_classes_imbalance_and_what_could_not_be_read(workspace, tmp_path):
    made_dataset(tmp_path, workspace, broken=["COVID/torn.png"])

    told = words(opened("dataset"))

    assert "14 images in 3 classes; Normal holds 57.1 %, 4.0 times as many as Viral Pneumonia." in told
    assert "The import left out 1 file." in told


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_opens_by_its_address(workspace, tmp_path, tab):
    made_dataset(tmp_path, workspace)

    page = opened("dataset", tab=tab)

    assert not page.error
    assert [t.label for t in page.tabs] == list(TABS)
    assert all(bool(t.children) == (t.label == tab) for t in page.tabs)


@pytest.mark.parametrize("tab", TABS)
def test_a_single_class_breaks_no_tab(workspace, tmp_path, tab):
    made_dataset(tmp_path, workspace, counts={"COVID": 3})

    page = opened("dataset", tab=tab)

    assert "there is nothing to classify" in words(page)
    assert "majority baseline" not in words(page)  # a classifier above 100 % is not to be had


def test_class_names_are_shown_letter_by_letter(workspace, tmp_path):
    made_dataset(tmp_path, workspace, counts={"*A*": 2, "[B](x)": 3})

    assert r"\[B\]\(x\) holds 60.0 %, 1.5 times as many as \*A\*." in opened("dataset").markdown[1].value


@pytest.mark.parametrize(
    ("way", "sentence"),
    [
        ("Class weights", "An image of Viral Pneumonia has the weight 2.33, 4.0 times that of Normal (0.58)."),
        ("Undersampling", "2 images of each class, 6 in all. 8 images, 57.1 % of all, are not used."),
        ("Oversampling", "10 repeats in all: each image of Viral Pneumonia occurs 4.0 times per epoch."),
        ("Augmentation", "The class shares stay COVID 28.6 %, Normal 57.1 %, Viral Pneumonia 14.3 %"),
    ],
)
def test_each_way_to_handle_class_imbalance_has_its_figures(workspace, tmp_path, way, sentence):
    made_dataset(tmp_path, workspace)
    page = opened("dataset")

    page.get_by_key("imbalance").set_value(way).run()

    assert sentence in words(page)


def test_images_of_one_class_can_be_found_by_name(workspace, tmp_path):
    _, dataset = made_dataset(tmp_path, workspace)
    page = opened("dataset", tab="Images")

    page.get_by_key(f"images-view-{dataset.id}").set_value("COVID").run()
    page.text_input(key="images-search").set_value("covid-3").run()

    assert "1 to 1 of 1 image" in words(page)


def test_many_images_are_shown_page_by_page(workspace, tmp_path):
    _, dataset = made_dataset(tmp_path, workspace, counts={"COVID": 35, "Normal": 3})
    page = opened("dataset", tab="Images")

    page.get_by_key(f"images-view-{dataset.id}").set_value("COVID").run()
    page.get_by_key(f"images-page-{dataset.id}-COVID-").set_value(2).run()

    assert "31 to 35 of 35 images" in words(page)


def test_the_pages_of_a_class_decode_no_file(workspace, tmp_path):
    _, dataset = made_dataset(tmp_path, workspace)
    for path in (tmp_path / "images").rglob("*.png"):
        path.unlink()

    page = opened("dataset", tab="Images")
    page.get_by_key(f"images-view-{dataset.id}").set_value("COVID").run()

    assert not page.error
    assert any(button.label.replace("\\", "") == "COVID-1" for button in page.button)


def test_sample_images_are_read_from_their_files_and_download_as_a_contact_sheet(workspace, tmp_path):
    made_dataset(tmp_path, workspace)

    page = opened("dataset", tab="Images")
    assert "Contact sheet" in [one.label for one in page.get("download_button")]

    for path in (tmp_path / "images/COVID").glob("*.png"):
        path.unlink()
    st.cache_data.clear()
    assert "is no longer what it was at import" in words(page.run())


def test_a_image_opens_by_its_address_with_its_facts(workspace, tmp_path):
    made_database(tmp_path, workspace, sources={"COVID": "https://example.org/covid"})

    told = words(opened("dataset", image="COVID/COVID-2.png"))

    assert "Size: 64 x 64 pixels" in told
    assert "Source: https://example.org/covid" in told
    assert "Lung mask: yes" in told


def test_a_image_opens_by_its_name_and_steps_to_the_next(workspace, tmp_path):
    made_database(tmp_path, workspace)
    page = opened("dataset", tab="Images")

    page = pressed(page, "sample-COVID/COVID-1.png")
    assert page.query_params["image"] == "COVID/COVID-1.png"
    page = pressed(page, "image-Next")

    assert page.query_params["image"] == "COVID/COVID-2.png"


def test_a_image_whose_file_is_gone_says_so(workspace, tmp_path):
    made_dataset(tmp_path, workspace)
    (tmp_path / "images/COVID/COVID-2.png").unlink()

    assert "The file cannot be opened" in words(opened("dataset", image="COVID/COVID-2.png"))


def test_an_unknown_image_in_the_address_is_forgotten(workspace, tmp_path):
    made_dataset(tmp_path, workspace)

    page = opened("dataset", image="nonsense")

    assert "image" not in page.query_params
    assert "has no image 'nonsense'" in page.toast[0].value


def test_missing_images_are_told_where_their_pixels_are_not_kept(workspace, tmp_path):
    _, dataset = made_dataset(tmp_path, workspace)
    pixels.pixels_path(workspace, dataset.pixels_key, SUMMARY_SIZE).unlink()
    (tmp_path / "images/COVID/COVID-2.png").unlink()

    assert "is no longer what it was at import" in words(opened("dataset", tab="Pixels"))


def test_a_difference_along_the_edge_is_told_in_grey_levels(workspace, tmp_path):
    made_dataset(tmp_path, workspace, levels={"COVID": 160, "Normal": 90, "Viral Pneumonia": 90})

    assert "differ by 70 grey levels along the edge" in words(opened("dataset", tab="Pixels"))


def test_the_long_tab_of_pixels_begins_with_the_way_to_each_of_its_parts(workspace, tmp_path):
    made_dataset(tmp_path, workspace)
    page = opened("dataset", tab="Pixels")
    (jumps,) = [one.value for one in page.markdown if one.value.startswith("On this page")]
    assert [f"(#{one.proto.anchor})" in jumps for one in page.subheader] == [True] * 4


def test_few_images_in_a_class_are_named_as_chance(workspace, tmp_path):
    made_dataset(tmp_path, workspace)

    assert "A class here has only 2 images" in words(opened("dataset", tab="Pixels"))


def test_sources_that_reveal_the_class_are_reported(workspace, tmp_path):
    made_database(tmp_path, workspace, sources={label: f"site of {label}" for label in COUNTS})

    told = words(opened("dataset", tab="Sizes and sources"))

    assert "The source alone predicts the class of 100.0 % of the images" in told


def test_unknown_sources_are_told_as_unknown(workspace, tmp_path):
    made_dataset(tmp_path, workspace)

    assert "No image here has a source on record" in words(opened("dataset", tab="Sizes and sources"))


def test_different_proportions_are_pointed_out(workspace, tmp_path):
    made_dataset(tmp_path, workspace, sizes={"COVID": (80, 64)})

    assert "Their proportions differ" in words(opened("dataset", tab="Sizes and sources"))


def test_files_that_could_not_be_read_are_listed_with_their_reason(workspace, tmp_path):
    made_dataset(tmp_path, workspace, broken=["COVID/torn.png"])

    table = opened("dataset", tab="Left out").dataframe[0].value

    assert table.to_dict("records") == [
        {"File": "COVID/torn.png", "Reason": "The file is not a readable PNG or JPEG image."}
    ]


def test_images_left_out_by_decision_are_listed_with_who_and_why(workspace, tmp_path):
    _, made = made_dataset(tmp_path, workspace)
    name = made.images["image_id"].iat[0]
    wanted = decisions.Decision(decisions.LEAVE_OUT, name, note="a lateral view")
    data.decide(workspace, made.id, [wanted], "A reader")

    page = opened("dataset", tab="Left out")

    assert "1 image is left out by decision" in words(page)
    (row,) = page.dataframe[0].value.to_dict("records")
    assert (row["Image"], row["Decided by"], row["Note"]) == (name, "A reader", "a lateral view")


def test_another_data_set_can_be_chosen_while_a_class_is_open(workspace, tmp_path):
    _, first = made_dataset(tmp_path / "a", workspace, counts={"A": 2, "B": 3})
    made_dataset(tmp_path / "b", workspace)
    page = opened("dataset", tab="Images", dataset=first.id)
    page.get_by_key(f"images-view-{first.id}").set_value("A").run()

    page.selectbox[0].select_index(0).run()

    assert not page.exception
    assert "COVID" in words(page)


# Adding data sets


def test_everything_that_can_be_planted_is_offered_in_words(workspace):
    (planted,) = opened("dataset").multiselect
    assert planted.options == [PLANT_WORDS[name] for name in PLANTS]


def test_synthetic_images_are_asked_for_as_the_form_says(workspace, started):
    page = opened("dataset")
    page.number_input[0].set_value(60)
    page.number_input[1].set_value(7)
    page.multiselect[0].set_value(["corner-tag"])

    button_named(page, "Draw the images").click().run()

    request = started[0].request()
    assert request["kind"] == "phantom"
    assert {name: request[name] for name in ("images", "seed", "plant", "name")} == {
        "images": 60,
        "seed": 7,
        "plant": ["corner-tag"],
        "name": "",
    }


def test_a_folder_is_surveyed_and_imported_without_the_fourth_class(workspace, tmp_path, started):
    images = class_folders(tmp_path / "mine", {"COVID": 2, "Lung_Opacity": 3, "Normal": 4})
    page = adding(opened("dataset"), OWN)

    page.text_input(key="import-path").set_value(str(images)).run()
    assert "6 images of 9." in words(page)
    pressed(page, "import-path-go")

    request = started[0].request()
    assert (request["kind"], request["source"], request["name"]) == ("import", str(images), "mine")
    assert (request["classes"], request["remove_source"]) == (["COVID", "Normal"], False)


def test_another_folder_brings_its_own_name_and_no_patients_without_a_sign_of_them(workspace, tmp_path, started):
    page = adding(opened("dataset"), OWN)
    for name in ("first", "second"):
        images = class_folders(tmp_path / name, {"a": 2, "b": 2})
        page.text_input(key="import-path").set_value(str(images)).run()
    assert page.selectbox(key=f"import-patients-{images}").value == "Unknown"
    pressed(page, "import-path-go")
    assert started[0].request()["name"] == "second"


@pytest.mark.parametrize("typed", ["/no/such/folder", "/no/such.zip", "x" * 5000], ids=["folder", "zip", "too long"])
def test_a_path_that_leads_nowhere_is_told_in_a_sentence(workspace, typed):
    page = adding(opened("dataset"), OWN)

    page.text_input(key="import-path").set_value(typed).run()

    assert not page.exception
    assert len(page.error) == 1


def with_zip() -> tuple[AppTest, bytes]:
    """The page with a zip that waits for its import, and the zip's content."""
    page = adding(opened("dataset"), "Upload a zip")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("COVID/1.png", "x")
        archive.writestr("Lung_Opacity/1.png", "x")
    return page.file_uploader[0].upload("my images.zip", content.getvalue()).run(), content.getvalue()


def test_an_uploaded_zip_is_kept_for_its_import_and_removed_by_it(workspace, started):
    page, content = with_zip()
    pressed(page, "import-zip-go")

    request = started[0].request()
    assert Path(request["source"]).parent == workspace.uploads
    assert Path(request["source"]).read_bytes() == content
    assert (request["name"], request["classes"], request["remove_source"]) == ("my images", ["COVID"], True)


def test_an_uploaded_zip_is_removed_where_its_import_cannot_start(workspace, monkeypatch):
    page, _ = with_zip()
    monkeypatch.setattr(queue, "SUBMIT_PATIENCE", 0.0)
    with FileLock(workspace.slots / "submitting.lock").held(0, AssertionError("somebody else starts a job")):
        pressed(page, "import-zip-go")

    assert len(page.error) == 1
    assert list(workspace.uploads.iterdir()) == []


def test_dismissing_a_failed_import_removes_its_folder_and_its_upload(workspace, started):
    kept = workspace.uploads / "left.zip"
    kept.write_bytes(b"x")
    job = queue.submit(workspace, ImportRequest(source=str(kept), name="left", remove_source=True))
    page = opened("dataset")
    assert "Importing left failed. not launched" in words(page).replace("**", "")

    pressed(page, f"dismiss-{job.id}")

    assert not job.path.exists()
    assert not kept.exists()


def test_kaggle_is_asked_for_three_classes_unless_the_fourth_is_wanted(workspace, started):
    page = adding(opened("dataset"), "Kaggle")

    pressed(page, "import-kaggle-go")
    adding(page, "Kaggle").toggle(key="import-kaggle-fourth").set_value(True).run()
    pressed(page, "import-kaggle-go")

    assert [job.request()["classes"] for job in started] == [
        None,
        ["COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"],
    ]


def running_job(workspace) -> JobFolder:
    """An import at work, as its files tell it; the test holds the lock in its process's place."""
    request = {"images": 60, "seed": 0, "plant": [], "name": ""}
    job = store.create_job(workspace, "phantom", request)
    job.write_status(
        Status(store.RUNNING, progress=0.25, message="Drawing", started=time.time() - 20, seconds_left=60.0)
    )
    return job


def test_a_running_import_shows_how_far_it_is_and_can_be_stopped(workspace):
    job = running_job(workspace)
    lock = job.lock
    assert lock.try_acquire()
    try:
        page = opened("dataset")
        assert " s so far, about 1 min 00 s left." in words(page)
        pressed(page, f"stop-{job.id}")
    finally:
        lock.release()

    assert job.stop_requested()


def test_a_finished_import_is_selected_and_told(workspace, tmp_path):
    made_dataset(tmp_path / "old", workspace)
    job = running_job(workspace)
    lock = job.lock
    assert lock.try_acquire()
    page = opened("dataset")
    _, new = made_dataset(tmp_path / "new", workspace, counts={"A": 2, "B": 3}, broken=["A/torn.png"])
    (job.path / "result.json").write_text(f'{{"dataset": "{new.id}"}}')
    job.write_status(Status(store.COMPLETED, progress=1.0))
    lock.release()

    page.run()

    assert page.query_params["dataset"] == new.id
    assert "is ready and selected: 5 images. The import left out 1 file" in words(page)


def test_an_interrupted_import_is_told_with_its_reason(workspace):
    running_job(workspace)

    assert store.KILLED in words(opened("dataset"))


def test_a_data_set_that_is_being_audited_is_not_deleted(workspace, tmp_path, started):
    _, dataset = made_dataset(tmp_path, workspace)
    queue.submit(workspace, AuditRequest(dataset=dataset.id))
    started[0].write_status(Status(store.RUNNING, started=time.time()))
    lock = started[0].lock
    assert lock.try_acquire()
    try:
        page = opened("dataset")
        page.session_state["manage"] = True
        pressed(page.run(), f"delete-{dataset.id}")
    finally:
        lock.release()
    assert f"under way: Audit of {dataset.name}. Stop them first." in page.warning[0].value
    assert data.list_datasets(workspace)


def test_deleting_asks_once_and_says_what_it_destroys(workspace, tmp_path):
    _, dataset = made_dataset(tmp_path, workspace)
    page = opened("dataset")
    page.session_state["manage"] = True
    page.run()

    pressed(page, f"delete-{dataset.id}")
    assert "The table of 14 images is removed. The images themselves" in words(page)
    assert data.list_datasets(workspace)
    pressed(page, "delete-confirmed")

    assert data.list_datasets(workspace) == []
    assert len(list((tmp_path / "images").rglob("*.png"))) == 14


def test_a_data_set_whose_deletion_is_refused_stays_in_use_and_the_reason_is_shown(workspace, tmp_path, acts):
    _, dataset = made_dataset(tmp_path, workspace)
    page = opened("dataset", dataset=dataset.id)
    page.session_state["manage"] = True
    page.run()

    pressed(page, f"delete-{dataset.id}")
    acts(Role.VIEWER)
    pressed(page, "delete-confirmed")

    assert page.session_state[shell.IN_USE] == dataset.id and page.query_params["dataset"] == dataset.id
    assert ["administrator" in one.value for one in page.toast] == [True]


def test_a_damaged_data_set_can_be_removed(workspace):
    (workspace.datasets / "half-a-set").mkdir()
    page = opened("dataset")
    page.session_state["manage"] = True
    page.run()

    pressed(page, "delete-half-a-set")
    pressed(page, "delete-confirmed")

    assert data.list_datasets(workspace) == []


def test_class_weights_are_shown_to_the_last_digit(workspace, tmp_path):
    made_dataset(tmp_path, workspace, counts={"COVID": 3, "Normal": 10, "Viral Pneumonia": 1})
    page = opened("dataset", tab="Overview")
    shown = next(frame.value for frame in page.dataframe if "Class weight" in frame.value.columns)
    assert shown["Class weight"].tolist() == [repr(14 / (3 * n)) for n in (3, 10, 1)]


def test_an_address_of_a_data_set_that_is_gone_is_not_answered_with_another_one_in_silence(workspace, tmp_path):
    made_dataset(tmp_path, workspace)
    page = opened("dataset", dataset="gone-12345")
    assert "The data set of this address is not here" in words(page)
    assert "The data set of this address is not here" not in words(page.run())


def test_patients_that_names_give_are_proposed_and_can_be_corrected(workspace, tmp_path, started):
    names = [f"{part}/{label}/person{n}_{part}.png" for part in ("train", "test") for label in "ab" for n in range(2)]
    for name in names:
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"")
    page = adding(opened("dataset"), OWN)
    page.text_input(key="import-path").set_value(str(tmp_path / "set")).run()
    key = str(tmp_path / "set")

    assert "4 patients have images in several" in words(page)
    page.toggle(key=f"import-anew-{key}").set_value(False).run()
    assert "2 patients have images in several" in words(page)
    page.selectbox(key=f"import-patients-{key}").set_value("Unknown").run()
    assert "have images in several" not in words(page)
    pressed(page, "import-path-go")

    assert started[0].request()["patients"] == ""


def test_a_table_labels_images_whose_folders_are_no_classes(workspace, tmp_path, started):
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    for number in range(3):
        (root / f"images/{number}.png").write_bytes(b"")
    (root / "facts.csv").write_text("file,kind,patient\n0.png,a,p\n1.png,b,q\n2.png,b,q\n")
    page = adding(opened("dataset"), OWN)
    page.text_input(key="import-path").set_value(str(root)).run()

    page.selectbox(key=f"import-column-label-{root}").set_value("kind").run()
    assert "3 images of 3." in words(page)
    pressed(page, "import-path-go")

    request = started[0].request()
    assert (request["tables"], request["classes"]) == (["facts.csv"], ["a", "b"])
    assert request["columns"] == {"path": "file", "label": "kind", "patient": "patient"}


def test_the_level_of_the_classes_and_the_parts_are_a_choice(workspace, tmp_path, started):
    root = tmp_path / "set"
    for name in (
        "north/COVID/train/1.png",
        "north/Normal/test/2.png",
        "south/COVID/test/3.png",
        "south/Normal/train/4.png",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    page = adding(opened("dataset"), OWN)
    page.text_input(key="import-path").set_value(str(root)).run()
    page.radio(key=f"import-level-{root}").set_value("COVID, Normal").run()
    page.toggle(key=f"import-parts-{root}").set_value(False).run()
    pressed(page, "import-path-go")

    request = started[0].request()
    assert (request["classes"], request["parts"]) == (["COVID", "Normal"], {})


def test_all_classes_of_a_table_are_chosen_where_the_folders_were_the_classes_before(workspace, tmp_path, started):
    root = class_folders(tmp_path / "set", {"old": 2, "new": 2})
    rows = [f"{path.relative_to(root).as_posix()},{path.parent.name == 'old'}" for path in root.rglob("*.png")]
    (root / "facts.csv").write_text("\n".join(["path,finding", *rows]))
    page = adding(opened("dataset"), OWN)
    page.text_input(key="import-path").set_value(str(root)).run()
    assert "4 images of 4." in words(page)
    page.multiselect(key=f"import-tables-{root}").set_value(["facts.csv"]).run()
    assert "4 images of 4." in words(page)
    pressed(page, "import-path-go")
    assert started[0].request()["classes"] == ["False", "True"]


def test_data_sets_are_merged_under_the_names_that_are_chosen(workspace, tmp_path, started):
    _, first = made_dataset(tmp_path, workspace)
    other = importing.import_folder(workspace, class_folders(tmp_path / "other", {"covid-19": 2, "Pneumonia": 3}))
    page = adding(opened("dataset", add="own"), "Merge data sets")
    page.multiselect(key="merge-of").set_value([first.id, other.id]).run()
    box = next(box for box in page.selectbox if box.label == "Pneumonia (3)")
    box.set_value("Viral Pneumonia").run()
    assert page.warning
    pressed(page, "merge-go")
    request = queue.jobs(workspace, MergeRequest)[0].request
    assert request.members == (first.id, other.id)
    assert request.classes == {other.id: {"covid-19": "COVID", "Pneumonia": "Viral Pneumonia"}}


def test_images_of_a_folder_go_into_the_data_set_that_is_chosen(workspace, tmp_path, started):
    _, dataset = made_dataset(tmp_path, workspace)
    more = class_folders(tmp_path / "more", {"COVID": 2, "Normal": 1})
    page = adding(opened("dataset", add="own"), OWN)
    page.text_input(key="import-path").set_value(str(more)).run()
    page.selectbox(key="import-into-path").set_value(dataset.id).run()
    pressed(page, "import-path-go")
    assert queue.jobs(workspace, ImportRequest)[0].request.dataset == dataset.id


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_public_collection_is_understood_without_a_correction(workspace, tmp_path, started, name):
    folder = write(COLLECTIONS[name], tmp_path / "set")
    page = adding(opened("dataset"), OWN)
    page.text_input(key="import-path").set_value(str(folder)).run()
    pressed(page, "import-path-go")

    request = kinds.request_in(started[0].request())
    made = data.open_dataset(workspace, kinds.of(request).work(workspace, request, silent)["dataset"])
    assert made.counts == COLLECTIONS[name].counts
