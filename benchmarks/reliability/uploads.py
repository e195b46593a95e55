"""What a hostile upload costs: when a browser has its answer, and how much longer another visitor waits meanwhile.

The other visitor has a browser. Beside it the file comes from a visitor without one: their browser would draw on their
computer, and here it would take the cores that are measured.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, expect

from benchmarks.reliability.place import App
from benchmarks.reliability.session import Session

REFUSED = "took longer than"
REST = 0.3  # seconds until an upload is with its reader
FEWEST = 10  # reruns that are timed alone


def cost(browser: Browser, app: App, run: str, times: int = 5) -> dict[str, Any]:
    """The longest answer to a file that keeps its reader busy for minutes, in seconds, and the 95th percentile of
    another session's reruns beside it by that alone. ``run`` is one that predicts."""
    from hostile import make

    content = make.scan_bomb()
    answers = [answered(browser, app, run, content) for _ in range(times)]
    other = browser.new_page()
    other.goto(f"{app.url}/dataset?tab=Overview")
    reruns(other, lambda done: done >= FEWEST)
    alone, beside = [], []
    with Session(app.url) as hostile, ThreadPoolExecutor(1) as thread:
        for _ in range(times):
            _, elements = hostile.open("predict", f"run={run}")
            alone += reruns(other, lambda done: done >= FEWEST)
            answer = thread.submit(hostile.hand_in, elements, "slow.jpg", content)
            time.sleep(REST)
            beside += reruns(other, lambda _, answer=answer: answer.done())
            answer.result()
    other.close()
    ratio = float(np.percentile(beside, 95) / np.percentile(alone, 95))
    return {"seconds": max(answers), "ratio": ratio, "reruns": len(beside)}


def answered(browser: Browser, app: App, run: str, content: bytes) -> float:
    """Seconds from the choice of a file until the page refuses it."""
    from states import idle

    page = browser.new_page()
    page.goto(f"{app.url}/predict?run={run}")
    idle(page)
    start = time.monotonic()
    page.set_input_files("input[type=file]", {"name": "slow.jpg", "mimeType": "image/jpeg", "buffer": content})
    expect(page.get_by_text(REFUSED).first).to_be_visible()
    seconds = time.monotonic() - start
    page.close()
    return seconds


def reruns(page: Page, until: Callable[[int], bool]) -> list[float]:
    """Seconds of each rerun of a page whose first two tabs are opened in turn."""
    from states import idle

    times: list[float] = []
    idle(page)
    while not until(len(times)):
        start = time.monotonic()
        page.get_by_role("tab").nth(len(times) % 2).click()
        idle(page)
        times.append(time.monotonic() - start)
    return times
