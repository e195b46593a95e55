"""How much of a finished run's skill is left when its test images get worse: noise, blur, JPEG, exposure, framing.

Each change of CHANGES acts at five strengths, by the steps of ``data.augmentation``, on the same test images: at most
MOST_IMAGES, as many of each class as there are. Which way an image is turned, moved or exposed, and its noise, follow
from its id, so that runs with the same test images meet the same pictures. The curve is kept with the run as long as
its head and this VERSION are the same.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import pandas as pd

from covid_core.data import augmentation
from covid_core.data.pixels import decode_rows
from covid_core.data.split import TEST
from covid_core.errors import RunDamaged
from covid_core.evaluation import calibration, comparison, measures, metrics, resampling
from covid_core.evaluation.assessment import ALPHA, groups_of
from covid_core.evaluation.metrics import Answers, Measure
from covid_core.files import without_nan
from covid_core.inference.network import with_scores
from covid_core.inference.predictor import Predictor
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.runs.store import Run
from covid_core.work import Progress, blocks, silent
from covid_core.workspace import Workspace

AUDIT = "robustness"
VIEW = "robustness curve"  # as it is noted among the views of test images
VERSION = 1  # of CHANGES and of what is measured
MOST_IMAGES = 300
AT_ONCE = 50  # images between two reports of progress
SEED = 20
CALIBRATION_ERROR = "expected_calibration_error"  # of MEASURES
SHARE, EACH_SIDE = 100, 4


class Change(NamedTuple):
    """A row of CHANGES: five ``amounts`` in ``unit``, the mildest first, ``in_words`` of one, and the amounts of
    AugmentationSpec that an amount stands for; ``ways`` are two signs, drawn for each image."""

    title: str
    unit: str
    amounts: tuple[float, ...]
    in_words: str
    of: Callable[[float, np.ndarray], dict[str, Any]]

    def amount(self, amount: float) -> str:
        """``10 %``, ``15°``, ``30``."""
        return f"{amount:g}{' ' if self.unit == '%' else ''}{self.unit}"

    def on(self, image: np.ndarray, amount: float, image_id: str) -> np.ndarray:
        """An image, uint8 (size, size), changed by an amount."""
        rng = np.random.default_rng((SEED, crc32(image_id.encode())))
        ways = rng.choice((-1.0, 1.0), 2)
        return augmentation.applied(image, self.of(amount, ways), rng)


CHANGES = {
    "noise": Change(
        "Noise", "%", (2, 5, 10, 15, 20), "noise of {:g} %", lambda amount, ways: {"noise": amount / SHARE}
    ),
    "blur": Change(
        "Blur",
        "%",
        (0.25, 0.5, 1, 1.5, 2),
        "blur of {:g} % of the width",
        lambda amount, ways: {"blur": amount / SHARE},
    ),
    "jpeg": Change(
        "JPEG quality", "", (80, 50, 30, 15, 5), "JPEG quality {:g}", lambda amount, ways: {"jpeg": 1 - amount / SHARE}
    ),
    "exposure": Change(
        "Exposure",
        "%",
        (5, 10, 20, 30, 40),
        "exposure off by {:g} %",
        lambda amount, ways: {"brightness": ways[0] * amount / SHARE},
    ),
    "crop": Change(
        "Crop",
        "%",
        (5, 10, 15, 20, 25),
        "{:g} % cut off each side",
        lambda amount, ways: {"crop": np.full(EACH_SIDE, amount / SHARE)},
    ),
    "shift": Change(
        "Shift",
        "%",
        (5, 10, 15, 20, 25),
        "a shift of {:g} %",
        lambda amount, ways: dict(zip(("shift_x", "shift_y"), ways * amount / SHARE, strict=True)),
    ),
    "rotation": Change(
        "Rotation", "°", (5, 10, 15, 20, 30), "a rotation of {:g}°", lambda amount, ways: {"rotation": ways[0] * amount}
    ),
}


@dataclass(frozen=True)
class Point:
    """The figures at one amount of one change; of the unchanged images the amount is nan, and so is ``p_holm``.

    ``p_holm`` is of the paired test of accuracy against the unchanged images, by Holm for all points of the curve.
    """

    amount: float
    accuracy: Measure
    sensitivity: dict[str, Measure]
    expected_calibration_error: Measure
    p_holm: float = math.nan

    @property
    def measures(self) -> dict[str, Measure]:
        """Every measure by its title, COVID before the other classes."""
        first = sorted(self.sensitivity, key=lambda label: "covid" not in label.casefold())
        of_classes = {f"Sensitivity for {label}": self.sensitivity[label] for label in first}
        return {"Accuracy": self.accuracy, **of_classes, "Calibration error": self.expected_calibration_error}


@dataclass(frozen=True)
class Robustness:
    """The curve of a run: its ``unchanged`` test images, then, by key of CHANGES, a point for each amount.

    ``images`` of the ``of_all`` test images were used, ``of_class`` of each class; ``calibrated`` says whether the
    calibration error is that of probabilities, ``grouped`` whether images that belong together count for fewer.
    """

    images: int
    of_all: int
    of_class: dict[str, int]
    grouped: bool
    calibrated: bool
    made: float
    unchanged: Point
    changes: dict[str, tuple[Point, ...]]

    def is_worse(self, point: Point) -> bool:
        """Whether fewer images are right than unchanged, by more than chance explains."""
        return point.p_holm <= ALPHA and point.accuracy.value < self.unchanged.accuracy.value

    def limit(self, key: str) -> float | None:
        """The mildest amount of a change at which the run is worse; None where it is at none."""
        return next((point.amount for point in self.changes[key] if self.is_worse(point)), None)

    @property
    def worst(self) -> tuple[str, Point] | None:
        """The change and amount that cost the most accuracy, of those at which the run is worse."""
        points = [(key, point) for key, of in self.changes.items() for point in of if self.is_worse(point)]
        return min(points, key=lambda one: one[1].accuracy.value, default=None)


def make(workspace: Workspace, run: Run, progress: Progress = silent) -> Robustness:
    """Measure the curve of a finished run and keep it.

    Raises DataError where the data set has changed or an image is gone, RunDamaged, and what ``progress`` raises.
    """
    run.check_network()
    dataset = dataset_of(workspace, run)
    predictor = Predictor.open(workspace, run, with_reference=False)
    split = run.split()
    test = split.loc[split["part"] == TEST, ["image_id", "label", "part"]].reset_index(drop=True)
    chosen = spread(test)
    progress(0.0, "Reading the test images")
    rows = dataset.images.set_index("image_id").index.get_indexer(chosen["image_id"])
    pixels = decode_rows(dataset, rows, predictor.size)
    run.note_view(VIEW)
    groups = groups_of(chosen["image_id"].to_numpy(), run.groups())
    curve = measured(predictor, chosen, pixels, groups, len(test), progress)
    record = {"version": VERSION, "head_sha256": run.result["head_sha256"], **without_nan(asdict(curve))}
    run.write_audit(AUDIT, record)
    return curve


def measured(
    predictor: Predictor,
    chosen: pd.DataFrame,
    pixels: np.ndarray,
    groups: np.ndarray | None,
    of_all: int,
    progress: Progress = silent,
) -> Robustness:
    """The curve of a predictor on images, uint8 (n, size, size): ``chosen`` has their image_id, label and part, which
    is test, ``groups`` says which belong together (None: none do)."""
    ids, temperature = chosen["image_id"].tolist(), predictor.calibration
    strengths = [(key, amount) for key, change in CHANGES.items() for amount in change.amounts]

    def answered(number: int, name: str, changed: Callable[[int], np.ndarray]) -> Answers:
        logits = []
        for some in blocks(range(len(ids)), AT_ONCE):
            done = (number + some.start / len(ids)) / (1 + len(strengths))
            progress(done, f"Test images, {name}")
            logits.append(predictor.logits(np.stack([changed(place) for place in some])))
        table = with_scores(chosen, predictor.classes, np.concatenate(logits))
        fitted = calibration.tempered(table, temperature.temperature) if temperature.is_defined else table
        return metrics.answers(fitted, TEST)

    def at(number: int, key: str, amount: float) -> Answers:
        change = CHANGES[key]
        name = change.in_words.format(amount)
        return answered(number, name, lambda place: change.on(pixels[place], amount, ids[place]))

    unchanged = answered(0, "unchanged", pixels.__getitem__)
    changed = {strength: at(number, *strength) for number, strength in enumerate(strengths, start=1)}
    together = np.arange(len(chosen)) if groups is None else groups
    p = [
        comparison.mcnemar_of_groups(np.stack([unchanged.right, one.right]), together)[0, 1] for one in changed.values()
    ]
    points = {
        place: _point(place[1], one, groups, float(corrected))
        for (place, one), corrected in zip(changed.items(), comparison.holm(np.array(p)), strict=True)
    }
    return Robustness(
        images=len(chosen),
        of_all=of_all,
        of_class={label: int((chosen["label"] == label).sum()) for label in predictor.classes},
        grouped=groups is not None,
        calibrated=predictor.calibration.is_defined,
        made=time.time(),
        unchanged=_point(math.nan, unchanged, groups),
        changes={key: tuple(points[key, amount] for amount in one.amounts) for key, one in CHANGES.items()},
    )


def spread(test: pd.DataFrame, most: int = MOST_IMAGES) -> pd.DataFrame:
    """At most so many images of a table with labels, as many of each class as there are, drawn at random; in their
    order."""
    drawn = test.sample(frac=1, random_state=SEED)
    turn = drawn.groupby("label").cumcount()  # the first of each class, then the second of each
    return test.loc[turn.sort_values(kind="stable").index[:most].sort_values()].reset_index(drop=True)


def _point(amount: float, answers: Answers, groups: np.ndarray | None, p_holm: float = math.nan) -> Point:
    of = measures.on_draws(answers, (CALIBRATION_ERROR,))
    value = float(of(resampling.once(answers.y_true))[CALIBRATION_ERROR][0])
    low, high = resampling.interval(resampling.replicates(of, answers.y_true, groups)[CALIBRATION_ERROR]).tolist()
    return Point(
        amount,
        metrics.wilson_of_groups(answers.right, groups)[0],
        {label: measures.share_of_class("sensitivity", answers, label, groups) for label in answers.classes},
        Measure(value, low, high, answers.n),
        p_holm,
    )


def stored(run: Run) -> Robustness | None:
    """The curve that is kept with the run; None where none was made of this head by this VERSION. Raises
    RunDamaged."""
    record = run.audit(AUDIT)
    current = {"version": VERSION, "head_sha256": run.result.get("head_sha256")}
    if record is None or any(record.get(key) != value for key, value in current.items()):
        return None
    try:
        plain = {name: record[name] for name in ("images", "of_all", "of_class", "grouped", "calibrated", "made")}
        changes = {key: tuple(map(_read_point, record["changes"][key])) for key in CHANGES}
        return Robustness(**plain, unchanged=_read_point(record["unchanged"]), changes=changes)
    except (KeyError, TypeError, AttributeError) as error:
        raise RunDamaged(f"{run.name}: its robustness curve is damaged.") from error


def _read_point(row: Mapping[str, Any]) -> Point:
    sensitivity = {label: _read_measure(one) for label, one in row["sensitivity"].items()}
    of_all = [_read_measure(row[name]) for name in ("accuracy", CALIBRATION_ERROR)]
    return Point(_number(row["amount"]), of_all[0], sensitivity, of_all[1], _number(row["p_holm"]))


def _read_measure(row: Mapping[str, Any]) -> Measure:
    return Measure(*(_number(row[name]) for name in ("value", "low", "high")), n=row["n"])


def _number(value: float | None) -> float:
    return math.nan if value is None else value
