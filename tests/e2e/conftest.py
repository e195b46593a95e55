"""The real app in a real browser: a server of its own on a free port, an empty workspace, Chromium."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_server import App
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright
from states import PATIENCE

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
REQUIRED = "COVID_CORE_REQUIRE_BROWSER"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        message = "No Chromium or Chrome is installed."
        pytest.fail(message) if os.environ.get(REQUIRED) else pytest.skip(message)
    arguments = ["--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-gpu"]
    arguments.append("--force-prefers-reduced-motion")  # what moves is drawn anew, on processors that tests want
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium refuses its sandbox to root
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=arguments)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    running = App(tmp_path_factory.mktemp("app"))
    running.start()
    yield running
    running.kill()
    running.kill_workers()


@pytest.fixture(scope="module")
def context(browser: Browser, app: App) -> Iterator[BrowserContext]:
    """One for all tests of a module: the browser fetches and compiles the scripts of the app once."""
    opened = browser.new_context(viewport={"width": 1280, "height": 900})
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def module_page(context: BrowserContext) -> Page:
    """One for all tests of a module: a tab keeps the compiled scripts, which cost more than all else on a page."""
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    return opened


@pytest.fixture
def page(module_page: Page, app: App) -> Iterator[Page]:
    """A fresh session of the app. Nothing on any page may show a traceback, or ask another host for anything."""
    elsewhere: list[str] = []

    def note(request: Request) -> None:
        if app.url not in request.url:
            elsewhere.append(request.url)

    module_page.on("request", note)
    yield module_page
    module_page.remove_listener("request", note)
    tracebacks = module_page.locator("[data-testid=stException]").count()
    module_page.mouse.move(0, 0)
    module_page.goto("about:blank")  # ends the session
    assert tracebacks == 0, "a page shows a traceback"
    strangers = [url for url in elsewhere if url.startswith(("http:", "https:", "ws:", "wss:"))]
    assert not strangers, f"the page asked other hosts: {strangers[:3]}"
