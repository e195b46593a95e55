"""What a hostile upload costs, in a browser: when it is answered, and how much longer other sessions wait meanwhile."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from app_server import App
from hostile import make
from playwright.sync_api import Browser, Page, expect
from states import idle

REFUSED = "took longer than"
REST = 0.3  # seconds until an upload is with its reader
FEWEST = 10  # reruns that are timed alone


def cost(browser: Browser, app: App, run: str, times: int = 5) -> dict[str, Any]:
    """The longest answer to a file that keeps its reader busy for minutes, in seconds, and the 95th percentile of
    another session's reruns beside it by that alone. ``run`` is one that predicts."""
    file = {"name": "slow.jpg", "mimeType": "image/jpeg", "buffer": make.scan_bomb()}
    hostile, other = browser.new_page(), browser.new_page()
    other.goto(f"{app.url}/dataset?tab=Overview")
    idle(other)
    reruns(other, lambda done: done >= FEWEST)
    answers, alone, beside = [], [], []
    for _ in range(times):
        hostile.goto(f"{app.url}/predict?run={run}")
        idle(hostile)
        alone += reruns(other, lambda done: done >= FEWEST)
        hostile.set_input_files("input[type=file]", file)
        time.sleep(REST)
        beside += reruns(other, lambda _: hostile.get_by_text(REFUSED).count() > 0)
        answers.append(answered(hostile, app, run, file))
    hostile.close()
    other.close()
    ratio = float(np.percentile(beside, 95) / np.percentile(alone, 95))
    return {"seconds": max(answers), "ratio": ratio, "reruns": len(beside)}


def answered(page: Page, app: App, run: str, file: Any) -> float:
    """Seconds from the choice of a file until the page refuses it."""
    page.goto(f"{app.url}/predict?run={run}")
    idle(page)
    start = time.monotonic()
    page.set_input_files("input[type=file]", file)
    expect(page.get_by_text(REFUSED).first).to_be_visible()
    return time.monotonic() - start


def reruns(page: Page, until: Callable[[int], bool]) -> list[float]:
    """Seconds of each rerun of a page whose first two tabs are opened in turn."""
    times: list[float] = []
    while not until(len(times)):
        start = time.monotonic()
        page.get_by_role("tab").nth(len(times) % 2).click()
        idle(page)
        times.append(time.monotonic() - start)
    return times
