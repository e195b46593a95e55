"""Does anything leave the computer, and what is left of an upload?"""

import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from PIL import Image, PngImagePlugin
from playwright.sync_api import Page

from benchmarks.reliability.place import App, Measured, Place, Unmeasured
from benchmarks.reliability.session import Session
from benchmarks.screens.pages import PATIENCE, VIEWS, chromium
from covid_core.images.codec import png_bytes
from covid_core.synthetic.phantom import image_at
from tests.hostile import make

ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
OWN = re.compile(r"127\..*|::1|::ffff:127\..*|0\.0\.0\.0|::")
OWN_LISTENING = re.compile(r"127\..*|::1")
IDLE = "[data-testid=stApp][data-test-connection-state=CONNECTED][data-test-script-state=notRunning]"
LARGE = 3_000_000  # bytes: the server's form parser writes what is over 1 MiB into an unlinked file
LESSONS = {"lessons": ("lessons", {}, {}), "lesson": ("lessons", {"lesson": "tag", "step": "1"}, {})}
AUDITS = {f"audit, {tab}": ("audit", {"tab": tab}, {}) for tab in ("Duplicates", "Shortcut learning", "Map")}


def connections(place: Place) -> Measured:
    """Every page and tab in a browser, an image handed in: hosts that the browser asks, addresses that the server
    connects to or sends a datagram to, by strace."""
    strace = shutil.which("strace")
    if strace is None:
        raise Unmeasured("strace is not installed.")
    trace = place.folder / "connections.txt"
    before = [strace, "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace)]
    with place.server("walked", before) as app, browser_page() as page:
        asked: set[str] = set()
        page.on("request", lambda request: asked.add(request.url))
        page.on("websocket", lambda socket: asked.add(socket.url))
        shown = walk(page, app, place.run.id)
        end(app)
    hosts = sorted({urlsplit(url).hostname or "" for url in asked if urlsplit(url).scheme in ("http", "https", "ws")})
    elsewhere = [host for host in hosts if host not in ("localhost", "127.0.0.1")]
    found = {"".join(pair) for pair in ADDRESS.findall(trace.read_text(errors="replace"))}
    outside = sorted(address for address in found if not OWN.fullmatch(address))
    figure = {"pages": shown, "hosts_the_browser_asked": elsewhere, "addresses_of_the_server": outside}
    return Measured(figure, not elsewhere and not outside)


def sockets(place: Place) -> Measured:
    """At which addresses the server and its children listen."""
    with place.server("sockets") as app:
        server = server_process(app)
        every = [server, *server.children(recursive=True)]
        listening = {one.laddr.ip for process in every for one in process.net_connections() if one.status == "LISTEN"}
    beyond = sorted(address for address in listening if not OWN_LISTENING.fullmatch(address))
    return Measured({"listening_at": sorted(listening), "beyond": beyond}, bool(listening) and not beyond)


def walk(page: Page, app: App, run: str) -> int:
    """Open every page and tab, and hand an image in; returns how many were opened."""
    views = {**VIEWS, **LESSONS, **AUDITS}
    for name, address, _ in views.values():
        query = "&".join(f"{key}={run if value.startswith('*') else value}" for key, value in address.items())
        page.goto(f"{app.url}/{'' if name == 'home' else name}?{query}")
        page.locator("h1").first.wait_for(timeout=1000 * PATIENCE)
        page.locator(IDLE).wait_for(state="attached", timeout=1000 * PATIENCE)
    page.goto(f"{app.url}/predict?run={run}")
    page.locator("input[type=file]").set_input_files([{"name": "a.png", "mimeType": "", "buffer": phantom()}])
    page.get_by_text("has the highest").first.wait_for(timeout=1000 * PATIENCE)
    return len(views) + 1


@contextmanager
def browser_page() -> Iterator[Page]:
    """A tab of the installed browser."""
    with chromium() as browser:
        yield browser.new_page(viewport={"width": 1280, "height": 900})


def end(app: App) -> None:
    """Let the server end as by Ctrl-C, so that its tracer writes all that it has."""
    server = server_process(app)
    server.terminate()
    server.wait(PATIENCE)


def server_process(app: App) -> psutil.Process:
    """The process that listens at the app's port."""
    return next(one for one in psutil.process_iter() if _listens(one, app.port))


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        return any(one.laddr.port == port and one.status == "LISTEN" for one in process.net_connections())
    except psutil.Error:
        return False


def phantom() -> bytes:
    """An image that is in no data set here."""
    return png_bytes(image_at(3, images=60, seed=77, plant=("clear-lesions",)).pixels)


def canary(place: Place) -> Measured:
    """Files that hold 32 bytes nobody else has, in pixels, text, tags and name: where these are found once the files
    were answered and the session has ended."""
    secret = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as spool, place.server("canary", TMPDIR=spool) as app:
        with Session(app.url) as one, Session(app.url) as other:
            answered = 0
            for name, content in _with(secret).items():
                _, elements = one.open("predict", f"run={place.run.id}")
                _, drawn = one.hand_in(elements, f"{secret}-{name}", content)
                answered += any("highest" in element.markdown.body for element in drawn)
            foreign = b"".join(element.SerializeToString() for element in other.open("predict")[1])
            open_files = _open_files(app, secret)
        found = _places(secret, {"workspace and log": app.home, "temporary folder": Path(spool)})
    found["another session"] = secret.encode() in foreign
    found["open files"] = open_files
    hits = [name for name, hit in found.items() if hit]
    figure = {"files_answered": answered, "places_searched": list(found), "hits": hits}
    if answered < len(_with(secret)):
        return Measured(figure, False, "Not every file was answered.")
    return Measured(figure, not hits, "Memory and swap are not searched; exports are searched by the tests.")


def _with(secret: str) -> dict[str, bytes]:
    """Images that hold the secret: in text beside the pixels, in DICOM tags, and in a file larger than 1 MiB."""
    pixels = image_at(3, images=60, seed=77, plant=("clear-lesions",)).pixels
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", secret)
    tags = {"PatientName": secret, "PatientID": secret, "StudyDescription": secret}
    with tempfile.SpooledTemporaryFile() as file:
        Image.fromarray(pixels).save(file, "PNG", pnginfo=text)
        file.seek(0)
        png = file.read()
    return {"a.png": png, "b.dcm": make.dicom(pixels, **tags), "c.png": png + secret.encode() * (LARGE // 32)}


def _places(secret: str, folders: dict[str, Path]) -> dict[str, Any]:
    """In which folders some file, or its name, holds the secret."""
    found = {}
    for name, folder in folders.items():
        search = subprocess.run(["grep", "-rlaF", secret, str(folder)], capture_output=True, check=False)
        found[name] = bool(search.stdout) or any(secret in path.name for path in folder.rglob("*"))
    return found


def _open_files(app: App, secret: str) -> bool:
    """Whether a file that the server holds open, unlinked ones included, holds the secret."""
    for link in Path(f"/proc/{server_process(app).pid}/fd").iterdir():
        try:
            if link.is_file() and secret.encode() in link.read_bytes():
                return True
        except OSError:  # closed meanwhile
            continue
    return False
