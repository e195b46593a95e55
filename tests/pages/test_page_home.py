"""The Home page: what is there, and the one next step in every situation."""

import os
import time

import page_tests
import pytest
from made_runs import all_parts, made_run
from page_tests import words
from streamlit.testing.v1 import AppTest

from covid_core.data.imports import importing
from covid_core.executors import choice
from covid_core.executors.choice import Choice
from covid_core.formatting import file_size
from covid_core.glossary import GLOSSARY
from covid_core.jobs import queue
from covid_core.jobs.kinds import DemonstrationRequest
from covid_core.runs import store
from covid_core.runs.store import Status
from pages.panels.dataset.import_form import OWN

PARTS = {"train": 6, "validation": 3, "test": 3}


@pytest.fixture
def dataset(workspace, image_folder):
    return importing.import_folder(workspace, image_folder({"COVID": 5, "Normal": 7}), "Images")


def opened(**session: object) -> AppTest:
    return page_tests.opened(session=session)


def next_step(page: AppTest) -> str:
    return next(button.label for button in page.button if button.key in ("next-step", "start-phantom"))


def done(page: AppTest) -> set[str]:
    """The steps that are ticked."""
    links = [link.proto for link in page.get("page_link")]
    return {link.label.strip("*") for link in links if link.icon == ":material/check_circle:"}


def test_the_address_home_leads_to_this_page(workspace):
    assert "What should I do next?" in words(page_tests.opened("home"))


def test_one_click_starts_to_draw_synthetic_images(workspace, monkeypatch):
    started = []
    monkeypatch.setattr(queue, "launch", lambda folder: started.append(folder.request()["kind"]))
    opened().button(key="start-phantom").click().run()
    assert started == ["phantom"]


@pytest.mark.parametrize("page", ["", "dataset", "audit", "train", "compare", "predict"])
def test_every_empty_page_offers_images_models_and_audits_in_one_click(workspace, launched, page):
    app = page_tests.opened(page)
    app.button(key="start-demonstration").click().run()
    (job,) = queue.jobs(workspace, DemonstrationRequest)
    assert launched == [job.id]
    assert "start-demonstration" not in [button.key for button in app.button]
    assert "Demonstration: images, models and audits" in words(app)


def test_a_demonstration_is_followed_on_every_page_and_reported_at_its_end(workspace, dataset, launched):
    app = page_tests.opened("audit")
    job = queue.submit(workspace, DemonstrationRequest())
    now = time.time()
    with job.lock.held(1, AssertionError()):
        job.write_status(Status(store.RUNNING, message="Step 2 of 6: Learning", started=now, updated=now))
        assert "Step 2 of 6\\: Learning" in [bar.proto.text for bar in app.run().get("progress")]
    job.write_result({"dataset": dataset.id, "runs": []})
    job.write_status(Status(store.COMPLETED, started=now - 60, updated=now, ended=now))
    assert "**Everything is ready, after 1 min 00 s.**" in words(app.run())


def test_own_images_are_added_where_own_images_can_be_chosen(workspace):
    page = page_tests.opened("dataset", add="own")
    assert page.session_state["import-way"] == OWN
    assert [one.label for one in page.text_input if one.key == "import-path"]


def test_the_time_to_draw_is_said_before_the_click(workspace):
    label = opened().button(key="start-phantom").label
    assert label == "Draw 600 synthetic images (about 15 s)"


def test_images_that_nobody_viewed_are_viewed_next(workspace, dataset):
    assert next_step(opened()) == "View the images"


def test_images_that_were_only_selected_are_still_to_be_viewed(workspace, dataset):
    page = opened(dataset_in_use=dataset.id)
    assert next_step(page) == "View the images"
    assert "View" not in done(page)


def test_images_that_were_viewed_are_trained_on_next(workspace, dataset):
    page = page_tests.opened("dataset")
    page.switch_page("home.py").run()
    assert next_step(page) == "Train a model"
    assert "View" in done(page)


def test_a_page_that_was_opened_is_ticked(workspace, dataset):
    assert "Audit" not in done(opened())
    page = page_tests.opened("audit")
    page.switch_page("home.py").run()
    assert "Audit" in done(page)


def test_images_that_an_import_has_just_selected_are_to_be_viewed_though_others_were(workspace, dataset, image_folder):
    page = page_tests.opened("dataset")
    newer = importing.import_folder(workspace, image_folder({"COVID": 3, "Normal": 3}, name="newer"), "Newer")
    job = store.create_job(workspace, "import", {"source": "newer", "name": "Newer"})
    page.session_state["jobs_followed"] = {job.id}
    job.write_result({"dataset": newer.id})
    job.write_status(Status(store.COMPLETED, started=time.time(), updated=time.time(), ended=time.time()))
    page.switch_page("home.py").run()
    assert next_step(page) == "View the images"


def test_the_button_opens_what_it_said_when_it_was_clicked(workspace, dataset):
    page = opened()
    made_run(workspace, all_parts(PARTS, 1))  # by now the next step is another
    page.button(key="next-step").click().run()
    assert "What is in this data set?" in words(page)


def test_a_trained_model_is_compared_next(workspace, dataset):
    made_run(workspace, all_parts(PARTS, 1))
    assert next_step(opened()) == "Compare the models"


def test_a_failed_run_is_no_model(workspace, dataset):
    made_run(workspace, all_parts(PARTS, 1), state=store.FAILED)
    assert "no trained model yet" in words(opened())


@pytest.mark.parametrize("reader", ["Radiologist", "Instructor", "Student"])
def test_it_says_where_each_reader_starts(workspace, reader):
    assert f"**{reader}**" in words(opened())


def test_it_says_that_it_is_for_research(workspace):
    assert "Not a medical device." in words(opened())


# Storage


def buttons(page: AppTest) -> set[str]:
    return {button.key for button in page.button}


def test_an_empty_cache_says_what_it_will_hold_and_offers_nothing_to_clear(workspace):
    page = opened()
    assert "The cache is empty." in words(page)
    assert "up to 10.0 GB" in words(page)
    assert "clear-cache" not in buttons(page)


def cache_size(workspace) -> str:
    """The size of decoded images and of the groups that they form, in words."""
    return file_size(sum(path.stat().st_size for at in (workspace.pixels, workspace.tables) for path in at.iterdir()))


def test_the_cache_is_shown_beside_its_limit(workspace, dataset, monkeypatch):
    monkeypatch.setenv("COVID_CORE_CACHE_GB", "0.001")
    page = opened()
    assert page.get("progress")[0].proto.text == f"The cache uses {cache_size(workspace)} of 1.0 MB"
    assert "Decoded images: 196.6 kB, last used" in words(page)


def test_above_the_limit_it_says_what_will_happen(workspace, dataset, monkeypatch):
    monkeypatch.setenv("COVID_CORE_CACHE_GB", "0.0001")
    page = opened()
    assert page.get("progress")[0].proto.value == 100
    assert "The cache is above its limit." in words(page)


def test_clearing_asks_with_what_is_lost_then_frees_the_cache_and_nothing_else(workspace, dataset):
    whole = cache_size(workspace)
    page = opened()
    assert f"Clear **{whole}**? Data sets, runs and models stay." in words(page)
    page.button(key="clear-cache").click().run()
    assert [toast.value for toast in page.toast] == [f"{whole} freed."]
    assert list(workspace.pixels.iterdir()) == []
    assert "12 images in 1 data set" in words(page)
    assert "The cache is empty." in words(page)


def test_while_a_run_is_at_work_the_cache_cannot_be_cleared_and_it_says_why(workspace, dataset):
    assert "clear-cache" in buttons(opened())
    run = made_run(workspace, all_parts(PARTS, 1), state=store.QUEUED)
    lock = run.lock
    assert lock.try_acquire()
    run.write_status(Status(store.RUNNING, started=time.time(), updated=time.time()))
    page = opened()
    lock.release()
    assert "clear-cache" not in buttons(page)
    assert "A run or an import may use the cache now." in words(page)


def test_networks_that_no_run_refers_to_can_be_removed(workspace):
    made_run(workspace, all_parts(PARTS, 1), result={"trunk": "net-1"})
    for name in ("net-1", "net-2"):
        (workspace.trunks / f"{name}.tflite").write_bytes(b"network")
    opened().button(key="clear-trunks").click().run()
    assert os.listdir(workspace.trunks) == ["net-1.tflite"]


def test_an_entry_that_cannot_be_read_does_not_disturb_it(workspace, dataset):
    (workspace.features / "link.f32").symlink_to("nowhere")
    (workspace.tables / "folder").mkdir()
    (workspace.tables / "closed.npz").touch(mode=0)
    assert "Decoded images: 196.6 kB" in words(opened())


def test_a_limit_that_is_no_number_is_told_in_a_sentence(workspace, monkeypatch):
    monkeypatch.setenv("COVID_CORE_CACHE_GB", "much")
    page = opened()
    assert "received: 'much'" in page.error[0].value.replace("\\", "")
    assert "Not a medical device." in words(page)


def test_the_glossary_stands_in_place_of_home_where_the_address_asks_for_it(workspace):
    page = page_tests.opened(glossary="coverage")
    assert page.title[0].value == "What does this term mean?"
    assert page.markdown[0].value.startswith("**Coverage**: How often the prediction set contains the true class.")
    page.text_input(key="glossary-search").input("lungs").run()
    assert page.markdown[0].value.startswith("**Evidence check**")
    assert page.query_params["glossary"] == "lungs"
    page.text_input(key="glossary-search").input("no such term").run()
    assert "No term matches." in words(page)
    page.text_input(key="glossary-search").input("").run()
    assert len(page.markdown[0].value.split("\n\n")) == len(GLOSSARY)


@pytest.mark.parametrize("name", ["", "dataset", "audit", "train", "compare", "predict", "lessons"])
def test_every_page_has_its_terms_behind_its_title_sorted_by_name(workspace, name):
    terms = page_tests.opened(name).markdown[0].value.split("\n\n")
    assert len(terms) > 2
    assert terms == sorted(terms, key=str.lower)


def test_an_administrator_sends_jobs_to_an_engine_and_back(workspace, monkeypatch):
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    monkeypatch.setattr(choice.util, "find_spec", lambda name: object())
    page = opened()
    assert "Jobs are done on this computer." in words(page)
    page.radio(key="engine-name").set_value("ray").run()
    assert page.text_input(key="engine-address-ray").max_chars == choice.MOST_LETTERS
    page.text_input(key="engine-address-ray").set_value("head:6379").run()
    page.number_input(key="engine-cores").set_value(4).run()
    page.button(key="engine-save").click().run()
    assert choice.chosen(workspace) == Choice(engine="ray", address="head:6379", cores=4)
    assert "Ray (head:6379), each with 4 cores" in words(page)
    page.radio(key="engine-name").set_value("local").run()
    page.button(key="engine-save").click().run()
    assert choice.chosen(workspace).is_local


def test_an_engine_that_the_server_is_started_with_is_not_changed_on_a_page(workspace, monkeypatch):
    monkeypatch.setattr(choice.util, "find_spec", lambda name: None)
    monkeypatch.setenv(choice.VARIABLE, "ray")
    page = opened()
    assert "second-look[ray]" in words(page)
    assert "engine-name" not in [radio.key for radio in page.radio]
