"""What the image viewer sends to the browser: no grey level lost, the same bytes every time, words letter by letter."""

import json
import re
import zlib

import numpy as np
import pytest
from page_tests import PATIENCE
from streamlit.testing.v1 import AppTest

from covid_core.images.regions import Box
from covid_core.inference import heatmap
from pages.panels.predict import viewer
from pages.panels.predict.viewer import Overlay, Picture

NOISE = np.random.default_rng(0)


def picture(pixels: np.ndarray, **more: object) -> Picture:
    return Picture(pixels, "Image", "An image", **more)


def unpacked_image(message: bytes) -> np.ndarray:
    """The pixels in an image's message, as the browser restores them."""
    header, values = unpacked(message)
    height, width = header["height"], header["width"]
    planes = np.frombuffer(values, np.uint8).reshape(header["bits"] // 8, height, width)
    folded = planes[0] if len(planes) == 1 else planes[0].astype(np.uint16) | planes[1].astype(np.uint16) << 8
    steps = (folded >> 1) ^ -(folded & 1)
    return np.cumsum(steps, axis=1, dtype=folded.dtype)


def unpacked(message: bytes) -> tuple[dict, bytes]:
    """A message's header and what follows it."""
    (length,) = viewer.HEADER.unpack_from(message)
    end = viewer.HEADER.size + length
    return json.loads(message[viewer.HEADER.size : end]), zlib.decompress(message[end:])


def header_of(panes: list[Picture], overlay: Overlay | None = None, lungs: np.ndarray | None = None) -> dict:
    return unpacked(viewer.view_message("key", panes, overlay, lungs, 560))[0]


@pytest.mark.parametrize(
    "pixels",
    [
        NOISE.integers(0, 256, (37, 53)).astype(np.uint8),
        NOISE.integers(0, 65536, (53, 37)).astype(np.uint16),
        np.arange(65536, dtype=np.uint16).reshape(256, 256),
        np.tile(np.array([0, 65535], np.uint16), (4, 5)),
        np.array([[255]], np.uint8),
    ],
    ids=["8 bits", "16 bits", "every level", "largest steps", "one pixel"],
)
def test_the_browser_gets_every_grey_level(pixels):
    received = unpacked_image(viewer.image_message(picture(pixels)))
    assert received.dtype == pixels.dtype
    np.testing.assert_array_equal(received, pixels)


def test_a_view_of_an_array_arrives_as_it_is_seen():
    pixels = NOISE.integers(0, 65536, (40, 60)).astype(np.uint16)[::-1, ::2]
    np.testing.assert_array_equal(unpacked_image(viewer.image_message(picture(pixels))), pixels)


def test_a_large_image_is_shrunk_by_area_and_keeps_its_depth():
    fourths = NOISE.integers(0, 65536, (2048, 1500)).astype(np.uint16)
    large = picture(np.kron(fourths, np.ones((2, 2), np.uint16)))
    received = unpacked_image(viewer.image_message(large))
    np.testing.assert_array_equal(received, fourths)
    pane = header_of([large])["panes"][0]
    assert pane["size"] == [4096, 3000]
    assert "3,000 × 4,096" in pane["note"]


def test_pixels_that_a_shrunk_one_covers_in_part_count_by_that_part():
    rows = np.array([[0], [3], [6]], np.uint16)
    np.testing.assert_array_equal(viewer.shrunk(rows, 2), [[1], [5]])  # (0 + 3 / 2) / 1.5 and (3 / 2 + 6) / 1.5


def test_a_image_that_fits_is_not_touched():
    pixels = NOISE.integers(0, 256, (2048, 30)).astype(np.uint8)
    assert viewer.shrunk(pixels, viewer.LONGEST_SIDE) is pixels
    assert not header_of([picture(pixels)])["panes"][0]["note"]


def test_the_same_image_is_the_same_bytes_and_another_is_not():
    pixels = NOISE.integers(0, 200, (30, 30)).astype(np.uint8)
    other = pixels.copy()
    other[-1, -1] += 1
    message = viewer.image_message(picture(pixels))
    assert message == viewer.image_message(picture(pixels.copy()))
    names = {picture(one).identity for one in (pixels, other, pixels.astype(np.uint16), pixels.reshape(15, 60))}
    assert len(names) == 4


@pytest.mark.parametrize("pixels, window", [(np.uint8, [127.5, 255]), (np.uint16, [32767.5, 65535])])
def test_without_a_window_all_levels_are_seen(pixels, window):
    assert header_of([picture(np.zeros((4, 4), pixels))])["panes"][0]["window"] == window


def test_words_travel_letter_by_letter():
    named = Picture(np.zeros((4, 4), np.uint8), "<img src=x> *Ünal* 片", "A <b>image</b>")
    pane = header_of([named])["panes"][0]
    assert (pane["title"], pane["alt"]) == (named.title, named.alt)


def test_a_heat_map_is_sent_small_and_in_256_steps():
    heat = np.linspace(0, 1, 512 * 300, dtype=np.float32).reshape(512, 300)
    message = viewer.view_message("key", [picture(np.zeros((4, 4), np.uint8))], Overlay(heat, "M", "m"), None, 560)
    header, values = unpacked(message)
    assert (header["heat"]["height"], header["heat"]["width"], header["heat"]["signed"]) == (128, 75, False)
    sent = np.frombuffer(values, np.uint8).reshape(128, 75) / 255
    expected = heat.reshape(128, 4, 75, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(sent, expected, atol=0.5 / 255 + 1e-6)


def test_a_signed_map_keeps_its_sign_and_its_zero():
    overlay = Overlay(np.array([[-1, -0.5, 0, 1]], np.float32), "Map", "A map", signed=True)
    message = viewer.view_message("key", [picture(np.zeros((4, 4), np.uint8))], overlay, None, 560)
    header, values = unpacked(message)
    assert header["heat"]["signed"]
    assert list(values) == [1, 64, 128, 255]


def test_a_box_is_sent_unless_it_is_the_whole_image():
    image = np.zeros((8, 8), np.uint8)
    assert header_of([picture(image)])["box"] is None
    assert header_of([picture(image, box=Box(0.1, 0.2, 0.9, 1.0))])["box"] == [0.1, 0.2, 0.9, 1.0]


def test_lungs_are_sent_small_with_their_edges_between_the_pixels():
    lungs = np.zeros((1024, 1024), bool)
    lungs[:, 1:] = True
    message = viewer.view_message("key", [picture(np.zeros((4, 4), np.uint8))], None, lungs, 560)
    header, values = unpacked(message)
    sent = np.frombuffer(values, np.uint8).reshape(header["lungs"]["height"], header["lungs"]["width"])
    assert sent.shape == (512, 512)
    assert (sent[:, 0] == 128).all() and (sent[:, 1:] == 255).all()


def script() -> str:
    return "\n".join((viewer.HERE / name).read_text(encoding="utf-8") for name in viewer.SCRIPTS)


def test_the_browser_colours_heat_as_the_core_does():
    listed = re.search(r"const INFERNO = \[(.*?)\];", script(), re.DOTALL)[1]
    found = [[int(part) for part in triple.split(",")] for triple in re.findall(r"\[(.*?)\]", listed)]
    np.testing.assert_array_equal(found, heatmap.COLOURS)


def test_the_viewer_asks_for_a_rerun_by_one_button_alone_sets_no_html_and_knows_no_other_host():
    source = script()
    assert (
        source.count("this.send?.(") == source.count("viewer.send = setTriggerValue") == 1
    )  # "Turn it and read again"
    assert source.count("setTriggerValue") == 2
    for word in ("setStateValue", "innerHTML", "insertAdjacentHTML", "fetch(", "import "):
        assert word not in source
    assert set(re.findall(r"https?://[^\"]*", source)) == {"http://www.w3.org/2000/svg"}


def two_images() -> None:
    import numpy as np
    import streamlit as st

    from pages.panels.predict import viewer
    from pages.panels.predict.viewer import Picture

    level = st.number_input("Level", 0, 255, 10)
    image = Picture(np.full((40, 40), level, np.uint8), "Image", "An image")
    viewer.show(image, beside=Picture(np.zeros((40, 40), np.uint8), "Other", "Another"), key="one")


def test_a_page_keeps_only_the_images_that_it_shows():
    page = AppTest.from_function(two_images, default_timeout=PATIENCE).run()
    assert not page.exception
    first = page.session_state[viewer.PACKED]["one"]
    page.run()
    again = page.session_state[viewer.PACKED]["one"]
    assert len(again) == 2 and all(again[name] is first[name] for name in first)
    page.number_input[0].set_value(11).run()
    assert not page.exception
    changed = page.session_state[viewer.PACKED]["one"]
    assert len(changed) == 2 and len(set(changed) - set(first)) == 1


def test_the_same_image_twice_travels_once():
    def same_twice() -> None:
        import numpy as np

        from pages.panels.predict import viewer
        from pages.panels.predict.viewer import Picture

        image = Picture(np.zeros((40, 40), np.uint8), "Image", "An image")
        viewer.show(image, beside=image, key="one")

    page = AppTest.from_function(same_twice, default_timeout=PATIENCE).run()
    assert not page.exception
    assert len(page.session_state[viewer.PACKED]["one"]) == 1
