"""Do images from elsewhere look as if they came from a source of a run's training images?

The classifier of the ladder (``probe_ladder.fitted``) learns the sources of the training images from what its probe of
border pixels is shown, which is no lung. Its highest score is how surely it places an image; a Gaussian kernel gives
one that is far from all training images no sure place. The training images are placed by cross-validation, groups kept
together, and an outside image matches where it is placed as surely as all but ALPHA of them (a conformal p-value above
ALPHA: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005, section 2.2).
"""

import numpy as np

from covid_core.audit.shortcuts import probe_ladder
from covid_core.audit.shortcuts.probes import LEAST_OF_SOURCE, MOST_IMAGES, PROBES, SEED, Shown
from covid_core.data import split
from covid_core.data.dataset import Dataset
from covid_core.data.masks import LungMasks
from covid_core.data.pixels import SUMMARY_SIZE, open_pixels
from covid_core.evaluation.assessment import ALPHA, at_least_by_chance
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.runs.store import Run
from covid_core.workspace import Workspace

BORDER = "border"


def of(workspace: Workspace, run: Run, outside: Dataset) -> dict[str, float] | None:
    """How many of the outside ``images`` match a source (``matching``), of how many ``sources``, and how often training
    images are placed rightly (``accuracy`` in [0, 1]).

    None where training has no two sources on record with LEAST_OF_SOURCE images each, or where the classifier is no
    better than the largest source's share. Raises DataError where images are gone.
    """
    dataset = dataset_of(workspace, run)
    trained = run.split()[lambda table: table["part"] == split.TRAIN]
    images = dataset.images.assign(row=np.arange(len(dataset.images))).set_index("image_id").loc[trained["image_id"]]
    images["group"] = trained["group"].to_numpy() if "group" in trained else images.index
    counts = images.loc[images["source"] != "", "source"].value_counts()
    images = images[images["source"].isin(counts.index[counts >= LEAST_OF_SOURCE])]
    if images["source"].nunique() < 2:
        return None
    images = images.sample(min(len(images), MOST_IMAGES), random_state=SEED)
    names, codes = np.unique(images["source"].to_numpy(dtype=str), return_inverse=True)
    features = _border(workspace, dataset, images["row"].to_numpy())
    folds = split.folds_of(images[["group"]].assign(label=images["source"]), probe_ladder.FOLDS, SEED)
    own = probe_ladder.answered(features, codes, folds)
    right = own.argmax(axis=1) == codes
    if at_least_by_chance(int(right.sum()), len(right), float(np.bincount(codes).max() / len(codes))) > ALPHA:
        return None
    theirs = _border(workspace, outside, np.arange(len(outside.images)))
    placed = probe_ladder.fitted(features, np.eye(len(names), dtype=np.float32)[codes], theirs).max(axis=1)
    matching = int((p_values(own.max(axis=1), placed) > ALPHA).sum())
    return {"images": len(placed), "matching": matching, "sources": len(names), "accuracy": float(right.mean())}


def p_values(usual: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Conformal p-values (m,) in (0, 1] of figures (m,) among usual ones (n,): low where few of these are as low."""
    return (1 + np.searchsorted(np.sort(usual), others, side="right")) / (len(usual) + 1)


def _border(workspace: Workspace, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    pixels = np.asarray(open_pixels(workspace, dataset, SUMMARY_SIZE)[rows])
    none = LungMasks(np.zeros((len(rows), 0, 0), bool), np.zeros(len(rows), bool))
    return PROBES[BORDER].features(Shown(dataset, rows, pixels, none))
