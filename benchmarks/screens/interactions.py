"""How long a click takes until the screen is still again: ``python -m benchmarks.screens.interactions``.

A workspace as ``benchmarks.screens.pages`` makes it (``--data FOLDER`` takes real images, ``--runs`` 20 by default,
``--keep FOLDER`` uses it again), a server by the README's command, and Chromium. On every page each tab is opened, and
in it each segmented control, switch, box of choices, expander and page number is used, in several rounds; nothing is
started and nothing is deleted. Counted is from the browser's own event to the last change of the page, once the server
is idle and the page has been still for 0.3 s; what is drawn within a canvas is no change.

Prints one JSON line: the number of interactions, their median and 95th percentile in seconds, those whose slowest round
took longer than the limit, by name, and the machine's facts.
"""

import os
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.images import LABELS, made_images
from benchmarks.measuring import machine, options, show, tell
from benchmarks.screens.pages import PATIENCE, chromium, fill, server

IMAGES, RUNS = 4_014, 20
LIMIT = 1.0  # seconds that an interaction may take
PAGES = ("dataset", "audit", "train", "compare", "predict", "lessons", "start")
WATCH = """
window.still = 300;
const changed = () => { window.changedAt = performance.now(); };
const began = () => { window.beganAt = window.changedAt = performance.now(); };
for (const kind of ['pointerdown', 'keydown']) addEventListener(kind, began, true);
addEventListener('DOMContentLoaded', () => new MutationObserver(changed).observe(
  document.documentElement, { subtree: true, childList: true, attributes: true, characterData: true }));
"""
STILL = """() => document.querySelector(
    '[data-testid=stApp][data-test-connection-state=CONNECTED][data-test-script-state=notRunning]')
  && performance.now() - window.changedAt > window.still"""
TABS = "[role=tab]"
PRESSED = (  # what changes the page and starts nothing; each is pressed, then what was chosen before is
    "[data-testid=stButtonGroup] button",
    "[data-testid=stMain] label:has(input[type=checkbox])",
    "[data-testid=stPagination] button:not([disabled])",
    "[data-testid=stExpander] summary",
)
BOXES = "[data-testid=stMain] [data-testid=stSelectbox] input"
MOST = 4  # of one kind in a tab


def main() -> None:
    parser = options(__doc__, repeats=3)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--keep", type=Path, help="a folder for the workspace, used again when it is there")
    parser.add_argument("--pages", nargs="+", choices=PAGES, default=PAGES)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = (chosen.keep or Path(folder)) / "workspace"
        os.environ["COVID_CORE_HOME"] = str(home)
        images = fill(chosen.data or made_images(home.parent / "images", chosen.images // len(LABELS)), chosen.runs)
        seconds = timed(chosen.pages, chosen.repeats)
    every = [one for times in seconds.values() for one in times]
    slow = {name: times for name, times in sorted(seconds.items(), key=lambda item: -max(item[1]))}
    show(
        {
            "benchmark": "interactions",
            "images": images,
            "runs": chosen.runs,
            "interactions": len(seconds),
            "median": round(statistics.median(every), 3),
            "percentile_95": round(statistics.quantiles(every, n=20)[-1], 3),
            "slower_than_limit": {name: times for name, times in slow.items() if max(times) > LIMIT},
            "machine": machine(),
        }
    )


def timed(pages: tuple[str, ...], repeats: int) -> dict[str, list[float]]:
    """Seconds of every interaction by its name, each round."""
    seconds: dict[str, list[float]] = defaultdict(list)
    with server("app.py") as (_, url, _), chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(WATCH)
        page.goto(url)
        settle(page)
        for number in range(repeats):
            for name in pages:
                end = "" if name == "start" else f"[href$='{name}']"  # the first one is Home
                link = page.locator(f"[data-testid=stSidebar] a{end}").first
                seconds[f"{name}: open"].append(after(page, link.click))
                for what, act in actions(page):
                    seconds[f"{name}: {what}"].append(after(page, act))
                tell(f"{name}, round {number + 1} of {repeats}")
    return seconds


def actions(page: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """All that can be used on the page that is open, tab by tab, as name and action; each is done before the next."""
    yield from within(page, "")  # first: it may bring other tabs
    tabs = page.locator(TABS)
    names = [one.inner_text() for one in tabs.all()]
    for number, name in enumerate(names):
        yield f"{name}: open", tabs.nth(number).click
        yield from within(page, f"{name}: ")


def within(page: Any, place: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """The controls that can be seen in a tab, or above all tabs."""
    for kind in PRESSED:
        found = [one for one in page.locator(kind).all() if one.is_visible()][:MOST]
        for control in found:
            if control.is_visible():  # an earlier one may have taken it away
                yield f"{place}{control.inner_text().splitlines()[0] if control.inner_text() else kind}", control.click
    for box in [one for one in page.locator(BOXES).all() if one.is_visible()][:MOST]:
        if box.is_visible():
            box.click()
            page.keyboard.press("ArrowDown")
            name = f"{place}{box.get_attribute('aria-label')}"
            yield name, lambda: page.keyboard.press("Enter")


def after(page: Any, act: Callable[[], None]) -> float:
    """Seconds from the browser's event to the last change."""
    act()
    settle(page)
    return round((page.evaluate("window.changedAt - window.beganAt")) / 1000, 3)


def settle(page: Any) -> None:
    page.wait_for_function(STILL, timeout=1000 * PATIENCE)


if __name__ == "__main__":
    sys.exit(main())
