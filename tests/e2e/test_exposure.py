"""What the server that users start shows to strangers, and what its policy forbids to its own pages: nothing."""

import tomllib

import pytest
from app_server import ROOT, App
from playwright.sync_api import ConsoleMessage, Page, expect
from states import idle

from benchmarks.reliability import exposure
from benchmarks.reliability.session import Session

REFUSED = 403
PAGES = tomllib.loads((ROOT / "pages" / "navigation.toml").read_text(encoding="utf-8"))


def test_no_page_but_its_own_opens_a_connection(app: App):
    wrong = {case: seen for case, (seen, must) in exposure.websocket_matrix(app.port).items() if seen != must}
    assert not wrong


def test_it_listens_on_this_machine_alone(app: App):
    assert not exposure.sockets_off_loopback(app.pid)


@pytest.mark.parametrize(
    ("session", "has_token"), [("", False), ("anothers", True)], ids=["no token", "another session"]
)
def test_a_file_that_no_page_of_ones_own_handed_in_is_refused(app: App, session: str, has_token: bool):
    with Session(app.url) as one:
        one.open("predict")
        path = one.place_for("a.png").upload_url
        foreign = path.replace(path.split("/")[-2], session) if session else path
        assert one.put(foreign, "a.png", b"content", has_token) == REFUSED
        assert one.put(path, "a.png", b"content") < REFUSED


def test_neither_files_nor_an_interface_for_programs_are_served():
    settings = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert not settings["server"]["enableStaticServing"]
    assert not settings["server"]["enableAgentApi"]
    assert settings["client"]["toolbarMode"] == "minimal"


def test_every_answer_has_the_protective_headers(app: App):
    assert not {name: lacking for name, lacking in exposure.missing_headers(app.port).items() if lacking}


def test_no_page_needs_what_the_policy_forbids(page: Page, app: App):
    forbidden: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            forbidden.append(message.text)

    page.on("console", note)
    page.goto(app.url)
    for name, about in PAGES.items():
        page.get_by_test_id("stSidebar").get_by_role("link", name=about["title"], exact=True).click()
        expect(page).to_have_url(f"{app.url}/{'' if name == 'home' else name}")
        idle(page)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.remove_listener("console", note)
    assert not forbidden
