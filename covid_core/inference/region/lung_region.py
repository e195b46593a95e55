"""The box around the lungs: outlined, cut out and stretched by one function, for training and prediction alike.

Every image starts as a square of ``TrainingSpec.whole`` pixels a side, twice those that the network takes: a box of
half the image's width is not enlarged. The segmenter outlines the lungs of that square, and the box encloses the
outline with MARGIN of its width and height on each side. It is stretched to a square, as whole images are: the frame
stays small, and the shape of a chest, which differs between hospitals, is not to be read from it.

A data set's own masks are not used, for new images have none. Where there is no outline, or its box is smaller than
LEAST, the middle of the image takes its place (FALLBACK) in tests: a training leaves these images out and counts them
by class, and a new image is refused.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from covid_core import cache, files
from covid_core.data.dataset import Dataset
from covid_core.data.masks import LungMasks
from covid_core.data.pixels import decode_rows
from covid_core.derived import KEY_LENGTH
from covid_core.images.codec import to_squares
from covid_core.images.regions import Box
from covid_core.inference.lungs import Lungs, Refusal, outlined, scores_of
from covid_core.inference.network import LiteNetwork, Network
from covid_core.runs import segmenters
from covid_core.work import Progress, blocks, cores, silent
from covid_core.workspace import Workspace

MARGIN = 0.05
LEAST = 0.3  # of the image's side; what 720 real images have is larger
FALLBACK = Box.centre(0.8)  # about what a box with its margin has in real images: 0.84 of the width, 0.77 of the height
SMALL = "box"  # ``figure`` of a Refusal, beside those of ``lungs.Shape``
FORMAT = 1  # of kept squares; a change of anything above takes the next number
AT_ONCE = 32  # images between two reports of progress
NEW, OUTLINED, REFUSED = range(3)  # states of a kept row


@dataclass(frozen=True)
class Regions:
    """What a network is shown of some images: ``squares``, uint8 (n, size, size), and the ``boxes`` that they fill.
    ``refusals`` say why there was no outline, so that the box is FALLBACK; None where there was one."""

    squares: np.ndarray
    boxes: tuple[Box, ...]
    refusals: tuple[Refusal | None, ...]

    @classmethod
    def of_whole(cls, squares: np.ndarray, box: Box) -> "Regions":
        """Of networks that take whole squares, and cut the same ``box`` out of each by themselves, or none."""
        return cls(squares, (box,) * len(squares), (None,) * len(squares))


@dataclass(frozen=True, eq=False)
class LungRegion:
    """The box around the lungs, for a network of ``size`` pixels a side. ``key`` names the segmenter and all that
    decides a box. ``fixed``: the box that all images have, in place of their own."""

    lungs: Lungs
    size: int
    key: str
    fixed: Box | None = None

    @classmethod
    def open(cls, folder: Path, size: int, opened: Callable[[Path], Network] = LiteNetwork) -> "LungRegion":
        """By the segmenter that lies in a folder, whose network ``opened`` opens. Raises RunDamaged."""
        segmenter = segmenters.in_folder(folder)
        digest = files.sha256_of(segmenter.record_path)
        return cls(Lungs.open(segmenter, opened), size, f"lungs-{digest[:KEY_LENGTH]}-{FORMAT}")

    def of(self, squares: np.ndarray) -> Regions:
        """What the network is shown of images, uint8 (n, side, side)."""
        if self.fixed is not None:
            pairs = [(self.fixed, None)] * len(squares)
        else:
            small = to_squares(list(squares), self.lungs.size)
            pairs = [self._box(scores) for scores in scores_of(self.lungs.network, small)]
        boxes, refusals = zip(*pairs, strict=True)
        cut = [box.cut(square, self.size) for box, square in zip(boxes, squares, strict=True)]
        return Regions(np.stack(cut), boxes, refusals)

    def held(self, square: np.ndarray) -> "LungRegion":
        """The same with the box of one image, uint8 (side, side), whatever changes in it."""
        return replace(self, fixed=self.of(square[None]).boxes[0])

    def _box(self, scores: np.ndarray) -> tuple[Box, Refusal | None]:
        mask = outlined(scores, self.lungs.threshold)
        if refusal := self.lungs.refusal(mask, scores):
            return FALLBACK, refusal
        box = Box.around(mask, MARGIN)
        if box.shortest < LEAST:
            return FALLBACK, Refusal(SMALL, box.shortest, LEAST, 1.0)
        return box, None


@dataclass(frozen=True, eq=False)
class CutImages:
    """What a network is shown of a data set's images: ``pixels``, uint8 (n, size, size), ``boxes``, float32 (n, 4), and
    whether they are ``outlined``; of those rows that were wanted."""

    pixels: np.ndarray
    boxes: np.ndarray
    outlined: np.ndarray

    def box(self, row: int) -> Box:
        return Box(*self.boxes[row].tolist())


def cut_images(
    workspace: Workspace,
    dataset: Dataset,
    region: LungRegion,
    whole: int,
    rows: np.ndarray,
    progress: Progress = silent,
) -> CutImages:
    """The images at ``rows`` of a data set by their boxes, cut out of squares of ``whole`` pixels a side.

    They are kept beside the pixels, one row per image, so that stopped work goes on from there. Raises DataError when
    an image is gone or was changed, and NoRoom.
    """
    path = workspace.pixels / f"{dataset.pixels_key[:32]}-{region.key}-{region.size}.u8"
    table = _table(path, len(dataset.images), region.size)
    missing = rows[table["state"][rows] == NEW]
    cache.make_room(workspace, table.dtype.itemsize * len(missing), needed=[path])
    done = 0
    for some, squares in _decoded(dataset, missing, whole):
        regions = region.of(squares)
        table["pixels"][some] = regions.squares
        table["box"][some] = [(box.left, box.top, box.right, box.bottom) for box in regions.boxes]
        table["state"][some] = [OUTLINED if refusal is None else REFUSED for refusal in regions.refusals]  # last
        done += len(some)
        progress(done / len(missing), f"Outlining lungs: {done:,} of {len(missing):,}")
    table.flush()
    cache.touch(path)
    return CutImages(table["pixels"], table["box"], table["state"] == OUTLINED)


def exchangeable(boxes: Sequence[Box], lungs: LungMasks, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of images with these boxes and lungs, the ``rows`` of those whose lungs are known, and their lungs in the box:
    bool (n, side, side)."""
    masks = np.stack([box.cut_mask(mask) for box, mask in zip(boxes, lungs.masks, strict=True)])
    usable = lungs.available & masks.any(axis=(1, 2))
    return rows[usable], masks[usable]


def _table(path: Path, images: int, size: int) -> np.memmap:
    row = np.dtype([("pixels", np.uint8, (size, size)), ("box", np.float32, 4), ("state", np.uint8)])
    if not path.exists() or path.stat().st_size != images * row.itemsize:
        with files.published(path) as temporary:
            files.allocate(temporary, images * row.itemsize)  # zeros, and so NEW
    return np.memmap(path, row, "r+", shape=(images,))


def _decoded(dataset: Dataset, rows: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Some rows at a time and their images as squares, decoded on all cores."""
    decode: Callable[[Sequence[int]], np.ndarray] = partial(decode_rows, dataset, size=size)
    with ThreadPoolExecutor(cores()) as pool:
        for some in blocks(rows, AT_ONCE):
            yield some, np.concatenate(list(pool.map(decode, blocks(some, -(-len(some) // cores())))))
