"""The page that goes with an exported model, in a real browser: its images are those of the app."""

import numpy as np
from exported_page import image_files, served, unreadable_files
from playwright.sync_api import Browser, expect

from covid_core.exchange.forms.exported import PAGE
from covid_core.images.codec import read_image, to_square

SIDE = 48
ORDER = 6  # greys, of noise: Pillow 13 shrinks the columns of tall images first, and rounds between
SQUARES = """async ([element, side]) => {
  const { squareOf } = await import("./image.js");
  const squares = [];
  for (const file of element.files) squares.push(await squareOf(file, side).then((one) => [...one], () => null));
  return squares;
}"""


def test_the_page_squashes_images_as_the_app_does_and_refuses_what_it_cannot_read(browser: Browser, tmp_path):
    readable, unreadable = image_files(tmp_path), unreadable_files(tmp_path)
    with served(PAGE, tmp_path / "server.log") as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        expect(page.locator("#about")).to_have_class("error")  # there is no model beside it
        chooser = page.locator("#files")
        chooser.evaluate("(element) => { element.disabled = false; }")
        chooser.set_input_files([*readable, *unreadable])
        squares = page.evaluate(SQUARES, [chooser.element_handle(), SIDE])
    assert squares[len(readable) :] == [None] * len(unreadable)
    for path, square in zip(readable, squares, strict=False):
        own = to_square(read_image(path).pixels, SIDE)
        allowed = ORDER if path.stem == "tall" else 0
        np.testing.assert_allclose(np.reshape(square, own.shape), own, rtol=0, atol=allowed, err_msg=path.name)
