"""False and right alarms of the drift of a batch: ``python -m benchmarks.predicting.drift --home WORKSPACE --run RUN``.

Batches without drift are drawn from the run's own test images, which set no limit: of each size of SIZES by cluster,
and of 50 images of one class alone. To reach: an alarm in at most 5 % of them. Batches with drift are the same images
changed (CHANGES), and those of another data set (``--outside``), class by class. Prints one JSON line per run: alarms,
batches, how often each aspect was above the limit, alarms of the class mix and the median score.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import measuring
from covid_core.data.dataset import Dataset, open_dataset
from covid_core.data.pixels import image_of
from covid_core.data.split import TEST
from covid_core.images.codec import GreyImage, to_square
from covid_core.inference.assessment import assess_all
from covid_core.inference.drift import batch
from covid_core.inference.drift.profile import Traits
from covid_core.inference.predictor import Predictor
from covid_core.runs import store
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.work import blocks
from covid_core.workspace import Workspace

SIZES, OF_ONE_CLASS, SHIFTED = (20, 50, 300), 50, (20, 50)
AT_ONCE = 32
CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "4 % brighter": lambda image: np.clip(image + 10.0, 0, 255).astype(np.uint8),
    "10 % brighter": lambda image: np.clip(image + 25.0, 0, 255).astype(np.uint8),
    "contrast of 80 %": lambda image: (128 + (image - 128.0) * 0.8).astype(np.uint8),
    "8 % cut off each side": lambda image: to_square(image[_inner(image)], len(image)),
    "dark border of 8 %": lambda image: np.where(_is_inner(image), image, 0).astype(np.uint8),
}
Described = tuple[Traits, np.ndarray]
Draw = Callable[[np.random.Generator, int], np.ndarray]


def _inner(image: np.ndarray) -> tuple[slice, slice]:
    height, width = (round(0.08 * side) for side in image.shape)
    return slice(height, -height), slice(width, -width)


def _is_inner(image: np.ndarray) -> np.ndarray:
    inside = np.zeros(image.shape, bool)
    inside[_inner(image)] = True
    return inside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="the workspace that holds the runs and their data set")
    parser.add_argument("--run", action="append", required=True, help="id of a finished run with its reference")
    parser.add_argument("--outside", help="id of another data set in the same workspace")
    parser.add_argument("--batches", type=int, default=100, help="without drift, of each kind; a fifth as many with it")
    given = parser.parse_args()
    workspace = Workspace(given.home.resolve())
    outside = open_dataset(workspace, given.outside) if given.outside else None
    for name in given.run:
        run = store.open_run(workspace, name)
        predictor = Predictor.open(workspace, run)
        batches = {
            kind: alarms(predictor, described, draw, size, given.batches if usual else max(1, given.batches // 5))
            for kind, described, draw, size, usual in kinds(workspace, run, predictor, outside)
        }
        measuring.show({"benchmark": "drift", "run": run.name, "data": run.dataset.name, "batches": batches})


def kinds(
    workspace: Workspace, run: store.Run, predictor: Predictor, outside: Dataset | None
) -> Iterator[tuple[str, Described, Draw, int, bool]]:
    """Name, images, how a batch is drawn of them, its size, and whether it is one without drift."""
    dataset, split = dataset_of(workspace, run), run.split()
    test = split[split["part"] == TEST]
    rows = dataset.images.set_index("image_id").index.get_indexer(test["image_id"])
    images = [image_of(dataset, int(row))[0].pixels for row in rows]
    plain = describe(predictor, images)
    groups, labels = pd.factorize(test["group"])[0], test["label"].to_numpy()
    for size in SIZES:
        yield f"no drift, {size} images", plain, by_cluster(groups, np.arange(len(test))), size, True
    for label in run.classes:
        chosen = np.flatnonzero(labels == label)
        yield f"no drift, {OF_ONE_CLASS} of {label}", plain, by_cluster(groups, chosen), OF_ONE_CLASS, True
    for name, change in CHANGES.items():
        changed = describe(predictor, [np.ascontiguousarray(change(image)) for image in images])
        for size in SHIFTED:
            yield f"{name}, {size} images", changed, by_cluster(groups, np.arange(len(test))), size, False
    for label in outside.classes if outside else ():
        chosen = np.flatnonzero(outside.images["label"] == label)
        there = describe(predictor, [image_of(outside, int(row))[0].pixels for row in chosen])
        for size in SHIFTED:
            draw = by_cluster(np.arange(len(chosen)), np.arange(len(chosen)))
            yield f"{outside.name}, {label}, {size} images", there, draw, size, False


def describe(predictor: Predictor, images: list[np.ndarray]) -> Described:
    """What images are like, and the codes of the classes that are predicted of them."""
    made = [one for some in blocks(images, AT_ONCE) for one in assess_all(predictor, [GreyImage(i, "L") for i in some])]
    return Traits.joined([one.traits for one in made if one.traits]), np.array([one.logits.argmax() for one in made])


def by_cluster(groups: np.ndarray, positions: np.ndarray) -> Draw:
    """Draws images of the positions, whole clusters but for the last."""

    def draw(rng: np.random.Generator, size: int) -> np.ndarray:
        order = rng.permutation(groups.max() + 1)[groups[positions]]
        return positions[np.argsort(order, kind="stable")[:size]]

    return draw


def alarms(predictor: Predictor, described: Described, draw: Draw, size: int, batches: int) -> dict[str, Any]:
    """Counts over batches of one kind."""
    assert predictor.reference
    assert predictor.reference.profile
    rng, made = np.random.default_rng(0), []
    for number in range(batches):
        rows = draw(rng, size)
        traits, predicted = described[0][rows], described[1][rows]
        made.append(batch.of(predictor.reference.profile, traits, predicted, predictor.classes, number))
    measuring.tell(f"{sum(one.differs for one in made)} of {batches} alarms")
    return {
        "alarms": sum(one.differs for one in made),
        "batches": batches,
        "aspects": Counter(aspect for one in made for aspect in one.different),
        "class_mix": sum(one.class_mix.differs for one in made),
        "median_score": round(float(np.median([one.score for one in made])), 3),
    }


if __name__ == "__main__":
    main()
