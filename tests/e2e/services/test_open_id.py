"""A sign-in by OpenID Connect: a real provider on this machine, the real app, and a browser that signs in."""

import json
import sys
from collections.abc import Iterator

import pytest
import services
from app_server import App
from playwright.sync_api import Browser, Page, expect

from covid_core.lessons import classroom
from covid_core.workspace import Workspace

PEOPLE = {"ada": "administrator", "bo": "trainer", "cy": "viewer"}
STRANGER = "eve"
SECRETS = """
administrators = ["ada@example.org"]
trainers = ["bo@example.org"]
viewers = ["*@example.org"]

[auth]
redirect_uri = "{app}/oauth2callback"
cookie_secret = "0123456789abcdef0123456789abcdef"
client_id = "second-look"
client_secret = "secret"
server_metadata_url = "http://127.0.0.1:{port}/.well-known/openid-configuration"
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    home = tmp_path_factory.mktemp("app")
    served, port = App(home), services.free_port()
    claims = [{"sub": name, "email": f"{name}@example.org", "name": name.title()} for name in PEOPLE]
    claims.append({"sub": STRANGER, "email": f"{STRANGER}@example.com", "name": STRANGER.title()})
    users = [word for one in claims for word in ("--user-claims", json.dumps(one))]
    provider = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port), *users]
    (home / "secrets.toml").write_text(SECRETS.format(app=served.url, port=port))
    with services.running(provider, port, home / "provider.log"), pytest.MonkeyPatch.context() as environment:
        environment.setenv("STREAMLIT_SECRETS_FILES", str(home / "secrets.toml"))
        served.start()
        yield served
        served.kill()
        served.kill_workers()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Of a browser of its own: nobody has signed in."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        yield context.new_page()


def sign_in(page: Page, app: App, name: str) -> None:
    page.goto(app.url)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name=name, exact=True).first.click()


def is_out(page: Page) -> None:
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert page.locator("[data-testid=stSidebar] [data-testid=stPageLink]").count() == 0


@pytest.mark.parametrize("name", PEOPLE)
def test_who_signs_in_has_the_role_of_the_lists(page: Page, app: App, name: str):
    sign_in(page, app, name)
    expect(page.get_by_text(f"Signed in as {name.title()}, {PEOPLE[name]}")).to_be_visible()
    expect(page.locator("[data-testid=stSidebar]").get_by_role("link", name="Train")).to_be_visible()
    expect(page.get_by_role("link", name="Activity")).to_have_count(int(name == "ada"))


def test_who_is_on_no_list_stays_outside(page: Page, app: App):
    sign_in(page, app, STRANGER)
    expect(page.get_by_role("alert")).to_contain_text("not on a list")
    assert page.locator("[data-testid=stSidebar] [data-testid=stPageLink]").count() == 0


def test_who_refuses_at_the_provider_stays_outside(page: Page, app: App):
    page.goto(app.url)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Deny").click()
    is_out(page)


def test_who_signs_out_is_outside_again(page: Page, app: App):
    sign_in(page, app, "bo")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="End session").click()  # the provider's own question
    is_out(page)


def test_a_forged_cookie_signs_nobody_in(page: Page, app: App):
    claims = json.dumps({"email": "ada@example.org", "is_logged_in": True, "origin": app.url})
    page.context.add_cookies([{"name": "_streamlit_user", "value": f'"{claims.encode().hex()}"', "url": app.url}])
    page.goto(app.url)
    is_out(page)


def test_a_viewer_reads_at_a_button_why_it_is_not_for_viewers(page: Page, app: App):
    sign_in(page, app, "cy")
    button = page.get_by_role("button", name="Show me everything").first
    expect(button).to_be_disabled()
    button.hover(force=True)
    expect(page.get_by_role("tooltip")).to_contain_text("Only an administrator")


def test_an_administrator_reads_the_log(page: Page, app: App):
    sign_in(page, app, "ada")
    page.get_by_role("link", name="Activity").click()
    expect(page.get_by_role("heading", name="Who did what here?")).to_be_visible()


def test_a_viewer_who_enters_its_address_does_not(page: Page, app: App):
    sign_in(page, app, "cy")
    expect(page.get_by_text("Signed in as Cy")).to_be_visible()
    page.goto(f"{app.url}/activity")
    expect(page.get_by_text("Signed in as Cy")).to_be_visible()
    assert page.get_by_role("heading", name="Who did what here?").count() == 0


def test_the_address_of_a_class_admits_students_to_the_lessons_until_it_ends(page: Page, app: App):
    workspace = Workspace(app.home / "workspace")
    code = classroom.open_class(workspace, "instructor")
    page.goto(f"{app.url}/lessons?class={code}")
    expect(page.get_by_text(f"You are in class {code}")).to_be_visible()
    expect(page.locator("[data-testid=stSidebar] [data-testid=stPageLink]")).to_have_count(1)
    page.goto(f"{app.url}/dataset?class={code}")
    expect(page.get_by_text(f"You are in class {code}")).to_be_visible()
    classroom.close_class(workspace, "instructor", code)
    page.reload()
    is_out(page)
