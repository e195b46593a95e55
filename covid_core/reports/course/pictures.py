"""Figures as pictures, and pages as PDF, by an installed Chrome or Chromium: one start of it for all figures."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from covid_core.errors import InvalidChoice
from covid_core.figures.light import for_paper
from covid_core.images.codec import with_dots
from covid_core.reports.course.document import Chart, Document

SVG, PNG = "svg", "png"
DOTS = 300  # per inch of paper
SCALE = {SVG: 1.0, PNG: DOTS / 96}
TIME_TO_DRAW = 20_000  # milliseconds of the page's own clock, which runs ahead where nothing happens
LONGEST = 300  # seconds
NOWHERE = "http://127.0.0.1:9"  # a browser that starts asks its maker for news; by this proxy it reaches nobody
NO_BROWSER = "This format needs an installed Chrome or Chromium, and none starts; the formats html and ipynb need none."


def charts(document: Document) -> list[Chart]:
    """All figures of a report."""
    return [block for section in document.sections for block in section.blocks if isinstance(block, Chart)]


def pictures(drawn: Sequence[Chart], kinds: Sequence[str], titled: bool) -> Mapping[tuple[str, str], bytes]:
    """Light pictures of figures by key and kind (SVG, PNG), with their title in them where ``titled``.

    Raises InvalidChoice without a browser.
    """
    from choreographer.errors import BrowserFailedError, ChromeNotFoundError

    try:
        with ThreadPoolExecutor(1) as own:  # the caller's thread may have an event loop already
            return own.submit(lambda: asyncio.run(_in_time(drawn, kinds, titled))).result()
    except (BrowserFailedError, ChromeNotFoundError, TimeoutError) as error:
        raise InvalidChoice(NO_BROWSER) from error


async def _in_time(drawn: Sequence[Chart], kinds: Sequence[str], titled: bool) -> Mapping[tuple[str, str], bytes]:
    """Kaleido waits without end for a browser that dies as it starts, which was seen once: another one is started."""
    try:
        return await asyncio.wait_for(_drawn(drawn, kinds, titled), LONGEST / 5)
    except TimeoutError:
        return await asyncio.wait_for(_drawn(drawn, kinds, titled), LONGEST)


async def _drawn(drawn: Sequence[Chart], kinds: Sequence[str], titled: bool) -> Mapping[tuple[str, str], bytes]:
    from kaleido import Kaleido

    made = {}
    async with Kaleido(n=1, mathjax=False, enable_sandbox=not _is_root(), proxy_server=NOWHERE) as browser:
        for chart in drawn:
            values = for_paper(chart.figure, chart.title, chart.caption) if titled else chart.on_paper
            for kind in kinds:
                content = await browser.calc_fig(values, {"format": kind, "scale": SCALE[kind]})
                made[chart.key, kind] = with_dots(content, DOTS) if kind == PNG else content
    return made


def printed(page: bytes) -> bytes:
    """An HTML page as PDF. Raises InvalidChoice without a browser.

    The browser prints it, because the page is laid out for A4 already: a second layout would be a second report.
    """
    from choreographer.browsers.chromium import Chromium

    browser = Chromium.find_browser(skip_local=False)
    if browser is None:
        raise InvalidChoice(NO_BROWSER)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source, target = Path(folder) / "report.html", Path(folder) / "report.pdf"
        source.write_bytes(page)
        options = ["--headless", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={folder}/profile"]
        options += [f"--virtual-time-budget={TIME_TO_DRAW}", f"--print-to-pdf={target}"]
        options += [f"--proxy-server={NOWHERE}"]
        options += ["--no-sandbox"] if _is_root() else []
        try:
            subprocess.run([browser, *options, source.as_uri()], capture_output=True, timeout=LONGEST, check=True)
            return target.read_bytes()
        except (OSError, subprocess.SubprocessError) as error:
            raise InvalidChoice(NO_BROWSER) from error


def _is_root() -> bool:
    """Whether Chromium's sandbox cannot start; anybody else's stays on."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
