"""A radiologist's images in a browser: a DICOM file, a 16-bit image, a photograph and a broken file together."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from app_server import App
from made_dicom import PATIENT, as_dicom
from PIL import Image
from playwright.sync_api import Locator, Page, TimeoutError, expect
from states import downloaded, frames, idle, still
from waiting import until

from covid_core.images.codec import png_bytes
from covid_core.runs import store
from covid_core.synthetic.phantom import image_at
from covid_core.workspace import Workspace

ROW = 56  # pixels of a row of the work-list
HEAD = 35
CANVAS = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let sum = 0;
    for (let i = 0; i < data.length; i += 4) sum += data[i];
    return sum;
}"""


@pytest.fixture(scope="module")
def run(app: App, copy_of_trained) -> store.Run:
    return copy_of_trained(Workspace(app.home / "workspace"))


def phantom(index: int) -> np.ndarray:
    """An image that is in no data set here."""
    return image_at(index, images=60, seed=77, plant=("clear-lesions",)).pixels


def as_16_bit_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint16) * 257).save(buffer, "PNG")
    return buffer.getvalue()


def photograph() -> bytes:
    """A landscape with a sun: bright sky, a dark hill, colours."""
    y, x = np.mgrid[0:240, 0:320] / 240
    hill = y > 0.6 + 0.15 * np.sin(5 * x)
    sun = (x - 1) ** 2 + (y - 0.25) ** 2 < 0.01
    colours = np.where(hill[..., None], (40, 90, 30), np.stack([120 + 60 * y, 160 + 40 * y, 240 - 20 * y], axis=-1))
    colours = np.where(sun[..., None], (255, 240, 180), colours)
    buffer = io.BytesIO()
    Image.fromarray(colours.astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def given(*names: str) -> list[dict]:
    content = {
        "IM0001": as_dicom(phantom(3)),
        "sixteen.png": as_16_bit_png(phantom(5)),
        "photo.jpg": photograph(),
        "broken.png": png_bytes(phantom(7))[:3000],
    }
    return [{"name": name, "mimeType": "", "buffer": content[name]} for name in names or content]


def handed_in(page: Page, app: App, run: store.Run, *names: str) -> None:
    page.goto(f"{app.url}/predict?run={run.id}")
    page.locator("input[type=file]").set_input_files(given(*names))


def row(page: Page, name: str) -> int:
    """The place of a file in the work-list, from the text that screen readers get."""
    cells = page.locator("[data-testid=stDataFrame] table [role=gridcell]", has_text=re.compile(f"^{re.escape(name)}$"))
    return int(cells.first.locator("xpath=..").get_attribute("aria-rowindex")) - 2


def chosen(page: Page, name: str) -> None:
    """Open a file by the box before it in the work-list; clicked again where a click was lost to a page drawn anew."""
    until(lambda: is_opened(page, name), f"{name} opened from the work-list")


def is_opened(page: Page, name: str) -> bool:
    grid = page.locator("[data-testid=stDataFrame]").first
    still(page, grid)
    box = grid.bounding_box()
    page.mouse.click(box["x"] + 15, box["y"] + HEAD + ROW * (row(page, name) + 0.5))
    try:
        page.get_by_text(re.compile(rf"^Image \d+ of \d+: {re.escape(name)}$")).wait_for(timeout=10_000)
    except TimeoutError:
        return False
    return True


def choose(page: Page, label: str, option: str) -> None:
    """Take an option of a select box by the keyboard, as its first letters find it."""
    box = page.get_by_role("combobox", name=re.compile(label)).last
    until(lambda: offered(page, box, option), f"the option {option}")
    page.keyboard.press("Enter")


def offered(page: Page, box: Locator, option: str) -> bool:
    """Open a list and type into it; the page may be drawn anew meanwhile, which closes the list."""
    idle(page)
    box.click()
    box.press("Control+A")
    page.keyboard.type(option)
    try:
        page.get_by_role("option", name=re.compile(option)).first.wait_for(timeout=5_000)
    except TimeoutError:
        return False
    return True


def test_four_files_get_four_right_answers_what_needs_a_look_on_top(page: Page, app: App, run: store.Run):
    handed_in(page, app, run)
    expect(page.get_by_text("4 images")).to_be_visible()
    expect(page.get_by_text("1 could not be read, 1 without an answer", exact=False)).to_be_visible()
    assert [row(page, "broken.png"), row(page, "photo.jpg")] == [0, 1]
    assert {row(page, "IM0001"), row(page, "sixteen.png")} == {2, 3}


def test_a_photograph_is_refused_with_the_check_that_failed_and_no_score(page: Page, app: App, run: store.Run):
    handed_in(page, app, run)
    expect(page.get_by_text("4 images")).to_be_visible()
    chosen(page, "photo.jpg")
    expect(page.get_by_role("heading", name="I do not know.")).to_be_visible()
    expect(page.locator(".viewer")).to_be_visible()
    assert page.get_by_text("has the highest").count() == 0
    page.get_by_role("button", name="Show the scores anyway").click()
    expect(page.get_by_text("has the highest", exact=False).first).to_be_visible()
    expect(page.get_by_text("Shown although a check failed", exact=False)).to_be_visible()


def test_a_chosen_image_stays_open_when_others_come_before_it(page: Page, app: App, run: store.Run):
    handed_in(page, app, run, "IM0001", "sixteen.png")
    expect(page.get_by_text("2 images")).to_be_visible()
    chosen(page, "sixteen.png")
    opened = page.locator(".viewer").get_by_text("sixteen.png").first
    expect(opened).to_be_attached()
    page.locator("input[type=file]").set_input_files(given("photo.jpg", "broken.png"))
    expect(page.get_by_text("4 images")).to_be_visible()
    until(lambda: row(page, "sixteen.png") >= 2, "two files before the image")
    idle(page)
    expect(opened).to_be_attached()


@pytest.mark.parametrize("name", ["IM0001", "sixteen.png"])
def test_a_image_with_depth_is_answered_and_explained(page: Page, app: App, run: store.Run, name: str):
    handed_in(page, app, run, name)
    expect(page.get_by_text("has the highest", exact=False).first).to_be_visible()
    expect(page.locator(".viewer")).to_be_visible()
    expect(page.get_by_text("Most similar training images")).to_be_visible()
    expect(page.get_by_text("Nothing speaks against a frontal chest image", exact=False)).to_be_visible()
    negative = page.get_by_text("stored as a negative", exact=False)
    assert negative.count() > 0 if name == "IM0001" else negative.count() == 0


def test_dragging_the_window_changes_the_picture_and_never_the_prediction(page: Page, app: App, run: store.Run):
    handed_in(page, app, run, "IM0001")
    said = page.get_by_text("has the highest", exact=False).first
    expect(said).to_be_visible()
    canvas = page.locator(".viewer canvas").first
    expect(page.locator(".viewer .status .figure").first).to_have_text(re.compile("C "))
    idle(page)
    before, words = canvas.evaluate(CANVAS), said.inner_text()
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 120, y + 60, steps=6)
    page.mouse.up()
    frames(page)
    assert canvas.evaluate(CANVAS) != before
    idle(page)
    assert said.inner_text() == words


def test_nothing_of_the_patient_is_shown_logged_or_in_the_report(page: Page, app: App, run: store.Run, tmp_path: Path):
    handed_in(page, app, run, "IM0001")
    expect(page.get_by_text("has the highest", exact=False).first).to_be_visible()
    text = downloaded(page, "Report of this image", tmp_path / "report.html")
    assert "A second look at image" in text
    family = PATIENT.partition("^")[0]
    for place in (text, page.content(), app.log.read_text(encoding="utf-8")):
        assert family not in place
    assert "IM0001" not in text


def test_covering_the_image_place_by_place_shows_what_moves_the_score(page: Page, app: App, run: store.Run):
    handed_in(page, app, run, "sixteen.png")
    expect(page.get_by_text("has the highest", exact=False).first).to_be_visible()
    expect(page.get_by_role("button", name="Report of this image")).to_be_visible()  # the page has come to its end
    choose(page, "Map", "Occlusion")
    expect(page.get_by_text("with its most important place covered", exact=False)).to_be_visible()


def test_a_similar_training_image_stands_beside_the_image(page: Page, app: App, run: store.Run):
    handed_in(page, app, run, "sixteen.png")
    expect(page.get_by_role("button", name="Report of this image")).to_be_visible()
    page.get_by_role("button", name="Show beside").first.click()
    expect(page.locator(".viewer").get_by_text("labelled", exact=False).first).to_be_visible()
    expect(page.locator(".viewer canvas")).to_have_count(2)


def test_the_drop_zone_stays_on_top_and_the_image_lies_above_the_fold(page: Page, app: App, run: store.Run):
    before = page.viewport_size
    page.set_viewport_size({"width": 1280, "height": 800})
    drop, canvas = page.get_by_test_id("stFileUploader"), page.locator(".viewer canvas").first
    for names in (("IM0001",), ("IM0001", "sixteen.png")):  # alone, and beside a work-list
        handed_in(page, app, run, *names)
        expect(page.get_by_text("The hottest place lies", exact=False)).to_be_visible()
        still(page, canvas)
        top, image = drop.bounding_box(), canvas.bounding_box()
        assert top["y"] + top["height"] <= image["y"] and image["y"] + image["height"] <= 800
    page.set_viewport_size(before)


def test_a_click_on_an_example_picture_opens_it(page: Page, app: App, run: store.Run):
    page.goto(f"{app.url}/predict?run={run.id}")
    picture = page.locator("[class*=st-key-tile-] img").first
    still(page, picture)
    picture.click(position={"x": 50, "y": 50}, force=True)  # the button covers the picture
    expect(page.get_by_text("The hottest place lies", exact=False)).to_be_visible()
