"""Tests with programs of others; ``.ci/run --full`` installs and runs them."""

import pytest
from behind_proxies import LONG
from playwright.sync_api import expect


@pytest.fixture(autouse=True)
def patience() -> None:
    """Two servers and a browser share the processors."""
    expect.set_options(timeout=LONG)
