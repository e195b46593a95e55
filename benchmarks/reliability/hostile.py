"""What strangers send: slow and mutated files, names that are paths, handshakes of foreign pages."""

import shutil
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
from playwright.sync_api import expect

from benchmarks.reliability.place import Measured, Place, Unmeasured
from benchmarks.reliability.privacy import server_process
from benchmarks.reliability.session import Session
from benchmarks.screens.pages import PATIENCE, chromium

FILES, SECONDS = {True: 100_000, False: 100_000}, {True: 45, False: 1800}
MOST_MB, MOST_SECONDS, MOST_RATIO = 512, 5, 1.2
OUTSIDE = "outside-canary"  # a folder that nobody may open
PARAMETERS = {
    "dataset": ("dataset", "image"),
    "audit": ("dataset", "pair", "point"),
    "train": ("run", "study", "dataset"),
    "compare": ("runs", "study", "view"),
    "predict": ("run", "image"),
    "lessons": ("lesson", "class"),
}
WAYS = (
    *("../{}", "../../{}", "../../../{}", "..%2f..%2f{}", "%2e%2e/{}", "..\\..\\{}", "a/../../{}"),
    *("/tmp/{}", "file:///{}", "{}\0"),
)


def mutated(place: Place) -> Measured:
    """Mutated files in the process for strangers' files, for so long."""
    from hostile import fuzzing

    found = fuzzing.measured(FILES[place.quick], seed=0, seconds=SECONDS[place.quick])
    held = not found["unmapped"] and not found.get("late")
    reason = "" if found["files"] == FILES[place.quick] else f"Of 100,000 files {found['files']:,}: time was up."
    return Measured({**found, "slowest": round(found["slowest"], 2)}, held if not reason or not held else None, reason)


def upload(place: Place) -> dict[str, Any]:
    """What an upload that keeps its reader busy costs: seconds, the ratio for another session, megabytes."""
    from benchmarks.reliability import uploads

    if "upload" not in place.notes:
        with place.server("hostile") as app, chromium() as browser:
            expect.set_options(timeout=1000 * PATIENCE)
            server = server_process(app)
            before = _memory(server)
            place.notes["upload"] = uploads.cost(browser, app, place.run.id, times=3 if place.quick else 10)
            place.notes["upload"]["rise_MB"] = round((_memory(server) - before) / 1e6)
    return place.notes["upload"]


def memory(place: Place) -> Measured:
    rise = upload(place)["rise_MB"]
    return Measured({"rise_MB": rise}, rise <= MOST_MB, "Over a slow file; the tests of 2.2 have bombs.")


def answer(place: Place) -> Measured:
    seconds = upload(place)["seconds"]
    return Measured({"seconds": round(seconds, 2)}, seconds <= MOST_SECONDS)


def others(place: Place) -> Measured:
    found = upload(place)
    return Measured({"ratio": round(found["ratio"], 2), "reruns": found["reruns"]}, found["ratio"] <= MOST_RATIO)


def _memory(server: psutil.Process) -> int:
    """The most memory that the server and its decoders have held so far, in bytes."""
    peaks = [Path(f"/proc/{one.pid}/status").read_text() for one in (server, *server.children(recursive=True))]
    return sum(int(peak.partition("VmHWM:")[2].split()[0]) for peak in peaks) * 1024


def paths(place: Place) -> Measured:
    """Addresses whose parameters are paths out of the workspace: system calls that name the place they lead to."""
    strace = shutil.which("strace")
    if strace is None:
        raise Unmeasured("strace is not installed.")
    trace, asked = place.folder / "paths.txt", 0
    with place.server("paths", [strace, "-f", "--seccomp-bpf", "-qq", "-e", "trace=%file", "-o", str(trace)]) as app:
        (place.folder / OUTSIDE).mkdir()
        with Session(app.url) as one:
            for page, names in PARAMETERS.items():
                for name, way in product(names, WAYS):
                    one.open(page, f"{name}={quote(way.format(OUTSIDE), safe='%')}")
                    asked += 1
        server_process(app).terminate()
    touched = [line for line in trace.read_text(errors="replace").splitlines() if OUTSIDE in line]
    return Measured({"addresses": asked, "calls": len(touched), "first": touched[:1]}, not touched)


def handshakes(place: Place) -> Measured:
    """Host and Origin of a handshake, by raw sockets."""
    from benchmarks.reliability import exposure

    with place.server("handshakes") as app:
        found = exposure.websocket_matrix(app.port)
    wrong = {name: status for name, (status, must) in found.items() if status != must}
    return Measured({"handshakes": len(found), "wrong": wrong}, not wrong)
