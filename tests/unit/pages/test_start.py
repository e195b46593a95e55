"""The server's start: where a browser finds it, and that one is opened there."""

import asyncio
import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import streamlit as st
from app_server import ROOT, App
from waiting import LONG, until

from pages.server import startup

IMPORTED = """
import sys
from pages.server import startup
startup.import_everything()
print(*(name if name.startswith("pyarrow") else name.rpartition(".")[2] for name in sys.modules))
"""
PLAIN = {
    "server.sslCertFile": None,
    "server.address": "127.0.0.1",
    "server.baseUrlPath": "",
    "browser.serverAddress": "localhost",
    "browser.serverPort": 8501,
}


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({}, "http://127.0.0.1:8501/"),
        ({"browser.serverPort": 8502, "server.baseUrlPath": "/images/"}, "http://127.0.0.1:8502/images"),
        ({"browser.serverAddress": "images.example", "browser.serverPort": 80}, "http://images.example:80/"),
        ({"server.address": "::1"}, "http://[::1]:8501/"),
        ({"server.address": "0.0.0.0", "server.sslCertFile": "cert.pem"}, "https://localhost:8501/"),
        ({"server.address": None}, "http://localhost:8501/"),
    ],
    ids=["as it comes", "port and path", "named", "in six", "everywhere, encrypted", "no address"],
)
def test_the_address_is_one_that_a_browser_on_this_machine_can_open(monkeypatch, options, address):
    monkeypatch.setattr(st, "get_option", (PLAIN | options).__getitem__)
    assert startup.address() == address


def test_pages_wait_for_nothing_where_no_server_was_started():
    startup.wait()


def test_pages_wait_until_all_that_they_need_is_imported(monkeypatch):
    go_on, order = threading.Event(), []

    def import_slowly() -> None:
        go_on.wait(LONG)
        order.append("imported")

    monkeypatch.setattr(startup, "import_everything", import_slowly)
    monkeypatch.setattr(startup, "_importing", None)
    monkeypatch.setattr(st, "get_option", {"server.headless": True}.__getitem__)

    async def serve() -> None:
        async with startup.while_the_browser_loads(None):
            threading.Timer(0.2, go_on.set).start()
            startup.wait()
            order.append("page")

    with ThreadPoolExecutor(1) as pool:  # a thread of its own: the browser of other tests has this one's loop
        pool.submit(lambda: asyncio.run(serve())).result()
    assert order == ["imported", "page"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Others return freed memory by themselves.")
def test_freed_memory_is_returned_to_the_system_now_and_then(monkeypatch):
    libc, chunk = ctypes.CDLL(None), 64 * 1024
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

    def held() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    monkeypatch.setattr(startup, "import_everything", lambda: None)
    monkeypatch.setattr(startup, "_importing", None)
    monkeypatch.setattr(startup, "RETURN", 0.05)
    monkeypatch.setattr(st, "get_option", {"server.headless": True}.__getitem__)
    taken = [libc.malloc(chunk) for _ in range(2000)]
    for address in taken:
        ctypes.memset(address, 1, chunk)
    full = held()
    for place, address in enumerate(taken):
        if place % 20:  # what stays lies between what is freed
            libc.free(address)
    gone = 0.5 * len(taken) * chunk
    assert full - held() < gone, "the system has it back already"

    async def serve() -> None:
        async with startup.while_the_browser_loads(None):
            await asyncio.to_thread(until, lambda: full - held() > gone, "memory that is returned")

    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(serve())).result()
    for address in taken[::20]:
        libc.free(address)


def test_what_is_imported_at_the_start_is_all_that_the_pages_share():
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    parts = {path.stem for folder in ("shared", "panels") for path in (ROOT / "pages" / folder).rglob("*.py")}
    assert parts - {"__init__"} | {"pyarrow.dataset"} <= set(done.stdout.split())


@pytest.fixture
def app(tmp_path) -> Iterator[App]:
    server = App(tmp_path)
    yield server
    server.kill()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="The browser is a shell script here.")
def test_the_readmes_command_opens_the_browser(app, tmp_path):
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > "{opened}.part" && mv "{opened}.part" "{opened}"\n')
    browser.chmod(0o755)
    environment = {**os.environ, "BROWSER": str(browser), "COVID_CORE_HOME": str(tmp_path / "workspace")}
    app.start(environment=environment, headless=False)
    until(opened.exists, "a browser that is opened")
    assert opened.read_text() == f"http://127.0.0.1:{app.port}/"


@pytest.mark.slow
def test_the_command_starts_the_dashboard_from_any_folder(app, tmp_path):
    (tmp_path / "streamlit.py").write_text("raise SystemExit('what lies in the current folder was started')")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COVID_CORE_HOME": str(tmp_path / "workspace")}
    app.start([sys.executable, "-m", "covid_core", "app"], tmp_path, environment)
