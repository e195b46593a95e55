"""The real app in a real browser: a server of its own on a free port, an empty workspace, Chromium."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
START_TIME = 60  # seconds that a busy machine may take to start the server
PATIENCE = 60_000  # milliseconds that a page may take to show something
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
REQUIRED = "COVID_CORE_REQUIRE_BROWSER"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


class App:
    """A running server that can be killed and started again on the same port and workspace."""

    def __init__(self, home: Path):
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def start(self) -> None:
        environment = {**os.environ, "COVID_CORE_HOME": str(self.home / "workspace"), "KERAS_HOME": str(self.home)}
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
                + ["--server.port", str(self.port)],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_TIME
        while not self._answers():
            if time.monotonic() > deadline:
                pytest.fail(f"The server did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.2)

    def kill(self) -> None:
        """End the server as a crash would, without its children's knowledge."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def kill_workers(self) -> None:
        """End what the server started and left running."""
        for process in psutil.process_iter(["cmdline"]):
            if any(str(self.home) in part for part in process.info["cmdline"] or []):
                process.kill()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        message = "No Chromium or Chrome is installed."
        pytest.fail(message) if os.environ.get(REQUIRED) else pytest.skip(message)
    arguments = ["--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-gpu"]
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


@pytest.fixture
def page(browser: Browser, app: App) -> Iterator[Page]:
    """A fresh browser session. Nothing on any page may show a traceback, or ask another host for anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    elsewhere: list[str] = []
    opened.on("request", lambda request: None if app.url in request.url else elsewhere.append(request.url))
    yield opened
    assert opened.locator("[data-testid=stException]").count() == 0, "a page shows a traceback"
    strangers = [url for url in elsewhere if url.startswith(("http:", "https:", "ws:", "wss:")) and _is_far(url, app)]
    context.close()
    assert not strangers, f"the page asked other hosts: {strangers[:3]}"


def _is_far(url: str, app: App) -> bool:
    return f"localhost:{app.port}" not in url
