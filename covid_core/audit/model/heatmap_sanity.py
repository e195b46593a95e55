"""Does a run's heat map show what it learned? Checked once per run, when somebody asks, and kept with the run.

The weights of the head, then of the whole network, are shuffled (``audit.model.randomised_network``), and the maps of
some validation images are compared with those of the run itself (``audit.model.randomisation_test``). So runs from
before there was such a check have one too; the test part is not opened. All maps are taken against the mean of these
images, the shuffled network's own where it is shuffled.

It takes (2 + SHUFFLES) passes of IMAGES images: on two cores 0.9 s with a MobileNetV2 at 128 pixels, 1.1 s at 224; with
the baseline CNN at 128 pixels, whose head has 15 million weights to shuffle, 5 s.
"""

from dataclasses import asdict
from functools import partial

import numpy as np

from covid_core.audit.model import randomisation_test
from covid_core.audit.model.randomisation_test import Likeness, MapCheck
from covid_core.audit.model.randomised_network import shuffled_head, shuffled_network
from covid_core.data.pixels import decode_rows
from covid_core.errors import DataError, RunDamaged
from covid_core.files import without_nan
from covid_core.inference.network import Head
from covid_core.inference.predictor import HeadChange, Predictor
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.runs.store import Run
from covid_core.work import Progress, silent
from covid_core.workspace import Workspace

IMAGES = 16
SHUFFLES = 4
SIDE = 28  # places along a side at which maps are compared: the last maps have 4 to 30
AUDIT = "heat-map"
VERSION = 2  # of maps and check; one kept by another version, or without any, is made again


def of(workspace: Workspace, run: Run, progress: Progress = silent) -> MapCheck:
    """The check of a run: the one that is kept with it, else made now and kept.

    A check that cannot be made because the images are gone says so, and is not kept. Raises RunDamaged, and whatever
    ``progress`` raises to stop it.
    """
    made = stored(run)
    if made is not None:
        return made
    if run.bundle:
        return randomisation_test.unknown("a run from a bundle brings the check that its sender made, or none")
    if run.spec.backbone_file:
        return randomisation_test.unknown("the weights in the file of an added backbone cannot be shuffled")
    try:
        images = _images(workspace, run)
    except DataError as error:
        return randomisation_test.unknown(f"the images that it needs cannot be read ({str(error).rstrip('.')})")
    if len(images) < 2:
        return randomisation_test.unknown("the run has fewer than two validation images")
    made = checked(workspace, run, images, progress)
    run.write_audit(AUDIT, {"version": VERSION, "head_sha256": run.result["head_sha256"], **without_nan(asdict(made))})
    return made


def stored(run: Run) -> MapCheck | None:
    """The check that is kept with the run; None where none was made of this head and as now. Raises RunDamaged."""
    record = run.audit(AUDIT)
    if record is None:
        return None
    if (record.get("version"), record.get("head_sha256")) != (VERSION, run.result.get("head_sha256")):
        return None
    try:
        parts = {name: _read(record[name]) for name in ("whole", "head")}
        return MapCheck(**parts, images=int(record["images"]), shuffles=int(record["shuffles"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RunDamaged(f"{run.name}: the check of its heat map is damaged.") from error


def checked(workspace: Workspace, run: Run, images: np.ndarray, progress: Progress = silent) -> MapCheck:
    """Make the check on uint8 images (n, size, size), each for the class that the run calls it. Raises RunDamaged."""
    predictor = Predictor.open(workspace, run)
    progress(0.0, "Heat maps of the run itself")
    classes, shape = predictor.logits(images).argmax(axis=1).tolist(), (SIDE, SIDE)
    shuffles = _shuffles()
    of_own = predictor.evidence(images, classes, shape, [lambda head: head, *shuffles])
    own, heads, wholes = next(of_own), [], []
    for number, shuffle in enumerate(shuffles):
        progress((1 + number) / (1 + SHUFFLES), f"Heat maps of shuffled weights: {number + 1} of {SHUFFLES}")
        heads.append(next(of_own))
        opened = partial(shuffled_network, rng=np.random.default_rng(number))
        wholes += Predictor.open(workspace, run, opened=opened).evidence(images, classes, shape, [shuffle])
    progress(1.0, "Comparing the maps")
    return MapCheck(
        randomisation_test.likeness(own, wholes), randomisation_test.likeness(own, heads), len(images), SHUFFLES
    )


def _shuffles() -> list[HeadChange]:
    """What shuffles a run's head, each time another way; the last one shuffled is kept, for a large one takes 1 s."""
    last: dict[int, Head] = {}

    def shuffle(number: int, head: Head) -> Head:
        if number not in last:
            last.clear()
            last[number] = shuffled_head(head, np.random.default_rng(number))
        return last[number]

    return [partial(shuffle, number) for number in range(SHUFFLES)]


def _images(workspace: Workspace, run: Run) -> np.ndarray:
    """Up to IMAGES validation images, spread over the part: uint8 (n, size, size). Raises DataError or RunDamaged."""
    dataset, split = dataset_of(workspace, run), run.split()
    names = split.loc[split["part"] == "validation", "image_id"].to_numpy()
    chosen = names[np.unique(np.linspace(0, len(names) - 1, IMAGES).round().astype(int))] if len(names) else names
    rows = {name: row for row, name in enumerate(dataset.images["image_id"])}
    missing = [name for name in chosen if name not in rows]
    if missing:
        raise DataError(f"{missing[0]} is no longer in the data set.")
    size = run.spec.whole
    return decode_rows(dataset, [rows[name] for name in chosen], size) if len(chosen) else np.empty((0, size, size))


def _read(record: dict[str, float | None]) -> Likeness:
    """Further figures, which earlier versions kept, are left out."""
    values = (record["correlation"], record["defined"])
    return Likeness(*(np.nan if value is None else float(value) for value in values))
