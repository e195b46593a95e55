"""What does a finished model read? Its audit on its own test images, made by a job and kept with the run.

The exported model (no TensorFlow) answers the test images as they are, with parts covered (``audit.model.occlusions``)
and with the lungs of other images (``audit.model.composites``); ``audit.model.evidence`` holds the rule by which one
verdict comes of it. Lung masks are the data set's own, else outlines by the segmenter that serves, never both
(``inference.lungs.of_images``); without either, only what needs none is done, and the verdict is "cannot say".

At most MOST_IMAGES test images, drawn at random, are used.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from covid_core.audit.model import evidence, occlusions
from covid_core.audit.model.composites import swapped
from covid_core.audit.model.evidence import Conflict, Subgroup
from covid_core.data.dataset import Dataset
from covid_core.data.masks import OWN_IN_SHORT, OWN_MASKS
from covid_core.data.pixels import decode_rows
from covid_core.data.split import TEST
from covid_core.errors import RunDamaged
from covid_core.evaluation import resampling
from covid_core.evaluation.metrics import wilson_of_groups
from covid_core.formatting import interval, p_in_words, plural
from covid_core.images.codec import GreyImage
from covid_core.inference import lungs as outlines
from covid_core.inference.lung_share import LungShares, share_inside, share_over
from covid_core.inference.predictor import Predictor
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.runs.store import Run
from covid_core.work import Progress, part_of, silent
from covid_core.workspace import Workspace

AUDIT = "model"
LOOK = "audit of the model"  # as it is noted among the looks at test images
MOST_IMAGES = 1000
MOST_COMPOSITES = 1500
PER_CELL = (12, 150)  # composites of each combination of two classes: at least, at most
AT_ONCE = 64  # images between two reports of progress
MAP_SIDE = 56  # places along a side at which heat maps meet masks
OWN = OWN_MASKS
OUTLINED = "lungs outlined by a segmenter"  # as an earlier version said, also beside the first
OUTLINED_IN_SHORT = "outlines by a segmenter"


@dataclass(frozen=True)
class AuditImages:
    """The images of an audit, uint8 (n, size, size), their lungs, bool of the same shape, where ``has_lungs``, and the
    words ``by`` which they may be told apart."""

    pixels: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None
    lungs: np.ndarray
    has_lungs: np.ndarray
    by: dict[str, np.ndarray]
    masks_from: str
    of_all: int
    masks_in_short: str = ""


def make(workspace: Workspace, run: Run, progress: Progress = silent) -> dict[str, Any]:
    """Audit a finished run and keep what was found. Returns it, as ``known`` does.

    Raises DataError where the data set has changed or an image is gone, RunDamaged, and what ``progress`` raises.
    """
    dataset = dataset_of(workspace, run)
    predictor = Predictor.open(workspace, run, with_reference=False)
    head = run.result["head_sha256"]
    images = _images(workspace, run, dataset, part_of(progress, 0.0, 0.3))
    run.note_look(LOOK)
    found = audited(predictor, images, part_of(progress, 0.3, 0.99))
    run.write_audit(AUDIT, {"head_sha256": head, "made": time.time(), **found})
    return found


def known(run: Run) -> dict[str, Any] | None:
    """The audit that is kept with the run; None where none was made of this head. Raises RunDamaged.

    Keys: verdict, in_words, images, of_all, masks, covers (a list), effects, heat, subgroups (a list), notes.
    """
    record = run.audit(AUDIT)
    if record is None or record.get("head_sha256") != run.result.get("head_sha256"):
        return None
    if record.get("verdict") not in (evidence.LUNGS, evidence.FRAME, evidence.UNKNOWN) or "in_words" not in record:
        raise RunDamaged(f"{run.name}: the audit of its model is damaged.")
    return record


def masks_in_short(found: Mapping[str, Any]) -> str:
    """Whose lung masks an audit used, in a few words, also of one that an earlier version kept; nothing without any."""
    if "masks_in_short" in found:
        return str(found["masks_in_short"])
    told = str(found.get("masks", ""))
    return " and ".join(short for short, words in ((OWN_IN_SHORT, OWN), (OUTLINED_IN_SHORT, OUTLINED)) if words in told)


def audited(predictor: Predictor, images: AuditImages, progress: Progress = silent) -> dict[str, Any]:
    """All figures of an audit, as plain values for JSON: undefined numbers are None."""
    k = len(predictor.classes)
    plain = _answers(predictor, images.pixels, part_of(progress, 0.0, 0.1), occlusions.AS_THEY_ARE)
    rows = [
        {
            "name": occlusions.AS_THEY_ARE,
            "destroys": "nothing",
            **_figures(images, np.arange(len(plain)), plain, plain, k),
        }
    ]
    inside = np.flatnonzero(images.has_lungs)
    for number, cover in enumerate(occlusions.COVERS):
        at = inside if cover.needs_lungs else np.arange(len(plain))
        step = part_of(progress, 0.1 + 0.07 * number, 0.17 + 0.07 * number)
        row = {"name": cover.name, "destroys": cover.destroys}
        if len(at):
            answered = _covered_answers(predictor, images, cover, at, step)
            rows.append({**row, **_figures(images, at, plain[at], answered, k)})
        else:
            rows.append({**row, "images": 0, "note": evidence.NO_MASKS})
    effects, why = _effects(predictor, images, inside, part_of(progress, 0.52, 0.8))
    as_it_is = evidence.balanced(images.labels[inside], plain[inside], k, _some(images.groups, inside))
    told = evidence.verdict(effects, as_it_is, k, why)
    heat = _heat(predictor, images, inside, part_of(progress, 0.8, 1.0))
    worst = evidence.subgroups(plain == images.labels, images.by, images.groups)
    return _plain(
        {
            "verdict": told.verdict,
            "in_words": told.in_words,
            "images": len(plain),
            "of_all": images.of_all,
            "with_lungs": len(inside),
            "masks": images.masks_from,
            "masks_in_short": images.masks_in_short,
            "largest": _largest(predictor.classes, images.labels),
            "covers": rows,
            "effects": None if effects is None else asdict(effects),
            "heat": asdict(heat),
            "heat_in_words": heat.in_words,
            "subgroups": [asdict(one) for one in worst],
            "worst_in_words": _worst_in_words(worst, images.groups is not None),
        }
    )


# Images


def _images(workspace: Workspace, run: Run, dataset: Dataset, progress: Progress) -> AuditImages:
    split = run.split()
    test = split.loc[split["part"] == TEST].reset_index(drop=True)
    of_all = len(test)
    chosen = np.sort(np.random.default_rng(0).permutation(of_all)[:MOST_IMAGES])
    test = test.iloc[chosen]
    rows = dataset.images.set_index("image_id").index.get_indexer(test["image_id"])
    size = run.spec.image_size
    progress(0.0, "Reading the test images")
    pixels = np.concatenate(
        [
            decode_rows(dataset, some, size)
            for some in _parts(rows, part_of(progress, 0, 0.4), "Reading the test images")
        ]
    )
    lungs = outlines.of_images(workspace, dataset, rows, part_of(progress, 0.4, 1.0), size)
    about = dataset.images.iloc[rows]
    by = {
        "source": about["source"].to_numpy(dtype=object),
        "image size": evidence.thirds(
            (about["width"] * about["height"]).to_numpy(), ("smallest third", "middle third", "largest third")
        ),
        "brightness": evidence.thirds(pixels.mean(axis=(1, 2)), ("darkest third", "middle third", "brightest third")),
    }
    labels = np.array([run.classes.index(label) for label in test["label"]], dtype=np.int32)
    groups = test["group"].to_numpy() if run.record.grouped else None
    masks_from, in_short = (lungs.whose, lungs.in_short) if lungs.known.any() else ("none", "")
    return AuditImages(pixels, labels, groups, lungs.masks, lungs.known, by, masks_from, of_all, in_short)


def _parts(rows: np.ndarray, progress: Progress, message: str) -> Iterator[np.ndarray]:
    """The rows some at a time, telling how far it is."""
    for start in range(0, len(rows), AT_ONCE):
        progress(start / len(rows), f"{message}: {start:,} of {len(rows):,}")
        yield rows[start : start + AT_ONCE]


# Figures


def _largest(classes: tuple[str, ...], labels: np.ndarray) -> dict[str, Any]:
    """The largest class of the audited images, and its share."""
    images = np.bincount(labels, minlength=len(classes))
    return {"label": classes[int(images.argmax())], "share": float(images.max() / images.sum())}


def _answers(predictor: Predictor, images: np.ndarray, progress: Progress, message: str) -> np.ndarray:
    """The class answered to each image, as a position."""
    parts = _parts(np.arange(len(images)), progress, f"Test images {message}")
    return np.concatenate([predictor.logits(images[some]).argmax(axis=1) for some in parts])


def _covered_answers(
    predictor: Predictor, images: AuditImages, cover: occlusions.Cover, at: np.ndarray, progress: Progress
) -> np.ndarray:
    found = []
    for some in _parts(at, progress, f"Test images, {cover.name}"):
        changed = cover.of(images.pixels[some], images.lungs[some])  # an unknown mask is empty and protects nothing
        found.append(predictor.logits(changed).argmax(axis=1))
    return np.concatenate(found)


def _figures(images: AuditImages, at: np.ndarray, plain: np.ndarray, answered: np.ndarray, k: int) -> dict[str, Any]:
    """Of some images, with their answers as they are and as they were changed."""
    labels, groups = images.labels[at], _some(images.groups, at)
    right, before = answered == labels, plain == labels
    drop = resampling.mean(before.astype(float) - right, groups, labels)
    return {
        "images": len(at),
        "accuracy": asdict(wilson_of_groups(right, groups)[0]),
        "balanced": asdict(evidence.balanced(labels, answered, k, groups)),
        "drop": asdict(drop),
        "same_answer": asdict(wilson_of_groups(answered == plain, groups)[0]),
    }


def _effects(
    predictor: Predictor, images: AuditImages, inside: np.ndarray, progress: Progress
) -> tuple[evidence.Effects | None, str]:
    """What follows the lungs and what the frame, or why that cannot be told."""
    if not len(inside):
        return None, evidence.NO_LUNGS
    k, labels = len(predictor.classes), images.labels[inside]
    fewest = int(np.bincount(labels, minlength=k).min())
    if fewest < evidence.LEAST_IMAGES:
        return None, (
            f"of one class {plural(fewest, 'test image has', 'test images have')} known lungs, and "
            f"{evidence.LEAST_IMAGES} are needed"
        )
    least, most = PER_CELL
    frames, lungs = evidence.pairs(labels, k, max(least, min(most, MOST_COMPOSITES // k**2)), np.random.default_rng(0))
    answered = []
    for some in _parts(np.arange(len(frames)), progress, "Images with the lungs of others"):
        of_frame, of_lungs = inside[frames[some]], inside[lungs[some]]
        made = swapped(images.pixels[of_frame], images.lungs[of_frame], images.pixels[of_lungs], images.lungs[of_lungs])
        answered.append(predictor.logits(made).argmax(axis=1))
    given = Conflict(labels, frames, lungs, np.concatenate(answered), k)
    return evidence.effects(given, _some(images.groups, inside)), ""


def _heat(predictor: Predictor, images: AuditImages, inside: np.ndarray, progress: Progress) -> LungShares:
    found = []
    for some in _parts(inside, progress, "Heat maps"):
        for at in some:
            heat = predictor.heat_map(GreyImage(images.pixels[at], "L"), "", (MAP_SIDE, MAP_SIDE))
            found.append(share_inside(heat, images.lungs[at]))
    return share_over(found, _some(images.groups, inside))


def _some(values: np.ndarray | None, at: np.ndarray) -> np.ndarray | None:
    return None if values is None else values[at]


# Words


def _worst_in_words(found: list[Subgroup], grouped: bool = False) -> str:
    if not found:
        return (
            f"No subgroup by source, size or brightness has {evidence.LEAST_SUBGROUP} test images, with as many others."
        )
    worst = found[0]
    figures = (interval(one.value, one.low, one.high) for one in (worst.accuracy, worst.others))
    against = "worse than" if worst.is_worse else "not told from"
    together = " Images that belong together count for fewer." if grouped else ""
    return (
        f"The worst of {plural(len(found), 'subgroup')} is {worst.by}: {worst.name} with {next(figures)} of "
        f"{plural(worst.accuracy.n, 'image')}, {against} the others' {next(figures)} "
        f"({p_in_words(worst.p)}, corrected for {len(found)} looks; classes may be mixed otherwise there).{together}"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value
