"""What runs make of the images on the page, kept in this session as long as the images are on it.

Opened models are shared by all sessions and hold nothing of any user: each is opened and checked once, and may be
opened before it is needed.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from covid_core.audit.model import heatmap_sanity
from covid_core.audit.model.randomisation_test import MapCheck, unknown
from covid_core.errors import CovidCoreError
from covid_core.formatting import count, duration
from covid_core.images.codec import GreyImage, data_url, jpeg_bytes, thumbnail
from covid_core.images.image import Turn
from covid_core.inference import training_match
from covid_core.inference.assessment import Assessment, assess, assess_all, hottest_place_of, with_shared_refusal
from covid_core.inference.hottest_place import HottestPlace
from covid_core.inference.lungs import LungOutline, outline_of
from covid_core.inference.occlusion import Occlusion, occluded
from covid_core.inference.predictor import Predictor, trunk_path_of
from covid_core.inference.training_match import TrainingMatch
from covid_core.reports import run_text
from covid_core.runs import prediction_sets
from covid_core.runs.candidates import unique_names
from covid_core.runs.store import Run
from covid_core.work import Progress, cores, ordered_map
from covid_core.workspace import Workspace
from pages.shared import lung_segmenter, run_cache, uploads
from pages.shared.uploads import ImageSource, memory

AT_ONCE = 16  # images per batch: progress moves, and memory stays small
PIXELS_AT_ONCE = 50_000_000  # of all images of a batch; large images come in smaller batches
BAR_FROM = 8  # images from which on their progress is worth a bar
SHOWN_EVERY = 1.0  # seconds between two tables of what has been assessed so far
LONGEST_MASK = 1024  # places of an outline that is kept; twice as many as the viewer is sent
MINIATURE_SIDE = 72  # pixels, in a row of the work-list
MOST_MADE = 16  # assessments with maps and outlines, up to a few megabytes each
MOST_BYTES = 60_000_000  # of networks that stay open beside the last one; in use they take two to three times as much
WORKSPACE_BYTES = 15_000_000  # what even a small network needs beside its weights
WARMED = 2  # runs whose models are opened before an image is there

Entries = dict[str, list[Assessment]]
"""Assessments of images by their key, one per run."""


def assessments(runs: Sequence[Run], source: ImageSource, coverage: float) -> list[Assessment]:
    """What each run makes of one image, with its heat maps. Raises ImageError or RunDamaged."""
    image = uploads.opened(source)
    named = _named(runs, source, [_assessment(run, source) for run in runs], coverage)
    return [replace(one, image=image) for one in named]


def _assessment(run: Run, source: ImageSource) -> Assessment:
    """Without the image, which can be 100 times as large as all else."""
    image = uploads.opened(source)
    return _made(run, source, "assessment", lambda: replace(assess(predictor_of(run), image), image=None))


def examined(runs: Sequence[Run], source: ImageSource, made: Sequence[Assessment]) -> list[Assessment]:
    """The assessments with what takes longer than the scores: the match in the training part, the hottest place."""
    image = uploads.opened(source)

    def hottest(run: Run, one: Assessment) -> HottestPlace | None:
        outline = lungs(run, source)
        key = f"hottest {one.label} {outline.origin}"  # another segmenter may be trained meanwhile
        return _made(run, source, key, lambda: hottest_place_of(one, image, outline)) if one.has_answer else None

    return [
        replace(one, training=training_of(run, source, image), hottest=hottest(run, one))
        for run, one in zip(runs, made, strict=True)
    ]


def training_of(run: Run, source: ImageSource, image: GreyImage) -> TrainingMatch:
    """Whether the run was trained on the image; kept, with the assessments, as long as the image is on the page."""
    matches, key = memory("training"), (_mark(run), source.key)
    if key not in matches:
        (matches[key],) = training_match.of(Workspace.default(), run, [image])
    return matches[key]


def _named(runs: Sequence[Run], source: ImageSource, made: Sequence[Assessment], coverage: float) -> list[Assessment]:
    names = unique_names(list(runs))
    about = {"name": source.name, "coverage": coverage}
    return with_shared_refusal([replace(one, run=run, **about) for run, one in zip(names, made, strict=True)])


def sets_in_words(run: Run, assessment: Assessment) -> str:
    """What the set of possible classes is worth, on the run's own test images."""
    if assessment.prediction_set is None:
        return "This run has no prediction sets: its predictions are missing, damaged or without logits."
    return _sets_in_words(run, assessment.coverage)


@st.cache_data(
    max_entries=256, show_spinner=False, hash_funcs={Run: lambda run: f"{run.path} {run_cache.stamp_of(run.path)}"}
)
def _sets_in_words(run: Run, coverage: float) -> str:
    return run_text.prediction_sets(prediction_sets.report(run, coverage))


def heat(run: Run, source: ImageSource, label: str, shape: tuple[int, int]) -> np.ndarray:
    """Grad-CAM of one image for a class (without a name: the predicted one), float32 in [0, 1] of that shape.

    Raises ImageError or RunDamaged.
    """
    assessment = _assessment(run, source)
    return assessment.heat(label or assessment.predicted, shape)


def occlusion(run: Run, source: ImageSource, label: str, progress: Progress) -> Occlusion:
    """What covering each place of an image does to the answer. Raises ImageError or RunDamaged."""
    image = uploads.opened(source)
    return _made(run, source, f"occlusion {label}", lambda: occluded(predictor_of(run), image, label, progress))


def lungs(run: Run, source: ImageSource) -> LungOutline:
    """The lungs of an image: its data set's mask, or an outline by a segmenter, or why neither can be had.

    A damaged mask or segmenter takes nothing else from the image. Raises ImageError.
    """
    image = uploads.opened(source)
    try:
        key = f"lungs {lung_segmenter.in_use(_dataset_of(run, source))}"
        return _made(run, source, key, lambda: _outline(run, source, image))
    except CovidCoreError as error:
        return LungOutline(None, error=str(error))


def _outline(run: Run, source: ImageSource, image: GreyImage) -> LungOutline:
    """The lungs of an image that is read already. Raises RunDamaged, UnknownId, DataError."""
    dataset, name = _dataset_of(run, source), source.name if source.dataset else ""
    if uploads.turn_of(source) != Turn():
        name = ""  # the data set's mask is that of the image as its file holds it
    return _small(outline_of(Workspace.default(), image, dataset, name, lung_segmenter.opened(dataset)))


def _dataset_of(run: Run, source: ImageSource) -> str:
    """The id of the data set that decides which segmenter serves an image."""
    return source.dataset.id if source.dataset else run.dataset.id


def _small(outline: LungOutline) -> LungOutline:
    """The outline with few enough places to be kept: one at the size of a large image takes 64 MB."""
    if outline.mask is None:
        return outline
    step = math.ceil(max(outline.mask.shape) / LONGEST_MASK)
    return replace(outline, mask=outline.mask[::step, ::step].copy())


def map_check(run: Run) -> MapCheck:
    """Whether the run's heat maps mean anything, or why that cannot be said; made once per run, and kept with it."""
    try:
        return _map_check(str(run.path), str(run.result.get("head_sha256")), run)
    except CovidCoreError as error:
        return unknown(str(error).rstrip("."))


@st.cache_data(max_entries=64, show_spinner="Testing the heat map against a randomised network, once per run")
def _map_check(path: str, head: str, _run: Run) -> MapCheck:
    return heatmap_sanity.of(Workspace.default(), _run)


def _made(run: Run, source: ImageSource, what: str, make: Callable[[], Any]) -> Any:
    """What is made once of an image that is on the page; the last few are kept."""
    key, made = (_mark(run), source.key, what), memory("made")
    if key not in made:
        made[key] = make()
        for old in list(made)[:-MOST_MADE]:
            del made[old]
    return made[key]


def entries(
    runs: Sequence[Run], sources: Sequence[ImageSource], coverage: float, show: Callable[[Entries], None]
) -> Entries:
    """What each run makes of each image. Only new pairs are computed, in batches, with progress.

    Every batch is kept at once, so nothing is lost when the page is run anew meanwhile. ``show`` is called about once a
    second with what is there so far. Raises RunDamaged.
    """
    missing = [source for source in sources if not _has_all(runs, source)]
    bar = st.progress(0.0, "Predicting") if len(missing) > BAR_FROM else None
    begin = shown = time.monotonic()
    done = 0
    for batch in _batches(missing):
        _assess_batch(runs, batch)
        done += len(batch)
        if bar:
            left = (time.monotonic() - begin) / done * (len(missing) - done)
            words = f"{count(done)} of {count(len(missing))} images predicted, about {duration(left)} left"
            bar.progress(done / len(missing), words)
            if time.monotonic() - shown > SHOWN_EVERY:
                show(_entries(runs, sources, coverage))
                shown = time.monotonic()
    if bar:
        bar.empty()
    return _entries(runs, sources, coverage)


def _entries(runs: Sequence[Run], sources: Sequence[ImageSource], coverage: float) -> Entries:
    assessed = memory("assessed")
    return {
        source.key: _named(runs, source, [assessed[_mark(run), source.key] for run in runs], coverage)
        for source in sources
        if _has_all(runs, source)
    }


def _has_all(runs: Sequence[Run], source: ImageSource) -> bool:
    return all((_mark(run), source.key) in memory("assessed") for run in runs)


def _batches(sources: Sequence[ImageSource]) -> Iterator[list[tuple[ImageSource, GreyImage | str]]]:
    """Images decoded in parallel while the batch before is assessed, or the reason why one cannot be read."""
    batch: list[tuple[ImageSource, GreyImage | str]] = []
    pixels = 0
    with ThreadPoolExecutor(cores()) as pool:
        for source, image in zip(sources, ordered_map(pool, _read, sources, ahead=2 * cores()), strict=True):
            batch.append((source, image))
            pixels += 0 if isinstance(image, str) else image.pixels.size
            if len(batch) == AT_ONCE or pixels >= PIXELS_AT_ONCE:
                yield batch
                batch, pixels = [], 0
    if batch:
        yield batch


def _read(source: ImageSource) -> GreyImage | str:
    try:
        return source.read()
    except CovidCoreError as error:
        return str(error)


def _assess_batch(runs: Sequence[Run], batch: Sequence[tuple[ImageSource, GreyImage | str]]) -> None:
    """Have every run assess the images of a batch that it has not assessed, and keep what comes out."""
    assessed = memory("assessed")
    readable = [(source, image) for source, image in batch if not isinstance(image, str)]
    for source, image in readable:
        small = jpeg_bytes(thumbnail(image.pixels, MINIATURE_SIDE), quality=70)
        memory("miniatures").setdefault(source.key, data_url(small))
    for run in runs:
        mark = _mark(run)
        assessed |= {(mark, one.key): Assessment(error=why) for one, why in batch if isinstance(why, str)}
        new = [(source, image) for source, image in readable if (mark, source.key) not in assessed]
        if new:
            made = assess_all(predictor_of(run), [image for _, image in new])
            matches = training_match.of(Workspace.default(), run, [image for _, image in new])
            for (source, image), one, match in zip(new, made, matches, strict=True):
                place = hottest_place_of(one, image, _outline_or_none(run, source, image) if one.has_answer else None)
                assessed[mark, source.key] = replace(one, training=match, hottest=place, heat=None)


def _outline_or_none(run: Run, source: ImageSource, image: GreyImage) -> LungOutline | None:
    """For the list, which gives no reasons."""
    try:
        return _outline(run, source, image)
    except CovidCoreError:
        return None


def _mark(run: Run) -> str:
    """A run as it answers: another mark when it was resumed, or was given a reference."""
    return f"{run.path} {run.result.get('finished', 0.0)} {run.result.get('reference_sha256', '')}"


def forget_all_but(runs: Sequence[Run], sources: Sequence[ImageSource]) -> None:
    """Only what is on the page stays in memory."""
    keys, marks = {source.key for source in sources}, {_mark(run) for run in runs}
    for kind in ("open", "miniatures"):
        uploads.retain(kind, lambda key: key in keys)
    for kind in ("assessed", "made", "training"):
        uploads.retain(kind, lambda key: key[0] in marks and key[1] in keys)
    uploads.retain("anyway", lambda key: key[0] in keys)


def predictor_of(run: Run) -> Predictor:
    """The run's predictor. Raises RunDamaged."""
    return _shared().of(run)


def warm_up(runs: Iterable[Run]) -> None:
    """Open models in the background, then sketch their training images, so that the first image need not wait."""
    warmed = list(runs)[:WARMED]
    for run in warmed:
        _shared().start(run)
    for run in warmed:
        _shared().prepare(run)


@st.cache_resource(show_spinner=False)
def _shared() -> "Predictors":
    return Predictors()


class Predictors:
    """The models that were used last. They hold nothing of any user."""

    def __init__(self, most_bytes: int = MOST_BYTES):
        self._most_bytes = most_bytes
        self._guard = threading.Lock()
        self._kept: OrderedDict[str, tuple[dict[Path, int], Future[Predictor]]] = OrderedDict()
        self._opener = ThreadPoolExecutor(1, "open-model")
        self._sketcher = ThreadPoolExecutor(1, "sketch-training-images")
        self._prepared: set[str] = set()

    def of(self, run: Run) -> Predictor:
        """The run's predictor, opened now or before. Raises RunDamaged; the next call tries again then."""
        future = self.start(run)
        try:
            return future.result()
        except CovidCoreError:
            with self._guard:
                self._kept.pop(_mark(run), None)
            raise

    def start(self, run: Run) -> "Future[Predictor]":
        """Have it opened, where it is not, and let go of those that were not used for longest."""
        key = _mark(run)
        with self._guard:
            if key not in self._kept:
                self._kept[key] = _sizes(run), self._opener.submit(_opened, run)
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and self._bytes() > self._most_bytes:
                self._kept.popitem(last=False)
            return self._kept[key][1]

    def prepare(self, run: Run) -> None:
        """Have its training images sketched after the models are open, once."""
        opened = self.start(run)

        def prepare() -> None:
            opened.exception()  # waits; the scores come first
            training_match.of(Workspace.default(), run, ())

        with self._guard:
            if _mark(run) not in self._prepared:
                self._prepared.add(_mark(run))
                self._sketcher.submit(prepare)

    def _bytes(self) -> int:
        """What the open models take; runs on one network share it."""
        return sum({path: size for sizes, _ in self._kept.values() for path, size in sizes.items()}.values())


def _sizes(run: Run) -> dict[Path, int]:
    """Bytes of each file that the run's model holds open, with what a network needs beside its weights."""
    tail = [run.trunk_path] if "tail_sha256" in run.result else []
    networks = {path: WORKSPACE_BYTES + _size(path) for path in (trunk_path_of(Workspace.default(), run), *tail)}
    return networks | {run.head_path: _size(run.head_path)}


def _size(path: Path) -> int:
    """Bytes of a file; 0 for one that is gone, which opening it will tell."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _opened(run: Run) -> Predictor:
    """Open it, and ask once: the first answer takes several times as long as the next."""
    predictor = Predictor.open(Workspace.default(), run)
    predictor.logits(np.zeros((1, predictor.size, predictor.size), np.uint8))
    return predictor
