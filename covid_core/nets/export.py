"""Keras to files: models published whole, and networks in LiteRT format."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from covid_core import files
from covid_core.errors import RunError
from covid_core.inference.apart.network import NetworkApart
from covid_core.inference.network import LiteNetwork, batch_for
from covid_core.nets import model, trunk
from covid_core.nets.trunk import FrozenTrunk, relative_difference
from covid_core.synthetic.phantom import drawn_squares
from covid_core.work import blocks
from covid_core.workspace import Workspace

PROBE_IMAGES = 16
EXPORT_LIMIT = 1e-3  # of the largest value; float sums in another order differ by 1e-5 at most in what we tried

Traced = Callable[[np.ndarray], list[np.ndarray]]
"""A network as TensorFlow runs it: a batch to its outputs."""

Apart = Callable[[Path], NetworkApart]
"""Opens an exported network in a process of its own."""


def save_model(network: keras.Model, path: Path) -> None:
    """Publish a model as one .keras file. Keras itself writes in place and would leave half a file after a crash."""
    with files.published(path) as temporary:
        network.save(temporary)


def load_model(path: Path) -> keras.Model:
    """A model that this app saved: no code is run from the file, nothing is compiled."""
    return keras.models.load_model(path, compile=False, safe_mode=True)


def export_network(network: keras.Model, path: Path, images: int | None = None) -> Traced:
    """Publish a network as a LiteRT file, for so many images at once or any number. Returns it as TensorFlow runs it,
    for comparison.

    The graph goes straight to the converter. Keras's own ``export(format="litert")`` writes a SavedModel first and
    reads it again, which takes three times as long.
    """
    (tensor,) = network.inputs
    signature = tf.TensorSpec((images, *tensor.shape[1:]), tensor.dtype, name=tensor.name)
    function = tf.function(lambda batch: network(batch, training=False), input_signature=[signature])
    traced = function.get_concrete_function()
    holder = tf.Module()
    holder.network_variables = [variable.value for variable in network.variables]  # for the converter
    with files.published(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter warns of its own deprecations
        converter = tf.lite.TFLiteConverter.from_concrete_functions([traced], holder)
        converter.experimental_lower_to_saved_model = False
        temporary.write_bytes(converter.convert())
    return lambda batch: [np.asarray(output) for output in tf.nest.flatten(traced(tf.constant(batch)))]


def export_trunk(
    workspace: Workspace, key: str, network: keras.Model, taps: int, cut: int = 0, apart: Apart | None = None
) -> FrozenTrunk:
    """Export the frozen part of a network, an image to the maps of so many taps, and keep Keras's own outputs for some
    images.

    Of the ``cut`` last layers, which a fine-tuning may want, the input becomes one more output; 0: none. Of an added
    backbone, ``apart`` opens the exported part with the file behind it: its outputs are the ones that are kept. Raises
    RunError when the outputs of the exported network differ from Keras's.
    """
    boundary, behind = model.cut_before_last(network, cut) if cut else ("", 0)
    tensors = [*network.outputs, *([network.get_layer(boundary).output] if cut else [])]
    whole = keras.Model(network.input, tensors, name="frozen")
    names = tuple(tensor._keras_history.operation.name for tensor in tensors)
    shapes = tuple(tuple(tensor.shape[1:]) for tensor in tensors)
    made = FrozenTrunk(key, workspace.trunks / f"{key}.tflite", names, shapes, taps, behind)
    traced = export_network(whole, made.path)
    images = probe_images(network.input.shape[1])
    outputs = _in_batches(traced, images)
    exported = _in_batches(LiteNetwork(made.path).run, images)
    if [maps.shape for maps in exported] != [maps.shape for maps in outputs]:
        raise RunError("The exported network has other outputs than Keras's.")
    worst = max(relative_difference(a, b) for a, b in zip(exported, outputs, strict=True))
    if not worst < EXPORT_LIMIT:
        raise RunError(f"The exported network differs from Keras's by {worst:.2g} of its largest value.")
    if apart:
        outputs = _in_batches(apart(made.path).run, images)
        made = replace(made, layers=("output",), shapes=(outputs[0].shape[1:],))
    trunk.publish(made, images, outputs)
    return made


def _in_batches(run: Traced, images: np.ndarray) -> list[np.ndarray]:
    """Outputs for all of some images; the maps inside the network are held of a few at a time."""
    batches = blocks(images[..., None], batch_for(images.shape[1]))
    return list(map(np.concatenate, zip(*map(run, batches), strict=True)))


def probe_images(size: int) -> np.ndarray:
    """Synthetic images on which exported networks are compared with Keras's: uint8 (n, size, size)."""
    return drawn_squares(PROBE_IMAGES, size)
