"""The app through the servers of notebooks: jupyter-server-proxy as it is installed, and what code-server does.

code-server itself is not run: a small proxy does to requests what its source does (src/node/routes/pathProxy.ts: the
path without /proxy/PORT; issue 7927: values of cookies are percent-encoded).
"""

import contextlib
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest
import services
from behind_proxies import served, walk
from playwright.sync_api import Browser, Page

HEAD = 1 << 16  # bytes of a request's head at most


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context() as context:
        yield context.new_page()


def test_the_app_works_through_jupyter_server_proxy(tmp_path: Path, page: Page):
    port = services.free_port()
    options = ["--ServerApp.port", str(port), "--IdentityProvider.token=secret", "--no-browser", "--allow-root"]
    command = [sys.executable, "-W", "ignore", "-m", "jupyter_server", *options]
    environment = {**os.environ, "HOME": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path)}
    with served(tmp_path) as app, services.running(command, port, tmp_path / "jupyter.log", environment):
        page.goto(f"http://localhost:{port}/api?token=secret")  # signs in
        walk(page, f"http://localhost:{port}/proxy/{app.port}")


def test_the_app_works_through_a_proxy_that_encodes_cookies_as_code_server_does(tmp_path: Path, page: Page):
    with served(tmp_path) as app, encoding_proxy(app.port) as port:
        walk(page, f"http://localhost:{port}/proxy/{app.port}")


@contextlib.contextmanager
def encoding_proxy(target: int) -> Iterator[int]:
    """The port of a proxy that does to requests what code-server does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_accept, args=(listening, target), daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def _accept(listening: socket.socket, target: int) -> None:
    with contextlib.suppress(OSError):  # closed: the test has ended
        while True:
            browser, _ = listening.accept()
            threading.Thread(target=_relay, args=(browser, target), daemon=True).start()


def _relay(browser: socket.socket, target: int) -> None:
    """One request for each connection, so that each head is seen."""
    request = b""
    with browser, socket.create_connection(("127.0.0.1", target)) as app, contextlib.suppress(OSError):
        while b"\r\n\r\n" not in request and len(request) < HEAD and (part := browser.recv(HEAD)):
            request += part
        head, _, body = request.partition(b"\r\n\r\n")
        app.sendall(_changed(head, target) + b"\r\n\r\n" + body)
        threading.Thread(target=_copy, args=(browser, app), daemon=True).start()
        _copy(app, browser)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(HEAD):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)


def _changed(head: bytes, target: int) -> bytes:
    head = head.replace(f" /proxy/{target}/".encode(), b" /", 1)
    if b"upgrade: websocket" not in head.lower():
        head = re.sub(rb"(?im)^connection:.*$", b"Connection: close\r", head)
    return re.sub(rb"(?i)(\r\ncookie: )([^\r]*)", lambda one: one[1] + _encoded(one[2]), head)


def _encoded(cookies: bytes) -> bytes:
    pairs = [one.partition(b"=") for one in cookies.split(b"; ")]
    return b"; ".join(name + b"=" + quote_from_bytes(value, safe="").encode() for name, _, value in pairs)
