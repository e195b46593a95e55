"""The map of a data set in a real browser: a click shows an image, and a lasso or a rectangle chooses images."""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from app_server import App
from playwright.sync_api import Page, expect
from states import still
from waiting import until

from covid_core.audit.embedding import embedding_map
from covid_core.data.dataset import Dataset
from covid_core.data.imports import importing
from covid_core.workspace import Workspace

CHART = ".stPlotlyChart"
PLACES = """plot => {
  const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
  return Array.from(plot.calcdata, (_, trace) => Array.from(plot._fullData[trace].x, (x, i) =>
    [box.left + xaxis._offset + xaxis.l2p(x), box.top + yaxis._offset + yaxis.l2p(plot._fullData[trace].y[i])]));
}"""


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


def show(page: Page, app: App, address: str = "") -> None:
    page.goto(f"{app.url}{address}")
    expect(page.locator(f"{CHART} canvas").first).to_be_attached()
    page.locator(CHART).scroll_into_view_if_needed()
    still(page, page.locator(CHART))


def places_on_page(page: Page, mapped: pd.DataFrame) -> np.ndarray:
    """Where the browser has each image of the map, in pixels of the page, of shape (images, 2)."""
    traces = page.locator(".js-plotly-plot").evaluate(PLACES)
    at = np.empty((len(mapped), 2))
    for label, places in zip(sorted(mapped["label"].unique()), traces, strict=False):
        at[(mapped["label"] == label).to_numpy()] = places
    return at


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
    expect(page.locator(f"{CHART} canvas").first).to_be_attached()
    expect(page.locator(CHART)).to_contain_text(f"Normal {images.counts['Normal']}")


def test_a_click_shows_the_image_beside_the_map_and_a_link_keeps_it(page: Page, app: App, mapped: pd.DataFrame):
    show(page, app)
    at = places_on_page(page, mapped)
    row = lonely(at)
    page.mouse.move(*at[row].tolist())
    expect(page.locator(f"{CHART} .hoverlayer")).to_contain_text(name_of(mapped, row))
    page.mouse.click(*at[row].tolist())
    beside = page.get_by_alt_text(f"Image {name_of(mapped, row)}, labelled {mapped['label'].iat[row]}")
    expect(beside.first).to_be_visible()
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    expect(beside.first).to_be_visible()
    page.get_by_role("button", name="Open image").click()
    expect(
        page.get_by_role("dialog").get_by_alt_text(re.compile(f"^Chest X-ray .*{name_of(mapped, row)}"))
    ).to_be_visible()


@pytest.mark.parametrize("tool", ["Lasso Select", "Box Select"])
def test_what_is_drawn_around_becomes_the_choice(page: Page, app: App, mapped: pd.DataFrame, tool: str):
    show(page, app)
    page.locator(CHART).hover()
    page.locator(f"{CHART} [data-title='{tool}']").click()
    at = places_on_page(page, mapped)
    middle = np.median(at, axis=0)
    low, high = middle - 50, middle + 50
    inside = ((at > low) & (at < high)).all(axis=1)
    assert 1 < inside.sum() <= 24
    corners = [low, (high[0], low[1]), high, (low[0], high[1]), low + (0, 1)] if "Lasso" in tool else [low, high]
    page.mouse.move(*map(float, corners[0]))
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*map(float, corner), steps=4)
    page.mouse.up()
    expect(page.get_by_role("heading", name=f"{inside.sum()} images chosen")).to_be_visible()
    expected = {name_of(mapped, row) for row in np.flatnonzero(inside)}
    until(lambda: names_chosen(page) == expected, "the images inside, and no others")
    page.get_by_role("button", name="Clear the choice").click()
    expect(page.locator(".st-key-map-chosen")).to_have_count(0)


def test_a_class_that_is_hidden_is_not_chosen(page: Page, app: App, mapped: pd.DataFrame):
    show(page, app)
    page.locator(f"{CHART} .legend .traces").filter(has_text="Normal").locator(".legendtoggle").click()
    page.locator(CHART).hover()
    page.locator(f"{CHART} [data-title='Box Select']").click()
    until(
        lambda: page.locator(".js-plotly-plot").evaluate("plot => plot._fullData[1].visible") == "legendonly", "hidden"
    )
    plot = page.locator(f"{CHART} .nsewdrag").bounding_box()
    page.mouse.move(plot["x"] + 2, plot["y"] + 2)
    page.mouse.down()
    page.mouse.move(plot["x"] + plot["width"] - 2, plot["y"] + plot["height"] - 2, steps=4)
    page.mouse.up()
    expected = int((mapped["label"] != "Normal").sum())
    expect(page.get_by_role("heading", name=f"{expected} images chosen")).to_be_visible()
