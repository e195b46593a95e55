"""Files from the network, each only after the user asked: with a time limit, progress, and a check of the bytes."""

import contextlib
import hashlib
import http.client
import os
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from covid_core import files
from covid_core.errors import WeightsUnavailable
from covid_core.formatting import file_size
from covid_core.work import Progress

TIMEOUT = 10  # seconds without a byte
CHUNK = 2**18


def can_be_reached(url: str) -> bool:
    """Whether a server answers for ``url`` within a few seconds."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=5):
            return True
    except (OSError, ValueError, http.client.HTTPException):
        return False


def download(url: str, target: Path, md5: str, progress: Progress) -> None:
    """Fetch ``url`` to ``target``, published only when it is whole and, where ``md5`` is known, the right file.

    Raises WeightsUnavailable when the network or the bytes are at fault.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, files.published(target) as temporary:
            total = int(answer.headers.get("Content-Length") or 0)
            with open(temporary, "wb") as handle:
                done = 0
                while chunk := answer.read(CHUNK):
                    handle.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    progress(done / total if total else 0.0, f"Downloading {target.name}: {file_size(done)}")
            if (total and done != total) or (md5 and digest.hexdigest() != md5):
                raise WeightsUnavailable(f"The download of {target.name} was cut off or changed on its way.")
    except (OSError, http.client.HTTPException) as error:
        raise WeightsUnavailable(f"{target.name} cannot be downloaded: {getattr(error, 'reason', error)}.") from error


@contextlib.contextmanager
def watched(progress: Progress, expected: int, folder: Path) -> Iterator[None]:
    """Report how much ``folder`` grows while a library downloads into it without telling.

    What ``progress`` raises, Stopped for one, is raised at the end of the block.
    """
    start = _bytes_below(folder)
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(1):
            done = max(0, _bytes_below(folder) - start)
            progress(min(done / expected, 0.99), f"Downloading: {file_size(done)} of about {file_size(expected)}")

    with ThreadPoolExecutor(1) as pool:
        reports = pool.submit(report)
        try:
            yield
        finally:
            ended.set()
    reports.result()


def _bytes_below(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # files come and go while a download runs
                total += os.path.getsize(os.path.join(parent, name))
    return total
