"""A class that is called like a picture on another host, in a browser: its name is shown, and no host is asked."""

from pathlib import Path

import pytest
from app_server import App
from playwright.sync_api import Page, expect

from covid_core.data.imports import importing
from covid_core.images.codec import png_bytes
from covid_core.synthetic.phantom import image_at
from covid_core.workspace import Workspace

NAMES = ("![p](https:evil.invalid)", "<b>bold", "%{x} **strong** `c` :red[r]")  # of folders, so without a slash


@pytest.fixture(scope="module")
def dataset(app: App, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("images")
    for number, name in enumerate(NAMES):
        (folder / name).mkdir()
        for image in range(4):
            side = 256 - 16 * number  # sizes differ, so the page draws them by class
            pixels = image_at(4 * number + image, images=12, seed=1).pixels[:side, :side]
            (folder / name / f"{name} {image}.png").write_bytes(png_bytes(pixels))
    return importing.import_folder(Workspace(app.home / "workspace"), folder, NAMES[0]).id


@pytest.mark.parametrize("tab", ["Overview", "Images", "Pixels", "Sizes and sources"])
def test_a_tab_of_the_data_set_page_shows_class_names_letter_by_letter(page: Page, app: App, dataset: str, tab: str):
    page.goto(f"{app.url}/dataset?dataset={dataset}&tab={tab}")
    panel = page.get_by_role("tabpanel", name=tab)
    for name in NAMES:
        expect(panel.get_by_text(name).first).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert page.locator("img[src*='evil'], image[href*='evil']").count() == 0


def test_the_buttons_that_choose_a_class_are_called_as_it(page: Page, app: App, dataset: str):
    page.goto(f"{app.url}/dataset?dataset={dataset}&tab=Images")
    page.get_by_role("radio", name=NAMES[0]).click()
    expect(page.get_by_role("button", name=f"{NAMES[0]} 1", exact=True)).to_be_visible()
