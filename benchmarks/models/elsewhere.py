"""Which recipe reads the lungs and not the frame: ``python -m benchmarks.models.elsewhere [--data FOLDER]``.

A recipe is what a network is shown and how training images are changed (``RECIPES``); all else is the app's default.
It is chosen by what can be known without images from elsewhere:

- *Planted shortcuts.* Drawn images, whose class shows in the lungs, carry a sign of their class as well: a letter in a
  corner, a frame, the exposure, the sharpness. A model is tested on new drawn images with the sign (``with``), without
  it (``without``) and with the sign of another class (``moved``). Who reads the lungs loses nothing.
- *Inside.* Accuracy on the test part of real images, groups kept together.
- *Robustness.* Mean accuracy on changed test images, over all changes and strengths of ``inference.robustness``.
- *Evidence.* Balanced accuracy on images whose lungs are covered (``audit.model``), as a share of what lies between
  chance and certainty: what the surroundings alone say to the model.

The rule of choice: of all recipes whose accuracy inside is at most ``MOST_LOST`` below that of the whole image as it
is, the one with the highest mean of three shares, each in the mean of its seeds: ``kept`` (the mean accuracy over the
planted tests without and with another class's sign), ``robust`` and one less the evidence. It was committed before its
runs. Two rules came before it: ``kept`` alone, whose rows differed by less than chance; and one less the frame effect
in place of the evidence, which favours recipes with frame exchange, since they train on what it measures. Nothing
trains on covered lungs.

Prints one JSON line per recipe and seed, and one with the choice. ``--recipes`` takes some of them by name, ``--parts``
some of the measurements; lines of ``--earlier`` calls count too. ImageNet weights of
MobileNetV2 must be in Keras's cache. There is no peer, and nothing is timed but whole trainings.
"""

import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks import measuring

MOST_LOST = 0.04
TRAINED, TESTED, SIDE = 600, 300, 299  # drawn images of all classes, and their side in pixels: that of the real ones
SEED = 20
WITHOUT_LUNGS = "without the lungs"  # a row of ``audit.model.occlusions``
FLIP = {"flip": True}
JITTER = {"crop": 0.15, "gamma": 0.3, "contrast": 0.3, "brightness": 0.15, "blur": 0.005, "noise": 0.03, **FLIP}
STRONG = {**JITTER, "gamma": 0.5, "blur": 0.01, "noise": 0.05}
WIDE = {**JITTER, "blur": 0.01, "noise": 0.05, "jpeg": 0.5, "rotation": 10, "shift_x": 0.05, "shift_y": 0.05}
NOISY = {**STRONG, "noise": 0.15, "speckle": 0.2, "poisson": 0.1, "salt": 0.02, "jpeg": 0.7}


def middle(share: float, intensity: str = "as_is") -> dict[str, Any]:
    return {"region": "centre", "share": share, "intensity": intensity}


def copies(augmentation: dict[str, Any], originals: bool = True, views: int = 2) -> dict[str, Any]:
    return {"augmentation": augmentation, "views": views, "originals": originals}


RECIPES: dict[str, dict[str, Any]] = {
    "whole image": {},
    "whole image, mirrored copies": {"augmentation": FLIP},
    "whole image, strong jitter, no originals": copies(STRONG, originals=False),
    "whole image, strong jitter and noise, no originals": copies(NOISY, originals=False),
    "whole image, equalised, strong jitter, no originals": {
        "input": {"intensity": "equalised"},
        **copies(STRONG, originals=False),
    },
    "middle 60 %": {"input": middle(0.6)},
    "middle 60 %, strong jitter, no originals": {"input": middle(0.6), **copies(STRONG, originals=False)},
    "whole image, jitter": copies(JITTER),
    "whole image, frame exchange": copies({**FLIP, "frames": True}),
    "middle 60 %, jitter": {"input": middle(0.6), **copies(JITTER)},
    "middle 60 %, standardised, jitter": {"input": middle(0.6, "per_image"), **copies(JITTER)},
    "middle 60 %, equalised, jitter": {"input": middle(0.6, "equalised"), **copies(JITTER)},
    "middle 60 %, equalised, strong jitter": {"input": middle(0.6, "equalised"), **copies(STRONG)},
    "middle 60 %, equalised, jitter, frame exchange": {
        "input": middle(0.6, "equalised"),
        **copies({**JITTER, "frames": True}),
    },
    "whole image, jitter, frame exchange": copies({**JITTER, "frames": True}),
    "middle 60 %, jitter, frame exchange": {"input": middle(0.6), **copies({**JITTER, "frames": True})},
    "middle 60 %, standardised, jitter, frame exchange": {
        "input": middle(0.6, "per_image"),
        **copies({**JITTER, "frames": True}),
    },
    "middle 70 %, standardised, jitter, frame exchange": {
        "input": middle(0.7, "per_image"),
        **copies({**JITTER, "frames": True}),
    },
    "whole image, wide jitter, frame exchange": copies({**WIDE, "frames": True}),
    "middle 60 %, standardised, wide jitter": {"input": middle(0.6, "per_image"), **copies(WIDE)},
    "middle 60 %, standardised, wide jitter, frame exchange": {
        "input": middle(0.6, "per_image"),
        **copies({**WIDE, "frames": True}),
    },
    "middle 60 %, equalised, wide jitter": {"input": middle(0.6, "equalised"), **copies(WIDE)},
    "middle 50 %, standardised, wide jitter, frame exchange": {
        "input": middle(0.5, "per_image"),
        **copies({**WIDE, "frames": True}),
    },
    "middle 50 %, equalised, jitter": {"input": middle(0.5, "equalised"), **copies(JITTER)},
    "middle 60 %, standardised, jitter, frame exchange, no originals": {
        "input": middle(0.6, "per_image"),
        **copies({**JITTER, "frames": True}, originals=False),
    },
    "middle 50 %, standardised, jitter, frame exchange": {
        "input": middle(0.5, "per_image"),
        **copies({**JITTER, "frames": True}),
    },
    "middle 80 %, standardised, wide jitter, frame exchange": {
        "input": middle(0.8, "per_image"),
        **copies({**WIDE, "frames": True}),
    },
    "middle 60 %, equalised, wide jitter, frame exchange": {
        "input": middle(0.6, "equalised"),
        **copies({**WIDE, "frames": True}),
    },
    "whole image, standardised, wide jitter, frame exchange": {
        "input": {"intensity": "per_image"},
        **copies({**WIDE, "frames": True}),
    },
    "lungs, standardised, jitter, frame exchange": {
        "input": {"region": "lungs", "intensity": "per_image"},
        **copies({**JITTER, "frames": True}),
    },
}


def main() -> None:
    parser = measuring.options(__doc__)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", default=[0], type=int, help="of training; the split stays")
    parser.add_argument("--parts", nargs="+", default=["planted", "inside"], choices=["planted", "inside"])
    parser.add_argument("--earlier", type=Path, help="lines that earlier calls printed, for the choice")
    given = parser.parse_args()
    earlier = given.earlier.read_text(encoding="utf-8").splitlines() if given.earlier else ()
    lines = [line for line in map(json.loads, earlier) if "recipe" in line]
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), given.data)
        for seed, name in itertools.product(given.seeds, given.recipes):
            began, recipe = time.monotonic(), {"seed": seed, **RECIPES[name]}
            lines.append({"benchmark": "elsewhere", "recipe": name, "seed": seed})
            for part in given.parts:
                lines[-1] |= getattr(bench, part)(recipe)
            seconds = round(time.monotonic() - began)
            measuring.show({**lines[-1], "seconds": seconds, "machine": measuring.machine()})
    rows = {name: row for name in RECIPES if (row := means(lines, name))}
    measuring.show({"benchmark": "elsewhere", "chosen": chosen(rows), "of": rows})


MEASURED = ("kept", "inside", "robust", "surroundings", "frame_effect", "lung_effect", "training_seconds")


def means(lines: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Of one recipe: every figure in the mean of the seeds that have it."""
    of_name = [line for line in lines if line["recipe"] == name]
    values = {key: [line[key] for line in of_name if line.get(key) is not None] for key in MEASURED}
    return {key: round(float(np.mean(some)), 4) for key, some in values.items() if some}


def chosen(rows: dict[str, dict[str, float]]) -> str | None:
    """The recipe that the rule takes, of those that have all figures; None where the whole image lacks its own."""
    usual = rows.get(next(iter(RECIPES)), {})
    if "inside" not in usual:
        return None
    whole = {name: row for name, row in rows.items() if {"kept", "robust", "surroundings"} <= row.keys()}
    fair = {name: row for name, row in whole.items() if row["inside"] >= usual["inside"] - MOST_LOST}
    return max(fair, key=lambda name: fair[name]["kept"] + fair[name]["robust"] - fair[name]["surroundings"])


# Signs of a class


def _letter(pixels: np.ndarray, number: int) -> np.ndarray:
    from covid_core.synthetic.phantom import CORNER_TAGS, TAG_GREY, tag

    return np.where(tag(list(CORNER_TAGS)[number], len(pixels)), np.uint8(TAG_GREY), pixels)


def _frame(pixels: np.ndarray, number: int) -> np.ndarray:
    width = len(pixels) // 16
    inner = pixels[width:-width, width:-width]
    return np.pad(inner, width, constant_values=(0, 60, 120)[number])


def _exposure(pixels: np.ndarray, number: int) -> np.ndarray:
    return np.clip(pixels.astype(np.int16) + (-30, 0, 30)[number], 0, 255).astype(np.uint8)


def _sharpness(pixels: np.ndarray, number: int) -> np.ndarray:
    return ndimage.gaussian_filter(pixels, (0, 0.8, 1.6)[number])


SIGNS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "letter": _letter,
    "frame": _frame,
    "exposure": _exposure,
    "sharpness": _sharpness,
}


class Bench:
    """A workspace with the real images, and with a set of drawn ones for each sign."""

    def __init__(self, scratch: Path, real: Path | None):
        from covid_core.data.imports.importing import import_folder
        from covid_core.synthetic.phantom import CLEAR_LESIONS, image_at
        from covid_core.workspace import Workspace

        self._workspace, self._scratch = Workspace(scratch / "workspace"), scratch
        self._drawn = [image_at(number, TRAINED + TESTED, SEED, (CLEAR_LESIONS,), SIDE) for number in _mixed()]
        self._classes = sorted({one.label for one in self._drawn})
        self._sets = {sign: import_folder(self._workspace, self._folder(sign)) for sign in SIGNS}
        self._real = import_folder(self._workspace, real.resolve()) if real else None

    def planted(self, recipe: dict[str, Any]) -> dict[str, Any]:
        """Accuracy with each sign, without it, and with another class's; ``kept`` is the mean of the last two."""
        signs = {sign: self._of_sign(sign, recipe) for sign in SIGNS}
        kept = [one[test] for one in signs.values() for test in ("without", "moved")]
        return {"signs": signs, "kept": round(float(np.mean(kept)), 4)}

    def inside(self, recipe: dict[str, Any]) -> dict[str, Any]:
        """Accuracy on the test part of the real images, as they are and changed, and what turns the answers."""
        from covid_core.audit.model import model_audit
        from covid_core.inference import robustness

        if self._real is None:
            return {}
        run = self._trained(self._real, recipe)
        points = itertools.chain.from_iterable(robustness.make(self._workspace, run).changes.values())
        audit = model_audit.make(self._workspace, run)
        effects, chance = audit["effects"], 1 / len(run.spec.classes)
        covered = {row["name"]: row["balanced"]["value"] for row in audit["covers"] if row["images"]}
        return {
            "inside": round(run.result["accuracy"]["test"], 4),
            "training_seconds": round(sum(run.result["seconds"].values())),
            "robust": round(float(np.mean([point.accuracy.value for point in points])), 4),
            "frame_effect": round(effects["frame"]["value"], 4),
            "lung_effect": round(effects["lungs"]["value"], 4),
            "surroundings": round((covered[WITHOUT_LUNGS] - chance) / (1 - chance), 4),
            "covered": {name: round(value, 4) for name, value in covered.items()},
            "verdict": audit["verdict"],
        }

    def _of_sign(self, sign: str, recipe: dict[str, Any]) -> dict[str, float]:
        from covid_core.images.codec import to_square
        from covid_core.inference.predictor import Predictor

        predictor = Predictor.open(self._workspace, self._trained(self._sets[sign], recipe))
        tested = self._drawn[TRAINED:]
        truth = np.array([self._classes.index(one.label) for one in tested])
        tests: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
            "with": SIGNS[sign],
            "without": lambda pixels, _number: pixels,
            "moved": lambda pixels, number: SIGNS[sign](pixels, (number + 1) % len(self._classes)),
        }
        rights = {}
        for name, change in tests.items():
            changed = [change(one.pixels, number) for one, number in zip(tested, truth.tolist(), strict=True)]
            logits = predictor.logits(np.stack([to_square(pixels, predictor.size) for pixels in changed]))
            rights[name] = round(float((logits.argmax(axis=1) == truth).mean()), 4)
        return rights

    def _trained(self, dataset: Any, recipe: dict[str, Any]) -> Any:
        from covid_core import presets
        from covid_core.data.split import make_split
        from covid_core.nets import training
        from covid_core.runs import store
        from covid_core.work import silent

        spec = presets.suggested_spec(dataset.id, dataset.classes, **recipe)
        run = store.create_run(self._workspace, spec, dataset, make_split(dataset.images, spec.classes, spec.split))
        training.train(self._workspace, run, silent)
        return store.open_run(self._workspace, run.id)

    def _folder(self, sign: str) -> Path:
        """The drawn images for training as files, one folder per class, with the sign of their class."""
        from covid_core.images.codec import png_bytes

        folder = self._scratch / sign
        for one in self._drawn[:TRAINED]:
            path = folder / one.label / f"{one.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png_bytes(SIGNS[sign](one.pixels, self._classes.index(one.label))))
        return folder


def _mixed() -> Iterator[int]:
    """Numbers of drawn images in random order: those for training and those for testing hold all classes."""
    yield from np.random.default_rng(SEED).permutation(TRAINED + TESTED).tolist()


if __name__ == "__main__":
    main()
