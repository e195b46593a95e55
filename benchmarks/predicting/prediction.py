"""A prediction against the bare forward pass of the same network: ``python -m benchmarks.predicting.prediction``.

Two runs are trained for a moment (MobileNetV2, default taps at 224 px; last layer at 128 px), from ImageNet weights
where they are cached and from random ones elsewhere: the time is the same. Images are made, or taken from ``--data``.

The peer invokes the run's exported network with LiteRT on an image that is a square of the right size already, and
takes its outputs. Ours start from the decoded image: ``Predictor.logits`` (from the square), ``predict`` (scores) and
``explained`` (scores and heat map), image by image, a few images in turn; then ``predict`` for 200 images, one by one
against batches as the Predict page makes them. Then fresh processes: opening the model and answering for a first image.
Then, with a Chromium, a fresh server: from the drop of a first image until its scores are there, from that of a second
until they are in the work-list, from the click on an example until its scores are there, and from the choice of 200
files until their list is.

Prints one JSON line per run.
"""

import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.images import LABELS, made_images
from benchmarks.measuring import in_turn, options, result, seconds_of, show
from benchmarks.screens.pages import BROWSERS, PATIENCE, server, until_healthy

IMAGES = 200
IN_TURN = 40  # images that a side does before the next one's turn
TURNS = 15
BETWEEN = 3  # seconds in which somebody reads an answer before the next image
AT_ONCE = 16  # images per batch, as on the Predict page
CASES: dict[str, dict[str, Any]] = {
    "MobileNetV2, default taps, 224 px": {"taps": "default", "image_size": 224},
    "MobileNetV2, last layer, 128 px": {"taps": "last", "image_size": 128},
}
FIRST = """
import time
from pathlib import Path
from covid_core.images.codec import read_image
from covid_core.inference.assessment import assess_all
from covid_core.inference.predictor import Predictor
from covid_core.runs import store
from covid_core.workspace import Workspace
run = store.open_run(Workspace.default(), {run!r})
image = read_image(Path({image!r}))
begin = time.perf_counter()
assess_all(Predictor.open(Workspace.default(), run), [image])
print(time.perf_counter() - begin)
"""


def main() -> None:
    parser = options(__doc__, repeats=5)
    parser.add_argument("--keep", type=Path, help="a folder for images and workspace, used again when it is there")
    parser.add_argument("--no-browser", action="store_true", help="leave out what needs a Chromium")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = given.keep or Path(folder)
        os.environ["COVID_CORE_HOME"] = str(place / "workspace")
        source = given.data or made_images(place / "images", -(-IMAGES // len(LABELS)))
        paths = sorted(path for path in source.rglob("*.png") if "masks" not in path.parts)
        paths = [paths[i] for i in np.linspace(0, len(paths) - 1, IMAGES).round().astype(int)]
        for case, fields in CASES.items():
            run = trained(place, source, case, fields)
            show(compared(case, run, paths, given.repeats, not given.no_browser))


def trained(place: Path, source: Path, name: str, fields: dict[str, Any]) -> Any:
    """A run of these settings, trained for one epoch on a few of the images, or the one that an earlier call
    trained."""
    from covid_core import weights
    from covid_core.backbones import backbone_named
    from covid_core.data import dataset as data
    from covid_core.data.imports import importing
    from covid_core.jobs import queue
    from covid_core.runs import store
    from covid_core.specs import SplitSpec, TrainingSpec
    from covid_core.workspace import Workspace

    workspace = Workspace.default()
    for run in store.list_runs(workspace)[0]:
        if run.name == name and run.result:
            return run
    listed = data.list_datasets(workspace)
    dataset = data.open_dataset(workspace, listed[0]["id"]) if listed else importing.import_folder(workspace, source)
    cached = weights.is_cached(backbone_named("mobilenet_v2"), fields["image_size"])
    spec = TrainingSpec(
        dataset=dataset.id,
        classes=dataset.classes,
        name=name,
        backbone="mobilenet_v2",
        mode="frozen",
        weights="imagenet" if cached else "random",
        epochs=1,
        split=SplitSpec(images_per_class=50),
        **fields,
    )
    run = queue.submit_training(workspace, spec)
    if queue.wait(run).state != store.COMPLETED:
        raise SystemExit(run.log_tail())
    return store.open_run(workspace, run.id)


def compared(case: str, run: Any, paths: list[Path], repeats: int, browser: bool) -> dict[str, Any]:
    """All sides, then what a fresh process and a fresh server take."""
    from covid_core.images.codec import read_image, to_square
    from covid_core.inference.assessment import assess_all
    from covid_core.inference.predictor import Predictor
    from covid_core.workspace import Workspace

    predictor = Predictor.open(Workspace.default(), run)
    images = [read_image(path) for path in paths]
    squares = [to_square(image.pixels, predictor.size)[None] for image in images]
    batches = [images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE)]
    one_by_one = {
        "bare": over(bare(run), [square[..., None] for square in squares[:IN_TURN]]),
        "logits": over(predictor.logits, squares[:IN_TURN]),
        "scores": over(lambda image: assess_all(predictor, [image]), images[:IN_TURN]),
        "scores and heat map": over(lambda image: predictor.heat_map(image, "", image.pixels.shape), images[:IN_TURN]),
    }
    many = {
        "batches": over(lambda batch: assess_all(predictor, batch), batches),
        "one by one": over(lambda image: assess_all(predictor, [image]), images),
    }
    for side in (*one_by_one.values(), *many.values()):
        side()  # caches are warm and memory is there for all of them alike
    seconds = in_turn(one_by_one, TURNS)
    medians = {side: statistics.median(times) for side, times in seconds.items()}
    of_many = in_turn(many, repeats)
    first = [in_fresh_process(run, paths[0]) for _ in range(repeats)]
    facts = {
        "case": case,
        "images_in_turn": IN_TURN,
        "milliseconds_per_image": {side: round(1000 * time / IN_TURN, 2) for side, time in medians.items()},
        "over_bare": {side: round(time / medians["bare"], 2) for side, time in medians.items()},
        f"seconds_for_{len(images)}": {side: statistics.median(times) for side, times in of_many.items()},
        f"seconds_for_{len(images)}_all": of_many,
        "first_in_fresh_process": {"median": statistics.median(first), "all": first},
    }
    answer = result("prediction", seconds, ours="scores", peer="bare", **facts)
    return answer | (in_a_browser(run, paths, repeats) if browser else {})


def over(ask: Callable[[Any], Any], given: list[Any]) -> Callable[[], float]:
    """Seconds for all of them, one after the other."""

    def timed() -> float:
        begin = time.perf_counter()
        for one in given:
            ask(one)
        return time.perf_counter() - begin

    return timed


def bare(run: Any) -> Callable[[np.ndarray], list[np.ndarray]]:
    """The run's exported network in a LiteRT interpreter, as its documentation uses one: an image in, all outputs
    out."""
    from ai_edge_litert.interpreter import Interpreter

    from covid_core.inference.predictor import trunk_path_of
    from covid_core.workspace import Workspace

    interpreter = Interpreter(str(trunk_path_of(Workspace.default(), run)), num_threads=os.cpu_count())
    (into,) = interpreter.get_input_details()
    size = run.spec.image_size
    interpreter.resize_tensor_input(into["index"], (1, size, size, 1))
    interpreter.allocate_tensors()
    outputs = [details["index"] for details in interpreter.get_output_details()]

    def forward(square: np.ndarray) -> list[np.ndarray]:
        interpreter.set_tensor(into["index"], square)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    return forward


def in_fresh_process(run: Any, image: Path) -> float:
    """Seconds from a decoded image to its scores in a process that has not opened a model yet."""
    _, output = seconds_of([sys.executable, "-c", FIRST.format(run=run.id, image=str(image))])
    return round(float(output), 3)


def in_a_browser(run: Any, paths: list[Path], repeats: int) -> dict[str, Any]:
    """A fresh server each time: the first example from the click on, then all images as uploads."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit("No Chromium or Chrome is installed; --no-browser measures without one.")
    arguments = ["--disable-gpu", "--no-first-run", *(["--no-sandbox"] if os.getuid() == 0 else [])]
    seconds: dict[str, list[float]] = {name: [] for name in ("first_drop", "second_drop", "example", "all")}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        for _ in range(repeats):
            with server("app.py") as (_, url, _), browser.new_context() as context:
                until_healthy(url)
                page = context.new_page()
                page.set_default_timeout(1000 * PATIENCE)
                example = page.get_by_role("button", name=LABELS[0], exact=True).first
                drop, scores = page.locator("input[type=file]"), page.get_by_text("has the highest")
                page.goto(f"{url}/predict?run={run.id}")
                example.wait_for()
                seconds["first_drop"].append(until(scores, drop.set_input_files, paths[0]))
                page.wait_for_timeout(1000 * BETWEEN)
                both = page.get_by_text(re.compile("Image . of 2"))
                seconds["second_drop"].append(until(both, drop.set_input_files, paths[-1]))
                page.goto(f"{url}/predict?run={run.id}")
                example.wait_for()
                seconds["example"].append(until(scores, example.click))
                every = page.get_by_text(f"1 of {len(paths)}")
                seconds["all"].append(until(every, drop.set_input_files, paths))
        browser.close()
    return {name: {"median": statistics.median(times), "all": times} for name, times in seconds.items()}


def until(shown: Any, act: Callable[..., Any], *of: Any) -> float:
    """Seconds from an act in the browser until something is shown."""
    begin = time.perf_counter()
    act(*of)
    shown.wait_for()
    return round(time.perf_counter() - begin, 2)


if __name__ == "__main__":
    main()
