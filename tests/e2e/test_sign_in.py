"""A server with a sign-in set up: a stranger's browser gets the way in, and nothing of any page."""

from collections.abc import Iterator

import pytest
from app_server import App
from playwright.sync_api import Page, expect

SECRETS = """
[auth]
redirect_uri = "http://localhost/oauth2callback"
cookie_secret = "long enough to be kept for this test alone"
client_id = "app"
client_secret = "secret"
server_metadata_url = "https://sign-in.invalid/.well-known/openid-configuration"
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    home = tmp_path_factory.mktemp("app")
    (home / "secrets.toml").write_text(SECRETS)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("STREAMLIT_SECRETS_FILES", str(home / "secrets.toml"))
        running = App(home)
        running.start()
    yield running
    running.kill()
    running.kill_workers()


@pytest.mark.parametrize("path", ["", "/dataset", "/train?run=1"])
def test_a_stranger_sees_the_way_in_and_nothing_else(page: Page, app: App, path: str):
    page.goto(f"{app.url}{path}")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert page.get_by_role("heading", level=1).count() == 0
    assert page.locator("[data-testid=stSidebar] [data-testid=stPageLink]").count() == 0
