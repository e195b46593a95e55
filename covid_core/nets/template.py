"""Saved models of frozen networks without building them again.

All runs on one trunk with heads of one shape differ in a few arrays. The first of them has Keras build and save the
model; that file is kept beside the trunk, with the places of the head's arrays in it. Later runs write their arrays
into a copy, which takes a tenth of a second and no TensorFlow.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import h5py
import numpy as np

from covid_core import files
from covid_core.errors import RunError
from covid_core.inference.network import Head
from covid_core.nets.trunk import FrozenTrunk
from covid_core.specs import TrainingSpec

WEIGHTS = "model.weights.h5"  # within a .keras file, which is a zip archive


@dataclass(frozen=True)
class Template:
    """A saved model of a trunk and some head, where its arrays lie (weights, then biases), and how large it is."""

    path: Path
    places: tuple[str, ...]
    parameters: int


def path_of(trunk: FrozenTrunk, spec: TrainingSpec) -> Path:
    """Where the template for heads of this shape lies, whether or not it is there."""
    head = (spec.head.units, spec.head.dropout, spec.head.pooling, len(spec.classes), spec.test_time_flip)
    shape = hashlib.sha256(repr(head).encode()).hexdigest()[:12]
    return trunk.path.with_name(f"{trunk.key}-{shape}.keras")


def load(trunk: FrozenTrunk, spec: TrainingSpec) -> Template | None:
    """The template for heads of this shape, if it is there."""
    path = path_of(trunk, spec)
    if not (path.exists() and path.with_suffix(".json").exists()):
        return None
    facts = files.read_json(path.with_suffix(".json"))
    return Template(path, tuple(facts["places"]), facts["parameters"])


def publish(path: Path, head: Head, parameters: int) -> Template:
    """Note where the arrays of ``head`` lie in the saved model ``path``. They must not equal each other."""
    with ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read(WEIGHTS)), "r") as stored:
        arrays: dict[str, np.ndarray] = {}
        stored.visititems(lambda key, item: arrays.update({key: item[()]}) if isinstance(item, h5py.Dataset) else None)
    places = tuple(_place_of(array, arrays) for array in (*head.weights, *head.biases))
    files.write_json(path.with_suffix(".json"), {"places": places, "parameters": parameters})
    return Template(path, places, parameters)


def _place_of(array: np.ndarray, arrays: dict[str, np.ndarray]) -> str:
    places = [name for name, value in arrays.items() if value.shape == array.shape and np.array_equal(value, array)]
    if len(places) != 1:
        raise RunError(f"An array of the head stands {len(places)} times in the saved model, not once.")
    return places[0]


def write_model(template: Template, head: Head, path: Path) -> None:
    """Publish the template's model with the arrays of ``head``, and read them back.

    Raises RunError when the template is damaged (it is removed then), or when the file does not hold what was written.
    """
    arrays = (*head.weights, *head.biases)
    entries = _filled(template, arrays)
    with files.published(path) as temporary, ZipFile(temporary, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read(WEIGHTS)), "r") as stored:
        if not all(
            np.array_equal(stored[place][()], array) for place, array in zip(template.places, arrays, strict=True)
        ):
            raise RunError("The saved model does not hold the head that was trained.")


def _filled(template: Template, arrays: tuple[np.ndarray, ...]) -> dict[str, bytes]:
    """The entries of the template's archive, with these arrays in their places."""
    try:
        with ZipFile(template.path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        weights = io.BytesIO(entries[WEIGHTS])
        with h5py.File(weights, "r+") as stored:
            for place, array in zip(template.places, arrays, strict=True):
                stored[place][...] = array
    except (BadZipFile, OSError, KeyError, TypeError, ValueError) as error:
        template.path.unlink(missing_ok=True)
        raise RunError(
            f"The kept model {template.path.name} was damaged and has been removed. Start the run again."
        ) from error
    return {**entries, WEIGHTS: weights.getvalue()}
