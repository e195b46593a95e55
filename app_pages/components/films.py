"""Films that a user handed in for a prediction: in this browser session's memory only, never written.

Of many films no pixels are kept: each is decoded, looked at and let go, and decoded again when somebody opens it.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import streamlit as st

from app_pages.components import predictors
from covid_core.data.dataset import Dataset
from covid_core.data.images import Film, jpeg_bytes, read_film, thumbnail
from covid_core.errors import CovidCoreError
from covid_core.formatting import count, duration
from covid_core.inference.predictor import Prediction
from covid_core.runs.store import Run
from covid_core.work import cores, ordered_map

THUMBNAIL_SIDE = 208  # pixels; twice its place on screen, for sharp displays
AT_ONCE = 16  # films per batch: progress moves, and memory stays small
PIXELS_AT_ONCE = 50_000_000  # of all films of a batch; large films come in smaller batches
TOLD_FROM = 8  # films from which on their progress is worth a bar
SHOWN_EVERY = 1.0  # seconds between two tables of what is known so far
MAPS_KEPT = 4  # heat maps, each up to 3 MB
KEPT = "predict_kept"

Said = dict[str, dict[str, Prediction]]
"""What each run (by id) says of each film (by key)."""


@dataclass(frozen=True)
class Given:
    """One film that was handed in. ``read`` decodes it, or raises ImageError; the same key means the same film."""

    key: str
    name: str
    read: Callable[[], Film] = field(repr=False)
    label: str = ""


@dataclass(frozen=True)
class Answers:
    """What the runs say of the films that can be read, and why others cannot, by key."""

    said: Said
    reasons: dict[str, str]


def uploaded(files: Iterable[object]) -> list[Given]:
    """The uploads; the same file twice is one film."""
    keys = _kept("keys")
    given: dict[str, Given] = {}
    now = {}
    for file in files:
        key = now[file.file_id] = keys.get(file.file_id) or hashlib.sha256(file.getbuffer()).hexdigest()
        given.setdefault(key, Given(key, file.name, lambda file=file: read_film(file.getvalue())))
    _keep("keys", now)
    return list(given.values())


def from_dataset(dataset: Dataset, image_id: str) -> Given:
    """A film of the data set that a run was trained with, to try without an upload. Raises DataError for no such."""
    row = dataset.row_of(image_id)
    path = dataset.path_of(row)
    return Given(f"{dataset.version} {image_id}", image_id, lambda: read_film(path), dataset.films["label"].iat[row])


def opened(given: Given) -> Film:
    """The film's pixels; the last one that was opened is kept. Raises ImageError."""
    films = _kept("open")
    if given.key not in films:
        _keep("open", {given.key: given.read()})
    return _kept("open")[given.key]


def explained(run: Run, given: Given, label: str | None, shape: tuple[int, int]) -> tuple[Prediction, np.ndarray]:
    """Scores and the heat map for ``label`` (by default the predicted class) at ``shape``, from one pass.

    The last few are kept. Raises ImageError or RunDamaged.
    """
    pair, maps = (_mark(run), given.key), _kept("maps")
    known = _kept("predictions").get(pair)
    if known is None or (*pair, label or known.predicted, shape) not in maps:
        found, heat = predictors.of(run).explained(opened(given), label, shape)
        known = _kept("predictions").setdefault(pair, found)
        _keep("maps", dict([*maps.items(), ((*pair, label or known.predicted, shape), heat)][-MAPS_KEPT:]))
    return known, _kept("maps")[*pair, label or known.predicted, shape]


def prediction(run: Run, given: Given) -> Prediction:
    """Scores of one film. Raises ImageError or RunDamaged."""
    _look_at([run], [(given, opened(given))])
    return _kept("predictions")[_mark(run), given.key]


def answers(runs: Sequence[Run], given: Sequence[Given], show: Callable[[Answers], None]) -> Answers:
    """What each run says of each film. Only new pairs are computed, in batches, with progress.

    Every batch is kept at once, so nothing is lost when the page is run anew meanwhile. ``show`` is called about once a
    second with what is known so far. Raises RunDamaged.
    """
    missing = [film for film in given if _lacks(runs, film)]
    bar = st.progress(0.0, "Looking at the films") if len(missing) > TOLD_FROM else None
    begin = shown = time.monotonic()
    done = 0
    for batch in _batches(missing):
        _look_at(runs, batch)
        done += len(batch)
        if bar:
            left = (time.monotonic() - begin) / done * (len(missing) - done)
            words = f"Looked at {count(done)} of {count(len(missing))} films, about {duration(left)} left"
            bar.progress(done / len(missing), words)
            if time.monotonic() - shown > SHOWN_EVERY:
                show(_known(runs, given))
                shown = time.monotonic()
    if bar:
        bar.empty()
    return _known(runs, given)


def _known(runs: Sequence[Run], given: Sequence[Given]) -> Answers:
    predictions, reasons = _kept("predictions"), _kept("reasons")
    said = {
        run.id: {film.key: predictions[_mark(run), film.key] for film in given if (_mark(run), film.key) in predictions}
        for run in runs
    }
    return Answers(said, {film.key: reasons[film.key] for film in given if film.key in reasons})


def _lacks(runs: Sequence[Run], film: Given) -> bool:
    predictions = _kept("predictions")
    return film.key not in _kept("reasons") and any((_mark(run), film.key) not in predictions for run in runs)


def _batches(given: Sequence[Given]) -> Iterator[list[tuple[Given, Film | None]]]:
    """Films decoded in parallel while the batch before is being looked at; None for those that cannot be read."""
    batch: list[tuple[Given, Film | None]] = []
    with ThreadPoolExecutor(cores()) as pool:
        for film, (pixels, reason) in zip(given, ordered_map(pool, _read, given, ahead=2 * cores()), strict=True):
            if reason:
                _kept("reasons")[film.key] = reason
            batch.append((film, pixels))
            if len(batch) == AT_ONCE or sum(one.pixels.size for _, one in batch if one) >= PIXELS_AT_ONCE:
                yield batch
                batch = []
    if batch:
        yield batch


def _read(given: Given) -> tuple[Film | None, str]:
    try:
        return given.read(), ""
    except CovidCoreError as error:
        return None, str(error)


def _look_at(runs: Sequence[Run], batch: Sequence[tuple[Given, Film | None]]) -> None:
    """Ask every run for the films of a batch that it has not seen, and keep what it says."""
    kept = _kept("predictions")
    for run in runs:
        new = [(given, film) for given, film in batch if film is not None and (_mark(run), given.key) not in kept]
        if new:
            found = predictors.of(run).predict([film for _, film in new])
            kept |= {(_mark(run), given.key): answer for (given, _), answer in zip(new, found, strict=True)}


def _mark(run: Run) -> str:
    """A run as it was when it answered: one that is resumed later answers anew."""
    return f"{run.path} {run.result.get('finished', 0)}"


def forget_all_but(runs: Sequence[Run], given: Sequence[Given]) -> None:
    """Only what is on the page stays in memory."""
    keys, marks = {film.key for film in given}, {_mark(run) for run in runs}
    for kind in ("reasons", "open"):
        _keep(kind, {key: kept for key, kept in _kept(kind).items() if key in keys})
    for kind in ("predictions", "maps"):
        _keep(kind, {pair: kept for pair, kept in _kept(kind).items() if pair[0] in marks and pair[1] in keys})


@st.cache_data(max_entries=32, show_spinner=False)
def example_ids(path: str, per_class: int, _run: Run) -> list[str]:
    """Test films of a run, the same few of every class: the model has not seen them in training."""
    split = _run.split()
    test = split[split["part"] == "test"]
    return [str(name) for name in test.groupby("label", sort=True).head(per_class)["image_id"]]


def part_of(run: Run, image_id: str) -> str:
    """The part of the run's split that a film is in; nothing for a film that the split left out."""
    return _part_of(str(run.path), image_id, run)


@st.cache_data(max_entries=256, show_spinner=False)
def _part_of(path: str, image_id: str, _run: Run) -> str:
    split = _run.split()
    found = split.loc[split["image_id"] == image_id, "part"]
    return "" if found.empty else str(found.iat[0])


def thumbnails(dataset: Dataset, image_ids: tuple[str, ...]) -> dict[str, tuple[bytes, str]]:
    """Picture and label of a few films of a data set, by image id."""
    return _thumbnails(dataset.version, image_ids, dataset)


@st.cache_data(max_entries=32, show_spinner=False)
def _thumbnails(version: str, image_ids: tuple[str, ...], _dataset: Dataset) -> dict[str, tuple[bytes, str]]:
    found = {}
    for image_id in image_ids:
        row = _dataset.row_of(image_id)
        pixels = read_film(_dataset.path_of(row)).pixels
        found[image_id] = jpeg_bytes(thumbnail(pixels, THUMBNAIL_SIDE)), _dataset.films["label"].iat[row]
    return found


def _kept(kind: str) -> dict:
    return st.session_state.setdefault(KEPT, {}).setdefault(kind, {})


def _keep(kind: str, content: dict) -> None:
    _kept(kind)
    st.session_state[KEPT][kind] = content
