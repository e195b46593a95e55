"""A page as a browser treats it: Back and Forward, reload, a connection that breaks, a server that has forgotten,
two tabs."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from app_server import App
from playwright.sync_api import BrowserContext, Page, WebSocketRoute, expect
from states import idle, sampled
from trained_runs import sibling
from waiting import until

from covid_core.data.imports import importing
from covid_core.images.codec import png_bytes
from covid_core.runs import store
from covid_core.synthetic.phantom import image_at
from covid_core.workspace import Workspace

OTHER = "Other images"
STILL = 300  # milliseconds without a change
SHOWN = """() => {
    const texts = selector => [...document.querySelectorAll(selector)].map(one => one.innerText.trim());
    return {
        address: location.pathname + location.search,
        heading: texts("h1").slice(0, 1),
        tabs: texts("[role=tab][aria-selected=true]"),
        pressed: texts("[data-testid=stButtonGroup] :is([aria-checked=true], [aria-pressed=true])"),
        chosen: texts("[data-testid=stMain] [data-tag]"),
        boxes: [...document.querySelectorAll("[data-testid=stSelectbox] input")].map(one => one.value),
        sliders: [...document.querySelectorAll("[data-testid=stSlider] input")].map(one => one.value),
        open: document.querySelectorAll("[role=dialog], .viewer").length,
    };
}"""


@pytest.fixture(scope="module")
def run(app: App, copy_of_trained) -> store.Run:
    """A finished run with a sibling, and a second data set."""
    workspace = Workspace(app.home / "workspace")
    trained = copy_of_trained(workspace)
    sibling(workspace, trained, "Sibling")
    importing.import_phantom(workspace, 60, seed=1, name=OTHER)
    return trained


def shown(page: Page) -> dict[str, Any]:
    """What an address decides about a page, once it no longer changes."""
    states = itertools.pairwise(_states(page))
    while (pair := next(states))[0] != pair[1]:
        pass
    return pair[1]


def _states(page: Page) -> Iterator[dict[str, Any]]:
    while True:
        idle(page)
        yield page.evaluate(SHOWN)
        page.wait_for_timeout(STILL)


class Cable:
    """The connection between one page and the server: every WebSocket of it passes here."""

    def __init__(self, page: Page):
        self.page, self.sockets, self.is_plugged = page, [], True
        page.route_web_socket("**/_stcore/stream", self._connect)

    def _connect(self, socket: WebSocketRoute) -> None:
        if self.is_plugged:
            socket.connect_to_server()
            self.sockets.append(socket)
        else:
            socket.close()

    def pull(self) -> None:
        self.is_plugged = False
        for socket in self.sockets:
            socket.close()
        self.sockets.clear()

    def plug(self) -> None:
        self.is_plugged = True


def side(name: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_test_id("stSidebar").get_by_role("link", name=name, exact=True).click()


def tab(name: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("tab", name=name, exact=True).click()


def radio(name: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("radio", name=name, exact=True).first.click()


def link(name: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("link", name=name).first.click()


def pressed(selector: str) -> Callable[[Page], None]:
    return lambda page: page.locator(selector).first.click()


def option(box: str, name: str) -> Callable[[Page], None]:
    """Take an entry of a select box by typing it."""

    def take(page: Page) -> None:
        idle(page)
        page.get_by_role("combobox", name=box).first.click()
        page.keyboard.press("Control+A")
        page.keyboard.type(name)
        expect(page.get_by_role("option", name=name).first).to_be_visible()
        page.keyboard.press("Enter")

    return take


def further(page: Page) -> None:
    """The slider of the coverage, one to the right."""
    page.get_by_role("slider").first.focus()
    page.keyboard.press("ArrowRight")


OF_EVERY_DAY = {"another page", "an image", "another data set", "a run of Compare", "another coverage"}
STEPS = {
    "another page": ("dataset", side("Audit")),
    "a tab of Data set": ("dataset", tab("Images")),
    "an image": ("dataset?tab=Images", pressed("[data-testid=stMain] [data-testid=stButton] button")),
    "another data set": ("dataset?dataset={dataset}", option("Data set", OTHER)),
    "a tab of Audit": ("audit", tab("Map")),
    "a view of Compare": ("compare", tab("Per class")),
    "a view of another group": ("compare?view=Per+class", radio("Training")),
    "a run of Compare": ("compare", pressed("[data-testid=stMain] button[aria-label^=Remove]")),
    "a lesson": ("lessons", link("Open “The duplicate”")),
    "an example": ("predict?run={run}", pressed("[class*=st-key-example] button")),
    "another run of Predict": ("predict?run={run}", option("Runs", "Sibling")),
    "another coverage": ("predict?run={run}", further),
    "the glossary": ("", link("Glossary")),
}


def is_back(page: Page, before: dict[str, Any], left: str) -> bool:
    """A page that writes its address as it opens takes a second step of Back: the limit that the score card names."""
    if page.evaluate(SHOWN)["address"] == left:
        page.go_back()
    return shown(page) == before


@pytest.mark.parametrize("step", sampled(STEPS, OF_EVERY_DAY))
def test_back_and_forward_change_what_is_shown_as_the_address_does(page: Page, app: App, run: store.Run, step: str):
    address, act = STEPS[step]
    page.goto(f"{app.url}/{address.format(run=run.id, dataset=run.dataset.id)}")
    before = shown(page)
    act(page)
    until(lambda: page.evaluate(SHOWN)["address"] != before["address"], "another address")
    after = shown(page)
    page.go_back()
    until(lambda: is_back(page, before, after["address"]), f"the page as it was: {before}")
    page.go_forward()
    until(lambda: shown(page) == after, f"the page as it became: {after}")


RELOADED_EVERY_DAY = (
    "dataset?dataset={dataset}&tab=Images&image=COVID%2FCOVID-11.png",
    "compare?runs={run}",
    "predict?run={run}&image=COVID%2FCOVID-10.png&coverage=80",
)
RELOADED = (
    *RELOADED_EVERY_DAY,
    *("dataset?dataset={dataset}&tab=Pixels", "audit?dataset={dataset}&tab=Map", "train?run={run}"),
    *("compare?view=Per+class", "lessons?lesson=twin&step=2", "?glossary=all"),
)


@pytest.mark.parametrize("address", sampled(RELOADED, RELOADED_EVERY_DAY))
def test_a_reload_shows_all_that_has_an_address(page: Page, app: App, run: store.Run, address: str):
    page.goto(f"{app.url}/{address.format(run=run.id, dataset=run.dataset.id)}")
    before = shown(page)
    page.reload()
    until(lambda: shown(page) == before, f"the page as it was: {before}")


# A connection that breaks


def image(number: int) -> list[dict[str, Any]]:
    pixels = image_at(number, images=60, seed=77, plant=("clear-lesions",)).pixels
    return [{"name": f"image-{number}.png", "mimeType": "", "buffer": png_bytes(pixels)}]


def handed_in(page: Page, app: App, run: store.Run, number: int) -> None:
    page.goto(f"{app.url}/predict?run={run.id}")
    page.locator("input[type=file]").set_input_files(image(number))
    expect(page.get_by_text("has the highest", exact=False).first).to_be_visible()


@pytest.fixture
def cable(module_page: Page) -> Iterator[Cable]:
    """Pulls the cable of a page's connection, and plugs it in again."""
    pulled = Cable(module_page)
    yield pulled
    module_page.unroute_all()


def test_a_connection_that_breaks_comes_back_with_the_image_and_all_choices(
    page: Page, app: App, run: store.Run, cable: Cable
):
    handed_in(page, app, run, 3)
    further(page)
    before = shown(page)
    cable.pull()
    expect(page.locator("[data-test-connection-state=CONNECTED]")).to_have_count(0)
    cable.plug()
    until(lambda: shown(page) == before, f"the page as it was: {before}")
    expect(page.get_by_text("has the highest", exact=False).first).to_be_visible()


def test_a_server_that_has_forgotten_the_session_keeps_choices_and_names_what_must_be_handed_in_again(
    page: Page, app: App, run: store.Run
):
    """As after a sleep of ten minutes: a server keeps a session for two minutes without a connection."""
    handed_in(page, app, run, 3)
    further(page)
    before = shown(page)
    app.kill()
    expect(page.locator("[data-test-connection-state=CONNECTED]")).to_have_count(0)
    app.start()
    expect(page.locator("[data-test-connection-state=CONNECTED]")).to_be_attached()
    further(page)  # until somebody touches the page, it stays as it was
    expect(page.get_by_text("Drop the image again", exact=False)).to_be_visible()
    assert shown(page)["chosen"] == before["chosen"] and shown(page)["sliders"] >= before["sliders"]
    page.locator("input[type=file]").set_input_files(image(4))
    expect(page.get_by_text("has the highest", exact=False).first).to_be_visible()


def test_a_form_whose_session_is_forgotten_says_that_it_must_be_filled_in_again(page: Page, app: App, run: store.Run):
    page.goto(f"{app.url}/train?dataset={run.dataset.id}")
    idle(page)
    page.get_by_role("textbox", name="Name").fill("Half filled in")
    page.keyboard.press("Tab")
    idle(page)
    app.kill()
    expect(page.locator("[data-test-connection-state=CONNECTED]")).to_have_count(0)
    app.start()
    idle(page)
    page.locator("[data-testid=stMain] [data-testid=stButtonGroup] button").first.click()
    idle(page)
    expect(page.get_by_test_id("stToast").get_by_text("fill in the rest again", exact=False)).to_be_visible()


# Two tabs


def test_two_tabs_of_one_user_do_not_mix(page: Page, context: BrowserContext, app: App, run: store.Run):
    other = context.new_page()
    try:
        page.goto(f"{app.url}/dataset?dataset={run.dataset.id}")
        other.goto(f"{app.url}/dataset?dataset={run.dataset.id}")
        option("Data set", OTHER)(other)
        until(lambda: "other-images" in shown(other)["address"], "the other data set")
        side("Audit")(page)
        until(lambda: "/audit" in shown(page)["address"], "the audit page")
        assert run.dataset.id in shown(page)["address"]
        handed_in(page, app, run, 3)
        handed_in(other, app, run, 4)
        for tab, own, foreign in ((page, "image-3.png", "image-4.png"), (other, "image-4.png", "image-3.png")):
            idle(tab)
            expect(tab.get_by_text(own).first).to_be_attached()
            assert tab.get_by_text(foreign).count() == 0
    finally:
        other.close()
