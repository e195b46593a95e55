"""What a run refuses to answer for.

``python -m benchmarks.predicting.refusals --home WORKSPACE --run RUN [--run RUN ...]``

Looked at: pictures that are no frontal chest images (``benchmarks.predicting.pictures``: photographs, drawings, CT and
MR slices out of installed packages, and drawn ones), and the run's own test images turned by 90, 180 and 270 degrees
and inverted. To reach: 95 % of them are refused, and at most 5 % of the test images as they are. ``--outside DATASET``
adds how many frontal images of another data set are refused; there is no aim for that.

Rules and shares were fixed before any of these pictures was opened. They were chosen on the training and validation
images of the 4,014 (as they are, turned, inverted, tilted, zoomed), on crops of the two photographs of scikit-learn,
and on drawings made for it: ellipses and rectangles, text, lines, and hands, knees, CT slices, lateral chests and teeth
of a few ellipses. None of those is among the pictures here. A third of the pictures, chosen by their hash, is left
alone; ``--reserve`` looks at that third only, for a rule that was changed after the others were seen.

A DICOM file is taken by its pixels alone, so that its tags do not give it away. Prints one JSON line per run: every
picture with its SHA-256, whether it was refused and by which check, the shares, and the test images that were
misjudged. There is no peer, and nothing is timed.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measuring
from benchmarks.predicting import pictures
from covid_core.data.dataset import Dataset, open_dataset
from covid_core.data.pixels import open_pixels
from covid_core.evaluation.metrics import wilson
from covid_core.images.codec import GreyImage
from covid_core.inference.assessment import Assessment, assess_all
from covid_core.inference.gate import CHEST_IMAGE, LIKE_TRAINING
from covid_core.inference.predictor import Predictor
from covid_core.runs import store
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.runs.store import Run
from covid_core.workspace import Workspace

CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda image: image,
    "turned by 90 degrees": lambda image: np.rot90(image, 1),
    "turned by 180 degrees": lambda image: np.rot90(image, 2),
    "turned by 270 degrees": lambda image: np.rot90(image, 3),
    "inverted": lambda image: 255 - image,
}
AT_ONCE = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="the workspace that holds the runs and their data set")
    parser.add_argument("--run", action="append", required=True, help="id of a finished run with its reference")
    parser.add_argument("--outside", help="id of another data set of frontal images in the same workspace")
    parser.add_argument("--reserve", action="store_true", help="only the pictures that are left alone otherwise")
    given = parser.parse_args()
    workspace = Workspace(given.home.resolve())
    found, left_out, missing = pictures.found()
    chosen = [one for one in (*found, *pictures.drawn()) if one.reserved == given.reserve]
    measuring.tell(f"{len(chosen)} pictures; not installed: {', '.join(missing) or 'nothing'}")
    for name in given.run:
        run = store.open_run(workspace, name)
        predictor = Predictor.open(workspace, run)
        assessments = dict(zip(chosen, assessed(predictor, [one.pixels for one in chosen]), strict=True))
        measuring.show(
            {
                "benchmark": "refusals",
                "run": run.name,
                "backbone": run.spec.backbone,
                "image_size": run.spec.image_size,
                "data": run.dataset.name,
                "limits": limits(predictor),
                "reserve": given.reserve,
                "pictures": shares(assessments),
                "test_images": images_of(workspace, run, predictor),
                **({"outside": outside(workspace, predictor, given.outside)} if given.outside else {}),
                "not_installed": missing,
                "not_read": left_out,
                "files": [row(one, assessment) for one, assessment in assessments.items()],
                "machine": measuring.machine(),
            }
        )


def assessed(predictor: Predictor, images: Sequence[np.ndarray]) -> Iterator[Assessment]:
    for start in range(0, len(images), AT_ONCE):
        some = images[start : start + AT_ONCE]
        yield from assess_all(predictor, [GreyImage(np.ascontiguousarray(image), "L") for image in some])


def limits(predictor: Predictor) -> dict[str, Any]:
    reference = predictor.reference
    return {CHEST_IMAGE: vars(reference.gate.limit), LIKE_TRAINING: vars(reference.neighbourhood.limit)}


def share_refused(assessments: Sequence[Assessment]) -> dict[str, Any]:
    """How many are refused, with a 95 % interval, and by which check first; how many each check refuses by itself."""
    refused = [assessment.refused_by for assessment in assessments if assessment.refused_by]
    alone = {
        name: sum(assessment.checks[k].passed is False for assessment in assessments)
        for k, name in enumerate((CHEST_IMAGE, LIKE_TRAINING))
    }
    measured = wilson(len(refused), len(assessments))
    return {
        "n": len(assessments),
        "refused": measured.value,
        "low": measured.low,
        "high": measured.high,
        "first": dict(Counter(check.name for check in refused)),
        "alone": alone,
    }


def shares(assessments: dict[pictures.Picture, Assessment]) -> dict[str, Any]:
    kinds = sorted({one.kind for one in assessments})
    by_kind = {
        kind: share_refused([assessment for one, assessment in assessments.items() if one.kind == kind])
        for kind in kinds
    }
    packed = [assessment for one, assessment in assessments.items() if one.package != "drawn"]
    return {"all": share_refused(list(assessments.values())), "of_packages": share_refused(packed), **by_kind}


def images_of(workspace: Workspace, run: Run, predictor: Predictor) -> dict[str, Any]:
    """The run's test images as they are and changed, with the ids of those that were misjudged."""
    ids, images = test_part(workspace, run)
    told = {}
    for name, change in CHANGES.items():
        assessments = list(assessed(predictor, [change(image) for image in images]))
        expected = name != "as it is"
        wrong = [str(ids[k]) for k, assessment in enumerate(assessments) if bool(assessment.refused_by) != expected]
        told[name] = {**share_refused(assessments), "misjudged": wrong}
        measuring.tell(f"{run.name}: {name}: {told[name]['refused']:.4f} refused")
    return told


def test_part(workspace: Workspace, run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Ids and pixels of the run's test images."""
    dataset, split = dataset_of(workspace, run), run.split()
    ids = split.loc[split["part"] == "test", "image_id"].to_numpy()
    pixels = open_pixels(workspace, dataset, run.spec.image_size)
    return ids, np.asarray(pixels[dataset.images.set_index("image_id").index.get_indexer(ids)])


def outside(workspace: Workspace, predictor: Predictor, identifier: str) -> dict[str, Any]:
    """How many images of another data set are refused, by class."""
    dataset: Dataset = open_dataset(workspace, identifier)
    assessments = list(assessed(predictor, np.asarray(open_pixels(workspace, dataset, predictor.size))))
    labels = dataset.images["label"].to_numpy()
    by_class = {
        label: share_refused([assessment for assessment, own in zip(assessments, labels, strict=True) if own == label])
        for label in dataset.classes
    }
    return {"data": dataset.name, "all": share_refused(assessments), **by_class}


def row(one: pictures.Picture, assessment: Assessment) -> dict[str, Any]:
    refused = assessment.refused_by
    return {
        "file": one.name,
        "package": one.package,
        "kind": one.kind,
        "sha256": one.sha256,
        "refused_by": refused.name if refused else None,
        **{check.name: round(check.figure, 3) for check in assessment.checks},
    }


if __name__ == "__main__":
    main()
