"""What is wrong with the images of a data set: each is measured (``measures``), and what is too far off is a finding.

How far is too far stands in RULES, each with its reason. Where it depends on the images, the limit comes from the data
set itself: so many robust deviations from its median. Where a fault is common, median and deviation are those of the
fault; so the limit never leaves the range from ``bound`` (on whose good side no image is a finding) to ``certain``
(beyond which every image is one, however many there are).

Findings are things to look at, not verdicts: most images with a marker are good images. Files are never changed.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from covid_core import derived
from covid_core.audit.quality import measures
from covid_core.data.dataset import Dataset
from covid_core.data.pixels import SUMMARY_SIZE, image_of, open_pixels
from covid_core.images import codec
from covid_core.images.image import COLOUR_SPREAD
from covid_core.inference import gate
from covid_core.inference.gate import INVERTED, READINGS, UPRIGHT, Gate
from covid_core.work import Progress, cores, ordered_map, part_of, silent
from covid_core.workspace import Workspace

FORMAT = 1  # of the kept scores; a change of a measure takes the next number
CHUNK = 64  # images at a time: 1 MB of pixels
GREY_MODES = ("1", "L", "LA", "I", "F")  # kinds of pixel without colour, by their beginning ("I;16")
PLAIN = 0.4  # lead of an image that reads well; limits of the gate for real images lie there
TRUSTED = 3  # robust deviations below the median lead; what lies lower does not teach what is up in an image
READABLE = 40  # images; with fewer the readings of an image cannot be learned from the others
NORMAL = 1.4826  # times the median absolute deviation is the standard deviation of normal values
COMMON = 0.2  # share of images from which a finding says more about the data set than about its images
UNREADABLE = "unreadable"
BELOW, ABOVE = "below", "above"


@dataclass(frozen=True)
class Rule:
    """When a measure is a finding.

    An image is one where its score is on the ``side`` of the limit. The limit is ``spread`` robust standard deviations
    (1.4826 times the median absolute deviation) from the set's median, but at most ``bound`` and at least ``certain``
    where findings lie below, and the other way round above; without ``spread`` it is ``bound``. ``text`` tells the
    finding with ``{score}`` and ``{limit}``, ``unit`` is the ``{limit}`` in words; empty where an image is a finding if
    that is more likely than not.
    """

    finding: str
    side: str
    _: KW_ONLY
    bound: float
    certain: float | None = None
    spread: float | None = None
    unit: str = ""
    text: str
    reason: str

    def __post_init__(self) -> None:
        if (self.certain is None) != (self.spread is None):
            raise ValueError(f"The rule {self.finding!r} needs both certain and spread, or neither.")

    def limit(self, scores: np.ndarray) -> float:
        """The limit for images with these scores (nan is unknown)."""
        known = scores[~np.isnan(scores)]
        if self.spread is None or self.certain is None or not len(known):
            return self.bound
        away = self.spread if self.side == BELOW else -self.spread
        relative = _far_below(known, away)
        return float(np.clip(relative, *sorted((self.bound, self.certain))))

    def is_finding(self, scores: np.ndarray, limit: float) -> np.ndarray:
        """Of shape (n,); an unknown score is none."""
        return scores < limit if self.side == BELOW else scores > limit


def _far_below(values: np.ndarray, deviations: float) -> float:
    """What lies so many robust standard deviations below the median of known values."""
    middle = np.median(values)
    return float(middle - deviations * NORMAL * np.median(np.abs(values - middle)))


RULES = (
    Rule(
        "low contrast",
        BELOW,
        bound=80,
        certain=60,
        spread=6,
        unit="{limit:.0f} of 255 levels",
        text="Its greys span {score:.0f} of 255 levels (limit {limit:.0f}): blank, or nearly so.",
        reason="Of 5,138 real images 99 % span 90 levels and more; the one that spans 50 shows a veil, and no ribs.",
    ),
    Rule(
        "dark",
        BELOW,
        bound=55,
        certain=40,
        spread=4,
        unit="{limit:.0f} of 255",
        text="Its mean grey is {score:.0f} of 255 (limit {limit:.0f}): too dark.",
        reason="Of 5,138 real images 99 % have 80 and more; at 40 the lungs are black.",
    ),
    Rule(
        "bright",
        ABOVE,
        bound=180,
        certain=200,
        spread=4,
        unit="{limit:.0f} of 255",
        text="Its mean grey is {score:.0f} of 255 (limit {limit:.0f}): too bright.",
        reason="Of 5,138 real images 99 % have 190 and less; at 200 the lungs are grey and the rest is white.",
    ),
    Rule(
        "blurred",
        BELOW,
        bound=0.075,
        certain=0.055,
        spread=4,
        unit="{limit:.1%} of the contrast",
        text="Of its local contrast {score:.1%} is fine (limit {limit:.1%}): blurred.",
        reason="Real images have 8 % and more; under a Gaussian of 1.2 % of the side they have 6 % and less.",
    ),
    Rule(
        "odd size",
        BELOW,
        bound=128,
        unit="{limit:.0f} pixels",
        text="Its shorter side has {score:.0f} pixels (limit {limit:.0f}): a small picture.",
        reason="Networks here look at 128 pixels or more; what is smaller is scaled up for them.",
    ),
    Rule(
        "odd shape",
        ABOVE,
        bound=1.5,
        certain=2.0,
        spread=5,
        unit="{limit:.2f} times the usual",
        text="Its sides' proportion is {score:.2f} times off the usual one (limit {limit:.2f}).",
        reason="Detectors are square to 5:4. At 1.5 times off it is visibly squashed, at twice off another picture.",
    ),
    Rule(
        "inverted",
        ABOVE,
        bound=0.0,
        text="With black for white it would look more like the other images (by {score:.2f}).",
        reason="The reading that the other images speak for counts; at 0 both are as likely.",
    ),
    Rule(
        "turned",
        ABOVE,
        bound=0.0,
        text="Turned by a quarter or a half it would look more like the other images (by {score:.2f}).",
        reason="The reading that the other images speak for counts; at 0 both are as likely.",
    ),
    Rule(
        "odd view",
        BELOW,
        bound=0.6,
        certain=0.1,
        spread=5,
        unit="a lead of {limit:.2f}",
        text="What is up in it is hard to tell from the other images ({score:.2f}, limit {limit:.2f}): a lateral view, "
        "or no frontal chest image?",
        reason="Frontal images lead by about 0.9, and 99 % of real ones by 0.38 and more; at 0.1 hardly anything is "
        "like them.",
    ),
    Rule(
        "colour",
        ABOVE,
        bound=COLOUR_SPREAD,
        unit="{limit:.0f} levels",
        text="Red, green and blue differ by {score:.0f} levels (limit {limit:.0f}): a coloured picture.",
        reason="Scanned grey images stay far below it; the same limit as where an image is read.",
    ),
    Rule(
        "text",
        ABOVE,
        bound=0.5,
        unit="{limit:.1f} ‰ of the pixels",
        text="Of its pixels {score:.1f} ‰ look like letters or a marker (limit {limit:.1f} ‰).",
        reason="A letter R 14 pixels high on an image of 256 has about 0.5 ‰. Markers are usual; they matter where "
        "they go with the class.",
    ),
    Rule(
        "border",
        ABOVE,
        bound=1 / 16,
        unit="{limit:.1%} of a side",
        text="A band of one grey takes {score:.1%} of a side (limit {limit:.1%}): a border or letterbox.",
        reason="A collimator's edge of a few per cent is usual; a sixteenth of the side is more than that.",
    ),
    Rule(
        "blocks",
        ABOVE,
        bound=1.4,
        unit="{limit:.1f} times",
        text="Greys jump {score:.1f} times as much between blocks of 8 pixels as inside them (limit {limit:.1f}): "
        "JPEG.",
        reason="Real and synthetic images without blocks have 1.12 at most, JPEG files of quality 45 or "
        "less have 3 or more.",
    ),
    Rule(
        "scaled up",
        BELOW,
        bound=0.6,
        unit="{limit:.0%} of the detail",
        text="Its finest detail takes {score:.0%} of what its pixels could show (limit {limit:.0%}): scaled up from a "
        "small picture, or smoothed.",
        reason="Real images of 256 pixels show 65 % and more; enlarged three times or more they show 60 % at most.",
    ),
)
MORE_LIKELY = "more like the others so"
BY_NAME = {rule.finding: rule for rule in RULES}
FINDINGS = (UNREADABLE, *BY_NAME)


@dataclass(frozen=True)
class Audit:
    """What was found.

    ``scores``: one row per image in the data set's order, columns image_id and the names of RULES; nan is unknown.
    ``findings``: one row per image and finding, columns image_id, finding, score, limit, text; the worst of each kind
    first. Unreadable files have their path as image_id, and no score.
    ``summary``: one row per kind, columns finding, images, share (of the images that were measured; nan where there are
    none), unknown (images that could not be measured), limit, common (see COMMON), reason.
    """

    scores: pd.DataFrame
    findings: pd.DataFrame
    summary: pd.DataFrame


def audit(workspace: Workspace, dataset: Dataset, progress: Progress = silent) -> Audit:
    """Measure every image once, keep that, and say what is too far off. Raises DataError where files have changed."""
    scores = with_scores(workspace, dataset, progress)
    return judged(scores, dataset.left_out)


def known(workspace: Workspace, dataset: Dataset) -> Audit | None:
    """What ``audit`` says, where its images have been measured already and that is kept."""
    scores = _kept_of(workspace, dataset)
    return None if scores is None else judged(scores, dataset.left_out)


def judged(scores: pd.DataFrame, left_out: pd.DataFrame) -> Audit:
    """What the scores of images say by RULES, with the files that could not be read (columns path, reason)."""
    limits = {rule.finding: rule.limit(scores[rule.finding].to_numpy(float)) for rule in RULES}
    found = [_unreadable(left_out)]
    found += [_found(rule, scores, limits[rule.finding]) for rule in RULES]
    kept = [table for table in found if len(table)]
    findings = pd.concat(kept, ignore_index=True) if kept else found[0]
    return Audit(scores, findings, _summary(scores, findings, limits, len(left_out)))


def _unreadable(left_out: pd.DataFrame) -> pd.DataFrame:
    table = pd.DataFrame({"image_id": left_out["path"], "finding": UNREADABLE, "score": np.nan, "limit": np.nan})
    return table.assign(text=left_out["reason"])


def _found(rule: Rule, scores: pd.DataFrame, limit: float) -> pd.DataFrame:
    values = scores[rule.finding].to_numpy(float)
    rows = np.flatnonzero(rule.is_finding(values, limit))
    rows = rows[np.argsort(values[rows] if rule.side == BELOW else -values[rows], kind="stable")]
    return pd.DataFrame(
        {
            "image_id": scores["image_id"].to_numpy()[rows],
            "finding": rule.finding,
            "score": values[rows],
            "limit": limit,
            "text": [_written(rule.text, score=values[row], limit=limit) for row in rows],
        }
    )


def _written(text: str, **values: float) -> str:
    """A text with its numbers, shares written as everywhere else: ``7.5 %``."""
    return text.format(**values).replace("%", " %")


def limit_in_words(finding: str, limit: float) -> str:
    """A limit with its side and unit: ``under 80 of 255 levels``; nothing where there is none."""
    if finding not in BY_NAME or np.isnan(limit):
        return ""
    rule = BY_NAME[finding]
    side = "under" if rule.side == BELOW else "over"
    return f"{side} {_written(rule.unit, limit=limit)}" if rule.unit else MORE_LIKELY


def _summary(scores: pd.DataFrame, findings: pd.DataFrame, limits: dict[str, float], left_out: int) -> pd.DataFrame:
    rows = []
    for name in FINDINGS:
        images = int((findings["finding"] == name).sum())
        unknown = 0 if name == UNREADABLE else int(scores[name].isna().sum())
        measured = len(scores) + left_out if name == UNREADABLE else len(scores) - unknown
        of_all = images / measured if measured else np.nan
        reason = BY_NAME[name].reason if name in BY_NAME else "Import could not read the file."
        rows.append((name, images, of_all, unknown, limits.get(name, np.nan), bool(of_all >= COMMON), reason))
    return pd.DataFrame(rows, columns=["finding", "images", "share", "unknown", "limit", "common", "reason"])


# Scores


def with_scores(workspace: Workspace, dataset: Dataset, progress: Progress = silent) -> pd.DataFrame:
    """``Audit.scores``; measured once and kept. Of images that stay when others are left out, they stay as well."""
    kept = _kept_of(workspace, dataset)
    if kept is not None:
        return kept
    measured = measure(workspace, dataset, progress)
    derived.write_table(workspace, _path(workspace, dataset.version), measured, optional=True)
    return measured


def _path(workspace: Workspace, version: str) -> Path:
    return derived.path_of(workspace.tables, version, "audit", FORMAT)


def _kept_of(workspace: Workspace, dataset: Dataset) -> pd.DataFrame | None:
    """The kept scores of these images, of this version of the data set or of an earlier one that had more images."""
    for earlier in dataset.holding(lambda version: _path(workspace, version).exists()):
        kept = derived.read_table(_path(workspace, earlier.version), ["image_id", *BY_NAME])
        if kept is not None and kept["image_id"].equals(earlier.images["image_id"]):
            return kept[kept["image_id"].isin(dataset.images["image_id"])].reset_index(drop=True)
    return None


def measure(workspace: Workspace, dataset: Dataset, progress: Progress = silent) -> pd.DataFrame:
    """``Audit.scores``, from the cached squares of SUMMARY_SIZE, and from the files what squares do not show."""
    squares = open_pixels(workspace, dataset, SUMMARY_SIZE, part_of(progress, 0, 0.1))
    scores = pd.DataFrame({"image_id": dataset.images["image_id"]})
    scores = scores.assign(**_of_sizes(dataset.images), **of_squares(squares, part_of(progress, 0.1, 0.3)))
    scores = scores.assign(**_of_files(dataset, part_of(progress, 0.3, 0.9)))
    scores = scores.assign(**of_readings(squares))
    progress(1, "Looked at every image")
    return scores[["image_id", *BY_NAME]]


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

    def part(start: int) -> np.ndarray:
        some = np.asarray(squares[start : start + CHUNK])
        grey = measures.brightness(some)
        return np.stack([measures.contrast(some), grey, grey, measures.sharpness(some), measures.band(some)])

    parts = []
    with ThreadPoolExecutor(cores()) as pool:
        for found in ordered_map(pool, part, range(0, len(squares), CHUNK)):
            parts.append(found)
            done = min(len(parts) * CHUNK, len(squares))
            progress(done / len(squares), f"Measuring images: {done:,} of {len(squares):,}")
    names = ("low contrast", "dark", "bright", "blurred", "border")
    return dict(zip(names, np.concatenate(parts, axis=1), strict=True))


def _of_files(dataset: Dataset, progress: Progress) -> dict[str, np.ndarray]:
    """Scores that need the image as its file holds it, by finding."""
    total, found = len(dataset.images), []
    with ThreadPoolExecutor(cores()) as pool:
        for done, scores in enumerate(ordered_map(pool, lambda row: of_file(dataset, row), range(total)), start=1):
            found.append(scores)
            if done % 50 == 0 or done == total:
                progress(done / total, f"Looking at files: {done:,} of {total:,}")
    return {name: np.array([scores[name] for scores in found]) for name in found[0]}


def of_file(dataset: Dataset, row: int) -> dict[str, float]:
    """Scores of one image as its file holds it, by finding."""
    image, content = image_of(dataset, row)
    is_grey = dataset.images["mode"].iat[row].startswith(GREY_MODES)
    return {
        "colour": 0.0 if is_grey else codec.colour_spread(content),
        "text": measures.letters(image.pixels),
        "blocks": measures.blockiness(image.pixels),
        "scaled up": measures.detail(image.pixels),
    }


def of_readings(squares: np.ndarray) -> dict[str, np.ndarray]:
    """How images of uint8 (n, side, side) read to a classifier that has learned from the others what is up in an image
    (see ``inference.gate``), by finding; all unknown with fewer than READABLE images.

    Each half of the images is read by what was learned from the other half, three times: then without the images
    that read wrong or hardly. A set of which most are inverted or turned alike speaks for them; nothing here can know
    better.
    """
    images = len(squares)
    if images < READABLE:
        return {name: np.full(images, np.nan) for name in ("inverted", "turned", "odd view")}
    found = gate.histograms(squares)
    half = np.random.default_rng(0).permutation(images) % 2
    good = np.ones(images, bool)
    for _ in range(3):
        leads = np.empty((images, len(READINGS)))
        for side in (0, 1):
            learned = np.flatnonzero((half != side) & good)
            fitted = Gate.fit(lambda at, rows=learned: squares[rows[at]], len(learned), squares[:0])
            for place, reading in enumerate(READINGS):
                leads[half == side, place] = fitted.leads(gate.undone(found[half == side], reading))
        upright = leads[:, READINGS.index(UPRIGHT)]
        least = max(0.0, _far_below(upright, TRUSTED))
        good = upright > least if np.count_nonzero(upright > least) >= images / 2 else good
    others = {reading: leads[:, place] for place, reading in enumerate(READINGS) if reading != UPRIGHT}
    inverted = others.pop(INVERTED)
    turned = np.max(list(others.values()), axis=0)
    best = np.maximum(inverted, turned)
    is_other = (best > upright) & (best >= PLAIN)  # what reads well in no way is an odd view
    return {
        "inverted": np.where(is_other & (inverted >= turned), inverted - upright, np.minimum(inverted - upright, 0)),
        "turned": np.where(is_other & (turned > inverted), turned - upright, np.minimum(turned - upright, 0)),
        "odd view": np.where(is_other, np.nan, upright),  # it is odd for a reason that is known
    }
