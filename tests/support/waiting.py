"""Waiting for a state for as long as a slow machine takes. No test asks how long something took."""

import time
from collections.abc import Callable

LONG = 300  # seconds until something counts as hung; a worker goes after all other processes


def until(comes_about: Callable[[], object], what: str) -> None:
    """Return once ``comes_about`` is true; fail with ``what`` was waited for where it never is."""
    deadline = time.monotonic() + LONG
    while not comes_about():
        assert time.monotonic() < deadline, f"Waited for {LONG} seconds in vain: {what}."
        time.sleep(0.05)
