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


@pytest.mark.parametrize("place", ["home", "dataset", "audit", "train", "compare", "predict"])
def test_no_name_on_a_page_becomes_anything_but_text(page: Page, app: App, dataset: str, place: str):
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for name, address in PLACES:
        if name == place:
            query = "&".join(f"{key}={value}" for key, value in {"dataset": dataset, **address}.items())
            page.goto(f"{app.url}/{name}?{query}")
            idle(page)
            expect(page.get_by_text("![p](").first).to_be_attached()
            assert page.locator(ACTIVE).count() == 0, address
            assert page.locator("tspan[style*='bold']").filter(has_text=re.compile("^n %")).count() == 0, address
    assert not dialogs
