"""The record of how the archives in ``versions`` came to be: a tiny workspace by each version that wrote other files.

No test runs it. ``test_versions.py`` opens them. From the folder of a checkout of such a commit::

    python PATH_OF/make_versions.py OUTDIR

Weights start with two values and hardly change, so that an archive takes 30 kB. Images are drawn.
"""

import contextlib
import importlib
import io
import json
import os
import runpy
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

HERE = os.getcwd()  # a checkout
SIDE, OF_EACH = 40, 16  # pixels; images
SETTINGS = {
    "image_size": 32,
    "head.units": "[]",
    "batch_size": 8,
    "epochs": 2,
    "learning_rate": 1e-10,
    "split.validation": 0.25,
    "split.test": 0.25,
}
LEFT_OUT = ("cache", "slots", "jobs")
OF_NO_USE_LATER = ("worker.log", "launch.json", "launch.lock", "lock", "openings.csv", ".annotating", "checkpoint.npz")


def draw(root: Path) -> None:
    """Grey lungs, with a bright or a dark square."""
    for place, label in enumerate(("COVID", "Normal")):
        (root / label).mkdir(parents=True)
        for number in range(OF_EACH):
            random = np.random.default_rng((place, number))
            pixels = np.zeros((SIDE, SIDE), np.uint8)
            pixels[4:36, 6:34] = 60 + 8 * random.integers(0, 4)
            pixels[8:30, 9:18] = pixels[8:30, 22:31] = 120 + 4 * number
            row, column = random.integers(8, 24, 2)
            pixels[row : row + 6, column : column + 6] = 20 if place else 250
            Image.fromarray(pixels).save(root / label / f"{label}-{number + 1}.png")


def ask(*words: str) -> dict:
    """The answer of one verb."""
    try:
        main = importlib.import_module("covid_core.commands.main").main
    except ModuleNotFoundError:
        main = importlib.import_module("covid_core.cli").main
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*words, "--json"]) == 0, out.getvalue()
    return json.loads(out.getvalue())


def two_values(_initializer: object, shape: tuple[int, ...], dtype: object = None) -> object:
    """Weights that a packer makes small."""
    from keras.src import backend

    size, fan = int(np.prod(shape)), max(1, int(np.prod(shape[:-1])))
    signs = np.where(np.arange(size) % 7 % 2, 1, -1).astype(np.float32)
    return backend.convert_to_tensor((signs * np.float32(round(fan**-0.5, 2) or 0.01)).reshape(shape), dtype=dtype)


def work(words: list[str]) -> None:
    """In place of Python, in a worker: its module, with such weights."""
    from keras.src.initializers import random_initializers

    random_initializers.VarianceScaling.__call__ = two_values
    module, *sys.argv = words[words.index("-m") + 1 :]
    sys.argv.insert(0, module)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def make(home: Path) -> dict:
    """A data set and a run in ``home/workspace``. Returns what this version answers about them."""
    draw(home / "images")
    os.environ["COVID_CORE_HOME"] = str(home / "workspace")
    dataset = ask("import", str(home / "images"), "--name", "Drawn squares")["dataset"]
    worker = home / "python"
    worker.write_text(f'#!/bin/sh\ncd {HERE} && exec {sys.executable} {Path(__file__).resolve()} --work "$@"\n')
    worker.chmod(0o755)
    real, sys.executable = sys.executable, str(worker)
    settings = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    run = ask("train", dataset, "--backbone", "baseline_cnn", "--name", "Drawn", "--wait", *settings)["run"]
    sys.executable = real
    image = str(home / "images" / "COVID" / "COVID-1.png")
    try:
        answer = ask("predict", run, image, "--anyway")  # a drawing is no chest X-ray
    except SystemExit:  # the first versions predicted for everything
        answer = ask("predict", run, image)
    (row,) = answer.get("images") or answer["films"]
    (group,) = ask("compare", run)["groups"]
    accuracy = next(one["test"] for one in group["table"] if one["name"] == "Drawn")
    return {"dataset": dataset, "run": run, "logits": row["logits"], "test": accuracy}


def pack(home: Path, answers: dict, path: Path) -> None:
    """What a workspace has to keep, with its images beside it."""
    with tarfile.open(path, "w:xz", preset=9) as archive:
        for file in sorted(file for name in ("images", "workspace") for file in (home / name).rglob("*")):
            name = file.relative_to(home)
            if not file.is_file() or file.name in OF_NO_USE_LATER or name.parts[1] in LEFT_OUT:
                continue
            content = file.read_bytes()
            if file.suffix == ".json":
                content = content.replace(str(home).encode(), b"/home")
            _add(archive, name.as_posix(), content)
        _add(archive, "answers.json", json.dumps(answers).encode())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    sys.path.insert(0, HERE)
    if sys.argv[1] == "--work":
        work(sys.argv[2:])
    else:
        home = Path(sys.argv[1]).resolve()
        home.mkdir(parents=True)
        describe = ["git", "log", "-1", "--format=%cd-%h", "--date=format:%m-%d"]
        version = subprocess.run(describe, capture_output=True, text=True, check=True, cwd=HERE).stdout.strip()
        pack(home, make(home), home.parent / f"{version}.tar.xz")
