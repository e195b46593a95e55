"""The calibrated model of a run in another form: uint8 grey images (n, side, side, 1) to shares that sum to 1."""

import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import layers

from covid_core.nets import export
from covid_core.nets.added import keras_file
from covid_core.nets.forms import older_keras
from covid_core.nets.model import FULL
from covid_core.work import Progress


def write(model: Path, temperature: float, kind: str, path: Path, progress: Progress) -> None:
    """Write a run's saved model in another form.

    Args:
        model: the run's .keras file; nothing in it is run as code.
        temperature: by which logits are divided before the softmax; 1 leaves the scores of the run.
        kind: of WRITERS.
        path: a file that is not there, or of a SavedModel a folder.
        progress: told of each step.

    Raises InvalidChoice where the file is not to be trusted, and RunError where the form cannot hold it.
    """
    progress(0.0, "Starting TensorFlow, and loading the model")
    network = calibrated(keras_file.loaded(model), temperature)
    progress(0.4, "Writing the model in its new form")
    WRITERS[kind](network, path)


def calibrated(network: keras.Model, temperature: float) -> keras.Model:
    """A run's model with its logits divided by a temperature."""
    logits = network.get_layer("scores").input
    scaled = layers.Rescaling(1 / temperature, name="temperature", **FULL)(logits)
    return keras.Model(network.input, layers.Softmax(name="probabilities", **FULL)(scaled), name="second_look")


def _keras(network: keras.Model, path: Path) -> None:
    export.save_model(network, path)
    older_keras.rewrite(path)


def _saved_model(network: keras.Model, path: Path) -> None:
    network.export(path, format="tf_saved_model", verbose=False)


def _litert(network: keras.Model, path: Path) -> None:
    export.export_network(network, path)


def _litert_of_one(network: keras.Model, path: Path) -> None:
    export.export_network(network, path, images=1)


def _onnx(network: keras.Model, path: Path) -> None:
    network(np.zeros((1, *network.input.shape[1:]), np.uint8))  # Keras refuses to export what was never called
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras patches tf2onnx for NumPy 2, which warns of it
        network.export(path, format="onnx", verbose=False)


WRITERS: dict[str, Callable[[keras.Model, Path], None]] = {
    "keras": _keras,
    "saved_model": _saved_model,
    "litert": _litert,
    "litert_of_one": _litert_of_one,  # LiteRT.js 2.5 runs no other number of images than the file states
    "onnx": _onnx,
}
