"""Where the lungs are in an image: the data set's own mask, or an outline by a small network that learned from masks.

The network scores pixels; the two largest patches above its threshold become the outline. Whether that is a pair of
lungs is then asked: an outline unlike those of the segmenter's own validation images is not given, and the reason is.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy  # loads scipy.ndimage when it is first used: 0.2 s that few need

from covid_core import derived, files
from covid_core.data import masks
from covid_core.data.dataset import Dataset, open_dataset
from covid_core.data.masks import OWN, LungMasks, Origin, own_lungs
from covid_core.data.pixels import SUMMARY_SIZE, open_pixels
from covid_core.derived import KEY_LENGTH
from covid_core.errors import CovidCoreError, RunDamaged, RunError
from covid_core.images.codec import GreyImage, resized_map, to_square
from covid_core.inference.network import LiteNetwork, Network
from covid_core.runs import segmenters
from covid_core.runs.segmenters import Segmenter
from covid_core.work import Progress, blocks, cores, ordered_map, silent
from covid_core.workspace import Workspace

FORMAT = 1  # of kept outlines; a change of how they are drawn or kept takes the next number
SURE = 0.9  # score from which a pixel counts as surely lung; below one less this, as surely none
SPECK = 0.002  # of the image; a smaller patch is no lung
CALL = 8  # images per call
AHEAD = 8  # images being outlined: what a stop loses

# How far an outline may be beyond what 98 % of the segmenter's validation images show, as they are and changed; a
# factor on either end. Set by looking at outlines of some 200 real images, drawn by a segmenter of synthetic images: at
# these limits most that were wrong are refused, and few of the others. Lungs of the lying are small: more for area.
MARGINS = {"area": 1.5, "balance": 1.25, "tilt": 1.25, "ragged": 1.25, "unsure": 1.5, "cut": 1.25}


@dataclass(frozen=True)
class Shape:
    """What an outline looks like, in plain numbers.

    ``area``: share of the image inside. ``balance``: area of the smaller lung over the larger one's, 0 where there is
    only one. ``tilt``: degrees by which the line between the lungs' middles is off the horizontal, 90 where there is
    only one. ``ragged``: length of the edge over that of two discs of the same area. ``unsure``: pixels that the
    network is not sure of, over pixels inside. ``cut``: share of the edge that lies on the image's border.
    """

    area: float
    balance: float
    tilt: float
    ragged: float
    unsure: float
    cut: float


@dataclass(frozen=True)
class Refusal:
    """Why an outline is not given: the ``figure`` of Shape that lies outside its limits, none where nothing in the
    image looks like a lung."""

    figure: str = ""
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class LungOutline:
    """The lungs of an image, or why they are not known.

    ``mask``: bool (height, width) at the image's size, None where no outline is given. ``origin``: what it rests on,
    None without a segmenter. ``refusal``: why the segmenter's outline is not given; ``error``: what is damaged.
    """

    mask: np.ndarray | None
    origin: Origin | None = None
    refusal: Refusal | None = None
    error: str = ""


@dataclass(frozen=True, eq=False)
class Lungs:
    """A segmenter that outlines lungs.

    ``network`` takes images, uint8 (n, size, size, 1); its first output is the score map, float32 (n, size, size).
    ``size`` is the side of its images in pixels, ``threshold`` the score above which a pixel is lung, ``limits`` the
    lowest and highest value of each figure of Shape at which an outline is given. ``origin`` is what its outlines rest
    on, ``key`` the network's hash, by which its outlines are kept.
    """

    network: Network
    size: int
    threshold: float
    limits: Mapping[str, Sequence[float]]
    origin: Origin | None = None
    key: str = ""

    @classmethod
    def open(cls, segmenter: Segmenter, opened: Callable[[Path], Network] = LiteNetwork) -> "Lungs":
        """Load a trained segmenter, whose network ``opened`` opens. Raises RunDamaged when its network is missing or
        not the one that was trained."""
        path, record = segmenter.network_path, segmenter.record
        if not path.is_file() or files.sha256_of(path) != record.network_sha256:
            raise RunDamaged(f"The segmenter {segmenter.id}: {path.name} is missing or was changed after training.")
        network, sha256 = opened(path), record.network_sha256
        return cls(network, record.size, record.threshold, record.limits, segmenter.origin, sha256)

    def outline(self, image: GreyImage) -> LungOutline:
        """The lungs of an image, or the reason why no outline is given: a wrong one would be worse than none."""
        (scores,) = scores_of(self.network, to_square(image.pixels, self.size)[None])
        mask = outlined(scores, self.threshold)
        if refusal := self.refusal(mask, scores):
            return LungOutline(None, self.origin, refusal)
        height, width = image.pixels.shape
        near = np.where(
            scipy.ndimage.binary_dilation(mask), scores, 0
        )  # enlarged and cut anew, so that the edge has no steps
        enlarged = resized_map(np.where(mask & (scores <= self.threshold), 1, near), width, height)
        return LungOutline(enlarged > self.threshold, self.origin)

    def refusal(self, mask: np.ndarray, scores: np.ndarray) -> Refusal | None:
        """Why an outline (s, s) is not given; None where it is one of lungs."""
        shape = shape_of(mask, scores)
        if shape is None:
            return Refusal()
        for name, (low, high) in self.limits.items():
            value = getattr(shape, name)
            if not low <= value <= high:
                return Refusal(name, value, low, high)
        return None


def serving(workspace: Workspace, dataset: str = "") -> Lungs:
    """The segmenter that ``segmenters.serving`` names, ready to outline. Raises RunDamaged."""
    return Lungs.open(segmenters.serving(workspace, dataset))


def outline_of(
    workspace: Workspace, image: GreyImage, dataset: str = "", image_id: str = "", opened: Lungs | None = None
) -> LungOutline:
    """The lungs of an image and whose outline it is, or why there is none.

    ``dataset`` is the id of the run's data set, which decides which segmenter serves; ``opened`` is that one, where it
    is open already. An image of that data set has an ``image_id``: its own mask then goes first. Raises RunDamaged,
    UnknownId, DataError.
    """
    if image_id:
        own = masks.mask_of(open_dataset(workspace, dataset).imported, image_id)  # left out or not, its mask stays
        if own is not None:
            return LungOutline(own, Origin(OWN))
    return (opened or serving(workspace, dataset)).outline(image)


def outline_or_why(*arguments: Any) -> LungOutline:
    """As ``outline_of``; a damaged mask or segmenter takes nothing else from the image."""
    try:
        return outline_of(*arguments)
    except CovidCoreError as error:
        return LungOutline(None, error=str(error))


def of_images(
    workspace: Workspace,
    dataset: Dataset,
    rows: Sequence[int],
    progress: Progress = silent,
    size: int = SUMMARY_SIZE,
) -> LungMasks:
    """The lungs of many images of a data set as squares: its own masks where any of its images has one, else outlines
    by the segmenter that serves. The two are never mixed: which images have a mask may go with their class.

    Raises RunDamaged, DataError.
    """
    if masks.has_mask(dataset).any():
        own = own_lungs(workspace, dataset, rows, progress, size)
        return own if own.available.any() else replace(own, reason="no usable mask")
    opened = serving(workspace, dataset.id)
    outlines, has_outline = outlined_images(workspace, dataset, rows, opened, progress)
    if size != SUMMARY_SIZE:
        outlines = np.stack([to_square(mask.astype(np.uint8) * 255, size) > 127 for mask in outlines])
        has_outline &= outlines.any(axis=(1, 2))
    return LungMasks(outlines, has_outline, opened.origin, None if has_outline.any() else "none outlined")


def of_images_or_why(
    workspace: Workspace, dataset: Dataset, rows: Sequence[int], progress: Progress = silent
) -> LungMasks:
    """As ``of_images``; where the segmenter that serves is damaged, no lungs are known, and that is the reason."""
    try:
        return of_images(workspace, dataset, rows, progress)
    except RunDamaged as error:
        none = np.zeros((len(rows), SUMMARY_SIZE, SUMMARY_SIZE), bool)
        return LungMasks(none, np.zeros(len(rows), bool), reason="damaged", error=str(error))


def outlined_images(
    workspace: Workspace, dataset: Dataset, rows: Sequence[int], opened: Lungs, progress: Progress = silent
) -> tuple[np.ndarray, np.ndarray]:
    """Outlines of some images of a data set, bool (n, SUMMARY_SIZE, SUMMARY_SIZE), and of which images there is one.

    What a segmenter has outlined is kept beside the images' pixels, also when the work is stopped.
    """
    imported, pixels = dataset.imported, open_pixels(workspace, dataset, SUMMARY_SIZE)
    names = dataset.images["image_id"].to_numpy()[np.asarray(rows, int)]
    places = imported.images.set_index("image_id").index.get_indexer(names)
    path = workspace.pixels / f"{imported.pixels_key[:32]}-lungs-{opened.key[:KEY_LENGTH]}-{FORMAT}.npz"
    shape = (len(imported.images), SUMMARY_SIZE**2 // 8)  # outlines as bits, empty where there is none
    stored = derived.read_arrays(path, ["packed", "asked"])
    if stored is None or stored["packed"].shape != shape or stored["asked"].shape != shape[:1]:
        stored = {"packed": np.zeros(shape, np.uint8), "asked": np.zeros(shape[0], bool)}
    packed, tried = stored["packed"], stored["asked"]
    missing = np.flatnonzero(~tried[places])

    def mask_of(place: int) -> np.ndarray | None:
        return opened.outline(GreyImage(np.asarray(pixels[rows[place]]), "L")).mask

    try:
        with ThreadPoolExecutor(cores()) as pool:
            for done, mask in enumerate(ordered_map(pool, mask_of, missing.tolist(), ahead=AHEAD)):
                if done % 20 == 0:
                    progress(done / len(missing), f"Outlining lungs: {done:,} of {len(missing):,}")
                place = places[missing[done]]
                if mask is not None:
                    packed[place] = np.packbits(mask)
                tried[place] = True
    finally:
        if len(missing):
            derived.write_arrays(workspace, path, stored, optional=True)
    masks_of = np.unpackbits(packed[places], axis=1).astype(bool).reshape(-1, SUMMARY_SIZE, SUMMARY_SIZE)
    return masks_of, masks_of.any(axis=(1, 2))


def scores_of(network: Network, squares: np.ndarray) -> np.ndarray:
    """How much each pixel looks like lung, float32 in [0, 1], of images uint8 (n, size, size): the same shape."""
    return np.concatenate([network.run(np.ascontiguousarray(part)[..., None])[0] for part in blocks(squares, CALL)])


def outlined(scores: np.ndarray, threshold: float) -> np.ndarray:
    """The two largest patches of a score map (s, s) above a threshold, thin bridges cut, holes filled: bool (s, s)."""
    patches, count = scipy.ndimage.label(scipy.ndimage.binary_opening(scores > threshold))
    sizes = np.bincount(patches.ravel(), minlength=count + 1)[1:]
    largest = [1 + place for place in np.argsort(-sizes, kind="stable")[:2] if sizes[place] >= SPECK * scores.size]
    return scipy.ndimage.binary_fill_holes(np.isin(patches, largest))


def shape_of(mask: np.ndarray, scores: np.ndarray) -> Shape | None:
    """The figures of an outline, bool (s, s), and of the score map that it comes from; None where it is empty."""
    inside = int(np.count_nonzero(mask))
    if not inside:
        return None
    balance, tilt = _side_by_side(mask)
    padded = np.pad(mask, 1)  # what reaches the border has its edge there
    edge = (padded & ~scipy.ndimage.binary_erosion(padded))[1:-1, 1:-1]
    middle = (slice(1, -1), slice(1, -1))
    length = np.count_nonzero(edge)
    return Shape(
        area=inside / mask.size,
        balance=balance,
        tilt=tilt,
        ragged=length / (2 * math.sqrt(2 * math.pi * inside)),
        unsure=np.count_nonzero((scores > 1 - SURE) & (scores < SURE)) / inside,
        cut=(length - np.count_nonzero(edge[middle])) / length,
    )


def _side_by_side(mask: np.ndarray) -> tuple[float, float]:
    """Balance and tilt of the two largest patches."""
    patches, count = scipy.ndimage.label(mask)
    sizes = np.bincount(patches.ravel(), minlength=count + 1)[1:]
    if count < 2:
        return 0.0, 90.0
    large, small = np.argsort(-sizes, kind="stable")[:2]
    (top, left), (bottom, right) = scipy.ndimage.center_of_mass(mask, patches, (large + 1, small + 1))
    return float(sizes[small] / sizes[large]), math.degrees(math.atan2(abs(bottom - top), abs(right - left)))


def limits_of(shapes: Sequence[Shape]) -> dict[str, tuple[float, float]]:
    """What outlines may look like, from those of validation images: the 1st and 99th percentile with MARGINS.

    Only area has a lower and an upper end that count; of the others, one end is the best there can be. Raises RunError
    where there are no outlines.
    """
    if not shapes:
        raise RunError("The segmenter found no lungs in its own validation images; its masks may be of something else.")
    limits = {}
    for name, margin in MARGINS.items():
        low, high = np.percentile([getattr(shape, name) for shape in shapes], (1, 99)).tolist()
        limits[name] = low / margin if name in ("area", "balance") else 0.0, high * margin
    return limits | {"area": (limits["area"][0], min(1.0, limits["area"][1])), "balance": (limits["balance"][0], 1.0)}
