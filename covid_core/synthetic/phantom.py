"""Sets of synthetic images: classes as uneven as in the real database, and what is planted on purpose.

Faults are planted to be found. Clear lesions are no fault: they are the disease as usual, in the same places and
stronger, so that a small network too reads the lungs and nothing else. Whether its heat maps point at what it reads
can be measured on those images alone; on the usual ones a network may be right by other signs.

An image of a set depends only on (index, images, seed, plant, size), so images can be made in any order and in
parallel.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from covid_core.errors import InvalidChoice
from covid_core.images.codec import to_square

FAULTS = ("corner-tag", "brightness-shift", "near-duplicates", "swapped-labels")
CLEAR_LESIONS = "clear-lesions"  # `anatomy.CLEAR` says how strong they are
PLANTS = (*FAULTS, CLEAR_LESIONS)

DATABASE_COUNTS = {"COVID": 3616, "Normal": 10192, "Viral Pneumonia": 1345}  # COVID-19 Radiography Database
MIN_IMAGES, MIN_SIZE = 3, 64
DUPLICATE_SHARE, SWAP_SHARE = 0.05, 0.04
BRIGHTNESS_SHIFT = {"COVID": 30, "Normal": 0, "Viral Pneumonia": -30}  # grey levels
CORNER_TAGS = {"COVID": ("C", "left"), "Normal": ("N", "right"), "Viral Pneumonia": ("V", "right")}
TAG_GREY = 240
GLYPHS = {  # five columns by seven rows
    "C": ("01110", "10001", "10000", "10000", "10000", "10001", "01110"),
    "N": ("10001", "11001", "11001", "10101", "10011", "10011", "10001"),
    "V": ("10001", "10001", "10001", "10001", "01010", "01010", "00100"),
}


@dataclass(frozen=True)
class PhantomImage:
    """A synthetic image: what was drawn, and what the data set says about it."""

    name: str  # file stem, "Normal-12"; numbered within the label from 1
    label: str  # as the data set has it; differs from true_label where labels were swapped
    true_label: str  # what was drawn
    source: str  # a synthetic site, "Phantom site A"
    pixels: np.ndarray  # uint8 (size, size)
    lung_mask: np.ndarray  # uint8 (size, size), 0 or 255
    lesion: np.ndarray  # bool (size, size): where the disease was drawn; nowhere on a healthy image
    plants: tuple[str, ...]  # what was planted in this image; clear lesions in ill ones alone


# Planted faults


def tag(label: str, size: int) -> np.ndarray:
    """Where a class's letter is burned in: bool (size, size), in the class's upper corner."""
    letter, corner = CORNER_TAGS[label]
    dot, margin = max(1, size // 85), size // 20
    glyph = np.array([[cell == "1" for cell in row] for row in GLYPHS[letter]]).repeat(dot, 0).repeat(dot, 1)
    rows, columns = glyph.shape
    left = margin if corner == "left" else size - margin - columns
    mask = np.zeros((size, size), bool)
    mask[margin : margin + rows, left : left + columns] = glyph
    return mask


def burn_tag(pixels: np.ndarray, label: str) -> np.ndarray:
    """The image (size, size) with the class's letter in the class's upper corner."""
    return np.where(tag(label, len(pixels)), np.uint8(TAG_GREY), pixels)


def _copy_slightly_changed(image: PhantomImage, rng: np.random.Generator) -> PhantomImage:
    """The image as after a second export: cropped by 3 %, turned by a degree, another gamma, coding noise."""
    from scipy import ndimage  # 0.2 s to import, and pages need only the names of the faults

    size, turn = len(image.pixels), rng.uniform(-0.02, 0.02)
    matrix = 0.97 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = np.full(2, (size - 1) / 2)
    offset = middle - matrix @ middle + rng.uniform(-0.005, 0.005, 2) * size
    grey = ndimage.affine_transform(image.pixels.astype(np.float32), matrix, offset, order=1, mode="nearest")
    grey = 255.0 * (grey / 255.0) ** rng.uniform(0.9, 1.1)
    blocks = rng.normal(0, 1.0, (-(-size // 8), -(-size // 8))).repeat(8, 0).repeat(8, 1)  # JPEG codes 8 x 8 pixels
    pixels = np.clip(grey + blocks[:size, :size], 0, 255).astype(np.uint8)
    mask, lesion = (
        ndimage.affine_transform(where, matrix, offset, order=0, mode="nearest")
        for where in (image.lung_mask, image.lesion)
    )
    return replace(image, pixels=pixels, lung_mask=mask, lesion=lesion)


class _Plan(NamedTuple):
    """Which image of a set is what."""

    labels: list[str]
    true_labels: list[str]
    numbers: list[int]  # within the label, from 1
    copy_of: dict[int, int]  # index of a near duplicate -> index of the earlier image it copies


def _swap_labels(labels: list[str], rng: np.random.Generator) -> list[str]:
    """True labels of a set in which pairs of images of different classes had their labels exchanged."""
    true_labels, order = list(labels), rng.permutation(len(labels))
    pairs = [(a, b) for a, b in zip(order[::2], order[1::2], strict=False) if labels[a] != labels[b]]
    for a, b in pairs[: max(1, round(SWAP_SHARE * len(labels) / 2))]:
        true_labels[a], true_labels[b] = labels[b], labels[a]
    return true_labels


def _choose_copies(labels: list[str], true_labels: list[str], rng: np.random.Generator) -> dict[int, int]:
    """Near duplicates and their originals: earlier images of the same class, rightly labelled, no copies themselves."""
    copy_of: dict[int, int] = {}
    right = [i for i in rng.permutation(len(labels)).tolist() if labels[i] == true_labels[i]]
    for i in right:
        if len(copy_of) >= max(1, round(DUPLICATE_SHARE * len(labels))):
            break
        originals = [j for j in right if j < i and labels[j] == labels[i] and j not in copy_of]
        if originals and i not in copy_of.values():
            copy_of[i] = originals[rng.integers(len(originals))]
    return copy_of


@lru_cache(maxsize=16)
def _plan(images: int, seed: int, plant: frozenset[str]) -> _Plan:
    """The set that these arguments stand for: classes in blocks, as the database has them in folders."""
    counts = class_counts(images)
    labels = [label for label, count in counts.items() for _ in range(count)]
    numbers = [k + 1 for count in counts.values() for k in range(count)]
    swap_rng, copy_rng = np.random.default_rng((seed, images, 0)).spawn(2)
    true_labels = _swap_labels(labels, swap_rng) if "swapped-labels" in plant else labels
    copy_of = _choose_copies(labels, true_labels, copy_rng) if "near-duplicates" in plant else {}
    return _Plan(labels, true_labels, numbers, copy_of)


def _check(images: int, seed: int, plant: Collection[str], size: int) -> None:
    """Refuse what cannot be drawn."""
    if images < MIN_IMAGES:
        raise InvalidChoice(f"`images` must be at least {MIN_IMAGES}, one for each class, received: {images}")
    if seed < 0:
        raise InvalidChoice(f"`seed` must not be negative, received: {seed}")
    if size < MIN_SIZE:
        raise InvalidChoice(f"`size` must be at least {MIN_SIZE} pixels, received: {size}")
    if isinstance(plant, str) or not set(plant) <= set(PLANTS):
        raise InvalidChoice(f"`plant` must be a collection of names from {', '.join(PLANTS)}, received: {plant!r}")


# Sets of images


def class_counts(images: int) -> dict[str, int]:
    """Images per class in a set of `images`: out of balance as in the real database, at least one of each."""
    _check(images, 0, (), MIN_SIZE)
    total = sum(DATABASE_COUNTS.values())
    covid, viral = (max(1, round(images * DATABASE_COUNTS[label] / total)) for label in ("COVID", "Viral Pneumonia"))
    return {"COVID": covid, "Normal": images - covid - viral, "Viral Pneumonia": viral}


def image_at(
    index: int, images: int = 600, seed: int = 0, plant: Collection[str] = (), size: int = 256
) -> PhantomImage:
    """Image `index` of the set that `generate` yields for the same arguments; images can be made in any order.

    Raises:
        InvalidChoice: an argument breaks a rule (a ValueError).
    """
    from covid_core.synthetic.anatomy import LESIONS, make_image  # imports scipy

    _check(images, seed, plant, size)
    if not 0 <= index < images:
        raise InvalidChoice(f"`index` must be between 0 and {images - 1}, received: {index}")
    plan = _plan(images, seed, frozenset(plant))
    label, true_label = plan.labels[index], plan.true_labels[index]
    name = f"{label}-{plan.numbers[index]}"
    if index in plan.copy_of:
        original = image_at(plan.copy_of[index], images, seed, plant, size)
        copied = _copy_slightly_changed(original, np.random.default_rng((seed, index)))
        return replace(copied, name=name, plants=(*original.plants, "near-duplicates"))
    drawn = make_image(true_label, np.random.default_rng((seed, index)), size, CLEAR_LESIONS in plant)
    pixels = drawn.pixels
    plants = ["swapped-labels"] if label != true_label else []
    if CLEAR_LESIONS in plant and true_label in LESIONS:
        plants.append(CLEAR_LESIONS)
    if "brightness-shift" in plant:
        pixels = np.clip(pixels.astype(np.int16) + BRIGHTNESS_SHIFT[true_label], 0, 255).astype(np.uint8)
        plants.append("brightness-shift")
    if "corner-tag" in plant:
        pixels = burn_tag(pixels, true_label)
        plants.append("corner-tag")
    return PhantomImage(name, label, true_label, drawn.site, pixels, drawn.lung_mask, drawn.lesion, tuple(plants))


def drawn_squares(images: int, side: int) -> np.ndarray:
    """All images of a set as squares, on which networks are compared: uint8 (images, side, side)."""
    drawn = (image_at(index, images, size=max(side, MIN_SIZE)).pixels for index in range(images))
    return np.stack([to_square(image, side) for image in drawn])
