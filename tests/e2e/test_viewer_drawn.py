"""The image viewer in a real browser: what a hand, a key or a finger does is seen in the canvas's own pixels."""

import base64
import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import viewer_images
from app_server import App
from playwright.sync_api import Browser, CDPSession, Locator, Page, expect
from states import PATIENCE, frames, idle, still

from covid_core.images.codec import resized_map
from covid_core.inference.heatmap import overlaid

PIXELS = """canvas => {
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    let text = "";
    for (let i = 0; i < data.length; i += 4) text += String.fromCharCode(data[i], data[i + 1], data[i + 2]);
    return [width, height, btoa(text)];
}"""
OUTSIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
SCROLLED = "() => document.querySelector('[data-testid=stMain]').scrollTop"
STEPS = 8  # in which the mouse is dragged
RESENT = 10_000  # bytes that a rerun may send; an image takes several hundred thousand
READBACK = "willReadFrequently"  # Chromium's advice to those who read canvases, as only this test does
NARROW = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}

Opener = Callable[..., Page]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    running = App(tmp_path_factory.mktemp("viewer"), "tests/e2e/viewer_page.py")
    running.start()
    yield running
    running.kill()


@pytest.fixture(scope="module")
def tabs(browser: Browser) -> Iterator[Callable[..., Page]]:
    """A tab for each kind of screen; all tests of the module use it, as it keeps the compiled scripts."""
    known: dict[str, Page] = {}

    def tab(**kind: object) -> Page:
        if str(kind) not in known:
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 1100}, **kind})
            known[str(kind)] = context.new_page()
        return known[str(kind)]

    yield tab
    for page in known.values():
        page.context.close()


@pytest.fixture
def opened(tabs: Callable[..., Page], app: App) -> Iterator[Opener]:
    """Open the page with an image. At the end nothing may be on any page's console or asked of another host."""
    shown, complaints, elsewhere = [], [], []
    listeners = {
        "console": lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None,
        "pageerror": lambda error: complaints.append(str(error)),
        "request": lambda r: elsewhere.append(r.url) if f":{app.port}/" not in r.url else None,
    }

    def open_page(query: str, script: str = "", theme: str = "dark", **kind: object) -> Page:
        page = tabs(**kind).context.new_page() if script else tabs(**kind)
        shown.append((page, script))
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        for event, listener in listeners.items():
            page.on(event, listener)
        if script:
            page.add_init_script(script)
        page.goto(f"{app.url}/?image={query}&embed_options={theme}_theme")
        expect(page.locator(".viewer")).to_be_visible()
        expect(page.get_by_text("Runs: 1")).to_be_visible()
        return page

    open_page.complaints = complaints
    yield open_page
    for page, script in shown:
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
        page.mouse.move(0, 0)
        page.close() if script else page.goto("about:blank")
    assert not [text for text in complaints if READBACK not in text]
    assert not [url for url in elsewhere if url.startswith(("http:", "https:", "ws:", "wss:"))]


def pixels(page: Page, pane: int = 0) -> np.ndarray:
    """What a canvas shows: uint8 (height, width, 3), once it shows anything."""
    expect(page.locator(".status .figure").nth(3 * pane)).to_have_text(re.compile("C "))
    frames(page)
    width, height, text = page.locator(".viewer canvas").nth(pane).evaluate(PIXELS)
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 3)


def greys(page: Page, pane: int = 0) -> np.ndarray:
    """The same where everything is grey: uint8 (height, width)."""
    shown = pixels(page, pane)
    assert np.ptp(shown.astype(int), axis=2).max() == 0
    return shown[..., 0]


def image_at_one(page: Page, side: int) -> np.ndarray:
    """A square image of ``side`` pixels with one of the screen for each, cut out of its canvas."""
    page.get_by_role("button", name="One image pixel per screen pixel").click()
    shown = pixels(page)
    top, left = ((size - side + 1) // 2 for size in shown.shape[:2])
    return shown[top : top + side, left : left + side]


def stage(page: Page, pane: int = 0) -> Locator:
    return page.locator(".stage").nth(pane)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def expect_no_run(page: Page) -> None:
    """What was done so far ran the page never again: a press of its button is the second run, and nothing is later."""
    press(page, "Run again")
    expect(page.get_by_text("Runs: 2")).to_be_visible()
    idle(page)
    expect(page.get_by_text("Runs: 2")).to_be_visible()


def drag(page: Page, across: float, down: float, button: str = "left", pane: int = 0) -> None:
    """From a place that leaves room for it, in several steps, as a hand does."""
    box = stage(page, pane).bounding_box()
    x = box["x"] + (box["width"] * 0.95 if across < 0 else box["width"] * 0.05)
    y = box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down(button=button)
    page.mouse.move(x + across, y + down, steps=STEPS)
    page.mouse.up(button=button)


def status(page: Page, pane: int = 0) -> tuple[float, float, float]:
    """Centre, width, and zoom in per cent, as they are shown."""
    texts = page.locator(".status").nth(pane).inner_text().replace(",", "")
    found = re.search(r"C ([\d.]+)\s+W ([\d.]+)\s+([\d.]+) %", texts)
    return tuple(map(float, found.groups()))


def windowed(image: np.ndarray, centre: float, width: float) -> np.ndarray:
    """The screen's grey of each value, by the formula."""
    return np.rint(255 * np.clip((image - (centre - width / 2)) / width, 0, 1)).astype(int)


def test_sixteen_bits_are_seen_by_the_formula_and_a_narrow_window_parts_neighbouring_levels(opened):
    page = opened("ramp")
    ramp = viewer_images.ramp().pixels
    shown = image_at_one(page, 256)[..., 0]
    assert len(np.unique(shown)) >= 250
    np.testing.assert_allclose(shown, windowed(ramp.astype(float), 32767.5, 65535), atol=1)  # .5 rounds either way
    assert len(np.unique(shown[127:129])) <= 3  # 512 levels
    for _ in range(2):
        drag(page, across=-810, down=0)
    assert status(page)[1] == 128  # a 512th
    narrow = image_at_one(page, 256)[..., 0]
    np.testing.assert_allclose(narrow, windowed(ramp.astype(float), 32767.5, 65535 / 512), atol=1)
    inside = narrow[127, 192:].astype(int)  # 64 levels below the centre
    assert (np.diff(inside) >= 1).all()


def test_a_window_drag_changes_pixels_reset_restores_them_and_the_page_never_runs_again(opened):
    page = opened("ramp")
    before = greys(page)
    drag(page, across=-120, down=0)
    narrower = greys(page)
    assert (before != narrower).mean() > 0.2
    drag(page, across=0, down=60)
    assert greys(page).mean() < narrower.mean()  # a higher centre is darker
    press(page, "Reset the window")
    np.testing.assert_array_equal(greys(page), before)
    press(page, "Drag moves the image")
    drag(page, across=-120, down=0, button="right")
    np.testing.assert_array_equal(greys(page), narrower)
    expect_no_run(page)


def test_invert_inverts(opened):
    page = opened("ramp")
    before = image_at_one(page, 256).astype(int)
    press(page, "Invert")
    expect(page.get_by_role("button", name="Invert", exact=True)).to_have_attribute("aria-pressed", "true")
    np.testing.assert_allclose(image_at_one(page, 256), 255 - before, atol=1)
    assert pixels(page)[0, 0].max() == 0  # beside the image it stays dark


def test_the_wheel_zooms_around_the_pointer_and_a_double_click_shows_the_whole_image(opened):
    page = opened("large")
    box = stage(page).bounding_box()
    before = greys(page)
    page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.3)
    place = probe(page)
    page.mouse.wheel(0, -900)
    frames(page)
    assert status(page)[2] > 90
    np.testing.assert_allclose(probe(page)[:2], place[:2], atol=8)  # a screen pixel is 8 of this image's at first
    page.mouse.dblclick(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    np.testing.assert_array_equal(greys(page), before)


def probe(page: Page) -> tuple[float, float, float]:
    """Position and grey value under the pointer."""
    frames(page)
    found = re.search(r"x ([\d,]+)\s+y ([\d,]+)\s+grey ([\d,]+)", page.locator(".probe").first.inner_text())
    return tuple(float(text.replace(",", "")) for text in found.groups())


def test_the_value_under_the_pointer_is_the_images(opened):
    page = opened("ramp")
    box = stage(page).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2 + 50, box["y"] + 77)
    x, y, value = probe(page)
    assert value == 256 * y + x


def test_every_key_does_what_the_help_says_and_none_runs_the_page(opened):
    page = opened("phantom")
    first = pixels(page)
    stage(page).focus()
    fit = status(page)[2]
    for key, more in (("+", True), ("+", True), ("-", False)):
        zoom = status(page)[2]
        page.keyboard.press(key)
        frames(page)
        assert (status(page)[2] > zoom) == more
    zoomed = pixels(page)
    page.keyboard.press("ArrowDown")
    assert (pixels(page) != zoomed).any()
    page.keyboard.press("0")
    assert status(page)[2] == fit
    for key in ("i", "h", "l"):
        page.keyboard.press(key)
        assert (pixels(page) != first).any(), key
        page.keyboard.press(key)
        np.testing.assert_array_equal(pixels(page), first)
    page.keyboard.press("]")
    expect(page.locator(".slider output")).to_have_text("65 %")
    page.keyboard.press("[")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    frames(page)
    centre, width, _ = status(page)
    assert centre > 2048 and width < 4096
    page.keyboard.press("r")
    np.testing.assert_array_equal(pixels(page), first)
    for key in ("t", "v", "2", "3"):
        before = pixels(page)
        page.keyboard.press(key)
        assert (pixels(page) != before).any(), key
    top = page.evaluate(SCROLLED)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys and mouse")).to_be_visible()
    assert page.evaluate(SCROLLED) == top
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys and mouse")).to_be_hidden()
    expect(stage(page)).to_be_focused()
    page.keyboard.press("c")  # of no use here; on the page itself Streamlit asks with it to empty its cache
    expect_no_run(page)
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_on_the_full_screen_the_image_fills_it_and_comes_back(opened):
    page = opened("phantom")
    pixels(page)
    before = stage(page).bounding_box()["height"]
    stage(page).focus()
    page.keyboard.press("f")
    page.wait_for_function("document.fullscreenElement")
    still(page, stage(page))
    assert before < stage(page).bounding_box()["height"] < 1100
    page.keyboard.press("f")
    page.wait_for_function("!document.fullscreenElement")
    still(page, stage(page))
    assert stage(page).bounding_box()["height"] == before


def test_a_window_change_is_read_out_once_it_rests(opened):
    page = opened("ramp")
    pixels(page)
    drag(page, across=-180, down=0)
    expect(page.locator(".viewer [role=status]")).to_have_text(re.compile(r"Window centre 32,768, width 32,768\. Zoom"))


def fingers(page: Page) -> Callable[[str, list[tuple[float, float]]], None]:
    session: CDPSession = page.context.new_cdp_session(page)

    def touch(kind: str, points: list[tuple[float, float]]) -> None:
        given = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": given})

    return touch


def test_one_finger_moves_a_zoomed_image_and_two_zoom_it(opened):
    page = opened("phantom", **NARROW)
    pixels(page)
    stage(page).scroll_into_view_if_needed()
    box = stage(page).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = fingers(page)
    fit = status(page)[2]
    touch("touchStart", [(x - 30, y), (x + 30, y)])
    for apart in (50, 70, 90):
        touch("touchMove", [(x - apart, y), (x + apart, y)])
    touch("touchEnd", [])
    frames(page)
    assert 2.5 * fit < status(page)[2] < 3.5 * fit
    before, window = pixels(page), status(page)
    touch("touchStart", [(x, y)])
    for moved in (20, 40, 60):
        touch("touchMove", [(x - moved, y)])
    touch("touchEnd", [])
    after = pixels(page)
    assert (before != after).mean() > 0.2
    assert status(page) == window  # the window is another tool's
    press(page, "Drag changes the window")
    touch("touchStart", [(x, y)])
    touch("touchMove", [(x - 60, y)])
    touch("touchEnd", [])
    frames(page)
    assert status(page)[1] < window[1]


def test_images_side_by_side_share_zoom_and_window_until_they_are_parted(opened):
    page = opened("beside")
    pixels(page, 1)
    fit = [status(page, pane)[2] for pane in (0, 1)]
    box = stage(page, 0).bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.wheel(0, -500)
    frames(page)
    growth = [status(page, pane)[2] / fit[pane] for pane in (0, 1)]
    assert growth[0] > 1.5 and growth[1] == pytest.approx(growth[0], rel=0.03)
    drag(page, across=-180, down=0, pane=1)
    frames(page)
    assert status(page, 0)[1] == status(page, 1)[1] == 2048
    press(page, "Zoom and position together")
    drag(page, across=-180, down=0, pane=1)
    frames(page)
    assert status(page, 0)[1] == 2048 and status(page, 1)[1] == 1024
    zoom = status(page, 0)[2]
    stage(page, 1).focus()
    page.keyboard.press("0")
    frames(page)
    assert status(page, 1)[2] == fit[1] and status(page, 0)[2] == zoom


def test_heat_is_laid_over_the_image_as_the_core_does_it(opened):
    page = opened("phantom")
    pixels(page)
    press(page, "Lungs")
    shown = image_at_one(page, 512)
    image, _ = viewer_images.twelve_bits(1, 512, "")
    grey = windowed(image.pixels.astype(float), *viewer_images.WINDOW).astype(np.uint8)
    heat = resized_map(viewer_images.OVERLAYS["Upper left"].heat, 512, 512)
    expected = overlaid(grey, heat, 0.6).astype(int)
    bar = np.s_[440:, :260]  # of 10 cm, in the lower left
    expected[bar] = shown[bar]
    np.testing.assert_allclose(shown, expected, atol=4)  # 256 steps of heat, colour and cover each
    press(page, "Heat map")
    assert np.ptp(image_at_one(page, 512)[:440].astype(int), axis=2).max() == 0


def test_what_raises_and_what_lowers_a_score_have_two_colours(opened):
    page = opened("phantom")
    choose(page, "Both ways")
    expect(page.get_by_text("What moves the score for COVID")).to_be_visible()
    press(page, "Lungs")
    shown = image_at_one(page, 512).astype(int)
    raises, lowers = shown[205, 154], shown[333, 358]
    assert raises[0] > raises[2] + 40 and lowers[2] > lowers[0] + 40


def choose(page: Page, name: str) -> None:
    page.get_by_test_id("stRadio").get_by_text(name, exact=True).click()


def test_the_view_outlives_reruns_of_the_page_for_the_same_image_and_another_image_starts_anew(opened):
    page = opened("phantom")
    pixels(page)
    stage(page).focus()
    page.keyboard.press("+")
    page.keyboard.press("i")
    drag(page, across=-90, down=0)
    frames(page)
    before, view = pixels(page), status(page)
    press(page, "Run again")
    expect(page.get_by_text("Runs: 2")).to_be_visible()
    np.testing.assert_array_equal(pixels(page), before)
    choose(page, "Lower right")
    expect(page.get_by_text("what speaks for Normal")).to_be_visible()
    assert status(page) == view
    page.get_by_text("Another image").click()
    expect(page.get_by_text("Runs: 4")).to_be_visible()
    pixels(page)
    assert status(page)[:2] == (2048, 4096)
    expect(page.get_by_role("button", name="Invert", exact=True)).to_have_attribute("aria-pressed", "false")


def test_a_image_is_sent_once(opened):
    page = opened("beside&size=1024")
    pixels(page, 1)
    received: list[int] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(len(frame))))
    page.reload()
    pixels(page, 1)
    assert sum(received) > 500_000
    received.clear()
    press(page, "Run again")
    expect(page.get_by_text("Runs: 2")).to_be_visible()
    idle(page)
    assert 0 < sum(received) < RESENT
    received.clear()
    choose(page, "Lower right")
    expect(page.get_by_text("what speaks for Normal")).to_be_visible()
    assert sum(received) < 100_000  # the map, and the viewer's own source


def test_a_pixel_that_is_twice_as_high_as_wide_is_drawn_so(opened):
    page = opened("wide")
    shown = pixels(page)
    lit = shown[:-60].max(axis=2) > 0  # the scale bar lies below
    height, width = np.ptp(np.flatnonzero(lit.any(axis=1))) + 1, np.ptp(np.flatnonzero(lit.any(axis=0))) + 1
    assert width / height == pytest.approx(256 / 80, rel=0.02)


def test_titles_are_text_and_pictures_have_words(opened):
    page = opened("wide")
    expect(page.locator(".title").first).to_have_text("<b>Wide</b>")
    expect(page.get_by_role("img", name="256 grey levels from left to right")).to_be_visible()


def test_a_large_image_says_that_it_was_shrunk(opened):
    page = opened("large")
    expect(page.get_by_text("Shrunk for the screen from 3,072 × 4,096 pixels")).to_be_visible()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_images_lie_on_black_and_controls_are_read_in_both_themes(opened, theme):
    page = opened("phantom", theme=theme)
    assert pixels(page)[5, 5].max() == 0
    assert page.locator(".table").evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(0, 0, 0)"
    bar = page.locator(".toolbar").evaluate("e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]")
    text, ground = (np.array(re.findall(r"\d+", colour)[:3], float) for colour in bar)
    assert (ground.mean() > 128) == (theme == "light")
    assert contrast(text, ground) > 7
    stage(page).focus()
    page.keyboard.press("0")  # a key: its focus is shown
    ring = stage(page).evaluate("e => getComputedStyle(e, '::after').borderTopWidth")
    assert ring == "2px"


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """WCAG 2's contrast of two colours."""

    def luminance(colour: np.ndarray) -> float:
        share = colour / 255
        linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_on_a_phone_images_stand_one_above_the_other_and_nothing_lies_beside_the_screen(opened):
    page = opened("beside", **NARROW)
    pixels(page, 1)
    assert page.evaluate(OUTSIDE) <= 0
    first, second = (stage(page, pane).bounding_box() for pane in (0, 1))
    assert second["y"] > first["y"] + first["height"] and second["x"] == first["x"]
    for button in page.locator(".toolbar button:visible").all():
        box = button.bounding_box()
        assert min(box["width"], box["height"]) >= 44 and box["x"] + box["width"] <= 390


def test_where_the_browser_cannot_unpack_a_image_a_sentence_says_so_and_the_page_works(opened):
    page = opened("ramp", script="delete window.DecompressionStream;")
    expect(page.get_by_role("alert").filter(has_text="The image cannot be drawn in this browser")).to_be_visible()
    press(page, "Run again")
    expect(page.get_by_text("Runs: 2")).to_be_visible()
    assert any("Image viewer" in text for text in opened.complaints)
    opened.complaints.clear()


def test_a_drag_draws_once_a_step_and_no_more_of_a_large_image_than_the_screen_holds(opened):
    counted = """
        const real = CanvasRenderingContext2D.prototype.putImageData;
        window.draws = [];
        CanvasRenderingContext2D.prototype.putImageData = function (image, ...place) {
            window.draws.push(image.width * image.height);
            real.call(this, image, ...place);
        };
    """
    page = opened("phantom&size=2048", script=counted)
    pixels(page)
    page.evaluate("draws.length = 0")
    drag(page, across=-200, down=60)
    frames(page)
    drawn, screen = page.evaluate("draws"), page.locator(".viewer canvas").first.evaluate("c => c.width * c.height")
    assert 0 < len(drawn) <= STEPS
    assert max(drawn) <= 4 * screen


def test_a_window_is_never_wider_than_the_image_has_greys(opened):
    page = opened("phantom")
    pixels(page)
    drag(page, across=300, down=0)
    frames(page)
    assert status(page)[1] <= 4096


def test_the_windows_for_lungs_and_bones_come_from_the_images_own_greys(opened):
    page = opened("ramp")
    whole = status_of(page, "Window over the full range (4)")
    lungs, bones = (status_of(page, name) for name in ("Window for lungs (2)", "Window for bones (3)"))
    assert lungs[0] < whole[0] < bones[0]
    assert max(lungs[1], bones[1]) < whole[1]


def status_of(page: Page, button: str) -> tuple[float, float, float]:
    pixels(page)
    page.get_by_title(button).click()
    frames(page)
    return status(page)


def test_a_turned_image_has_its_left_column_on_top(opened):
    page = opened("wide")
    upright = pixels(page)[..., 0]
    page.get_by_role("button", name="Turn clockwise").click()
    frames(page)
    turned = pixels(page)[..., 0]
    across, down = (np.flatnonzero(image.max(axis=axis) > 0) for image, axis in ((upright, 0), (turned, 1)))
    assert upright.shape == turned.shape
    assert across[0] < across[-1] and down[0] < down[-1]
    middle = turned[:, turned.shape[1] // 2].astype(int)
    assert middle[down[0]] < middle[down[-1]]  # black was on the left
    expect(page.get_by_role("button", name="Turn it and read again")).to_be_hidden()  # nobody here reads


def test_a_distance_is_in_millimetres_at_the_detector(opened):
    page = opened("large")  # 0.1 mm a pixel
    pixels(page)
    zoom = status(page)[2] / 100
    stage(page).focus()
    page.keyboard.press("m")
    drag(page, across=200, down=0)
    said = page.locator(".viewer [role=status]")
    expect(said).to_have_text(re.compile(r"mm at the detector, magnification not corrected"))
    length = float(re.search(r"([\d.,]+) mm", said.inner_text())[1].replace(",", ""))
    assert length == pytest.approx(200 / zoom * 2 * 0.1, rel=0.05)  # it was shrunk to half for the screen


def test_on_a_phone_the_image_fills_the_screen_too(opened):
    page = opened("phantom", **NARROW)
    pixels(page)
    expect(page.get_by_role("button", name="Full screen")).to_be_visible()
