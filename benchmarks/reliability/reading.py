"""Checks on files that are read: grey levels, twins, images without content, foreign images, faults of a data set."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measuring
from benchmarks.reliability.place import Measured, Place, Unmeasured
from covid_core import weights
from covid_core.audit.duplicates import duplicate_pairs
from covid_core.backbones import backbone_named
from covid_core.data.imports import importing
from covid_core.errors import ImageError
from covid_core.images import codec
from covid_core.images.sandbox import Sandbox
from covid_core.inference.assessment import assess_all
from covid_core.inference.predictor import Predictor
from covid_core.runs import store
from covid_core.synthetic.phantom import image_at
from covid_core.workspace import Workspace
from tests.hostile import make

SEED = 0
SIDE = 64
MOST_DIFFERENCE = 0.001
LEAST_LEVELS = 250
FAULTS = {"corrupt": 20, "duplicate": 15, "cross_class": 15}
IMAGES = 1000


def grey_levels(_place: Place) -> Measured:
    """A 16-bit ramp in three kinds of file: the levels that are left."""
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 257, (256, 1))
    files = {"PNG": make.png(ramp), "TIFF": make.encoded(ramp, "TIFF"), "DICOM": make.dicom(ramp)}
    levels = {kind: len(np.unique(codec.read_image(content).pixels)) for kind, content in files.items()}
    return Measured({"levels": levels}, min(levels.values()) >= LEAST_LEVELS)


def twins(place: Place) -> Measured:
    """The same image as negative, in eight orientations, and in 8 and 16 bits: how far its scores differ."""
    grey = image_at(3, images=60, seed=77, plant=("clear-lesions",)).pixels
    deep = grey.astype(np.uint16) * 257
    inverse = {"PhotometricInterpretation": "MONOCHROME1"}
    files = {"16 bits": make.png(deep), "negative": make.dicom(65535 - deep, **inverse), "DICOM": make.dicom(deep)}
    files |= {f"EXIF {number}": make.with_orientation(grey, number) for number in range(1, 9)}
    predictor = Predictor.open(place.workspace, place.run)

    def scores(content: bytes) -> np.ndarray:
        return assess_all(predictor, [codec.read_image(content)])[0].scores

    plain, rotated = scores(make.png(grey)), scores(make.with_orientation(grey, 1))  # the latter are JPEG files
    by = {name: float(np.abs(scores(files[name]) - (rotated if name[0] == "E" else plain)).max()) for name in files}
    largest = max(by.values())
    return Measured(
        {"largest_difference": round(largest, 6), "of": max(by, key=by.__getitem__)}, largest <= MOST_DIFFERENCE
    )


def without_content(_place: Place) -> Measured:
    """Files that hold no picture, or no numbers: how many reach a model."""
    flat = np.zeros((SIDE, SIDE), np.uint8)
    dark, nothing = make.image(12, SIDE), np.full((SIDE, SIDE), np.nan, np.float32)
    files = {f"constant {grey}": make.png(flat + np.uint8(grey)) for grey in (0, 77, 255)}
    files |= {f"constant {grey}, DICOM": make.dicom(flat + np.uint8(grey)) for grey in (0, 77, 255)}
    files |= {"nan": make.tiff(nothing), "infinite": make.tiff(np.where(dark > 900, np.float32(np.inf), 0))}
    for value in ("nan", "inf", "0", "1e99"):
        files[f"slope {value}"] = make.dicom(dark, RescaleSlope=value, RescaleIntercept="0", **make.bits_of(12))
    for value in ("nan", "inf", "0"):
        files[f"width {value}"] = make.dicom(dark, WindowCenter="900", WindowWidth=value, **make.bits_of(12))
    sandbox = Sandbox()
    try:
        read = [name for name, content in files.items() if _is_read(sandbox, content)]
    finally:
        sandbox.close()
    return Measured({"files": len(files), "read": read}, not read)


def _is_read(sandbox: Sandbox, content: bytes) -> bool:
    try:
        sandbox.read_image(content)
    except ImageError:
        return False
    return True


def foreign(place: Place) -> Measured:
    """Pictures that are no chest images refused, real chest images of a test part refused wrongly."""
    from benchmarks.predicting import pictures, refusals

    if place.data is None:
        raise Unmeasured("Whether real chest images are refused needs some: --data FOLDER.")
    if not weights.is_cached(backbone_named("mobilenet_v2"), 128):
        raise Unmeasured("ImageNet weights of MobileNetV2 at 128 px are not on this computer (KERAS_HOME).")
    workspace = Workspace(place.folder / "real")
    _, imported = measuring.command_line("import", str(place.data), home=workspace.root)
    words = ("--backbone", "mobilenet_v2", "--set", "image_size=128", "--set", "epochs=5", "--wait")
    _, told = measuring.command_line("train", imported["dataset"], *words, home=workspace.root)
    run = store.open_run(workspace, told["run"])
    predictor = Predictor.open(workspace, run)
    shown = [*pictures.found()[0], *pictures.drawn()]
    refused = refusals.share_refused(list(refusals.assessed(predictor, [one.pixels for one in shown])))
    wrongly = refusals.share_refused(list(refusals.assessed(predictor, refusals.test_part(workspace, run)[1])))
    figure = {"foreign_refused": round(refused["refused"], 3), "pictures": refused["n"]}
    figure |= {"chest_images_refused": round(wrongly["refused"], 3), "chest_images": wrongly["n"]}
    return Measured(figure, refused["refused"] >= 0.9 and wrongly["refused"] <= 0.05)


def faults_of_a_data_set(place: Place) -> Measured:
    """50 faults among 1,000 drawn images: which of them import and audit name, and what they name beside them."""
    folder = place.folder / "faulty"
    planted = _planted(folder)
    workspace = Workspace(place.folder / "faults")
    dataset = importing.import_folder(workspace, folder)
    corrupt = {Path(path).stem for path in dataset.left_out["path"]}
    pairs = duplicate_pairs.within(workspace, dataset)
    exact = pairs[pairs["kind"] == "exact"]
    reported: dict[str, Any] = {"corrupt": corrupt}
    for name, conflict in (("duplicate", False), ("cross_class", True)):
        some = exact[exact["conflict"] == conflict]
        reported[name] = {Path(one).stem for pair in some[["first", "second"]].to_numpy() for one in pair} - {
            Path(one).stem for one in dataset.images["image_id"] if "copy" not in one
        }
    recall = {name: len(reported[name] & planted[name]) / len(planted[name]) for name in planted}
    false = sum(len(reported[name] - planted[name]) for name in planted) + len(pairs) - len(exact)
    return Measured({"recall": recall, "false": false}, min(recall.values()) == 1 and false == 0)


def _planted(folder: Path) -> dict[str, set[str]]:
    """Draw the images, and copies or damage in some of them; the names of what was planted, by fault."""
    sound = IMAGES - sum(FAULTS.values())
    for label in ("A", "B"):
        (folder / label).mkdir(parents=True)
    for number in range(sound):
        pixels = image_at(number, IMAGES, seed=SEED, size=128).pixels
        (folder / "AB"[number % 2] / f"{number:04}.png").write_bytes(codec.png_bytes(pixels))
    planted: dict[str, set[str]] = {name: set() for name in FAULTS}
    number = 0
    for name, times in FAULTS.items():
        for _ in range(times):
            label = "AB"[number % 2]
            source, stem = folder / label / f"{number:04}.png", f"copy-{number:04}"
            other = label if name != "cross_class" else "AB"[(number + 1) % 2]
            target = folder / other / f"{stem}.png"
            shutil.copy(source, target)
            if name == "corrupt":
                target.write_bytes(target.read_bytes()[: target.stat().st_size // 2])
            planted[name].add(stem)
            number += 1
    return planted
