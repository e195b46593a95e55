"""Films that a user handed in for a prediction: read once, kept in this browser session only, never written."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import streamlit as st

from app_pages.components import shell
from covid_core.data.dataset import Dataset
from covid_core.data.images import Film, jpeg_bytes, read_film, thumbnail
from covid_core.errors import CovidCoreError, ImageError
from covid_core.inference.predictor import Prediction, Predictor
from covid_core.runs.store import Run

THUMBNAIL_SIDE = 208  # pixels; twice its place on screen, for sharp displays
AT_ONCE = 16  # films per batch: progress moves, and memory stays small
KEPT = "predict_kept"


@dataclass(frozen=True)
class Given:
    """One file that was handed in: the film, or the reason why it cannot be read faithfully."""

    key: str
    name: str
    film: Film | None
    reason: str = ""
    label: str = ""


def uploaded(files: Iterable[object]) -> list[Given]:
    """Read uploads; the same file twice is one row."""
    kept = _kept("films")
    given = {}
    for file in files:
        content = file.getvalue()
        key = hashlib.sha256(content).hexdigest()
        if key not in given:
            given[key] = kept.get(key) or _read(key, file.name, content)
    _keep_only("films", given)
    return list(given.values())


def from_dataset(dataset: Dataset, image_id: str) -> Given:
    """A film of the data set that a run was trained with, to try without an upload."""
    row = dataset.row_of(image_id)
    label = dataset.films["label"].iat[row]
    try:
        content = dataset.path_of(row).read_bytes()
        return Given(hashlib.sha256(content).hexdigest(), image_id, read_film(content), label=label)
    except ImageError as error:
        return Given(image_id, image_id, None, str(error), label)
    except OSError as error:
        return Given(image_id, image_id, None, f"The film's file cannot be opened: {error.strerror}.", label)


def predictions(runs: list[Run], given: list[Given]) -> dict[str, dict[str, Prediction]]:
    """What each run (by id) says of each readable film (by key). Only new pairs are computed, with progress."""
    kept = _kept("predictions")
    wanted = {(run.id, film.key) for run in runs for film in given if film.film is not None}
    missing = {run.id: [g for g in given if g.film is not None and (run.id, g.key) not in kept] for run in runs}
    total = sum(map(len, missing.values()))
    bar = st.progress(0.0, "Looking at the films") if total > AT_ONCE else None
    done = 0
    for run in runs:
        for start in range(0, len(missing[run.id]), AT_ONCE):
            batch = missing[run.id][start : start + AT_ONCE]
            answers = predictor(run).predict([film.film for film in batch])
            kept |= {(run.id, film.key): answer for film, answer in zip(batch, answers, strict=True)}
            done += len(batch)
            if bar:
                bar.progress(done / total, f"Looking at the films: {done:,} of {total:,}")
    if bar:
        bar.empty()
    _keep_only("predictions", {pair: answer for pair, answer in kept.items() if pair in wanted})
    return {run.id: {film.key: kept[run.id, film.key] for film in given if (run.id, film.key) in kept} for run in runs}


def predictor(run: Run) -> Predictor:
    """The run's predictor, loaded once per server and shared: it holds a model, and nothing of any user."""
    return _predictor(str(run.path), run.result.get("finished", 0), run)


@st.cache_resource(max_entries=8, show_spinner="Loading the model")
def _predictor(path: str, finished: float, _run: Run) -> Predictor:
    return Predictor.open(shell.workspace(), _run)


@st.cache_data(max_entries=32, show_spinner=False)
def example_ids(path: str, per_class: int, _run: Run) -> list[str]:
    """Test films of a run, the same few of every class: the model has not seen them in training."""
    split = _run.split()
    test = split[split["part"] == "test"]
    return [str(name) for name in test.groupby("label", sort=True).head(per_class)["image_id"]]


@st.cache_data(max_entries=16, show_spinner=False)
def _parts(path: str, _run: Run) -> dict[str, str]:
    return dict(_run.split()[["image_id", "part"]].itertuples(index=False, name=None))


def part_of(run: Run, image_id: str) -> str:
    """The part of the run's split that a film is in; nothing for a film that the split left out."""
    return _parts(str(run.path), run).get(image_id, "")


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


def _read(key: str, name: str, content: bytes) -> Given:
    try:
        return Given(key, name, read_film(content))
    except CovidCoreError as error:
        return Given(key, name, None, str(error))


def _kept(kind: str) -> dict:
    return st.session_state.setdefault(KEPT, {}).setdefault(kind, {})


def _keep_only(kind: str, content: dict) -> None:
    st.session_state[KEPT][kind] = dict(content)
