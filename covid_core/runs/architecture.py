"""How the network of a run is built, layer by layer, from its saved model alone: no TensorFlow."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from zipfile import BadZipFile, ZipFile

import h5py
import pandas as pd

from covid_core.errors import RunDamaged
from covid_core.runs.store import Run

COLUMNS = ("layer", "kind", "shape", "parameters", "part")
NETWORK, HEAD = "network", "head"  # the parts of a model: what makes features, and what makes scores of them
IMAGE = "image"  # what the first layer is called, whatever earlier versions called it
INPUT, NESTED = "InputLayer", "layers"


def layers(run: Run) -> pd.DataFrame:
    """One row per layer of the saved model, from the image to the scores, columns COLUMNS.

    ``shape`` is that of the layer's output without the batch: ``30 x 30 x 32``. The parameters add up to those in the
    run's result. Raises RunDamaged.
    """
    try:
        with ZipFile(run.model_path) as archive, archive.open("model.weights.h5") as stored:
            model = json.loads(archive.read("config.json"))["config"]
            with h5py.File(stored, "r") as weights:
                rows = list(_rows(model, weights, "", NETWORK))
    except (BadZipFile, OSError, ValueError, KeyError, TypeError) as error:
        raise RunDamaged(f"The layers of {run.name} cannot be read: its saved model is missing or damaged.") from error
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(model: Mapping[str, Any], weights: h5py.File, place: str, part: str) -> Iterator[tuple[Any, ...]]:
    """The layers of a model, those of a model within it in its place. ``place`` is the model's group of weights."""
    shapes, times = dict(_shapes(model)), dict[str, int]()
    shape: list[int | None] = []
    for layer in model["layers"]:
        kind, name = layer["class_name"], layer["config"].get("name") or layer["name"]
        group = _stored_name(kind, times)
        shape = shapes.get(name) or layer["config"].get("batch_shape") or shape
        if NESTED in layer["config"]:
            inner = HEAD if name == HEAD else part
            *first, last = _rows(layer["config"], weights, f"{place}layers/{group}/", inner)
            yield from first[1:]  # its input is what stands before it
            yield (*last[:2], _written(shape), *last[3:])
        else:
            parameters = weights.get(f"{place}layers/{group}/vars", {})
            yield (
                IMAGE if kind == INPUT else name,
                kind,
                _written(shape),
                sum(int(one.size) for one in parameters.values()),
                part,
            )


def _shapes(model: Mapping[str, Any]) -> Iterator[tuple[str, list[int | None]]]:
    """The output shape of every layer that another one takes."""

    def tensors(value: Any) -> Iterator[Mapping[str, Any]]:
        if isinstance(value, Mapping):
            if value.get("class_name") == "__keras_tensor__":
                yield value["config"]
            for item in value.values():
                yield from tensors(item)
        elif isinstance(value, list):
            for item in value:
                yield from tensors(item)

    for layer in model["layers"]:
        for tensor in tensors(layer["inbound_nodes"]):
            yield tensor["keras_history"][0], tensor["shape"]


def _stored_name(kind: str, times: dict[str, int]) -> str:
    """The name under which Keras stores the weights of the next layer of a kind: ``conv2d``, ``conv2d_1``."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)
    name = re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
    times[name] = times.get(name, -1) + 1
    return f"{name}_{times[name]}" if times[name] else name


def _written(shape: list[int | None]) -> str:
    return " x ".join(str(side) for side in shape[1:])
