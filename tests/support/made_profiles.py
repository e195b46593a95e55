"""A run's own images as a profile, made from numbers: classes differ in their first measure and coordinate."""

from dataclasses import replace

import numpy as np

from covid_core import files
from covid_core.inference.drift.profile import MEASURES, Profile, Traits
from covid_core.inference.reference import Reference
from covid_core.runs.store import Run

COORDINATES = 6
ACCURACY = 0.9


def made_traits(labels: np.ndarray, rng: np.random.Generator, width: int = COORDINATES) -> Traits:
    """Of images of classes (n,): normal numbers, to whose first measure and coordinate the class is added."""
    values, coordinates = (rng.normal(size=(len(labels), wide)).astype(np.float32) for wide in (len(MEASURES), width))
    values[:, 0] += labels
    coordinates[:, 0] += 2 * labels
    return Traits(values, coordinates)


def answers(labels: np.ndarray, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Predicted classes (n,), right with ACCURACY."""
    return np.where(rng.random(len(labels)) < ACCURACY, labels, rng.integers(classes, size=len(labels)))


def made_profile(
    classes: int = 2, images: int = 300, own: int = 200, cluster: int = 1, width: int = COORDINATES, seed: int = 0
) -> Profile:
    """As many images of each class; of the validation images ``cluster`` each are the same but for a little."""
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    clusters = np.repeat(np.arange(own // cluster), cluster)
    of_own = clusters % classes
    alike = made_traits(np.arange(own // cluster) % classes, rng, width)[clusters]
    near = Traits(alike.values + rng.normal(0, 0.05, alike.values.shape).astype(np.float32), alike.coordinates)
    facts = np.stack([of_own, answers(of_own, classes, rng), clusters], axis=1)
    shares = np.bincount(labels, minlength=classes) / images
    return Profile(made_traits(labels, rng, width), labels, near, facts, shares)


def with_profile(run: Run, own: int = 200) -> Reference:
    """Publish a reference of the run with a made profile."""
    reference = Reference.load(run.reference_path)
    width = reference.neighbourhood.coordinates.shape[1]
    made = replace(reference, profile=made_profile(len(run.classes), own=own, width=width))
    made.save(run.reference_path)
    run.write_result({**run.result, "reference_sha256": files.sha256_of(run.reference_path)})
    return made
