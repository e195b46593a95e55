"""What each request to the prediction server passes first, its host and its origin, and the headers of each answer.

A page of another server can have a browser ask this one, also under a name of its own that leads here (DNS rebinding):
so the host that is asked has to be one of the server's names, and an origin that host.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from covid_core.access import web

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

HEADERS = web.headers() | {"cache-control": "no-store"}
FAILED = "An error occurred in the server. See its log."


class Guard:
    """Pure ASGI. ``hosts`` are the names that the server answers to, without port."""

    def __init__(self, app: App, hosts: Collection[str]):
        self.app, self.hosts = app, frozenset(hosts)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = False

        async def protected(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = [(name, value) for name, value in message["headers"] if name.decode().lower() not in HEADERS]
                message["headers"] = own + [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            await send(message)

        if sentence := self.refusal(scope["headers"]):
            await _answer(protected, 403, sentence)
            return
        try:
            await self.app(scope, receive, protected)
        except Exception:
            if started:
                raise
            logging.getLogger(__name__).exception("A request failed.")
            await _answer(protected, 500, FAILED)

    def refusal(self, headers: Collection[tuple[bytes, bytes]]) -> str:
        """Why a request with such headers gets no answer; empty where it does."""
        named = {name: value.decode("latin-1") for name, value in headers if name in (b"host", b"origin")}
        host, origin = named.get(b"host", ""), named.get(b"origin")
        if _name_of(host) not in self.hosts:
            return "The host name is not one of this server. Start it with --host NAME to add it."
        if not web.is_own_origin(origin, host):
            return "A page of another server sent the request. A web server in between must pass on the Host header."
        return ""


def _name_of(host: str) -> str:
    """The name in a Host header, without its port; empty where it holds none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


async def _answer(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
