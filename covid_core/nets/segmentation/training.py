"""One segmenter from a data set's masks to its published files: split, fit, export, check, figures on test images."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from covid_core import files
from covid_core.data import duplicates, masks
from covid_core.data.dataset import Dataset, open_dataset
from covid_core.data.pixels import SUMMARY_SIZE, open_pixels
from covid_core.data.split import PARTS, TEST, TRAIN, VALIDATION, make_split
from covid_core.errors import DataError, RunError
from covid_core.evaluation import metrics, overlap, resampling
from covid_core.evaluation.metrics import Measure
from covid_core.formatting import plural
from covid_core.images.codec import GreyImage
from covid_core.inference import lungs
from covid_core.inference.lungs import Lungs
from covid_core.inference.network import LiteNetwork
from covid_core.nets import devices, export, publishing
from covid_core.nets.segmentation import segmenter
from covid_core.nets.segmentation.segmenter import Learned, Pairs
from covid_core.runs import segmenters
from covid_core.specs import SplitSpec
from covid_core.work import Progress, part_of, silent
from covid_core.workspace import Workspace, new_id

SIZE = SUMMARY_SIZE  # pixels; import has decoded the images at this size already
ALL = "image"  # the split's label of every image: an outline has no class
PARITY_IMAGES = 16
PARITY_LIMIT = 1e-3  # of a score between Keras and LiteRT; sums in another order differ by 1e-5 in what we tried
THRESHOLDS = tuple(np.round(np.arange(0.2, 0.81, 0.05), 2).tolist())
LEAST_DICE = 0.5  # on validation images; what agrees less with the masks is no outline
WORST = 5  # percentile of the test images' Dice that stands for the worst of them


def train(workspace: Workspace, identifier: str, seed: int, progress: Progress) -> str:
    """Train a segmenter on the masks of a data set and publish it. Returns its id.

    Images that belong together stay in one part; of more than MOST_IMAGES images with a mask, so many are drawn. A stop
    in the first epoch leaves nothing behind; a later one ends the training, and the best epoch so far is published.
    Raises UnknownId, DataError, RunError, and whatever ``progress`` raises.
    """
    begin = time.monotonic()
    dataset = open_dataset(workspace, identifier)
    split, left_out = _split(workspace, dataset, seed, part_of(progress, 0.0, 0.05))
    pairs = {part: _pairs(workspace, dataset, split, part) for part in PARTS}
    device = devices.available().label
    validation = pairs[VALIDATION].with_changed(seed)
    learned = segmenter.fit(pairs[TRAIN], validation, seed, part_of(progress, 0.08, 0.92))
    if learned.was_stopped:
        progress = silent  # what is left takes seconds, and would be stopped again
    name = new_id(f"lungs {dataset.name}")
    with files.published_folder(workspace.segmenters / name) as folder:
        progress(0.93, "Exporting the network")
        parity = exported(learned, folder / segmenters.NETWORK, pairs[TEST].images[:PARITY_IMAGES])
        progress(0.96, "Outlining the test images")
        network = LiteNetwork(folder / segmenters.NETWORK)
        decided = chosen(network, validation)
        test = pairs[TEST]
        first = GreyImage(test.images[0], "L")
        opened = Lungs(network, SIZE, decided["threshold"], decided["limits"])
        record = {
            "dataset": {
                "id": dataset.id,
                "name": dataset.name,
                "version": dataset.version,
                "synthetic": dataset.is_synthetic,
            },
            "images": {part: len(pairs[part]) for part in PARTS},
            "left_out": left_out,
            "seed": seed,
            "size": SIZE,
            **decided,
            **figures(opened, decided["threshold"], test, split[split["part"] == TEST]),
            "same_for_all_dice": same_for_all(pairs[TRAIN], test),
            "milliseconds_per_image": publishing.median_milliseconds(lambda: opened.outline(first)),
            "validation_dices": [round(value, 4) for value in learned.dices],
            "best_epoch": learned.best_epoch,
            "was_stopped": learned.was_stopped,
            "parameters": int(learned.network.count_params()),
            "network_bytes": (folder / segmenters.NETWORK).stat().st_size,
            "parity": parity,
            "device": device,
            "versions": publishing.versions(),
        }
        progress(0.99, "Publishing the segmenter")
        segmenters.write_record(folder, {**record, "seconds": round(time.monotonic() - begin, 1)})
    return name


def _split(workspace: Workspace, dataset: Dataset, seed: int, progress: Progress) -> tuple[pd.DataFrame, int]:
    """Images with a usable mask, with their row, class, group and part; and how many masks could not be used."""
    images = duplicates.with_groups(workspace, dataset, progress)
    images = images.assign(row=np.arange(len(images)), own_label=images["label"], label=ALL)[masks.has_mask(dataset)]
    segmenters.check(dataset.name, len(images))
    spec = SplitSpec(images_per_class=segmenters.MOST_IMAGES, seed=seed)
    split = make_split(images, (ALL,), spec).merge(images[["image_id", "row", "own_label"]], on="image_id")
    squares, usable = masks.squares(dataset, split["row"], SIZE, progress)
    lacking = [part for part in PARTS if not usable[(split["part"] == part).to_numpy()].any()]
    if lacking:
        raise DataError(
            f"{plural(int((~usable).sum()), 'lung mask')} of {dataset.name} cannot be used: missing, empty, unreadable "
            "or of other proportions than the image. Too few are left to learn from."
        )
    return split.assign(mask=list(squares))[usable].reset_index(drop=True), int((~usable).sum())


def _pairs(workspace: Workspace, dataset: Dataset, split: pd.DataFrame, part: str) -> Pairs:
    chosen = split[split["part"] == part]
    images = open_pixels(workspace, dataset, SIZE)[chosen["row"].to_numpy()]
    return Pairs(np.asarray(images), np.stack(chosen["mask"].tolist()))


def exported(learned: Learned, path: Path, images: np.ndarray) -> dict[str, Any]:
    """Publish the network as a LiteRT file, and compare its scores with Keras's. Raises RunError where they differ."""
    traced = export.export_network(learned.network, path)
    (scores,) = traced(images[..., None])
    difference = float(np.abs(lungs.scores_of(LiteNetwork(path), images) - scores).max())
    if not difference < PARITY_LIMIT:
        raise RunError(f"The exported segmenter differs from Keras's by {difference:.2g} in a score.")
    return {"largest_difference": difference, "images": len(images)}


def chosen(network: LiteNetwork, validation: Pairs) -> dict[str, Any]:
    """What validation images decide: the threshold with the best mean Dice, and what an outline may look like.

    Raises RunError where the best is not even an outline.
    """
    scores = lungs.scores_of(network, validation.images)
    dices = {one: float(overlap.dice(scores > one, validation.masks).mean()) for one in THRESHOLDS}
    threshold = max(dices, key=dices.__getitem__)
    if dices[threshold] < LEAST_DICE:
        raise RunError(
            f"The segmenter has not learned to outline: its Dice on validation images is {dices[threshold]:.2f}. Are "
            "the masks those of lungs, and are there enough of them?"
        )
    shapes = [lungs.shape_of(lungs.outlined(one, threshold), one) for one in scores]
    return {
        "threshold": threshold,
        "validation_dice": dices[threshold],
        "limits": lungs.limits_of([shape for shape in shapes if shape]),
    }


def figures(opened: Lungs, threshold: float, test: Pairs, images: pd.DataFrame) -> dict[str, Any]:
    """How well outlines agree with the masks of images that nothing was chosen by, at SIZE pixels."""
    scores = lungs.scores_of(opened.network, test.images)
    outlines = np.stack([lungs.outlined(one, threshold) for one in scores])
    refused = sum(bool(opened.refusal(*pair)) for pair in zip(outlines, scores, strict=True))
    dices, groups = overlap.dice(outlines, test.masks), images["group"].to_numpy()
    labels = images["own_label"].to_numpy()
    return {
        "dice": _as_record(resampling.mean(dices, groups)),
        "iou": _as_record(resampling.mean(overlap.iou(outlines, test.masks), groups)),
        "worst_dice": float(np.percentile(dices, WORST)),
        "refused": _as_record(metrics.wilson(refused, len(outlines))),
        "by_class": {
            str(label): {"dice": float(dices[labels == label].mean()), "n": int((labels == label).sum())}
            for label in np.unique(labels)
        },
    }


def same_for_all(train: Pairs, test: Pairs) -> float:
    """Mean Dice of one outline for all images, where most training masks have lung: what their place alone reaches."""
    usual = np.broadcast_to(train.masks.mean(axis=0) > 0.5, test.masks.shape)
    return float(overlap.dice(usual, test.masks).mean())


def _as_record(measure: Measure) -> dict[str, float]:
    return {name: getattr(measure, name) for name in ("value", "low", "high", "n")}
