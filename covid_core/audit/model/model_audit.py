"""What does a finished model read? Its audit on its own test images, made by a job and kept with the run.

The exported model (no TensorFlow) answers the test images as they are, with parts covered and
with the lungs of other images (``audit.model.occlusions``); ``audit.model.evidence`` holds the rule by which one
verdict comes of it. Lung masks are the data set's own, else outlines by the segmenter that serves, never both
(``inference.lungs.of_images``); where these know too few lungs, a fixed oval takes their place in the verdict, which
then may be "reads the frame" and never "reads the lungs".

At most MOST_IMAGES test images, drawn at random, are used.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from covid_core.audit.model import evidence, occlusions
from covid_core.audit.model.evidence import Conflict
from covid_core.data.dataset import Dataset
from covid_core.data.masks import OVAL, Origin
from covid_core.data.pixels import decode_rows
from covid_core.data.split import TEST
from covid_core.errors import RunDamaged
from covid_core.evaluation import resampling
from covid_core.evaluation.metrics import Measure, wilson_of_groups
from covid_core.files import without_nan
from covid_core.images import inpainting
from covid_core.images.codec import GreyImage
from covid_core.inference import lungs as outlines
from covid_core.inference.heatmap import LungShares, share_inside, share_over
from covid_core.inference.predictor import Predictor
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.runs.store import Run
from covid_core.work import Progress, part_of, silent
from covid_core.workspace import Workspace

AUDIT = "model"
LOOK = "audit of the model"  # as it is noted among the looks at test images
BORDER = "border only"  # of ``occlusions.COVERS``
MOST_IMAGES = 1000
MOST_COMPOSITES = 1500
PER_CELL = (12, 150)  # composites of each combination of two classes: at least, at most
OCCLUDED = 24  # images whose heat maps are made by occlusion, of those with lungs
HEAT_MAP = 3  # times as long as a prediction
AT_ONCE = 64  # images between two reports of progress
MAP_SIDE = 56  # places along a side at which heat maps meet masks


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
    origin: Origin | None
    of_all: int

    def covered(self, cover: occlusions.Cover, at: np.ndarray) -> np.ndarray:
        """Some of the images with parts covered; an unknown lung mask is empty and protects nothing."""
        return cover.of(self.pixels[at], self.lungs[at])


def make(workspace: Workspace, run: Run, progress: Progress = silent) -> dict[str, Any]:
    """Audit a finished run and keep what was found. Returns it, as ``stored`` does.

    Raises DataError where the data set has changed or an image is gone, RunDamaged, and what ``progress`` raises.
    """
    dataset = dataset_of(workspace, run)
    predictor = Predictor.open(workspace, run, with_reference=False)
    head = run.result["head_sha256"]
    images = _images(workspace, run, dataset, part_of(progress, 0.0, 0.3))
    run.note_view(LOOK)
    audit = audited(predictor, images, part_of(progress, 0.3, 0.99))
    run.write_audit(AUDIT, {"head_sha256": head, "made": time.time(), **audit})
    return audit


def stored(run: Run) -> dict[str, Any] | None:
    """The audit that is kept with the run; None where none was made of this head. Raises RunDamaged.

    Keys: verdict, why (see ``evidence.verdict``), images, of_all, with_lungs, lungs_from (a ``masks.Origin``), largest,
    covers (a list), effects, heat, subgroups (a list), grouped. Earlier versions have sentences in place of why,
    grouped and lungs_from.
    """
    record = run.audit(AUDIT)
    if record is None or record.get("head_sha256") != run.result.get("head_sha256"):
        return None
    if record.get("verdict") == "cannot say":  # of an earlier version
        record["verdict"] = evidence.UNKNOWN
    is_verdict = record.get("verdict") in (evidence.LUNGS, evidence.FRAME, evidence.UNKNOWN)
    if not is_verdict or not {"why", "in_words"} & set(record):
        raise RunDamaged(f"{run.name}: the audit of its model is damaged.")
    return record


def audited(predictor: Predictor, images: AuditImages, progress: Progress = silent) -> dict[str, Any]:
    """All figures of an audit, as plain values for JSON: undefined numbers are None."""
    k, everyone = len(predictor.classes), np.arange(len(images.pixels))
    single, pairs, heats = (1 + len(occlusions.COVERS)) * len(everyone), _per_cell(k) * k**2, HEAT_MAP * len(everyone)
    covered_at, paired_at = single / (single + pairs + heats), (single + pairs) / (single + pairs + heats)
    each = covered_at / (1 + len(occlusions.COVERS))
    step = part_of(progress, 0.0, each)
    plain = _answers(predictor, everyone, images.pixels.__getitem__, step, f"Test images {occlusions.AS_THEY_ARE}")
    as_they_are = {"name": occlusions.AS_THEY_ARE, "destroys": "nothing"}
    rows = [{**as_they_are, **_figures(images, everyone, plain, plain, k)}]
    inside = np.flatnonzero(images.has_lungs)
    for number, cover in enumerate(occlusions.COVERS):
        at = inside if cover.needs_lungs else everyone
        row = {"name": cover.name, "destroys": cover.destroys}
        if len(at):
            step = part_of(progress, each * (1 + number), each * (2 + number))
            made = partial(images.covered, cover)
            covered = _answers(predictor, at, made, step, f"Test images, {cover.name}")
            rows.append({**row, **_figures(images, at, plain[at], covered, k)})
        else:
            rows.append({**row, "images": 0})
    step, origin = part_of(progress, covered_at, paired_at), images.origin
    if np.bincount(images.labels[inside], minlength=k).min() >= evidence.LEAST_IMAGES:
        effects = _effects(predictor, images, inside, step)
        as_it_is = evidence.balanced(images.labels[inside], plain[inside], k, _some(images.groups, inside))
        verdict, why = evidence.verdict(effects, as_it_is, k)
    else:
        ovals = np.broadcast_to(occlusions.oval(images.pixels.shape[1]), images.pixels.shape)
        effects, origin = _effects(predictor, replace(images, lungs=ovals), everyone, step), Origin(OVAL)
        as_it_is, border = (Measure(**_row_of(rows, name)["balanced"]) for name in (occlusions.AS_THEY_ARE, BORDER))
        verdict, why = evidence.verdict_without_outlines(effects, as_it_is, border, k)
    of_class = np.bincount(images.labels, minlength=k)
    heat = _heat(predictor, images, inside, part_of(progress, paired_at, 1.0))
    subgroups = evidence.subgroups(plain == images.labels, images.by, images.groups)
    return without_nan(
        {
            "verdict": verdict,
            "why": why,
            "images": len(plain),
            "of_all": images.of_all,
            "with_lungs": len(inside),
            "lungs_from": None if origin is None else asdict(origin),
            "largest": {"label": predictor.classes[int(of_class.argmax())], "share": of_class.max() / of_class.sum()},
            "covers": rows,
            "effects": None if effects is None else asdict(effects),
            "heat": asdict(heat),
            "subgroups": [{**asdict(one), "is_worse": one.is_worse} for one in subgroups],
            "grouped": images.groups is not None,
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
    size = run.spec.whole
    progress(0.0, "Reading the test images")
    parts = _parts(rows, part_of(progress, 0, 0.4), "Reading the test images")
    pixels = np.concatenate([decode_rows(dataset, some, size) for some in parts])
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
    origin = lungs.origin if lungs.available.any() else None
    return AuditImages(pixels, labels, groups, lungs.masks, lungs.available, by, origin, of_all)


def _parts(rows: np.ndarray, progress: Progress, message: str) -> Iterator[np.ndarray]:
    """The rows some at a time, telling how far it is."""
    for start in range(0, len(rows), AT_ONCE):
        progress(start / len(rows), f"{message}: {start:,} of {len(rows):,}")
        yield rows[start : start + AT_ONCE]


# Figures


def _answers(
    predictor: Predictor, rows: np.ndarray, made: Callable[[np.ndarray], np.ndarray], progress: Progress, message: str
) -> np.ndarray:
    """The class predicted for what is ``made`` of each of some rows, as a position."""
    return np.concatenate([predictor.logits(made(some)).argmax(axis=1) for some in _parts(rows, progress, message)])


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


def _row_of(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(row for row in rows if row["name"] == name)


def _per_cell(k: int) -> int:
    """Composites for each pair of classes, of ``k`` classes."""
    least, most = PER_CELL
    return max(least, min(most, MOST_COMPOSITES // k**2))


def _effects(
    predictor: Predictor, images: AuditImages, inside: np.ndarray, progress: Progress
) -> evidence.Effects | None:
    """What follows the lungs and what the frame; None where a class has too few images."""
    k, labels = len(predictor.classes), images.labels[inside]
    if np.bincount(labels, minlength=k).min() < evidence.LEAST_IMAGES:
        return None
    frames, lungs = evidence.pairs(labels, k, _per_cell(k), np.random.default_rng(0))

    def composed(some: np.ndarray) -> np.ndarray:
        frame, donor = inside[frames[some]], inside[lungs[some]]
        return inpainting.swapped(images.pixels[frame], images.lungs[frame], images.pixels[donor], images.lungs[donor])

    answered = _answers(predictor, np.arange(len(frames)), composed, progress, "Images with the lungs of others")
    return evidence.effects(Conflict(labels, frames, lungs, answered, k), _some(images.groups, inside))


def _heat(predictor: Predictor, images: AuditImages, inside: np.ndarray, progress: Progress) -> LungShares:
    if not predictor.has_maps:  # occlusion takes 145 passes per image in place of one
        inside = inside[np.unique(np.linspace(0, len(inside) - 1, OCCLUDED).round().astype(int))]
    shares = []
    for some in _parts(inside, progress, "Heat maps"):
        for at in some:
            heat = predictor.heat_map(GreyImage(images.pixels[at], "L"), "", (MAP_SIDE, MAP_SIDE))
            shares.append(share_inside(heat, images.lungs[at]))
    return share_over(shares, _some(images.groups, inside))


def _some(values: np.ndarray | None, at: np.ndarray) -> np.ndarray | None:
    return None if values is None else values[at]
