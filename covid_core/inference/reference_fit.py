"""A run's reference: what new images are judged by, made when the run is published, or later for an older run.

Training images are what a new image is compared with; the limits are set by the validation images that calibrate, which
have chosen nothing else where the part is halved (``data.split.halves``). The test part has no say in it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from covid_core import files
from covid_core.data.dataset import Dataset
from covid_core.data.pixels import open_pixels
from covid_core.data.split import CALIBRATION, TEST, TRAIN, validation_for
from covid_core.errors import JobRefused, RunDamaged
from covid_core.inference.drift import profile as drift_profile
from covid_core.inference.drift.profile import Traits
from covid_core.inference.gate import Gate
from covid_core.inference.predictor import Predictor
from covid_core.inference.reference import Features, Neighbourhood, Reference
from covid_core.inference.region.lung_region import cut_images
from covid_core.runs import store
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.runs.store import Run
from covid_core.work import Progress, blocks, part_of, silent
from covid_core.workspace import Workspace

AT_ONCE = 64  # images between two reports of progress


@dataclass(frozen=True, eq=False)
class OwnImages:
    """What the profile needs of a run's images beside their pixels: ``classes`` of the run, ``sizes`` (n, 2), width and
    height of each file, and ``predicted`` (n,), codes of classes."""

    classes: tuple[str, ...]
    sizes: np.ndarray
    predicted: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, split: pd.DataFrame, classes: tuple[str, ...], logits: np.ndarray) -> "OwnImages":
        """Of the images of a split in its order, with their logits (n, classes)."""
        sizes = dataset.images.set_index("image_id").loc[split["image_id"], ["width", "height"]].to_numpy()
        return cls(classes, sizes, np.argmax(logits, axis=1))


def fitted(
    split: pd.DataFrame,
    pixels: Callable[[np.ndarray], np.ndarray],
    features: Features,
    own: OwnImages | None = None,
) -> Reference:
    """The reference from a split: columns image_id, label, part, group, and half where the run is halved.

    ``pixels`` gives uint8 squares (n, size, size) for positions in it, ``features`` the means (n, d) of the maps that
    the head pools. Without ``own`` it has no profile.
    """
    training = np.flatnonzero(split["part"] == TRAIN)
    validation = np.flatnonzero(validation_for(split, CALIBRATION))
    gate = Gate.fit(pixels, training, validation)
    trained = split.iloc[training]
    ids, labels = (trained[column].to_numpy(dtype=object) for column in ("image_id", "label"))
    reference = Reference(gate, Neighbourhood.fit(features, training, validation, ids, labels))
    if own is None:
        return reference

    def described(positions: np.ndarray) -> Traits:
        some = blocks(positions, AT_ONCE)
        return Traits.joined([reference.traits(pixels(at), features(at), own.sizes[at]) for at in some])

    return replace(reference, profile=drift_profile.fitted(split, described, own.predicted, own.classes))


def make(workspace: Workspace, run: Run, progress: Progress = silent) -> None:
    """Give a finished run its reference, from the data set's images and the run's exported network, without TensorFlow.

    Raises DataError where the data set has changed, RunDamaged, and JobRefused where the run is at work.
    """
    dataset = dataset_of(workspace, run)
    predictor = Predictor.open(workspace, run, with_reference=False)
    split, reading = run.split(), part_of(progress, 0.0, 0.2)
    rows = dataset.images.set_index("image_id").index.get_indexer(split["image_id"])
    if predictor.lungs is None:
        images = open_pixels(workspace, dataset, run.spec.pixels, reading)
    else:
        images = cut_images(workspace, dataset, predictor.lungs, run.spec.whole, rows, reading).pixels
    used = np.flatnonzero((split["part"] != TEST).to_numpy())
    values = _features_of(predictor.of_cut, images, rows, used, part_of(progress, 0.2, 0.9))
    logits = run.predictions().set_index("image_id").loc[split["image_id"], [f"score_{name}" for name in run.classes]]
    own = OwnImages.of(dataset, split, run.classes, logits.to_numpy())
    reference = fitted(split, lambda at: np.asarray(images[rows[at]]), values.__getitem__, own)
    progress(0.95, "Keeping the reference")
    _publish(workspace, run, reference)


def _features_of(
    predictor: Predictor, images: np.ndarray, rows: np.ndarray, used: np.ndarray, progress: Progress
) -> np.ndarray:
    """float32 (rows, d), of which only ``used`` are computed."""
    features: np.ndarray | None = None
    done = 0
    for some in blocks(used, AT_ONCE):
        values = predictor.features(np.asarray(images[rows[some]]))
        if features is None:
            features = np.zeros((len(rows), values.shape[1]), np.float32)
        features[some] = values
        done += len(some)
        progress(done / len(used), f"Looking at the run's own images: {done:,} of {len(used):,}")
    return features


def _publish(workspace: Workspace, run: Run, reference: Reference) -> None:
    """The file, then the note of it in the result, while nobody resumes the run."""
    with run.lock.held(0, JobRefused(f"{run.name} is at work; try again when it has ended.")):
        now = store.open_run(workspace, run.id)
        if any(now.result.get(name) != run.result.get(name) for name in ("head_sha256", "finished")):
            raise RunDamaged(f"{run.name} was trained again meanwhile; make its reference anew.")
        reference.save(now.reference_path)
        now.write_result({**now.result, "reference_sha256": files.sha256_of(now.reference_path)})
