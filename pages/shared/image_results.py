"""What runs say of images that a user handed in, kept in this session as long as the images are on the page."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st

from covid_core.audit.model import heatmap_sanity
from covid_core.audit.model.randomisation_test import MapCheck, unknown
from covid_core.errors import CovidCoreError, RunDamaged
from covid_core.evaluation.conformal import Sets
from covid_core.formatting import count, duration
from covid_core.images.codec import GreyImage
from covid_core.inference.lungs import LungOutline, known
from covid_core.inference.occlusion import Occlusion, occluded
from covid_core.inference.prediction import Look
from covid_core.inference.predictor import Seen
from covid_core.inference.worklist import Entry, Opinion, heeding
from covid_core.reports import run_text
from covid_core.runs import prediction_sets
from covid_core.runs.candidates import unique_names
from covid_core.runs.store import Run
from covid_core.work import Progress, cores, ordered_map
from covid_core.workspace import Workspace
from pages.shared import lung_segmenter, predictor_cache, run_cache, uploads
from pages.shared.uploads import Given, keep, kept

AT_ONCE = 16  # images per batch: progress moves, and memory stays small
PIXELS_AT_ONCE = 50_000_000  # of all images of a batch; large images come in smaller batches
TOLD_FROM = 8  # images from which on their progress is worth a bar
SHOWN_EVERY = 1.0  # seconds between two tables of what is known so far
LONGEST_MASK = 1024  # places of an outline that is kept; twice as many as the viewer is sent
MADE_KEPT = 16  # maps and outlines, up to a few megabytes each

Said = dict[str, dict[str, Look]]
"""What each run (by id) says of each image (by key)."""


@dataclass(frozen=True)
class Answers:
    """What the runs say of the images that can be read, what is to be known of these, and why others cannot, by key."""

    said: Said
    warnings: dict[str, tuple[str, ...]]
    reasons: dict[str, str]


def opinions(runs: Sequence[Run], given: Given, coverage: float) -> list[Opinion]:
    """What each run says of one image, at that coverage. Raises ImageError or RunDamaged."""
    return _opinions(runs, [_seen(run, given).look for run in runs], coverage)


def entry(runs: Sequence[Run], given: Given, answers: Answers, coverage: float) -> Entry:
    """An image of the work-list. Raises RunDamaged."""
    if given.key in answers.reasons:
        return Entry(given.name, reason=answers.reasons[given.key])
    looks = [answers.said[run.id][given.key] for run in runs]
    return Entry(given.name, "", answers.warnings[given.key], tuple(_opinions(runs, looks, coverage)))


def _opinions(runs: Sequence[Run], looks: Sequence[Look], coverage: float) -> list[Opinion]:
    found = []
    for name, run, look in zip(unique_names(list(runs)), runs, looks, strict=True):
        sets = sets_of(run)
        answer = sets.set_of(look.prediction.logits, coverage) if sets else None
        found.append(Opinion(name, look, answer))
    return heeding(found)


def sets_of(run: Run) -> Sets | None:
    """What the run's prediction sets are made from; None where its predictions do not tell it."""
    return _sets_of(str(run.path), run_cache.stamp_of(run.path), run)


@st.cache_data(max_entries=64, show_spinner=False)
def _sets_of(path: str, stamp: str, _run: Run) -> Sets | None:
    try:
        return prediction_sets.of(_run)
    except RunDamaged:  # the run may still answer; sets_in_words says what is missing
        return None


def sets_in_words(run: Run, opinion: Opinion) -> str:
    """What the set of possible classes is worth, on the run's own test images."""
    if opinion.answer is None:
        return (
            "Which classes stay possible cannot be told: the run's predictions are missing, damaged or without logits."
        )
    return _sets_in_words(str(run.path), run_cache.stamp_of(run.path), opinion.answer.coverage, run)


@st.cache_data(max_entries=256, show_spinner=False)
def _sets_in_words(path: str, stamp: str, coverage: float, _run: Run) -> str:
    return run_text.prediction_sets(prediction_sets.report(_run, coverage))


def heat(run: Run, given: Given, label: str, shape: tuple[int, int]) -> np.ndarray:
    """Grad-CAM of one image for a class (without a name: the predicted one), float32 in [0, 1] of that shape.

    Raises ImageError or RunDamaged.
    """
    seen = _seen(run, given)
    return seen.heat(label or seen.look.prediction.predicted, shape)


def _seen(run: Run, given: Given) -> Seen:
    """What a run saw in an image, from one pass; the last few are kept."""
    return _kept_of(run, given, "seen", lambda: predictor_cache.of(run).seen(uploads.opened(given)))


def occlusion(run: Run, given: Given, label: str, progress: Progress) -> Occlusion:
    """What covering each place of an image does to the answer. Raises ImageError or RunDamaged."""
    image = uploads.opened(given)
    return _kept_of(run, given, f"occlusion {label}", lambda: occluded(predictor_cache.of(run), image, label, progress))


def lungs(run: Run, given: Given) -> LungOutline:
    """The lungs of an image: its data set's mask, or an outline by a segmenter, or why neither can be had.

    A damaged mask or segmenter takes nothing else from the image. Raises ImageError.
    """
    image = uploads.opened(given)
    dataset, name = (given.dataset.id, given.name) if given.dataset else (run.dataset.id, "")
    try:
        return _kept_of(
            run,
            given,
            f"lungs {lung_segmenter.in_use(dataset)}",
            lambda: _small(known(Workspace.default(), image, dataset, name, lung_segmenter.opened(dataset))),
        )
    except CovidCoreError as error:
        return LungOutline(None, math.nan, (str(error),))


def _small(outline: LungOutline) -> LungOutline:
    """The outline with few enough places to be kept: one at the size of a large image takes 64 MB."""
    if outline.mask is None:
        return outline
    step = math.ceil(max(outline.mask.shape) / LONGEST_MASK)
    return replace(outline, mask=outline.mask[::step, ::step].copy())


def knows_usual(run: Run) -> bool:
    """Whether the run's heat maps show what differs from the usual training image. Raises RunDamaged."""
    return predictor_cache.of(run).knows_usual


def map_check(run: Run) -> MapCheck:
    """Whether the run's heat maps mean anything, or why that cannot be said; made once per run, and kept with it."""
    try:
        return _map_check(str(run.path), str(run.result.get("head_sha256")), run)
    except CovidCoreError as error:
        return unknown(str(error).rstrip("."))


@st.cache_data(max_entries=64, show_spinner="Checking that the heat map depends on the weights, once per run")
def _map_check(path: str, head: str, _run: Run) -> MapCheck:
    return heatmap_sanity.of(Workspace.default(), _run)


def _kept_of(run: Run, given: Given, what: str, make: Callable[[], Any]) -> Any:
    """What is made once of an image that is on the page; the last few are kept."""
    key, made = (_mark(run), given.key, what), kept("made")
    if key not in made:
        keep("made", dict([*made.items(), (key, make())][-MADE_KEPT:]))
    return kept("made")[key]


def answers(runs: Sequence[Run], given: Sequence[Given], show: Callable[[Answers], None]) -> Answers:
    """What each run says of each image. Only new pairs are computed, in batches, with progress.

    Every batch is kept at once, so nothing is lost when the page is run anew meanwhile. ``show`` is called about once a
    second with what is known so far. Raises RunDamaged.
    """
    missing = [image for image in given if _lacks(runs, image)]
    bar = st.progress(0.0, "Looking at the images") if len(missing) > TOLD_FROM else None
    begin = shown = time.monotonic()
    done = 0
    for batch in _batches(missing):
        _look_at(runs, batch)
        done += len(batch)
        if bar:
            left = (time.monotonic() - begin) / done * (len(missing) - done)
            words = f"Looked at {count(done)} of {count(len(missing))} images, about {duration(left)} left"
            bar.progress(done / len(missing), words)
            if time.monotonic() - shown > SHOWN_EVERY:
                show(_known(runs, given))
                shown = time.monotonic()
    if bar:
        bar.empty()
    return _known(runs, given)


def _known(runs: Sequence[Run], given: Sequence[Given]) -> Answers:
    looks, reasons = kept("looks"), kept("reasons")
    said = {
        run.id: {image.key: looks[_mark(run), image.key] for image in given if (_mark(run), image.key) in looks}
        for run in runs
    }
    warnings, keys = kept("warnings"), [image.key for image in given]
    return Answers(
        said,
        {key: warnings[key] for key in keys if key in warnings},
        {key: reasons[key] for key in keys if key in reasons},
    )


def _lacks(runs: Sequence[Run], image: Given) -> bool:
    looks = kept("looks")
    return image.key not in kept("reasons") and any((_mark(run), image.key) not in looks for run in runs)


def _batches(given: Sequence[Given]) -> Iterator[list[tuple[Given, GreyImage | None]]]:
    """Images decoded in parallel while the batch before is being looked at; None for those that cannot be read."""
    batch: list[tuple[Given, GreyImage | None]] = []
    with ThreadPoolExecutor(cores()) as pool:
        for image, (pixels, reason) in zip(given, ordered_map(pool, _read, given, ahead=2 * cores()), strict=True):
            if reason:
                kept("reasons")[image.key] = reason
            batch.append((image, pixels))
            if len(batch) == AT_ONCE or sum(one.pixels.size for _, one in batch if one) >= PIXELS_AT_ONCE:
                yield batch
                batch = []
    if batch:
        yield batch


def _read(given: Given) -> tuple[GreyImage | None, str]:
    try:
        return given.read(), ""
    except CovidCoreError as error:
        return None, str(error)


def _look_at(runs: Sequence[Run], batch: Sequence[tuple[Given, GreyImage | None]]) -> None:
    """Ask every run for the images of a batch that it has not seen, and keep what it says."""
    looks = kept("looks")
    for given, image in batch:
        if image is not None:
            kept("warnings")[given.key] = image.warnings
            uploads.keep_miniature(given, image)
    for run in runs:
        new = [(given, image) for given, image in batch if image is not None and (_mark(run), given.key) not in looks]
        if new:
            found = predictor_cache.of(run).look([image for _, image in new])
            looks |= {(_mark(run), given.key): look for (given, _), look in zip(new, found, strict=True)}


def _mark(run: Run) -> str:
    """A run as it was when it answered: one that is resumed later answers anew."""
    return f"{run.path} {predictor_cache.mark(run)}"


def forget_all_but(runs: Sequence[Run], given: Sequence[Given]) -> None:
    """Only what is on the page stays in memory."""
    keys, marks = {image.key for image in given}, {_mark(run) for run in runs}
    for kind in ("reasons", "open", "warnings", "miniatures"):
        keep(kind, {key: value for key, value in kept(kind).items() if key in keys})
    for kind in ("looks", "made"):
        keep(kind, {pair: value for pair, value in kept(kind).items() if pair[0] in marks and pair[1] in keys})
