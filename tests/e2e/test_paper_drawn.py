"""Pictures for paper that the browser draws: of one figure, and of all figures of a course report."""

import io
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import docx
import pytest
from app_server import App
from made_runs import all_parts, made_run
from PIL import Image
from playwright.sync_api import Page, expect
from states import idle

from covid_core.figures.light import WIDTH
from covid_core.workspace import Workspace

SIZES = {"train": 30, "validation": 30, "test": 30}
VIEW = "compare?view=ROC%20and%20precision-recall"
PER_INCH = 300


@pytest.fixture(scope="module")
def runs(app: App) -> list[str]:
    place = Workspace(app.home / "workspace")
    return [made_run(place, all_parts(SIZES, 1 + n, seed=n), f"Run {n}").name for n in range(2)]


@pytest.fixture
def compare(page: Page, app: App, runs: list[str]) -> Page:
    page.emulate_media(color_scheme="dark")
    page.goto(f"{app.url}/{VIEW}")
    expect(page.locator(".st-key-download-roc button").first).to_be_visible()
    idle(page)
    return page


def saved(page: Page, button) -> bytes:
    with page.expect_download() as begun:
        button.click()
    return Path(begun.value.path()).read_bytes()


def test_a_figure_of_the_dark_page_is_saved_light_with_title_legend_and_caption(compare: Page, runs: list[str]):
    ground = compare.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    assert ground == "rgb(15, 18, 20)"
    expect(compare.locator("[data-title*='ownload plot']")).to_have_count(0)
    compare.locator(".st-key-download-roc").get_by_role("button", name="Download").press("Enter")
    drawing = ElementTree.fromstring(saved(compare, compare.get_by_role("button", name="SVG", exact=True)))
    texts = ["".join(one.itertext()) for one in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert "Test images. For research and teaching. Not a medical device." in texts
    assert any(text.startswith("ROC curves of ") for text in texts) and set(runs) < set(texts)
    assert "fill: rgb(255, 255, 255)" in drawing.find("{*}rect").get("style")
    picture = Image.open(io.BytesIO(saved(compare, compare.get_by_role("button", name="PNG", exact=True))))
    assert [round(dots) for dots in picture.info["dpi"]] == [PER_INCH, PER_INCH]
    assert abs(picture.width - WIDTH * PER_INCH / 96) < 1 and picture.convert("L").getpixel((2, 2)) == 255
    assert b"plotly" in saved(compare, compare.get_by_role("button", name="HTML", exact=True))


def test_the_browser_draws_all_pictures_of_a_word_report_and_a_zip(compare: Page):
    made = {}
    for label, suffix in (("Word", "docx"), ("All in one zip", "zip")):
        compare.get_by_role("button", name="Course report").click()
        compare.get_by_test_id("stPopoverBody").get_by_role("button", name=label, exact=True).click()
        made[suffix] = saved(compare, compare.get_by_role("button", name=f".{suffix}"))
    with zipfile.ZipFile(io.BytesIO(made["zip"])) as archive:
        figures = [Path(name) for name in archive.namelist() if "/figures/" in name]
    vectors = {one.stem for one in figures if one.suffix == ".svg"}
    assert len(vectors) > 5 and vectors <= {one.stem for one in figures if one.suffix == ".png"}
    pictures = docx.Document(io.BytesIO(made["docx"])).inline_shapes
    assert len(pictures) == len({one.stem for one in figures})


def test_the_drawing_of_a_report_can_be_cancelled_and_its_pdf_is_printed(compare: Page):
    compare.evaluate("HTMLCanvasElement.prototype.toBlob = () => {}")  # a picture that is never done
    compare.get_by_role("button", name="Course report").click()
    compare.get_by_test_id("stPopoverBody").get_by_role("button", name="Word", exact=True).click()
    expect(compare.get_by_role("status").filter(has_text="Picture 1 of")).to_be_visible()
    compare.get_by_role("button", name="Cancel").click()
    expect(compare.get_by_role("status").filter(has_text="Picture 1 of")).to_have_count(0)
    compare.get_by_role("button", name="Course report").click()
    compare.get_by_role("button", name="PDF", exact=True).click()
    frame = compare.frame_locator("iframe[title='Pages to print']")
    expect(frame.locator(".plot .main-svg").nth(10)).to_be_attached()
    expect(frame.locator(".plot:not(:has(.main-svg))")).to_have_count(0)
