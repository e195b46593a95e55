"""The main job in a browser: first start, look, train, compare, upload; and what survives a reload and a restart."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_server import App
from playwright.sync_api import Page, expect
from states import train_an_epoch
from waiting import until

from covid_core.data import dataset as data
from covid_core.data.imports import importing
from covid_core.files import FileLock
from covid_core.images.codec import png_bytes
from covid_core.jobs import queue
from covid_core.jobs.kinds import DATA_SLOT
from covid_core.runs import store
from covid_core.specs import HeadSpec, TrainingSpec
from covid_core.synthetic.phantom import image_at
from covid_core.workspace import Workspace

FEW_IMAGES = 60


@pytest.fixture(scope="module")
def workspace(app: App) -> Workspace:
    return Workspace(app.home / "workspace")


@pytest.fixture(scope="module")
def small(workspace: Workspace) -> str:
    """Id of a data set on which a training takes seconds."""
    return importing.import_phantom(workspace, images=FEW_IMAGES, seed=1, name="Few images").id


@pytest.fixture(scope="module")
def long_run(workspace: Workspace, small: str) -> store.Run:
    """A training that is still at work when a test has done what it wants."""
    spec = TrainingSpec(
        dataset=small,
        classes=("COVID", "Normal", "Viral Pneumonia"),
        name="Long run",
        backbone="baseline_cnn",
        head=HeadSpec(units=(16,)),
        image_size=64,
        epochs=1000,
        patience=0,
    )
    return queue.submit_training(workspace, spec)


@pytest.fixture
def busy(workspace: Workspace) -> Iterator[None]:
    """Others import, so that a new import waits however fast this machine draws."""
    slots = [FileLock(workspace.slots / f"data-{number}.lock") for number in range(DATA_SLOT.jobs)]
    assert all(slot.try_acquire() for slot in slots)
    yield
    for slot in slots:
        slot.release()


def test_the_first_start_draws_images_with_one_click(page: Page, app: App, workspace: Workspace, busy: None):
    page.goto(app.url)
    page.get_by_role("button", name="Draw 600 synthetic images").click()
    expect(page.get_by_text("Drawing 600 synthetic images")).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_role("button", name="Draw 600 synthetic images")).to_be_enabled()
    assert data.list_datasets(workspace) == []


def test_as_many_images_are_drawn_as_are_asked_for(page: Page, app: App):
    page.goto(f"{app.url}/dataset")
    page.get_by_role("spinbutton", name="Number of images").fill(str(FEW_IMAGES))
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Draw the images").click()
    expect(page.get_by_text(f"is ready and selected: {FEW_IMAGES} images.", exact=False)).to_be_visible()
    page.goto(app.url)
    expect(page.get_by_text(f"{FEW_IMAGES} images in 1 data set", exact=False)).to_be_visible()
    page.get_by_role("button", name="View the images").click()
    expect(page.get_by_role("heading", name="What is in this data set?")).to_be_visible()


def test_a_deep_link_as_the_first_visit_opens_the_whole_app(page: Page, app: App):
    app.kill()
    app.start()
    page.goto(f"{app.url}/compare")
    expect(page.get_by_role("link", name="Data set")).to_be_visible()
    expect(page.get_by_text("For research and teaching.", exact=False).first).to_be_visible()


def test_a_image_of_the_gallery_opens_large(page: Page, app: App):
    page.goto(f"{app.url}/dataset?tab=Images")
    expect(page.get_by_alt_text(re.compile("^Image .*COVID-[0-9]+, labelled")).first).to_be_visible()
    page.get_by_role("button", name=re.compile("^COVID-[0-9]+$")).first.click()
    expect(page.get_by_alt_text(re.compile("Chest X-ray COVID.COVID-"))).to_be_visible()


def test_a_training_is_watched_to_its_end(page: Page, app: App, workspace: Workspace, small: str):
    train_an_epoch(page, app.url, small, "By hand")
    run = wait_for_run(workspace, "By hand")
    page.goto(f"{app.url}/train?run={run.id}")
    expect(page.get_by_role("heading", name=re.compile("How good is By hand"))).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()


def test_an_uploaded_image_gets_scores_and_its_hottest_place(page: Page, app: App, tmp_path: Path):
    image = tmp_path / "from the ward.png"
    image.write_bytes(png_bytes(image_at(3, images=12, seed=9).pixels))
    page.goto(f"{app.url}/predict")
    page.locator("input[type=file]").set_input_files(image)
    expect(page.get_by_text("has the highest", exact=False).first).to_be_visible()
    expect(page.get_by_text("The hottest place", exact=False)).to_be_visible()
    expect(page.get_by_text("Not a medical device", exact=False).first).to_be_visible()


def test_a_reload_in_mid_training_shows_it_still_training(page: Page, app: App, long_run: store.Run):
    page.goto(f"{app.url}/train?run={long_run.id}")
    expect(page.get_by_text(re.compile("epoch [1-9]")).first).to_be_visible()
    page.reload()
    expect(page.get_by_text(re.compile("It trains"))).to_be_visible()
    assert long_run.status().state == store.RUNNING


def test_a_server_that_dies_in_mid_training_finds_it_again_and_can_stop_it(page: Page, app: App, long_run: store.Run):
    app.kill()
    assert long_run.status().state == store.RUNNING
    app.start()
    page.goto(f"{app.url}/train?run={long_run.id}")
    expect(page.get_by_text(re.compile("It trains"))).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text(re.compile("Stopped")).first).to_be_visible()
    assert long_run.status().state == store.STOPPED
    assert store.open_run(Workspace(app.home / "workspace"), long_run.id).result["stopped"]


def wait_for_run(workspace: Workspace, name: str) -> store.Run:
    """The run of that name, as soon as its folder is there."""
    until(lambda: named(workspace, name), f"a run {name!r}")
    return named(workspace, name)[0]


def named(workspace: Workspace, name: str) -> list[store.Run]:
    return [run for run in store.list_runs(workspace)[0] if run.name == name]
