"""A page on a projector: large letters, no sidebar, and keys that turn from figure to figure."""

import pytest
from app_server import App
from playwright.sync_api import Page, expect
from states import idle
from waiting import until

from covid_core.data.imports import importing
from covid_core.workspace import Workspace

SCROLLED = "document.querySelector('[data-testid=stMain]').scrollTop"


@pytest.fixture(scope="module")
def dataset(app: App) -> str:
    return importing.import_phantom(Workspace(app.home / "workspace"), 12, name="Few images").id


def test_a_presented_page_has_large_letters_and_its_keys_turn_and_leave(page: Page, app: App, dataset: str):
    page.goto(f"{app.url}/dataset?dataset={dataset}&present=1&embed=true&embed_options=light_theme")
    expect(page.locator(".stPlotlyChart .main-svg").first).to_be_visible()
    idle(page)
    expect(page.get_by_test_id("stSidebar")).to_be_hidden()
    sizes = "texts => texts.map(text => parseFloat(getComputedStyle(text).fontSize))"
    assert min(page.locator("[data-testid=stMain] p:visible").evaluate_all(sizes)) >= 24
    assert min(page.locator(".stPlotlyChart text:visible").evaluate_all(sizes)) >= 18
    assert page.evaluate(SCROLLED) == 0
    page.keyboard.press("ArrowRight")
    until(lambda: page.evaluate(SCROLLED) > 0, "the next figure")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("stSidebar")).to_be_visible()
    assert "present" not in page.url


def test_a_page_offers_to_be_presented_in_the_view_that_is_open(page: Page, app: App, dataset: str):
    page.goto(f"{app.url}/dataset?dataset={dataset}&tab=Pixels")
    expect(page.get_by_role("tab", name="Pixels")).to_have_attribute("aria-selected", "true")
    idle(page)
    page.get_by_role("button", name="Present").click()
    for ground, theme in (("black", "dark"), ("white", "light")):
        address = page.get_by_role("link", name=f"On {ground}").get_attribute("href")
        assert "tab=Pixels" in address
        assert f"embed_options={theme}_theme" in address


def test_the_keys_turn_to_the_next_tab_which_begins_at_its_top(page: Page, app: App, dataset: str):
    page.goto(f"{app.url}/dataset?dataset={dataset}&present=1&embed=true&embed_options=dark_theme")
    expect(page.locator(".stPlotlyChart .main-svg").first).to_be_visible()
    tab = page.get_by_role("tab", name="Images")

    def turned() -> bool:
        idle(page)
        page.keyboard.press("ArrowRight")
        return tab.get_attribute("aria-selected") == "true"

    until(turned, "the next tab")
    until(lambda: (tab.bounding_box() or {"y": 1e9})["y"] < 100, "its top")


def test_the_keys_turn_to_text_below_the_screen(page: Page, app: App):
    page.set_viewport_size({"width": 1280, "height": 420})
    page.goto(f"{app.url}/lessons?lesson=twin&step=2&present=1&embed=true&embed_options=light_theme")
    expect(page.get_by_text("On how many test images", exact=False)).to_be_visible()
    idle(page)

    def has_turned() -> bool:
        page.keyboard.press("ArrowRight")  # again, where a page that is still being drawn has lost it
        page.wait_for_timeout(2000)
        return page.evaluate(SCROLLED) > 0

    until(has_turned, "the question, which no heading begins")
    assert "step=2" in page.url
