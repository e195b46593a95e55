"""The course report in a real browser: it draws every figure without a server, and prints."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from states import PATIENCE

from covid_core.commands import main


@pytest.fixture(scope="module")
def report(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVID_CORE_HOME", str(golden))
        assert main.main(["report", "longer-00008", "two-seeds-seed-0-00006", "--to", str(folder)]) == 0
    (written,) = folder.iterdir()
    return written


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1280, "height": 844})
    opened.faults = []
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    opened.on("console", lambda message: opened.faults.append(message.text) if message.type == "error" else None)
    opened.on(
        "request",
        lambda wanted: None if wanted.url.startswith(("file:", "data:")) else opened.faults.append(wanted.url),
    )
    opened.goto(report.as_uri())
    yield opened
    opened.close()


def test_every_figure_is_drawn_within_the_page_and_nothing_is_loaded(page: Page):
    plots = page.locator("[role=img][aria-label]")
    expect(page.locator("[role=img] .svg-container")).to_have_count(plots.count(), timeout=PATIENCE)
    assert plots.count() > 8 and not page.faults
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("img").evaluate_all("images => images.every(one => one.naturalWidth && one.alt)")


def test_it_prints_to_pages_of_a4_with_its_figures_at_full_width(page: Page):
    before = page.locator(".main-svg").first.bounding_box()["width"]
    printed = page.pdf(prefer_css_page_size=True)
    assert printed.count(b"/Type /Page\n") > 5 and b"[0 0 594" in printed
    assert page.locator(".main-svg").first.bounding_box()["width"] == before
