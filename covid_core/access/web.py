"""What each server of this project, dashboard and prediction server alike, demands of a request, and the headers that
each of its answers has."""

import itertools
import time
from collections import deque
from collections.abc import Mapping
from urllib.parse import urlsplit

from covid_core.formatting import file_size, roughly

LOOPBACK = ("127.0.0.1", "localhost", "::1")  # addresses that this computer alone reaches
OVERRIDE = "SECOND_LOOK_ALLOW_REMOTE"  # of the environment; 1 lets a server listen beyond this computer
WINDOW = 600.0  # seconds in which a visitor may hand in
LATER = 30.0  # seconds that are added to a time that is told in whole minutes
MOST_UPLOADED = 2 * 10**9  # bytes
HEADERS = {  # by which a browser protects its user, beside the policy of contents
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
POLICY = {  # of contents; whoever shows more adds to it
    "default-src": "'self'",
    "script-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}


def headers(policy: Mapping[str, str] = POLICY) -> dict[str, str]:
    """All protective headers, with a policy of contents."""
    return {"content-security-policy": "; ".join(f"{name} {allowed}" for name, allowed in policy.items()), **HEADERS}


def is_own_origin(origin: str | None, host: str | None) -> bool:
    """Whether a request comes from a page of this server, or from no page at all: programs send no origin."""
    try:
        return origin is None or (bool(host) and urlsplit(origin).netloc == host)
    except ValueError:  # no address at all
        return False


class Allowance:
    """How much each visitor has handed in lately, and whether more is taken."""

    def __init__(self) -> None:
        self._done: dict[str, deque[tuple[float, int]]] = {}

    def refusal(self, visitor: str, size: int) -> str:
        """Why a visitor may not hand in so many bytes now; empty where he may, and they then count."""
        done, now = self._done.setdefault(visitor, deque()), time.monotonic()
        while done and done[0][0] < now - WINDOW:
            done.popleft()
        over = sum(length for _, length in done) + size - MOST_UPLOADED
        if over > 0:
            freed = itertools.accumulate(length for _, length in done)
            since = next((then for (then, _), total in zip(done, freed, strict=True) if total >= over), now)
            sentence = f"One visitor hands in at most {file_size(MOST_UPLOADED)} within ten minutes."
            return f"{sentence} Try again in {roughly(since + WINDOW - now + LATER)}."
        done.append((now, size))
        return ""

    def clear(self) -> None:
        """Count nothing that was handed in so far."""
        self._done.clear()
