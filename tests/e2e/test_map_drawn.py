"""The map of a data set in a real browser: an image is pointed at and seen, and what is drawn around is chosen."""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from app_server import App
from playwright.sync_api import Page, expect
from states import PATIENCE, still
from waiting import until

from covid_core.audit.embedding import embedding_map
from covid_core.data import importing
from covid_core.data.dataset import Dataset
from covid_core.data.pixels import SUMMARY_SIZE, open_pixels
from covid_core.images.codec import to_square
from covid_core.workspace import Workspace

MARGIN = 18  # CSS pixels around the whole map, as in scatter.js
TAPPED = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    running = App(tmp_path_factory.mktemp("map"), "tests/e2e/map_page.py")
    running.start()
    yield running
    running.kill()
    running.kill_workers()


@pytest.fixture(scope="module")
def images(app: App) -> Dataset:
    return importing.import_phantom(Workspace(app.home / "workspace"), images=90, seed=1, name="Few images")


@pytest.fixture(scope="module")
def mapped(app: App, images: Dataset) -> pd.DataFrame:
    return embedding_map.make(Workspace(app.home / "workspace"), images).images


def show(page: Page, app: App) -> None:
    page.goto(app.url)
    expect(page.locator(".image-map .stage")).to_be_visible()
    page.locator(".image-map .stage").scroll_into_view_if_needed()
    still(page, page.locator(".image-map .stage"))


def seen_at(page: Page, mapped: pd.DataFrame) -> np.ndarray:
    """Where the browser has each image of the t-SNE map, in pixels of the page: (n, 2), by the rule of its drawing."""
    box = page.locator(".image-map .stage").evaluate(
        "stage => { const b = stage.getBoundingClientRect();"
        " return [b.left + stage.clientLeft, b.top + stage.clientTop, stage.clientWidth, stage.clientHeight]; }"
    )
    left, top, width, height = box
    places = mapped[["tsne_x", "tsne_y"]].to_numpy()
    low, span = places.min(axis=0), np.ptp(places, axis=0)
    by = min((width - 2 * MARGIN) / span[0], (height - 2 * MARGIN) / span[1])
    centred = (places - low - span / 2) * by
    return np.stack([left + width / 2 + centred[:, 0], top + height / 2 - centred[:, 1]], axis=1)


def lonely(at: np.ndarray) -> int:
    """The image that is farthest from its nearest."""
    apart = np.linalg.norm(at[:, None] - at, axis=2)
    np.fill_diagonal(apart, np.inf)
    return int(apart.min(axis=1).argmax())


def name_of(mapped: pd.DataFrame, row: int) -> str:
    return mapped["image_id"].iat[row].rpartition("/")[2].rpartition(".")[0]


def names_chosen(page: Page) -> set[str]:
    pictures = page.locator(".st-key-map-chosen").get_by_alt_text(re.compile("^Image "))
    return {re.match("Image (.*), labelled", picture.get_attribute("alt"))[1] for picture in pictures.all()}


def test_the_page_makes_the_map_at_a_click(page: Page, app: App, images: Dataset):
    page.goto(app.url)
    page.get_by_role("button", name="Make the map").click()
    expect(page.locator(".image-map canvas").first).to_be_visible()
    legend = page.locator(".image-map .legend")
    expect(legend.get_by_role("button", name=f"Normal {images.counts['Normal']}", exact=True)).to_be_visible()


def test_pointing_at_a_image_shows_it(page: Page, app: App, images: Dataset, mapped: pd.DataFrame):
    show(page, app)
    at = seen_at(page, mapped)
    row = lonely(at)
    page.mouse.move(*at[row].tolist())
    expect(page.locator(".image-map .card strong")).to_have_text(name_of(mapped, row))
    expect(page.locator(".image-map .card span")).to_contain_text(mapped["label"].iat[row])
    picture = page.locator(f".image-map .card canvas[data-image='{name_of(mapped, row)}']")
    expect(picture).to_have_count(1)
    drawn = picture.evaluate(
        "canvas => { const { data } = canvas.getContext('2d').getImageData(0, 0, 256, 256);"
        " return Array.from({ length: 65536 }, (_, i) => data[4 * i]); }"
    )
    drawn = to_square(np.array(drawn, np.uint8).reshape(256, 256), 32).astype(float)
    every = open_pixels(Workspace(app.home / "workspace"), images, SUMMARY_SIZE)
    off = [np.abs(to_square(np.asarray(image), 32) - drawn).mean() for image in every]
    assert int(np.argmin(off)) == row
    assert off[row] < 8


def test_a_click_opens_the_image(page: Page, app: App, mapped: pd.DataFrame):
    show(page, app)
    at = seen_at(page, mapped)
    row = lonely(at)
    page.mouse.click(*at[row].tolist())
    expect(
        page.get_by_role("dialog").get_by_alt_text(re.compile(f"^Chest X-ray .*{name_of(mapped, row)}"))
    ).to_be_visible()


@pytest.mark.parametrize("tool", ["Lasso", "Rectangle"])
def test_what_is_drawn_around_opens_the_gallery(page: Page, app: App, mapped: pd.DataFrame, tool: str):
    show(page, app)
    page.locator(".image-map").get_by_role("button", name=tool, exact=True).click()
    at = seen_at(page, mapped)
    middle = np.median(at, axis=0)
    low, high = middle - 70, middle + 70
    inside = ((at > low) & (at < high)).all(axis=1)
    assert 0 < inside.sum() <= 24
    corners = [low, (high[0], low[1]), high, (low[0], high[1]), low + (0, 1)] if tool == "Lasso" else [low, high]
    page.mouse.move(*map(float, corners[0]))
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*map(float, corner), steps=4)
    page.mouse.up()
    expect(page.get_by_role("heading", name=f"{inside.sum()} images chosen")).to_be_visible()
    expected = {name_of(mapped, row) for row in np.flatnonzero(inside)}
    until(lambda: names_chosen(page) == expected, "the images inside, and no others")
    page.locator(".image-map").get_by_role("button", name="Take the choice back").click()
    expect(page.locator(".st-key-map-chosen")).to_have_count(0)


def test_keys_go_from_image_to_image_choose_and_open(page: Page, app: App, mapped: pd.DataFrame):
    show(page, app)
    at = seen_at(page, mapped)
    page.locator(".image-map .stage").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    name = page.locator(".image-map .card strong").inner_text()
    assert name in {name_of(mapped, row) for row in range(len(at))}
    page.keyboard.press("Space")
    expect(page.get_by_role("heading", name="1 image chosen")).to_be_visible()
    until(lambda: names_chosen(page) == {name}, "the chosen image, and no other")
    page.locator(".image-map .stage").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_alt_text(re.compile(f"^Chest X-ray .*{name}"))).to_be_visible()


def test_a_class_that_is_hidden_neither_answers_nor_is_chosen(page: Page, app: App, mapped: pd.DataFrame):
    show(page, app)
    page.locator(".image-map .legend").get_by_role("button", name=re.compile("^Normal")).click()
    at = seen_at(page, mapped)
    page.locator(".image-map").get_by_role("button", name="Rectangle", exact=True).click()
    page.mouse.move(*(at.min(axis=0) - 8).tolist())
    page.mouse.down()
    page.mouse.move(*(at.max(axis=0) + 8).tolist(), steps=4)
    page.mouse.up()
    expected = int((mapped["label"] != "Normal").sum())
    expect(page.get_by_role("heading", name=f"{expected} images chosen")).to_be_visible()


def test_a_finger_taps_to_see_and_again_to_open(browser, app: App, mapped: pd.DataFrame):
    context = browser.new_context(**TAPPED)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    show(page, app)
    at = seen_at(page, mapped)
    row = lonely(at)
    page.touchscreen.tap(*at[row].tolist())
    expect(page.locator(".image-map .card strong")).to_have_text(name_of(mapped, row))
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    page.touchscreen.tap(*at[row].tolist())
    expect(page.get_by_role("dialog")).to_be_visible()
    context.close()
