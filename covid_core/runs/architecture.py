"""How the network of a run is built, layer by layer, from its saved model or its choices alone: no TensorFlow."""

import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from zipfile import BadZipFile, ZipFile

import h5py
import pandas as pd

from covid_core.backbones import BASELINE_FILTERS
from covid_core.errors import RunDamaged
from covid_core.runs.store import Run
from covid_core.specs import TrainingSpec

COLUMNS = ("layer", "kind", "shape", "parameters", "part")
NETWORK, HEAD = "network", "head"  # the parts of a model: what makes features, and what makes scores of them
IMAGE = "image"  # what the first layer is called, whatever earlier versions called it
INPUT, NESTED = "InputLayer", "layers"


def layers(run: Run) -> pd.DataFrame:
    """One row per layer of the saved model, from the image to the scores, columns COLUMNS.

    ``shape`` is that of the layer's output without the batch: ``30 x 30 x 32``. The parameters add up to those in the
    run's result. Of a run without a saved model, and of one from a bundle, whose model is a stranger's file, they are
    those of ``planned``. Raises RunDamaged.
    """
    run.check_network()
    if not run.has_model or run.bundle:
        return planned(run.spec)
    try:
        with ZipFile(run.model_path) as archive:
            model = json.loads(archive.read("config.json"))["config"]
            whole = io.BytesIO(archive.read("model.weights.h5"))  # HDF5 seeks often, which is slow within an archive
            with h5py.File(whole, "r") as weights:
                rows = list(_rows(model, weights, "", NETWORK))
    except (BadZipFile, OSError, ValueError, KeyError, TypeError) as error:
        raise RunDamaged(f"The layers of {run.name} cannot be read: its saved model is missing or damaged.") from error
    return pd.DataFrame(rows, columns=list(COLUMNS))


def planned(spec: TrainingSpec) -> pd.DataFrame:
    """The same columns for a run that is not trained yet, from its choices alone; a pretrained network is one row."""
    backbone, classes = spec.network, len(spec.classes)
    side = spec.image_size
    rows: list[tuple[str, str, str, int, str]] = [(IMAGE, INPUT, f"{spec.pixels} x {spec.pixels} x 1", 0, NETWORK)]
    if spec.input.in_words:
        rows.append(("input", spec.input.in_words, f"{side} x {side} x 1", 0, NETWORK))
    if backbone.pretrained:
        has_taps = spec.taps == "default" and bool(backbone.taps)
        maps = backbone.tap_maps if has_taps else (backbone.last_maps,)
        parameters = backbone.parameters_to_taps if has_taps else backbone.parameters
        last = f"up to {backbone.taps[-1]}" if has_taps else "without its head"
        rows.append((backbone.label, last, f"{' + '.join(map(str, maps))} maps", parameters, NETWORK))
        width = sum(maps) * (2 if spec.head.pooling == "mean_max" else 1)
        rows.append(("pooling", spec.head.pooling.replace("_max", " and maximum"), str(width), 0, NETWORK))
    else:
        rows.append(("rescaling", "Rescaling", f"{side} x {side} x 1", 0, NETWORK))
        channels = 1
        for number, filters in enumerate(BASELINE_FILTERS, start=1):
            side -= 2  # 3 x 3, without padding
            cells = (9 * channels + 1) * filters
            rows.append((f"conv_{number}", "Conv2D", f"{side} x {side} x {filters}", cells, NETWORK))
            side, channels = side // 2, filters
            rows.append((f"pool_{number}", "MaxPooling2D", f"{side} x {side} x {filters}", 0, NETWORK))
        width = side * side * channels
        rows.append(("flatten", "Flatten", str(width), 0, NETWORK))
    for number, units in enumerate(spec.head.units):
        rows.append((f"dense_{number}", "Dense", str(units), (width + 1) * units, HEAD))
        rows.append((f"dropout_{number}", "Dropout", str(units), 0, HEAD))
        width = units
    rows.append(("logits", "Dense", str(classes), (width + 1) * classes, HEAD))
    rows.append(("scores", "Softmax", str(classes), 0, NETWORK))
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
