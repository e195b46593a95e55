"""A .keras file of others as a backbone: loaded without running code from it, as maps behind a prepared image."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import keras
from keras import layers

from covid_core.backbones import BackboneFile
from covid_core.errors import InvalidChoice, cause

STOCK = "keras"  # the module that every class in a file must come from
CODE = "Lambda"


def maps_of(entry: keras.KerasTensor, path: Path, file: BackboneFile) -> keras.KerasTensor:
    """The file's maps (height, width, channels) of prepared images; a vector is one cell. Raises InvalidChoice."""
    network = loaded(path)
    if file.output:
        network = keras.Model(network.inputs, _layer(network, file.output).output, name="added")
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        counts = f"{len(network.inputs)} inputs and {len(network.outputs)} outputs"
        raise InvalidChoice(f"The model has {counts}; a backbone has one of each. Name a layer as output.")
    network.trainable = False
    try:
        maps = network(entry, training=False)
    except (ValueError, TypeError) as error:
        raise InvalidChoice(f"The model does not take images as described: {str(error).splitlines()[0]}") from error
    if len(maps.shape) == 2:
        return layers.Reshape((1, 1, maps.shape[1]), name="one_cell")(maps)
    if len(maps.shape) != 4:
        raise InvalidChoice(f"The output has the shape {maps.shape}; a backbone gives maps of 4 dimensions or vectors.")
    return layers.Permute((2, 3, 1), name="channels_last")(maps) if file.layout == "NCHW" else maps


def _layer(network: keras.Model, name: str) -> layers.Layer:
    try:
        return network.get_layer(name)
    except ValueError as error:
        raise InvalidChoice(f"The model has no layer {name!r}, which the description names as output.") from error


def loaded(path: Path) -> keras.Model:
    """The model in a file of others: stock layers alone, nothing compiled, no code run. Raises InvalidChoice."""
    for part in _classes(_config(path)):
        if part["class_name"] == CODE:
            raise InvalidChoice(f"{path.name} has a Lambda layer, which holds code. Build it from stock layers alone.")
        module = str(part.get("module") or STOCK)
        if ">" in str(part.get("registered_name")) or not (module == STOCK or module.startswith(f"{STOCK}.")):
            raise InvalidChoice(f"{path.name} has the custom object {part['class_name']}, which is refused.")
    try:
        network = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever a file of others makes the loader raise
        raise InvalidChoice(f"{path.name} cannot be loaded safely: {cause(error, path)[:200]}") from error
    if not getattr(network, "inputs", None):
        raise InvalidChoice(f"{path.name} is no functional model: its input has no shape.")
    return network


def _config(path: Path) -> Any:
    try:
        with ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    except (BadZipFile, OSError, KeyError, ValueError) as error:
        raise InvalidChoice(f"{path.name} is no .keras file, or is damaged.") from error


def _classes(value: Any) -> Iterator[dict[str, Any]]:
    """All classes that a configuration names, those within others included."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for part in value.values():
            yield from _classes(part)
    elif isinstance(value, list):
        for part in value:
            yield from _classes(part)
