"""How long each page takes to answer on the server, with a full workspace: ``python -m benchmarks.screens.pages``.

By default 21,165 images are made (grey noise over a gradient, 256 px, three classes), imported, and 200 finished runs
are put beside them: records with splits, histories and prediction tables of full size, but without models. ``--data
FOLDER`` takes real images; ``--keep FOLDER`` leaves the workspace there, and uses it again the next time.

Two things are measured. Every page and tab, run as the server runs it (pages/dashboard.py, then the page) in one
process, first cold, then warm several times; the browser's drawing is not in it. Then a server of its own, started by
the README's command: seconds until its health address answers and until Chromium shows the first page, in turn with the
same for a Streamlit page of one line, and its memory (RSS) after every page has been visited.

Prints one JSON line: seconds per page (cold, warm median, all warm times), both starts, memory, the machine's facts.
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.images import LABELS, made_images
from benchmarks.measuring import ROOT, machine, options, show

IMAGES = 21_165
RUNS = 200
RUNS_PER_STUDY = 10
STUDIES = 5
EPOCHS = 20
LIMIT = 0.3  # seconds that a warm page may take
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ON_FIRST_PAGE = "Workflow"
PATIENCE = 60.0  # seconds for a server to start
VIEWS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {  # name: page, address, choices of the session
    "home": ("home", {}, {}),
    "dataset": ("dataset", {}, {}),
    "dataset, images": ("dataset", {"tab": "Images"}, {}),
    "dataset, pixels": ("dataset", {"tab": "Pixels"}, {}),
    "dataset, sizes and sources": ("dataset", {"tab": "Sizes and sources"}, {}),
    "train": ("train", {}, {}),
    "train, studies": ("train", {}, {"train-sections": ":material/playlist_play: Studies"}),
    "train, runs": ("train", {}, {"train-sections": ":material/list: Runs"}),
    "train, one run": ("train", {"run": "*"}, {}),
    "compare": ("compare", {}, {}),
    "compare, curves": ("compare", {"view": "Curves"}, {}),
    "compare, confusion": ("compare", {"view": "Confusion"}, {}),
    "compare, per class": ("compare", {"view": "Per class"}, {}),
    "compare, ROC": ("compare", {"view": "ROC and precision-recall"}, {}),
    "compare, cost": ("compare", {"view": "Cost"}, {}),
    "compare, all runs": ("compare", {"runs": "**"}, {}),
    "compare, all runs, curves": ("compare", {"runs": "**", "view": "Curves"}, {}),
    "compare, all runs, per class": ("compare", {"runs": "**", "view": "Per class"}, {}),
    "compare, all runs, ROC": ("compare", {"runs": "**", "view": "ROC and precision-recall"}, {}),
    "predict": ("predict", {}, {}),
}


def main() -> None:
    parser = options(__doc__, repeats=7)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--keep", type=Path, help="a folder for the workspace, used again when it is there")
    parser.add_argument("--only", nargs="+", choices=VIEWS, help="these views, and no server")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = (given.keep or Path(folder)) / "workspace"
        os.environ["COVID_CORE_HOME"] = str(home)
        images = fill(given.data or made_images(home.parent / "images", given.images // len(LABELS)), given.runs)
        views = {view: timed(view, given.repeats) for view in given.only or VIEWS}
        server = {} if given.only else served(given.repeats)
    slow = [view for view, times in views.items() if times["warm"] > LIMIT]
    show(
        {"benchmark": "pages", "images": images, "runs": given.runs, "views": views, "slower_than_limit": slow}
        | server
        | {"machine": machine()}
    )


# What is there


def fill(source: Path, runs: int) -> int:
    """Import the images and make finished runs on them, as far as they are not there. Returns the number of images."""
    from covid_core.data import dataset as data
    from covid_core.data.imports import importing
    from covid_core.data.split import make_split
    from covid_core.runs import store
    from covid_core.specs import SplitSpec
    from covid_core.workspace import Workspace

    workspace = Workspace.default()
    listed = data.list_datasets(workspace)
    dataset = data.open_dataset(workspace, listed[0]["id"]) if listed else importing.import_folder(workspace, source)
    split = make_split(dataset.images, dataset.classes, SplitSpec(validation=0.16, test=0.16))
    for number in range(len(store.list_runs(workspace)[0]), runs):
        group = number // RUNS_PER_STUDY
        study = f"study-{group}" if group < STUDIES else ""
        made = made_run(workspace, dataset, split, number, study)
        if study:
            members = tuple(run.id for run in store.list_runs(workspace)[0] if run.study == study)
            store.write_study(workspace, store.Study(study, f"Study {group}", "", made.created, members))
    return len(dataset.images)


def made_run(workspace: Any, dataset: Any, split: Any, number: int, study: str) -> Any:
    """A finished run with every file that a page reads; its scores are drawn at random around the labels."""
    from covid_core.runs import store
    from covid_core.specs import TrainingSpec

    backbones = ("baseline_cnn", "mobilenet_v2", "densenet121", "resnet50", "vgg16")
    spec = TrainingSpec(
        dataset=dataset.id,
        classes=dataset.classes,
        name=f"Run {number}",
        backbone=backbones[number % len(backbones)],
        mode="full" if number % len(backbones) == 0 else "frozen",
        weights="random",
        epochs=EPOCHS,
        seed=number,
    )
    run = store.create_run(workspace, spec, dataset, split, study)
    run.write_launch(pid=1, attempt=1)
    table = scored(split, dataset.classes, skill=0.5 + 3 * number / RUNS, seed=number)
    run.write_predictions(table)
    for row in history():
        run.append_history(row)
    now = time.time()
    run.write_result(result_of(table, dataset.classes, now))
    run.write_status(replace(store.Status(store.COMPLETED), started=now - 60, updated=now, ended=now, progress=1.0))
    return store.open_run(workspace, run.id)


def scored(split: Any, classes: tuple[str, ...], skill: float, seed: int) -> Any:
    """A prediction table of all images of the split."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(split), len(classes)))
    logits[np.arange(len(split)), np.searchsorted(classes, split["label"].to_numpy(dtype=str))] += skill
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table = split[["image_id", "part", "label"]].copy()
    for position, label in enumerate(classes):
        table[f"score_{label}"], table[f"logit_{label}"] = scores[:, position], logits[:, position]
    return table


def history() -> Iterator[dict[str, Any]]:
    for epoch in range(1, EPOCHS + 1):
        better = 1 - 0.6 * float(np.exp(-epoch / 5))
        learned = {"loss": 1.1 - better, "accuracy": better, "val_loss": 1.2 - better, "val_accuracy": better - 0.02}
        yield {"stage": "head", "epoch": epoch, **learned, "learning_rate": 1e-3, "seconds": 2.0}


def result_of(table: Any, classes: tuple[str, ...], now: float) -> dict[str, Any]:
    """What a worker writes last."""
    right = table[[f"score_{label}" for label in classes]].to_numpy().argmax(axis=1) == np.searchsorted(
        classes, table["label"].to_numpy(dtype=str)
    )
    accuracy = {part: float(right[table["part"] == part].mean()) for part in ("train", "validation", "test")}
    return {
        "finished": now,
        "best_epoch": EPOCHS,
        "epochs_done": EPOCHS,
        "seconds": {"features": 45.0, "fit": 15.0},
        "parameters": 2_589_763,
        "parameters_trained": 331_779,
        "model_bytes": 10_400_000,
        "milliseconds_per_image": 4.0,
        "engine": "LiteRT",
        "device": "CPU",
        "accuracy": accuracy,
    }


# In one process


def timed(view: str, repeats: int) -> dict[str, float | list[float]]:
    """Seconds of one cold answer and of several warm ones, in one session, as a user comes back to a page."""
    from streamlit.testing.v1 import AppTest

    page, address, choices = VIEWS[view]
    app = AppTest.from_file(str(ROOT / "pages" / "dashboard.py"), default_timeout=PATIENCE * 4)
    app.run()
    for name, value in choices.items():
        app.session_state[name] = value
    times = []
    for _ in range(repeats + 1):
        app.switch_page(f"{page}.py")
        for name, value in address.items():
            app.query_params[name] = meant(value)
        begin = time.perf_counter()
        app.run()
        times.append(round(time.perf_counter() - begin, 3))
        if app.exception:
            raise SystemExit(f"{view}: {app.exception[0].value}")
    return {"cold": times[0], "warm": statistics.median(times[1:]), "warm_all": times[1:]}


def meant(value: str) -> str:
    """The address's value: ``*`` stands for the id of the newest run, ``**`` for those of all."""
    if not value.startswith("*"):
        return value
    from covid_core.runs import store
    from covid_core.workspace import Workspace

    ids = [run.id for run in store.list_runs(Workspace.default())[0]]
    return ids[0] if value == "*" else ",".join(ids)


# A server of its own


def served(repeats: int) -> dict[str, Any]:
    """Seconds to the first page, several starts, and the memory after all pages were visited in the last of them."""
    seconds: dict[str, list[float]] = {"health": [], "first_page": [], "bare_health": [], "bare_first_page": []}
    megabytes = 0
    with chromium() as browser, tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(f"import streamlit as st\n\nst.write({ON_FIRST_PAGE!r})\n", encoding="utf-8")
        for number in range(repeats):
            for side, script in (("bare_", str(bare)), ("", "app.py")):
                with server(script) as (process, url, begin), browser.new_context() as context:
                    page = context.new_page()
                    seconds[f"{side}health"].append(round(until_healthy(url) - begin, 2))
                    page.goto(url)
                    page.get_by_text(ON_FIRST_PAGE).wait_for(timeout=1000 * PATIENCE)
                    seconds[f"{side}first_page"].append(round(time.perf_counter() - begin, 2))
                    if not side and number == repeats - 1:
                        megabytes = memory_after_all(page, url, process)
    medians = {name: round(statistics.median(times), 2) for name, times in seconds.items()}
    return {"start": {**medians, "all": seconds}, "server_megabytes": megabytes}


@contextmanager
def chromium() -> Iterator[Any]:
    """The installed browser; ends the benchmark where there is none."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit("No Chromium or Chrome is installed; benchmarks.screens.pages --only measures without one.")
    arguments = ["--disable-gpu", "--no-first-run", *(["--no-sandbox"] if os.getuid() == 0 else [])]
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=arguments)


@contextmanager
def server(script: str) -> Iterator[tuple[psutil.Process, str, float]]:
    """The README's command, for a script, on a free port: its process, its address, and when it was started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", script]
    quiet = ["--server.headless", "true", "--server.port", str(port)]
    begin = time.perf_counter()
    started = subprocess.Popen([*command, *quiet], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield psutil.Process(started.pid), f"http://localhost:{port}", begin
    finally:
        started.terminate()
        started.wait()


def until_healthy(url: str) -> float:
    """When the health address answered."""
    for _ in range(int(PATIENCE / 0.02)):
        try:
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
            return time.perf_counter()
        except OSError:
            time.sleep(0.02)
    raise SystemExit("The server did not start.")


def memory_after_all(page: Any, url: str, process: psutil.Process) -> int:
    """Megabytes of the server once every view was shown in the browser."""
    for name, address, _ in VIEWS.values():
        query = "&".join(f"{key}={meant(value)}" for key, value in address.items())
        page.goto(f"{url}/{'' if name == 'home' else name}?{query}")
        page.locator("h1").wait_for(timeout=1000 * PATIENCE)
        page.locator("[data-testid=stStatusWidget]").wait_for(state="detached", timeout=1000 * PATIENCE)
        page.wait_for_timeout(500)
    return round(process.memory_info().rss / 1e6)


if __name__ == "__main__":
    main()
