"""What works in the background goes after the pages."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from covid_core.work import NICENESS, lower_session


@pytest.fixture
def apart() -> Iterator[int]:
    """A process in a session of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, start_new_session=True
    ) as process:
        yield process.pid


@pytest.mark.skipif(not hasattr(os, "setpriority"), reason="only POSIX has niceness")
def test_a_process_of_low_priority_stays_so_when_it_is_asked_again(apart):
    for _ in range(2):
        lower_session(apart)
        assert psutil.Process(apart).nice() == NICENESS


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="only Linux groups processes by session")
def test_its_session_goes_after_other_sessions(apart):
    lower_session(apart)
    assert Path(f"/proc/{apart}/autogroup").read_text().split()[-1] == str(NICENESS)
