"""A finished run as a folder that works without this project: model, example, README, and facts for programs.

The folder is kept as a zip archive in the cache, for the same run and calibration. It is published only after its own
example, in a process of its own, has given the app's probabilities for PARITY_IMAGES images.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from covid_core import __version__, derived, files
from covid_core.data.pixels import decode_rows
from covid_core.data.split import TEST
from covid_core.errors import DataError, InvalidChoice, JobRefused, RunDamaged, RunError
from covid_core.evaluation.calibration import Calibration
from covid_core.exchange.forms import formats
from covid_core.exchange.forms.formats import LITERTJS, Format
from covid_core.formatting import number, plural, share
from covid_core.images.codec import png_bytes
from covid_core.inference.network import softmax
from covid_core.inference.predictor import Predictor
from covid_core.runs import temperature_scaling
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.runs.store import Run
from covid_core.synthetic.phantom import drawn_squares
from covid_core.work import Progress
from covid_core.workspace import Workspace

HERE = Path(__file__).parent
PAGE = HERE / "page"
LICENSES = (HERE.parents[1] / "LICENSE", HERE.parents[2] / "LICENSE")  # in a package, and in a checkout
FACTS, EXAMPLE, README = "export.json", "example.py", "README.md"
VERSION = 1  # of what such a folder holds
PARITY_IMAGES = 32
PARITY_LIMIT = 1e-4  # of a probability; float sums in another order differ by 1e-6
PATIENCE = 1200.0  # seconds for the example; TensorFlow starts in 10, on a busy machine in 100
DRAWN = "drawn images"

Write = Callable[[Path, float, str, Path, Progress], None]
"""``covid_core.nets.forms.writing.write``, which a job reaches by name."""


def check(workspace: Workspace, run: Run, format: Format) -> None:
    """Raise JobRefused where a run has no such format, or this installation lacks what that takes; RunError where it
    has no model at all."""
    check_run(run)
    format.check(workspace)


def check_run(run: Run) -> None:
    """Raise JobRefused where a run has none of the formats, RunError where it has no model at all."""
    if not run.result or not run.status().is_usable:
        raise JobRefused(f"{run.name} is not finished. Wait until it is.")
    run.check_network()
    if run.bundle:
        raise JobRefused(f"{run.name} came in a bundle, so its model is a stranger's. Export it where it was trained.")
    if not run.has_model:
        raise JobRefused(
            f"{run.name} uses the added file {run.spec.network.label}, which cannot be exported. "
            "To export a model, train a run on a backbone that comes with the app."
        )
    if run.spec.input.region == "lungs":
        raise JobRefused(
            f"The app cuts out a box around the lungs for {run.name}. The exported model could not do that, and would "
            "be wrong. To export a model, train a run on the whole image or its centre."
        )


def stored(workspace: Workspace, run: Run, name: str) -> Path | None:
    """The archive of a format that was made before; None where there is none."""
    path = path_of(workspace, run, name)
    return path if path.is_file() else None


def facts_of(archive: Path) -> dict[str, Any]:
    """What ``export.json`` in an archive says. Raises RunDamaged."""
    try:
        with ZipFile(archive) as opened:
            content: dict[str, Any] = json.loads(opened.read(FACTS))
            return content
    except derived.TORN as error:
        raise RunDamaged("The exported model is damaged. Empty the cache, and export it again.") from error


def in_words(facts: dict[str, Any]) -> list[str]:
    """What an export gives, and how far it is from the app."""
    parity = facts["parity"]
    return [
        f"{facts['model']}: {facts['output']} of {', '.join(facts['classes'])} for grey images of {facts['pixels']} px",
        f"largest difference from the app: {parity['largest_difference']:.1g} on {plural(parity['images'], 'image')} "
        f"({parity['source']}); limit {PARITY_LIMIT:g}",
    ]


def check_target(folder: Path) -> None:
    """Raise InvalidChoice where something is in a folder already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidChoice(f"{folder.name} holds something already. Name a folder that is new or empty.")


def unpacked(archive: Path, folder: Path) -> dict[str, Any]:
    """Publish an archive's content as a folder that is new or empty. Returns its facts. Raises InvalidChoice."""
    check_target(folder)
    with files.published_folder(folder.absolute()) as staging, ZipFile(archive) as opened:
        opened.extractall(staging)
    return facts_of(archive)


def make(workspace: Workspace, run: Run, name: str, write: Write, progress: Progress) -> Path:
    """Write a run's model in a format, check it, and keep it. Returns the archive.

    Raises JobRefused, RunDamaged, or RunError where it gives other probabilities than the app.
    """
    format = formats.named(name)
    check(workspace, run, format)
    if files.sha256_of(run.model_path) != run.result.get("model_sha256"):
        raise RunDamaged(f"{run.name}: {run.model_path.name} is missing or was changed after training.")
    archive, is_page = path_of(workspace, run, name), name == "web"
    with tempfile.TemporaryDirectory(prefix="second-look-") as temporary:
        folder = Path(temporary) / "folder"
        folder.mkdir()
        calibration = temperature_scaling.of(run)
        temperature = calibration.temperature if calibration.is_defined else 1.0
        write(run.model_path, temperature, format.written_as, folder / format.file, progress)
        progress(0.7, "Comparing its example with the app")
        about = facts(run, name, calibration)
        (folder / EXAMPLE).write_text(example(about, format), encoding="utf-8")
        parity = _parity(workspace, run, temperature, folder, about)
        progress(0.95, "Packing the folder")
        if is_page:
            _add_page(workspace, folder)
        readme = {**about, **_in_words(run, calibration, format, parity, is_page), "parity": parity}
        (folder / README).write_text(_filled("readme.txt", readme), encoding="utf-8")
        hashes = {path.relative_to(folder).as_posix(): files.sha256_of(path) for path in _files_in(folder)}
        files.write_json(folder / FACTS, {**about, "parity": parity, "sha256": hashes})
        size = sum(path.stat().st_size for path in _files_in(folder))
        derived.write(workspace, archive, size, lambda path: _pack(folder, path))
    return archive


def path_of(workspace: Workspace, run: Run, name: str) -> Path:
    """Where the archive of a format lies, whether or not it is there."""
    calibration = temperature_scaling.of(run)
    what = (__version__, run.id, run.name, run.result.get("model_sha256"), calibration.temperature, LITERTJS)
    key = hashlib.sha256(repr(what).encode()).hexdigest()
    return derived.path_of(workspace.exports, key, name, VERSION, "zip")


def facts(run: Run, name: str, calibration: Calibration) -> dict[str, Any]:
    """The facts, but for the comparison."""
    return {
        "second_look": __version__,
        "run": run.id,
        "name": run.name,
        "format": name,
        "model": formats.named(name).file,
        "pixels": run.spec.pixels,
        "classes": list(run.classes),
        "output": temperature_scaling.PROBABILITIES if calibration.is_defined else temperature_scaling.SCORES,
        "temperature": calibration.temperature if calibration.is_defined else None,
        "trained_on_synthetic": run.dataset.synthetic,
    }


def example(about: dict[str, Any], format: Format) -> str:
    """A program that predicts with such a model, and needs nothing of this project."""
    code = {field: text.format(file=format.file) for field, text in format.code._asdict().items()}
    return _filled("example.txt", {**about, **code, "run_batch": code["run"], "classes": ascii(about["classes"])})


def _in_words(
    run: Run, calibration: Calibration, format: Format, parity: dict[str, Any], is_page: bool
) -> dict[str, Any]:
    shown = f", which is shown {run.spec.input.in_words}" if run.spec.input.in_words else ""
    sides = ", and takes the mean of the image and its mirror image" if run.spec.test_time_flip else ""
    return {
        "label": format.label,
        "note": format.note,
        "needs": format.needs,
        "network": run.spec.network.label,
        "strategy": run.spec.strategy,
        "shown": shown + sides,
        "degree": number(calibration.temperature),
        "calibration_images": calibration.images,
        "calibration_note": calibration.note,
        "difference": f"{parity['largest_difference']:.1g}",
        "limit": f"{PARITY_LIMIT:g}",
        "web": is_page,
        "litertjs": LITERTJS,
    }


def _filled(name: str, values: dict[str, Any]) -> str:
    options = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True, "undefined": StrictUndefined}
    return Environment(loader=FileSystemLoader(HERE), **options).get_template(name).render(values)


def _parity(workspace: Workspace, run: Run, temperature: float, folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """How far the folder's example is from the app. Raises RunError above PARITY_LIMIT."""
    squares, source = parity_images(workspace, run)
    predictor = Predictor.open(workspace, run, with_reference=False)
    own = softmax(predictor.logits(squares) / temperature)
    theirs = example_output(folder, squares, about["output"], about["classes"])
    difference = float(np.abs(own - theirs).max())
    if not difference <= PARITY_LIMIT:
        raise RunError(
            f"A probability of the exported model differs by {share(difference, 3)} from that of the app. The limit is "
            f"{share(PARITY_LIMIT, 2)}. The export was not kept."
        )
    return {
        "images": len(squares),
        "source": source,
        "largest_difference": difference,
        "limit": PARITY_LIMIT,
    }


def parity_images(workspace: Workspace, run: Run) -> tuple[np.ndarray, str]:
    """Images of the run's test part, or its validation part, or drawn ones where its data set is not here: uint8
    (PARITY_IMAGES or fewer, side, side), and which they are."""
    side, split = run.spec.pixels, run.split()
    with suppress(DataError):  # gone or changed since; DRAWN says so
        dataset = dataset_of(workspace, run)
        for part in (TEST, "validation"):
            rows = np.flatnonzero(dataset.images["image_id"].isin(split.loc[split["part"] == part, "image_id"]))
            if len(rows):
                chosen = np.unique(np.linspace(0, len(rows) - 1, PARITY_IMAGES).round().astype(int))
                return decode_rows(dataset, rows[chosen], side), f"{part} part of the run"
    return drawn_squares(PARITY_IMAGES, side), DRAWN


def example_output(
    folder: Path, squares: np.ndarray, output: str, classes: Sequence[str], python: str = sys.executable
) -> np.ndarray:
    """What a folder's example prints for images, uint8 (n, side, side), in a process of its own: (n, classes).

    Raises RunError where it fails.
    """
    with tempfile.TemporaryDirectory() as place:
        names = [f"{number:03d}.png" for number in range(len(squares))]
        for name, square in zip(names, squares, strict=True):
            (Path(place) / name).write_bytes(png_bytes(square))
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [python, "-I", str((folder / EXAMPLE).absolute()), *names]
        try:
            done = subprocess.run(
                command, cwd=place, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=PATIENCE
            )
        except subprocess.TimeoutExpired as error:
            raise RunError(
                "The example of the exported model took more than twenty minutes. It was stopped."
            ) from error
    if done.returncode:
        last = next(iter(done.stderr.strip().splitlines()[-1:]), "without a word")
        raise RunError(f"The example of the exported model failed: {last[:200]}")
    rows = [json.loads(line)[output] for line in done.stdout.splitlines() if line.startswith("{")]
    return np.array([[row[label] for label in classes] for row in rows], np.float64)


def _add_page(workspace: Workspace, folder: Path) -> None:
    """The page, and LiteRT.js beside it."""
    shutil.copytree(PAGE, folder, dirs_exist_ok=True)
    for name, path in formats.litertjs(workspace).items():
        target = folder / "litert" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    shutil.copyfile(next(path for path in LICENSES if path.is_file()), folder / "litert" / "LICENSE")


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _pack(folder: Path, archive: Path) -> None:
    with ZipFile(archive, "w", ZIP_DEFLATED, compresslevel=1) as packed:
        for path in _files_in(folder):
            packed.write(path, path.relative_to(folder).as_posix())
