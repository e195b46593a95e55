"""Names are plain text in a browser too: each sign of them is shown, no host is asked, and nothing can be clicked."""

import re

import hostile_names
import pytest
from app_server import App
from hostile_names import EVIL, PLACES
from plain_names import NAMES
from playwright.sync_api import Page, expect
from states import idle

from covid_core.workspace import Workspace

MADE = "a, img, .katex, strong, em, code, del, h1, h2, h3, h4, li, blockquote, table, input, svg, sup, [role=img]"
ACTIVE = (  # what a name became that is no text
    f"a[href*='{EVIL}'], [src*='{EVIL}'], image[href*='{EVIL}'], .katex, [aria-label='a icon']"
)
# One of each way to draw a name; all texts of all places are read in unit/data/test_plain_names.
OF_EVERY_DAY = {"", "Images", "Shortcut learning", "Map", "Measures", "Confusion", "Scores"}
JOINER = "\u2060"  # without width, where Streamlit would make a link or an icon


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    running = App(tmp_path_factory.mktemp("names"), "tests/e2e/plain_names_page.py")
    running.start()
    yield running
    running.kill()


@pytest.fixture(scope="module")
def dataset(app: App, tmp_path_factory: pytest.TempPathFactory) -> str:
    place = Workspace(app.home / "workspace")
    made = hostile_names.images(place, tmp_path_factory.mktemp("images"))
    hostile_names.runs(place)
    return made.id


def test_every_name_is_shown_letter_by_letter(module_page: Page, names: App):
    module_page.goto(names.url)
    idle(module_page)
    for number, name in enumerate(NAMES):
        place = module_page.locator(f".st-key-name-{number}")
        expect(place.locator("p")).to_have_count(3)
        texts = [
            text.replace(JOINER, "") for text in place.locator("p").evaluate_all("all => all.map(p => p.textContent)")
        ]
        assert texts == [f"A {name}", name, name]
        assert place.locator("[data-testid=stMarkdownContainer]").locator(MADE).count() == 0, name


def marked(name: str, address: dict[str, str]):
    part = "".join(address.values())
    return pytest.param(name, address, id=name + part, marks=[] if part in OF_EVERY_DAY else [pytest.mark.soak])


@pytest.mark.parametrize(("name", "address"), [marked(*place) for place in PLACES])
def test_no_name_on_a_page_becomes_anything_but_text(page: Page, app: App, dataset: str, name: str, address: dict):
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(f"{app.url}/{name}?{'&'.join(f'{key}={one}' for key, one in {'dataset': dataset, **address}.items())}")
    idle(page)
    expect(page.get_by_text("![p](").first).to_be_attached()
    assert page.locator(ACTIVE).count() == 0
    assert page.locator("tspan[style*='bold']").filter(has_text=re.compile("^n %")).count() == 0
    assert not dialogs
