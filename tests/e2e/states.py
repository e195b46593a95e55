"""States of a page that tests wait for, in place of seconds."""

import itertools
import re
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, TimeoutError, expect
from waiting import until

PATIENCE = 300_000  # milliseconds until a state that does not come is given up; no measure of any machine
IDLE = "[data-testid=stApp][data-test-connection-state=CONNECTED][data-test-script-state=notRunning]"
FRAMES = (
    "frames => new Promise(done => { const next = () => frames-- ? requestAnimationFrame(next) : done(); next(); })"
)
DRAWN = 3  # frames after which what was typed or moved is on the screen


def sampled(names: Iterable[str], of_every_day: Container[str]) -> list[Any]:
    """Names as parameters of a test; those that differ little from one of every day are left to the soak tests."""
    return [pytest.param(one, marks=[] if one in of_every_day else [pytest.mark.soak], id=one) for one in names]


def idle(page: Page) -> None:
    """The server has run the page to its end, so that a click is not lost to a page that is drawn anew, and the browser
    has fetched what draws each element."""
    expect(page.locator(IDLE)).to_be_attached()
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    frames(page)


def train_an_epoch(page: Page, url: str, dataset: str, name: str) -> None:
    """Ask the server at ``url`` for a short training, by hand."""
    page.goto(f"{url}/train?dataset={dataset}")
    page.get_by_role("textbox", name="Name").fill(name)
    page.keyboard.press("Enter")
    page.get_by_text(re.compile("^Learning:")).click()
    page.get_by_role("spinbutton", name="Epochs", exact=True).fill("1")
    page.keyboard.press("Enter")
    idle(page)
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_text(name).first).to_be_visible()


def frames(page: Page) -> None:
    """The browser has drawn what happened so far."""
    page.evaluate(FRAMES, DRAWN)


def still(page: Page, place: Locator) -> None:
    """The page has come to its end, and something no longer moves on it."""
    idle(page)
    boxes = itertools.pairwise(_boxes(page, place))
    until(lambda: (pair := next(boxes))[0] is not None and pair[0] == pair[1], "a place that lies still")


def _boxes(page: Page, place: Locator):
    while True:
        yield place.bounding_box()
        frames(page)


def downloaded(page: Page, button: str, to: Path) -> str:
    """The text of the file that a button downloads; clicked again where a click was lost to a page drawn anew."""
    expect(page.get_by_role("button", name=button)).to_be_visible()
    until(lambda: _is_downloaded(page, button, to), f"the download of {button!r}")
    return to.read_text(encoding="utf-8")


def _is_downloaded(page: Page, button: str, to: Path) -> bool:
    idle(page)
    try:
        with page.expect_download(timeout=8_000) as download:
            page.get_by_role("button", name=button).click()
    except TimeoutError:
        return False
    download.value.save_as(to)
    return True
