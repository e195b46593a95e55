"""The calibrated model of a run in another format: uint8 grey images (n, side, side, 1) to shares that sum to 1."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import tensorflow as tf
from keras import layers

from covid_core.nets import export
from covid_core.nets.added import keras_file
from covid_core.nets.forms import older_keras
from covid_core.nets.model import FULL
from covid_core.work import Progress


def write(model: Path, temperature: float, kind: str, path: Path, progress: Progress) -> None:
    """Write a run's saved model in another format.

    Args:
        model: the run's .keras file; nothing in it is run as code.
        temperature: by which logits are divided before the softmax; 1 leaves the scores of the run.
        kind: of WRITERS.
        path: a file that is not there, or of a SavedModel a folder.
        progress: told of each step.

    Raises InvalidChoice where the file is not to be trusted, and RunError where the format cannot hold it.
    """
    progress(0.0, "Starting TensorFlow, and loading the model")
    network = calibrated(keras_file.loaded(model), temperature)
    progress(0.4, "Writing the model in its new format")
    WRITERS[kind](network, path)


def calibrated(network: keras.Model, temperature: float) -> keras.Model:
    """A run's model with its logits divided by a temperature."""
    logits = network.get_layer("scores").input
    scaled = layers.Rescaling(1 / temperature, name="temperature", **FULL)(logits)
    return keras.Model(network.input, layers.Softmax(name="probabilities", **FULL)(scaled), name="second_look")


def _keras(network: keras.Model, path: Path) -> None:
    export.save_model(network, path)
    older_keras.rewrite(path)


def _onnx(network: keras.Model, path: Path) -> None:
    """By tf2onnx itself. A Normalization layer has its numbers as tensors, not as variables: ``from_function``, which
    Keras's own export calls, makes inputs of them, and ``from_keras`` constants."""
    import tf2onnx  # an extra

    image = network.input
    tf2onnx.convert.from_keras(network, [tf.TensorSpec(image.shape, image.dtype, name=image.name)], output_path=path)


WRITERS: dict[str, Callable[[keras.Model, Path], object]] = {
    "keras": _keras,
    "saved_model": partial(keras.Model.export, format="tf_saved_model", verbose=False),
    "litert": export.export_network,
    # LiteRT.js 2.5 runs no other number of images than the file states.
    "litert_of_one": partial(export.export_network, images=1),
    "onnx": _onnx,
}
