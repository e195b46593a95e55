"""The Home page: what is there, and the one next step in every situation."""

import os
import time

import page_tests
import pytest
from made_runs import all_parts, made_run
from page_tests import words
from streamlit.testing.v1 import AppTest

from covid_core.data import importing
from covid_core.formatting import file_size
from covid_core.jobs import queue
from covid_core.runs import store
from covid_core.runs.store import Status

PARTS = {"train": 6, "validation": 3, "test": 3}


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setenv("SECOND_LOOK_ALLOW_REMOTE", "1")


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


def test_with_nothing_loaded_it_offers_synthetic_images(workspace):
    assert next_step(opened()) == "Draw 600 synthetic images"


def test_one_click_starts_to_draw_synthetic_images(workspace, monkeypatch):
    started = []
    monkeypatch.setattr(queue, "launch", lambda folder: started.append(folder.request()["kind"]))
    opened().button(key="start-phantom").click().run()
    assert started == ["phantom"]


def test_images_that_nobody_looked_at_are_looked_at_next(workspace, dataset):
    assert next_step(opened()) == "Look at the images"


def test_images_that_were_only_selected_are_still_to_be_looked_at(workspace, dataset):
    page = opened(dataset_in_use=dataset.id)
    assert next_step(page) == "Look at the images"
    assert "Look" not in done(page)


def test_images_that_were_looked_at_are_trained_on_next(workspace, dataset):
    page = page_tests.opened("dataset")
    page.switch_page("home.py").run()
    assert next_step(page) == "Train a model"
    assert "Look" in done(page)


def test_images_that_an_import_has_just_selected_are_to_be_looked_at_though_others_were(
    workspace, dataset, image_folder
):
    page = page_tests.opened("dataset")
    newer = importing.import_folder(workspace, image_folder({"COVID": 3, "Normal": 3}, name="newer"), "Newer")
    job = store.create_job(workspace, "import", {"source": "newer", "name": "Newer"})
    page.session_state["jobs_followed"] = {job.id}
    job.write_result({"dataset": newer.id})
    job.write_status(Status(store.COMPLETED, started=time.time(), updated=time.time(), ended=time.time()))
    page.switch_page("home.py").run()
    assert next_step(page) == "Look at the images"


def test_the_button_opens_what_it_said_when_it_was_clicked(workspace, dataset):
    page = opened()
    made_run(workspace, all_parts(PARTS, 1))  # by now the next step is another
    page.button(key="next-step").click().run()
    assert "What is in this data set?" in words(page)


def test_a_trained_model_is_compared_next(workspace, dataset):
    made_run(workspace, all_parts(PARTS, 1))
    assert next_step(opened()) == "See what the models are worth"


def test_a_failed_run_is_no_model(workspace, dataset):
    made_run(workspace, all_parts(PARTS, 1), state=store.FAILED)
    assert "no trained model yet" in words(opened())


def test_it_counts_what_is_there(workspace, dataset):
    made_run(workspace, all_parts(PARTS, 1))
    assert "12 images in 1 data set, 1 trained model." in words(opened())


@pytest.mark.parametrize("reader", ["Radiologist", "Instructor", "Student"])
def test_it_says_where_each_reader_starts(workspace, reader):
    assert f"**{reader}**" in words(opened())


def test_it_says_that_it_is_for_research(workspace):
    assert "Not a medical device." in words(opened())


def test_a_damaged_run_does_not_disturb_it(workspace, dataset):
    run = made_run(workspace, all_parts(PARTS, 1))
    (run.path / "status.json").write_text("{")
    assert next_step(opened()) == "Look at the images"


# Storage


def buttons(page: AppTest) -> set[str]:
    return {button.key for button in page.button}


def closed_popovers(page: AppTest) -> list[bool]:
    """Whether each popover is disabled."""
    return [block.proto.popover.disabled for block in page.get("popover")]


def test_an_empty_cache_says_what_it_will_hold_and_offers_nothing_to_clear(workspace):
    page = opened()
    assert "Nothing is kept yet." in words(page)
    assert "up to 10.0 GB" in words(page)
    assert "clear-cache" not in buttons(page)


def kept(workspace) -> str:
    """The size of decoded images and of the groups that they form, in words."""
    return file_size(sum(path.stat().st_size for at in (workspace.pixels, workspace.tables) for path in at.iterdir()))


def test_it_says_what_is_kept_of_which_limit_and_since_when(workspace, dataset, monkeypatch):
    monkeypatch.setenv("COVID_CORE_CACHE_GB", "0.001")
    page = opened()
    assert page.get("progress")[0].proto.text == f"{kept(workspace)} of 1.0 MB, kept so that nothing is computed twice"
    assert "Decoded images: 196.6 kB, last used" in words(page)


def test_above_the_limit_it_says_what_will_happen(workspace, dataset, monkeypatch):
    monkeypatch.setenv("COVID_CORE_CACHE_GB", "0.0001")
    page = opened()
    assert page.get("progress")[0].proto.value == 100
    assert "This is above the limit." in words(page)


def test_clearing_asks_with_what_is_lost_then_frees_the_cache_and_nothing_else(workspace, dataset):
    whole = kept(workspace)
    page = opened()
    assert f"Clear **{whole}**? Data sets, runs and models stay. Only time is lost" in words(page)
    page.button(key="clear-cache").click().run()
    assert [toast.value for toast in page.toast] == [f"{whole} freed."]
    assert list(workspace.pixels.iterdir()) == []
    assert "12 images in 1 data set" in words(page)
    assert "Nothing is kept yet." in words(page)


def test_while_a_run_is_at_work_the_cache_cannot_be_cleared_and_it_says_why(workspace, dataset):
    assert closed_popovers(opened()) == [False]
    run = made_run(workspace, all_parts(PARTS, 1), state=store.QUEUED)
    lock = run.lock
    assert lock.try_acquire()
    run.write_status(Status(store.RUNNING, started=time.time(), updated=time.time()))
    page = opened()
    lock.release()
    assert closed_popovers(page) == [True]
    assert "A run or an import is at work and may use what is kept here." in words(page)


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
