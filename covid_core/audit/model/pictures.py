"""What the images of a model's audit look like: two test images with every cover, and with each other's lungs."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from covid_core.audit.model import occlusions
from covid_core.audit.model.occlusions import Cover
from covid_core.data.pixels import decode_rows
from covid_core.data.split import TEST
from covid_core.errors import DataError
from covid_core.images import inpainting
from covid_core.inference.lungs import of_images
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.runs.store import Run
from covid_core.workspace import Workspace

TRIED = 6  # images of a class that are looked at until one has known lungs


@dataclass(frozen=True)
class Shown:
    """A picture, uint8 (size, size), with its name and what was done to an image of a class: it is covered, or has the
    lungs of an image of another."""

    name: str
    pixels: np.ndarray
    label: str
    cover: Cover | None = None
    lungs_of: str = ""


def examples(workspace: Workspace, run: Run) -> list[Shown]:
    """A test image as the model sees it, under each cover, and in the end with the lungs of an image of another class.

    Covers that need lungs are left out where those of no image tried are known. Raises RunDamaged, and DataError where
    the images are gone.
    """
    split, dataset = run.split(), dataset_of(workspace, run)
    test = split.loc[split["part"] == TEST]
    tried = test.groupby("label", sort=True).head(TRIED)
    if tried.empty:
        raise DataError(f"{run.name} has no test image.")
    rows = dataset.images.set_index("image_id").index.get_indexer(tried["image_id"])
    outlines = of_images(workspace, dataset, rows, size=run.spec.whole)
    lungs, available = outlines.masks, outlines.available
    of_labels = [np.flatnonzero(tried["label"] == label) for label in tried["label"].unique()]
    chosen = [int(next((row for row in some if available[row]), some[0])) for some in of_labels]
    images = decode_rows(dataset, rows[chosen], run.spec.whole)
    labels, available, lungs = tried["label"].to_numpy()[chosen], available[chosen], lungs[chosen]
    at = int(np.argmax(available))  # the first with lungs; without any, the first
    image, mask = images[at : at + 1], lungs[at : at + 1]
    shown = [Shown(occlusions.AS_THEY_ARE, image[0], labels[at])]
    shown += [
        Shown(cover.name, cover.of(image, mask)[0], labels[at], cover)
        for cover in occlusions.COVERS
        if available[at] or not cover.needs_lungs
    ]
    for frame, other in list(pairwise(np.flatnonzero(available)))[:1]:
        made = inpainting.swapped(images[[frame]], lungs[[frame]], images[[other]], lungs[[other]])[0]
        shown.append(Shown("lungs of another image", made, labels[frame], lungs_of=labels[other]))
    return shown
