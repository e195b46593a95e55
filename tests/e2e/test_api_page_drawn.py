"""The page of the prediction server in a browser: it is drawn whole, and asks no other host."""

import shutil
from urllib.parse import urlsplit

import pytest
from api_server import serving
from playwright.sync_api import Browser, expect

from covid_core.workspace import Workspace

pytestmark = pytest.mark.browser


def test_the_page_of_the_prediction_server_needs_nobody_else(browser: Browser, golden, tmp_path):
    home = Workspace(shutil.copytree(golden, tmp_path / "workspace"))
    with serving(home, "two-seeds-seed-0-00006") as server:
        page, hosts, refused = browser.new_page(), set(), []
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        page.on("console", lambda message: refused.append(message.text) if message.type == "error" else None)
        page.goto(f"http://127.0.0.1:{server.port}/docs")
        expect(page.locator(".opblock")).to_have_count(3)
        page.close()
    assert (hosts, refused) == ({f"127.0.0.1:{server.port}"}, [])
