"""A .keras file of others as a backbone: loaded without running code from it, as maps behind a prepared image."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
from keras import layers

from covid_core.backbones import BackboneFile
from covid_core.errors import InvalidChoice, cause
from covid_core.runs import stored_weights


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


def _numbers_described(path: Path) -> int:
    """How many numbers the described network has. None is made: a dense layer on a large image can need terabytes."""
    with keras.StatelessScope(initialize_variables=False):
        network = keras.saving.deserialize_keras_object(stored_weights.config(path), safe_mode=True)
        return sum(math.prod(one.shape) for one in network.weights)


def loaded(path: Path) -> keras.Model:
    """The model in a file of others: stock layers alone, nothing compiled, no code run. Raises InvalidChoice."""
    stored_weights.check_keras(path)
    try:
        with ThreadPoolExecutor(1) as apart:  # Keras forgets what it has counted with the thread
            described = apart.submit(_numbers_described, path).result()
        held = sum(math.prod(shape) for shape in stored_weights.shapes(path))
        if described > held:
            raise InvalidChoice(f"it describes {described:,} numbers and holds {held:,}")
        network = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever a file of others makes the loader raise
        raise InvalidChoice(f"The file cannot be loaded safely: {cause(error, path)[:200]}") from error
    if not getattr(network, "inputs", None):
        raise InvalidChoice("The file is no functional model: its input has no shape.")
    return network
