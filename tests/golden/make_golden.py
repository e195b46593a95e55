"""The record of how ``workspace.tar.xz`` and ``expected.json`` came to be. No test runs it.

A small workspace was made, and asked, with the version before the packages were moved, commit 32ceb2b, through its
public functions and its command line. ``test_golden.py`` asks a later version the same of the same files. From the
folder of a checkout of that commit::

    python PATH_OF/make_golden.py OUTDIR

What is drawn, split, trained and decided is the same each time, up to the order of float sums; times are not.
"""

import contextlib
import io
import itertools
import json
import os
import secrets
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, os.getcwd())

from covid_core import cli
from covid_core.data import importing, phantom
from covid_core.workspace import Workspace

SIDE = 64  # pixels, the smallest film that can be drawn
DRAWN, PER_CLASS, PER_CLASS_OF_OTHERS = 360, 30, 16
PLANTS = ("brightness-shift", "near-duplicates")
SETTINGS = {
    "image_size": 32,
    "head.units": "[]",
    "batch_size": 8,
    "split.validation": 0.25,
    "split.test": 0.25,
}
AUTHOR = ("--author", "A reader")
LOOKS = ("openings", "looks", "looks_not_noted")  # of the day on which somebody asks
LEFT_OUT = ("cache/pixels", "cache/features", "cache/uploads", "slots")
OF_NO_USE_LATER = ("checkpoint.npz", "worker.log", "launch.json", "launch.lock", "lock", "decisions.lock")


def ask(*words: str) -> dict:
    """The answer of one verb, less the looks."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert cli.main([*words, "--json"]) == 0, out.getvalue()
    return without(json.loads(out.getvalue()), LOOKS)


def without(value, names: tuple[str, ...]):
    """A JSON value without the entries of these names, wherever they stand."""
    if isinstance(value, dict):
        return {name: without(item, names) for name, item in value.items() if name not in names}
    return [without(item, names) for item in value] if isinstance(value, list) else value


def films(seed: int, per_class: int, plants: tuple[str, ...] = ()) -> list[phantom.PhantomFilm]:
    """As many drawn films of each class."""
    counts, start, chosen = phantom.class_counts(DRAWN), 0, []
    for count in counts.values():
        chosen += range(start, start + per_class)
        start += count
    return [phantom.film_at(index, DRAWN, seed, plants, SIDE) for index in chosen]


def archive_of_others(path: Path, first: Path) -> None:
    """Other films as a zip archive, with three of the first data set, one of them in another class, and a bad file."""
    with zipfile.ZipFile(path, "w") as archive:
        for film in films(1, PER_CLASS_OF_OTHERS):
            archive.writestr(f"{film.label}/{film.name}.png", importing.png_bytes(film.pixels))
        for name, label in (("COVID-1", "COVID"), ("COVID-2", "Normal"), ("Normal-3", "Normal")):
            source = first / name.partition("-")[0] / "images" / f"{name}.png"
            archive.writestr(f"{label}/shared-{name}.png", source.read_bytes())
        archive.writestr("Normal/broken.png", b"no picture")


def make(home: Path) -> None:
    """Two data sets, decisions, three runs (two are a study), an outside test, audits of films and of a model."""
    drawn = films(0, PER_CLASS, PLANTS)
    first = importing.import_drawn(Workspace.default(), len(drawn), drawn.__getitem__, "Drawn films", "drawn").id
    archive_of_others(home.parent / "others.zip", home / "datasets" / first / "files")
    second = ask("import", str(home.parent / "others.zip"), "--name", "Other films")["dataset"]
    settings = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    train = ("train", first, "--backbone", "baseline_cnn", "--wait", *settings)
    ask(*train, "--name", "Two seeds", "--set", "seeds=2", "--set", "epochs=6")
    single = ask(*train, "--name", "Longer", "--set", "epochs=12", "--set", "seed=7")["run"]
    ask("evaluate", single, second)
    assert ask("audit-run", single, "--wait")["state"] == "completed"
    ask("audit", first, "--against", second)
    ask("decide", first, "leave-out", "Normal/Normal-4.png", "Normal/Normal-9.png", "--note", "a test film", *AUTHOR)
    ask("decide", first, "relabel", "COVID/COVID-5.png", "--to", "Normal", *AUTHOR)
    ask("decide", first, "group", "COVID/COVID-7.png", "COVID/COVID-8.png", "--note", "one patient", *AUTHOR)
    ask("take-back", first, "2", "--note", "it is good after all", *AUTHOR)


def pack(home: Path, path: Path) -> None:
    """What a workspace has to keep, without the names of folders and users of this computer."""
    with tarfile.open(path, "w:xz", preset=9) as archive:
        for file in sorted(file for file in home.rglob("*") if file.is_file()):
            name = file.relative_to(home).as_posix()
            if name.startswith(LEFT_OUT) or file.name in OF_NO_USE_LATER:
                continue
            content = file.read_bytes()
            if file.suffix in (".json", ".csv"):
                content = content.replace(str(home).encode(), b"/workspace")
            entry = tarfile.TarInfo(f"workspace/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def questions(home: Path) -> list[list[str]]:
    """What is asked of the workspace; files are named relative to it."""
    sets = sorted(path.name for path in (home / "datasets").iterdir())
    runs = sorted(path.name for path in (home / "runs").iterdir())
    studies = sorted(path.name for path in (home / "studies").iterdir())
    first, second = (next(name for name in sets if name.startswith(start)) for start in ("drawn", "other"))
    taken = [f"datasets/{first}/files/{c}/images/{c}-{n}.png" for c in phantom.class_counts(9) for n in (1, 20)]
    asked = [["datasets"], ["studies"], ["runs"], ["decisions", first]]
    asked += [["summary", one] for one in (first, second)] + [["audit", first, "--against", second]]
    asked += [["show", run] for run in runs] + [["compare", *runs], ["compare", "--study", studies[0]]]
    return asked + [["predict", run, "--anyway", *taken] for run in runs]


def main(folder: Path) -> None:
    """Make the workspace, pack it, unpack it elsewhere, and write down what it says there."""
    numbers = itertools.count(1)
    secrets.token_hex = lambda _=None: f"{next(numbers):05x}0"  # ids that are the same each time
    folder = folder.resolve()
    with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory() as there:
        os.environ["COVID_CORE_HOME"] = f"{here}/workspace"
        make(Path(here).resolve() / "workspace")
        pack(Path(here).resolve() / "workspace", folder / "workspace.tar.xz")
        with tarfile.open(folder / "workspace.tar.xz") as archive:
            archive.extractall(there, filter="data")
        os.environ["COVID_CORE_HOME"] = f"{there}/workspace"
        os.chdir(f"{there}/workspace")
        answers = [{"asked": asked, "answer": ask(*asked)} for asked in questions(Path(there) / "workspace")]
        os.chdir(folder)
    text = ",\n".join(json.dumps(answer, ensure_ascii=False, sort_keys=True) for answer in answers)
    assert here not in text and there not in text
    (folder / "expected.json").write_text(f"[\n{text}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
