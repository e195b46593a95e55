"""What is wrong with the images of a data set: each is measured (``measures``), and what is too far off is a finding.

How far is too far stands in RULES (``rules.toml``), each with its reason. A new finding is a row there and a function
in ``measures``. Where it depends on the images, the limit comes from the data
set itself: so many robust deviations from its median. Where a fault is common, median and deviation are those of the
fault; so the limit never leaves the range from ``bound`` (on whose good side no image is a finding) to ``certain``
(beyond which every image is one, however many there are).

Findings are things to look at, not verdicts: most images with a marker are good images. Files are never changed.
"""

import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from covid_core import derived, files
from covid_core.audit.quality import measures
from covid_core.data.dataset import Dataset
from covid_core.data.pixels import SUMMARY_SIZE, image_of, open_pixels
from covid_core.errors import ImageError
from covid_core.images import codec
from covid_core.inference import gate
from covid_core.inference.gate import AGAINST, FLAT, INVERTED, READINGS, UPRIGHT, Gate
from covid_core.work import Progress, cores, ordered_map, part_of, silent
from covid_core.workspace import Workspace

FORMAT = 2  # of the kept scores; a change of a measure, or a new one, takes the next number
CHUNK = 64  # images at a time: 1 MB of pixels
GREY_MODES = ("1", "L", "LA", "I", "F")  # kinds of pixel without colour, by their beginning ("I;16")
PLAIN = 0.4  # lead of an image that reads well; limits of the gate for real images lie there
TRUSTED = 3  # robust deviations below the median lead; what lies lower does not teach what is up in an image
READABLE = 40  # images; with fewer the readings of an image cannot be learned from the others
NORMAL = 1.4826  # times the median absolute deviation is the standard deviation of normal values
SIDES_RIDGE = 1000, 0.3  # examples and share of them: of few images mirrored ones are not told rather than wrongly
COMMON = 0.2  # share of images from which a finding says more about the data set than about its images
UNREADABLE = "unreadable"  # the finding of files that import could not read
BELOW, ABOVE = "below", "above"


@dataclass(frozen=True)
class Rule:
    """When a measure is a finding.

    An image is one where its score is on the ``side`` of the limit. The limit is ``spread`` robust standard deviations
    (1.4826 times the median absolute deviation) from the set's median, but at most ``bound`` and at least ``certain``
    where findings lie below, and the other way round above; without ``spread`` it is ``bound``. ``squares`` or
    ``image`` is the function in ``measures``, if one makes the score. ``text`` is the finding in words with ``{score}``
    and ``{limit}``, ``unit`` the ``{limit}`` in words; empty where an image is a finding if that is more likely than
    not.
    """

    finding: str
    side: str
    _: KW_ONLY
    bound: float
    certain: float | None = None
    spread: float | None = None
    squares: str = ""
    image: str = ""
    unit: str = ""
    text: str
    reason: str

    def __post_init__(self) -> None:
        if (self.certain is None) != (self.spread is None):
            raise ValueError(f"The rule {self.finding!r} needs both certain and spread, or neither.")

    def limit(self, scores: np.ndarray) -> float:
        """The limit for images with these scores (nan is unknown)."""
        defined = scores[~np.isnan(scores)]
        if self.spread is None or self.certain is None or not len(defined):
            return self.bound
        away = self.spread if self.side == BELOW else -self.spread
        relative = _far_below(defined, away)
        return float(np.clip(relative, *sorted((self.bound, self.certain))))


def _far_below(values: np.ndarray, deviations: float) -> float:
    """What lies so many robust standard deviations below the median of known values."""
    middle = np.median(values)
    return float(middle - deviations * NORMAL * np.median(np.abs(values - middle)))


_ROWS = tomllib.loads(Path(__file__).with_name("rules.toml").read_text(encoding="utf-8"))
RULES = {finding: Rule(finding, **row) for finding, row in _ROWS.items()}
SQUARES = {finding: getattr(measures, rule.squares) for finding, rule in RULES.items() if rule.squares}
IMAGES = {finding: getattr(measures, rule.image) for finding, rule in RULES.items() if rule.image}
FINDINGS = (UNREADABLE, *RULES)


@dataclass(frozen=True)
class Quality:
    """The measures of a data set's images, and the findings among them.

    ``scores``: one row per image in the data set's order, columns image_id and the names of RULES; nan is unknown.
    ``findings``: one row per image and finding, columns image_id, finding, score, limit, reason; the worst of each kind
    first. Unreadable files have their path as image_id, no score, and why they cannot be read as reason.
    ``summary``: one row per kind, columns finding, images, share (of the images that were measured; nan where there are
    none), unknown (images that could not be measured), limit, common (see COMMON), reason.
    """

    scores: pd.DataFrame
    findings: pd.DataFrame
    summary: pd.DataFrame


def audit(workspace: Workspace, dataset: Dataset, progress: Progress = silent) -> Quality:
    """Measure every image once, keep that, and judge it. Raises DataError where files have changed."""
    scores = _stored_scores(workspace, dataset)
    if scores is None:
        scores = measure(workspace, dataset, progress)
        derived.write_table(workspace, _path(workspace, dataset.version), scores, optional=True)
    return judged(scores, dataset.left_out)


def stored(workspace: Workspace, dataset: Dataset) -> Quality | None:
    """The result of ``audit``, where the images have been measured already and that is kept."""
    by_format = (_stored_scores(workspace, dataset, number) for number in range(FORMAT, 0, -1))
    scores = next((scores for scores in by_format if scores is not None), None)
    return None if scores is None else judged(scores, dataset.left_out)


def judged(scores: pd.DataFrame, left_out: pd.DataFrame) -> Quality:
    """The findings among the scores of images by RULES, and the files that could not be read (columns path, reason)."""
    unreadable = {"image_id": left_out["path"], "finding": UNREADABLE, "score": np.nan, "limit": np.nan}
    tables = [pd.DataFrame({**unreadable, "reason": left_out["reason"]})]
    unread = len(left_out)
    rows = [(UNREADABLE, unread, len(scores) + unread, 0, np.nan, "Import could not read the file.")]
    for rule in RULES.values():
        values = scores[rule.finding].to_numpy(float)
        limit = rule.limit(values)
        at = np.flatnonzero(values < limit if rule.side == BELOW else values > limit)  # nan is none
        at = at[np.argsort(values[at] if rule.side == BELOW else -values[at], kind="stable")]
        names = scores["image_id"].to_numpy()[at]
        columns = {"image_id": names, "finding": rule.finding, "score": values[at], "limit": limit, "reason": ""}
        tables.append(pd.DataFrame(columns))
        measured = int(np.count_nonzero(~np.isnan(values)))
        rows.append((rule.finding, len(at), measured, len(scores) - measured, limit, rule.reason))
    filled = [table for table in tables if len(table)]
    findings = pd.concat(filled, ignore_index=True) if filled else tables[0]
    summary = pd.DataFrame(rows, columns=["finding", "images", "measured", "unknown", "limit", "reason"])
    summary.insert(2, "share", summary["images"] / summary.pop("measured").replace(0, np.nan))
    summary.insert(5, "common", summary["share"] >= COMMON)
    return Quality(scores, findings, summary)


# Scores


def _path(workspace: Workspace, version: str, number: int = FORMAT) -> Path:
    return derived.path_of(workspace.tables, version, "audit", number)


def _stored_scores(workspace: Workspace, dataset: Dataset, number: int = FORMAT) -> pd.DataFrame | None:
    """The kept scores of these images, of this version of the data set or of an earlier one that had more images. What
    was no measure yet in an earlier format is unknown."""
    for earlier in dataset.holding(lambda version: _path(workspace, version, number).exists()):
        table = derived.read(_path(workspace, earlier.version, number), files.read_table)
        if table is not None and table["image_id"].equals(earlier.images["image_id"]):
            table = table[table["image_id"].isin(dataset.images["image_id"])].reset_index(drop=True)
            return table.reindex(columns=["image_id", *RULES])
    return None


def measure(workspace: Workspace, dataset: Dataset, progress: Progress = silent) -> pd.DataFrame:
    """``Quality.scores``, from the cached squares of SUMMARY_SIZE, and from the files what squares do not show."""
    squares = open_pixels(workspace, dataset, SUMMARY_SIZE, part_of(progress, 0, 0.1))
    scores = {"image_id": dataset.images["image_id"], **_of_sizes(dataset.images)}
    scores |= of_squares(squares, part_of(progress, 0.1, 0.3))
    scores |= dict(_of_files(dataset, part_of(progress, 0.3, 0.9)))
    scores |= of_readings(squares)
    progress(1, "Measured every image")
    return pd.DataFrame(scores)[["image_id", *RULES]]


def _of_sizes(images: pd.DataFrame) -> dict[str, np.ndarray]:
    width, height = images["width"].to_numpy(float), images["height"].to_numpy(float)
    proportion = width / height
    usual = np.median(proportion)
    return {
        "odd size": np.minimum(width, height),
        "odd shape": np.maximum(proportion / usual, usual / proportion),
    }


def of_squares(squares: np.ndarray, progress: Progress = silent) -> dict[str, np.ndarray]:
    """Scores that uint8 (n, side, side) suffices for, by finding."""

    def part(start: int) -> list[np.ndarray]:
        some = np.asarray(squares[start : start + CHUNK])
        return [measure(some) for measure in SQUARES.values()]

    parts = []
    with ThreadPoolExecutor(cores()) as pool:
        for scores in ordered_map(pool, part, range(0, len(squares), CHUNK)):
            parts.append(scores)
            done = min(len(parts) * CHUNK, len(squares))
            progress(done / len(squares), f"Measuring images: {done:,} of {len(squares):,}")
    return dict(zip(SQUARES, np.concatenate(parts, axis=1), strict=True))


def _of_files(dataset: Dataset, progress: Progress) -> pd.DataFrame:
    """Scores that need the image as its file holds it, by finding."""
    total, rows = len(dataset.images), []
    with ThreadPoolExecutor(cores()) as pool:
        for done, scores in enumerate(ordered_map(pool, lambda row: of_file(dataset, row), range(total)), start=1):
            rows.append(scores)
            if done % 50 == 0 or done == total:
                progress(done / total, f"Reading files: {done:,} of {total:,}")
    return pd.DataFrame(rows)


def of_file(dataset: Dataset, row: int) -> dict[str, float]:
    """Scores of one image as its file holds it, by finding."""
    image, content = image_of(dataset, row)
    is_grey = dataset.images["mode"].iat[row].startswith(GREY_MODES)
    of_image = {finding: measure(image.pixels) for finding, measure in IMAGES.items()}
    return {
        "colour": 0.0 if is_grey else codec.colour_spread(content),
        "black mask": _white_border(dataset, dataset.images["mask_path"].iat[row]),
        **of_image,
    }


def _white_border(dataset: Dataset, path: str) -> float:
    """Of an image's own lung mask; 0 where it has none, nan where that cannot be read."""
    try:
        return codec.white_border(codec.white_of(dataset.root / path)) if path else 0.0
    except ImageError:
        return np.nan


def of_readings(squares: np.ndarray) -> dict[str, np.ndarray]:
    """How images of uint8 (n, side, side) read to a classifier that has learned from the others what is up in an image
    (see ``inference.gate``), by finding; with fewer than READABLE images all unknown but what drawn images teach.

    Each half of the images is read by what was learned from the other half, three times: then without the images
    that read wrong or hardly. A set of which most are inverted or turned alike speaks for them; nothing here can know
    better.
    """
    images = len(squares)
    histograms = gate.histograms(squares)
    against = gate.against(histograms)
    if images < READABLE:
        names = ("inverted", "turned", "odd view", "mirrored")
        return {name: np.full(images, np.nan) for name in names} | {"not frontal": against}
    half = np.random.default_rng(0).permutation(images) % 2
    good = np.ones(images, bool)
    for _ in range(3):
        leads = np.empty((images, len(READINGS)))
        for side in (0, 1):
            learned = np.flatnonzero((half != side) & good)
            fitted = Gate.fit(squares.__getitem__, learned, np.empty(0, int))
            for place, reading in enumerate(READINGS):
                leads[half == side, place] = fitted.leads(gate.undone(histograms[half == side], reading))
        upright = leads[:, READINGS.index(UPRIGHT)]
        least = max(0.0, _far_below(upright, TRUSTED))
        good = upright > least if np.count_nonzero(upright > least) >= images / 2 else good
    others = {reading: leads[:, place] for place, reading in enumerate(READINGS) if reading != UPRIGHT}
    inverted = others.pop(INVERTED)
    turned = np.max(list(others.values()), axis=0)
    best = np.maximum(inverted, turned)
    is_other = (best > upright) & (best >= PLAIN)  # what reads well in no way is an odd view
    is_frontal = ~is_other & (against <= AGAINST)
    return {
        "inverted": np.where(is_other & (inverted >= turned), inverted - upright, np.minimum(inverted - upright, 0)),
        "turned": np.where(is_other & (turned > inverted), turned - upright, np.minimum(turned - upright, 0)),
        # what is inverted or turned is odd for a reason that is known
        "odd view": np.where(is_other, np.nan, upright),
        "not frontal": np.where(is_other, np.nan, against),
        "mirrored": np.where(is_frontal, _of_sides(histograms, half, good & is_frontal), np.nan),
    }


def _of_sides(histograms: np.ndarray, half: np.ndarray, good: np.ndarray) -> np.ndarray:
    """How much more images (n,) resemble the mirror images of the others than the others: the heart is on the other
    side, and the stomach. About -1 to 1; each half by what ridge regression learned from the good images of the
    other."""
    sides = (histograms - gate.mirrored(histograms)).reshape(len(histograms), -1)
    scores = np.empty(len(sides))
    for side in (0, 1):
        deviation = np.sqrt(np.square(sides[half != side]).mean(axis=0)) + FLAT
        learned = sides[(half != side) & good] / deviation  # none in a set of CT slices: all scores are then 0
        ridge = (SIDES_RIDGE[0] + SIDES_RIDGE[1] * len(learned)) * np.eye(sides.shape[1])
        weights = np.linalg.solve(learned.T @ learned + ridge, learned.sum(axis=0))
        scores[half == side] = -(sides[half == side] / deviation) @ weights
    return scores
