"""Programs of the system that a test runs, and what root alone may do."""

import os
import shutil
import sys

import pytest


def require(program: str) -> None:
    """Skip a test whose program is not installed; where the whole check runs (.ci/run), fail."""
    if shutil.which(program):
        return
    message = f"{program} is not installed."
    required = sys.platform == "linux" and os.environ.get("COVID_CORE_REQUIRE_BROWSER")
    pytest.fail(message) if required else pytest.skip(message)
