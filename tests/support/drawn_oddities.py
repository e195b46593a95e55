"""What stands out among drawn images, whatever their seed: one for every day, more in tests/soak."""

import numpy as np

from covid_core.audit.embedding import projection
from covid_core.audit.embedding.outlier_detection import FAR, label_scores, outlier_scores, suspicious_labels
from covid_core.audit.shortcuts import probes
from covid_core.synthetic import phantom

SIZE = 64


def phantoms(images: int, seed: int, *plant: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (n, 64, 64), their label and their true label as numbers."""
    made = [phantom.image_at(index, images, seed, plant, SIZE) for index in range(images)]
    labels, true = [image.label for image in made], [image.true_label for image in made]
    classes = sorted(set(labels))
    codes = [np.array([classes.index(label) for label in names]) for names in (labels, true)]
    return np.stack([image.pixels for image in made]), *codes


def told_by(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Components as the map takes them, and the same with what lies beyond them."""
    wide, _, beyond = projection.principal_components(probes.shrunk(images, SIZE).reshape(len(images), -1), 100)
    return wide, np.column_stack([wide[:, :50], beyond - beyond.mean()])


def foreign(image: np.ndarray) -> np.ndarray:
    """Pictures that are no upright image, uint8 (n, 64, 64): drawings, noise, and an image turned, inverted and
    tiled."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    rng = np.random.default_rng(0)
    drawn = [
        np.where(np.hypot(x - 0.4, y - 0.6) < 0.25, 220, 40),
        (np.sin(2 * np.pi * 9 * x) > 0) * 200 + 20,
        rng.integers(0, 2, (8, 8)).repeat(8, 0).repeat(8, 1) * 200 + 20,
        rng.integers(0, 255, (SIZE, SIZE)),
        np.where((np.abs(x - 0.5) < 0.3) & (np.abs(y - 0.5) < 0.1), 255, 0),
    ]
    return np.stack([*drawn, 255 - image, image.T, image[::-1], np.tile(image[::2, ::2], (2, 2))]).astype(np.uint8)


def hardly_an_outlier_without_fault(seed: int) -> None:
    images, codes, _ = phantoms(300, seed)
    assert (outlier_scores(told_by(images)[1], codes) > FAR).mean() <= 0.01


def pictures_that_are_no_images_first(seed: int) -> None:
    images, codes, _ = phantoms(300, seed)
    strange = foreign(images[3])
    mixed, codes = np.concatenate([images, strange]), np.concatenate([codes, np.ones(len(strange), int)])
    scores = outlier_scores(told_by(mixed)[1], codes)
    assert set(np.argsort(-scores)[: len(strange)]) == set(range(300, 300 + len(strange)))
    assert (scores[300:] > FAR).all()


def exchanged_labels_found(seed: int) -> None:
    images, codes, true = phantoms(400, seed, "swapped-labels", "clear-lesions")
    planted = codes != true
    scores = label_scores(told_by(images)[0], codes, np.arange(400) % 5)
    first = np.argsort(scores[np.arange(400), codes])[: planted.sum()]
    assert planted[first].mean() >= 5 * planted.mean()
    suspicious, other = suspicious_labels(scores, codes)
    assert suspicious[planted].mean() >= 0.5
    hit = suspicious & planted
    assert (other[hit] == true[hit]).mean() >= 0.8
