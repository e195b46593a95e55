"""Do heat maps point at the lesions?

``python -m benchmarks.models.pointing [--plant NAME] [--case NAME] [--repeats 1]``

Runs are trained on synthetic images, published, and opened again as the app opens them. They then look at images of
another seed, which no run has seen, whose lesions are known from how they were drawn. For each image of an ill class
that the run calls rightly, the highest point of its heat map for that class has to lie on the lesion
(``benchmarks.models.pointing_game``). Beside the hits: what a point at random would hit, what plain Grad-CAM hits
(nothing taken off the maps), the share of the heat inside the lungs, and what the weight-randomisation check says.

The game measures the map only where the network reads the lesions: how many of the images that it called rightly it
calls otherwise once they are drawn without their lesion is told beside the hits. With the plant "clear-lesions" the
same diseases are plain to see; the images to learn from and the fresh ones both have it. On usual images the baseline
CNN calls four ill images in ten wrongly.

MobileNetV2 starts from ImageNet weights, which have to be cached (KERAS_HOME). Prints one JSON line per run, which says
what was planted ("none": the usual images) and the run's seed; ``--repeats 3`` trains each case from seeds 0, 1 and 2.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import machine, options, show, tell
from benchmarks.models import pointing_game
from covid_core.synthetic.phantom import CLEAR_LESIONS

IMAGES = 3000  # to train on, with validation and test parts
FRESH = 600  # of another seed: 143 of COVID, 53 of viral pneumonia
TRAINING_SEED = 7
FRESH_SEED = 2  # the images of seed 1 chose how heat maps are made and which cases there are; these have chosen nothing
NONE = "none"  # planted: the usual images
CASES: dict[str, dict[str, Any]] = {
    "MobileNetV2, 224 px, one layer": {"backbone": "mobilenet_v2", "image_size": 224, "head": {"units": ()}},
    "MobileNetV2, 224 px": {"backbone": "mobilenet_v2", "image_size": 224},
    "MobileNetV2, 224 px, mean and maximum": {
        "backbone": "mobilenet_v2",
        "image_size": 224,
        "head": {"pooling": "mean_max"},
    },
    "MobileNetV2, 128 px": {"backbone": "mobilenet_v2", "image_size": 128},
    "Baseline CNN, 128 px, one layer": {
        "backbone": "baseline_cnn",
        "image_size": 128,
        "head": {"units": ()},
        "learning_rate": 4e-4,
        "epochs": 15,
        "patience": 0,
    },
    "Baseline CNN, 64 px, one layer": {
        "backbone": "baseline_cnn",
        "image_size": 64,
        "head": {"units": ()},
        "learning_rate": 4e-4,
        "epochs": 30,
        "patience": 0,
    },
}


MOBILE = tuple(case for case in CASES if case.startswith("MobileNetV2"))
CASES_BY_PLANT = {
    NONE: (*MOBILE, "Baseline CNN, 64 px, one layer"),
    CLEAR_LESIONS: ("MobileNetV2, 224 px", "Baseline CNN, 64 px, one layer", "Baseline CNN, 128 px, one layer"),
}


def main() -> None:
    parser = options(__doc__, repeats=1)
    parser.add_argument("--images", type=int, default=IMAGES, help="synthetic images to train on")
    parser.add_argument("--plant", choices=tuple(CASES_BY_PLANT), action="append", help="by default each in turn")
    parser.add_argument("--case", choices=tuple(CASES), action="append", help="by default those of the plant")
    parser.add_argument("--keep", type=Path, help="a workspace to use again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COVID_CORE_HOME"] = str(given.keep or Path(folder))
        for plant in given.plant or CASES_BY_PLANT:
            for case in given.case or CASES_BY_PLANT[plant]:
                for seed in range(given.repeats):
                    tell(f"{case}, planted: {plant}, seed {seed}")
                    found = of_case(case, {**CASES[case], "seed": seed}, given.images, plant)
                    show({"benchmark": "pointing", "case": case, **found, "machine": machine()})


def of_case(name: str, fields: dict[str, Any], images: int, plant: str) -> dict[str, Any]:
    """Train a run of these settings, or take the one that was kept, and play."""
    from covid_core.audit.model import heatmap_sanity
    from covid_core.workspace import Workspace

    workspace, planted = Workspace.default(), () if plant == NONE else (plant,)
    run = trained(workspace, name, fields, images, planted)
    check = heatmap_sanity.of(workspace, run)
    return {
        "plant": plant,
        "seed": fields["seed"],
        "images": images,
        "test_accuracy": round(run.accuracy("test"), 3),
        **played(workspace, run, planted),
        "check": {
            "verdict": check.verdict,
            "whole": round(check.whole.correlation, 3),
            "head": round(check.head.correlation, 3),
        },
    }


def trained(workspace: Any, name: str, fields: dict[str, Any], images: int, plant: tuple[str, ...]) -> Any:
    """A finished run on synthetic images."""
    from covid_core.data import dataset as data
    from covid_core.data.imports import importing
    from covid_core.jobs import queue
    from covid_core.runs import store
    from covid_core.specs import TrainingSpec

    images_name = ", ".join((f"{images} images", *plant))
    name = f"{name}, {images_name}, seed {fields['seed']}"
    for run in store.list_runs(workspace)[0]:
        if run.name == name and run.result:
            return run
    listed = [one["id"] for one in data.list_datasets(workspace) if one["name"] == images_name]
    images = (
        data.open_dataset(workspace, listed[0])
        if listed
        else importing.import_phantom(workspace, images, TRAINING_SEED, plant, images_name)
    )
    spec = TrainingSpec(dataset=images.id, classes=images.classes, name=name, **fields)
    run = queue.submit_training(workspace, spec)
    if queue.wait(run).state != store.COMPLETED:
        raise SystemExit(run.log_tail())
    return store.open_run(workspace, run.id)


def played(workspace: Any, run: Any, plant: tuple[str, ...]) -> dict[str, Any]:
    """The game on fresh images, by class and together."""
    from covid_core.images.codec import GreyImage
    from covid_core.inference.assessment import assess
    from covid_core.inference.heatmap import share_inside, share_over
    from covid_core.inference.predictor import Predictor

    predictor = Predictor.open(workspace, run)
    plain = copy(predictor)
    plain.head = replace(plain.head, usual=())  # as a run has it that does not know the usual image
    points: dict[str, list[Any]] = {}
    of_plain, shares, seconds, turned, asked = [], [], [], [], 0
    for image, healed in ill_images(plant):
        asked += 1
        begin = time.perf_counter()
        assessment = assess(predictor, GreyImage(image.pixels, "L"))
        heat = assessment.heat(assessment.predicted, image.pixels.shape)
        seconds.append(time.perf_counter() - begin)
        if assessment.predicted != image.label:
            continue
        turned.append(assess(predictor, GreyImage(healed, "L")).predicted != image.label)
        points.setdefault(image.label, []).append(pointing_game.point(heat, image.lesion))
        shares.append(share_inside(heat, image.lung_mask > 0))
        of_plain.append(
            pointing_game.point(
                plain.heat_map(GreyImage(image.pixels, "L"), image.label, image.pixels.shape), image.lesion
            )
        )
    found = {label: pointing_game.played(some) for label, some in points.items()}
    together = pointing_game.played([one for some in points.values() for one in some])
    inside = share_over(shares)
    return {
        "ill_images": asked,
        "called_rightly": together.images,
        "called_otherwise_without_lesion": round(float(np.mean(turned)), 3),
        "hits": round(together.hits, 3),
        "chance": round(together.chance, 3),
        "by_class": {
            label: {"hits": round(one.hits, 3), "chance": round(one.chance, 3), "images": one.images}
            for label, one in found.items()
        },
        "hits_of_plain_grad_cam": round(pointing_game.played(of_plain).hits, 3),
        "share_inside_lungs": round(inside.share, 3),
        "share_inside_lungs_interval": [round(inside.low, 3), round(inside.high, 3)],
        "lungs_share_of_picture": round(inside.chance, 3),
        "milliseconds_per_map": round(1000 * float(np.median(seconds)), 1),
    }


def ill_images(plant: tuple[str, ...]) -> Iterator[tuple[Any, np.ndarray]]:
    """Images with a lesion that no run was trained on, each with the pixels of the same image without it."""
    from covid_core.synthetic.anatomy import make_image
    from covid_core.synthetic.phantom import class_counts, image_at

    first_healthy, healthy = class_counts(FRESH)["COVID"], class_counts(FRESH)["Normal"]
    for number in (*range(first_healthy), *range(first_healthy + healthy, FRESH)):
        healed = make_image("Normal", np.random.default_rng((FRESH_SEED, number)))
        yield image_at(number, FRESH, FRESH_SEED, plant), healed.pixels


if __name__ == "__main__":
    main()
