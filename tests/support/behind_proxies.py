"""The app as proxies serve it, and what a visitor does there that a wrong proxy breaks."""

import contextlib
import io
import os
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import services
from app_server import ROOT, App
from made_data import image
from playwright.sync_api import Page, expect

from covid_core.images.codec import png_bytes

ARCHIVE = "images.zip"
LONG = 60_000  # milliseconds


@contextlib.contextmanager
def served(
    folder: Path, hosts: Sequence[str] = (), path: str = "", settings: str = "", secrets: str = ""
) -> Iterator[App]:
    """The app with these further allowed hosts, below a path, with more of config.toml, and with secrets.toml."""
    home = folder / f"app-{services.free_port()}"
    (home / ".streamlit").mkdir(parents=True)
    config = (ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8")
    (home / ".streamlit" / "config.toml").write_text(f"{config}\n{settings}")
    (home / "secrets.toml").write_text(secrets)
    app = App(home, path=path)
    environment = {**os.environ, "COVID_CORE_HOME": str(home / "workspace"), "KERAS_HOME": str(home)}
    environment |= {"STREAMLIT_SECRETS_FILES": str(home / "secrets.toml")} if secrets else {}
    allowed = [word for host in ("localhost", "127.0.0.1", *hosts) for word in ("--server.allowedHosts", host)]
    options = [*allowed, "--server.baseUrlPath", path.strip("/")]
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), *options]
    app.start(command, folder=home, environment=environment)
    try:
        yield app
    finally:
        app.kill()
        app.kill_workers()


def walk(page: Page, address: str) -> None:
    """Open a page by its address, which needs the WebSocket, and hand in a file, which needs an upload."""
    hand_in(page, address)
    expect(page.get_by_role("button", name=f"Import {ARCHIVE}")).to_be_visible()


def hand_in(page: Page, address: str) -> None:
    """The same, whatever comes of the file."""
    page.goto(f"{address}/dataset")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.get_by_text("Upload a zip").first.click()
    page.locator("input[type=file]").first.set_input_files(
        {"name": ARCHIVE, "mimeType": "application/zip", "buffer": archive()}
    )


def archive() -> bytes:
    """Of two classes with three images each."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as opened:
        for label in ("a", "b"):
            for number in range(3):
                opened.writestr(f"{label}/{number}.png", png_bytes(image(number)))
    return held.getvalue()
