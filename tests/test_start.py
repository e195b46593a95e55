"""The server's start: where a browser finds it, and that one is opened there."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import streamlit as st

from app_pages.components import start

ROOT = Path(__file__).parent.parent
START_TIME = 60  # seconds on a busy machine
PLAIN = {"server.sslCertFile": None, "server.address": "127.0.0.1", "server.port": 8501, "server.baseUrlPath": ""}


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({}, "http://127.0.0.1:8501/"),
        ({"server.port": 8502, "server.baseUrlPath": "/films/"}, "http://127.0.0.1:8502/films"),
        ({"server.address": "0.0.0.0", "server.sslCertFile": "cert.pem"}, "https://localhost:8501/"),
        ({"server.address": None}, "http://localhost:8501/"),
    ],
    ids=["as it comes", "port and path", "everywhere, encrypted", "no address"],
)
def test_the_address_is_one_that_a_browser_on_this_machine_can_open(monkeypatch, options, address):
    monkeypatch.setattr(st, "get_option", (PLAIN | options).__getitem__)
    assert start.address() == address


def test_pages_wait_for_nothing_where_no_server_was_started():
    start.wait()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="The browser is a shell script here.")
def test_the_readmes_command_opens_the_browser(tmp_path):
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > "{opened}.part" && mv "{opened}.part" "{opened}"\n')
    browser.chmod(0o755)
    port = free_port()
    options = ["--server.headless", "false", "--server.port", str(port)]
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", *options],
        cwd=ROOT,
        env={**os.environ, "BROWSER": str(browser), "COVID_CORE_HOME": str(tmp_path / "workspace")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_TIME
        while not opened.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert opened.read_text() == f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
