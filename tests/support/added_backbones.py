"""Files that can be added as backbones, made on the spot, with their descriptions."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from covid_core import files
from covid_core.backbones import BackboneFile, Measured
from covid_core.runs import backbone_files
from covid_core.workspace import Workspace

OPSET = 17
SMALL = 32  # px
FILTERS = 8


ABOUT: dict[str, Any] = {
    "name": "own_network",
    "label": "Own network",
    "kind": "onnx",
    "sizes": [SMALL],
    "input_range": "minus_one_to_one",
    "channels": 3,
    "layout": "NCHW",
    "licence": "made for a test",
    "source": "this test",
    "sha256": "0" * 64,
}
OF_KIND = {  # what other kinds say otherwise
    ".onnx": {},
    ".tflite": {"kind": "litert", "layout": "NHWC"},
    ".keras": {"kind": "keras", "layout": "NHWC"},
}


def described(path: Path, **changes: Any) -> Path:
    """Write the description of a file beside it. Returns the description's path."""
    about = {**ABOUT, **OF_KIND[path.suffix], "sha256": files.sha256_of(path)}
    beside = path.with_suffix(".json")
    beside.write_text(json.dumps(about | changes))
    return beside


def published(workspace: Workspace, path: Path) -> BackboneFile:
    """Put a described file of ``small_onnx`` where the check would, as if it had passed it."""
    file = backbone_files.described(path.with_suffix(".json"))
    measured = Measured(channels=FILTERS, is_vector=False, milliseconds=1, megabytes=0.1)
    file = file.model_copy(update={"measured": measured})
    with files.published_folder(backbone_files.folder_of(workspace, file.name)) as staging:
        shutil.copyfile(path, staging / file.file_name)
        backbone_files.write_record(staging, file)
    return file


def small_onnx(
    path: Path, *, vector: bool = False, batch: int | str = "n", channels: int = 3, seed: int = 0, last: str = "Relu"
) -> Path:
    """A convolution with stride 4, and a second operator; ``vector``: pooled to one number per filter."""
    weights = np.random.default_rng(seed).normal(0, 0.2, (FILTERS, channels, 5, 5)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "weights"], ["maps"], strides=[4, 4], pads=[2, 2, 2, 2]),
        helper.make_node(last, ["maps"], ["active"]),
    ]
    if vector:
        nodes += [helper.make_node("GlobalAveragePool", ["active"], ["cells"])]
        nodes += [helper.make_node("Flatten", ["cells"], ["vector"])]
    shape = [batch, channels, "height", "width"]
    return saved(path, nodes, {"weights": weights}, shape, "vector" if vector else "active")


def saved(path: Path, nodes: list[Any], arrays: dict[str, np.ndarray], shape: list[Any], *outputs: str) -> Path:
    """An ONNX file of these operators, from "image" to ``outputs``."""
    graph = helper.make_graph(
        nodes,
        "backbone",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def onnx_of(network: Any, output: Any, path: Path) -> Path:
    """The layers of a Keras model, from its input to the tensor ``output``, as an ONNX file with channels first.

    For those kinds of layers that MobileNetV2 has.
    """
    nodes, arrays = list[Any](), dict[str, np.ndarray]()
    first = network.input._keras_history.operation.name
    wanted = output._keras_history.operation.name
    for layer in network.layers:
        if layer.name == first:
            continue
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        names = [tensor._keras_history.operation.name for tensor in inputs]
        names = ["image" if name == first else name for name in names]
        kind, more, settings = OPERATORS[type(layer).__name__](layer)
        own = {f"{layer.name}/{number}": np.asarray(array, np.float32) for number, array in enumerate(more)}
        arrays |= {name: array if kind != "Pad" else array.astype(np.int64) for name, array in own.items()}
        nodes.append(helper.make_node(kind, [*names, *own], [layer.name], **settings))
        if layer.name == wanted:
            break
    return saved(path, nodes, arrays, ["n", network.input.shape[3], "height", "width"], wanted)


def litert_of(keras_file: Path, path: Path) -> None:
    """The model in a Keras file as a LiteRT file."""
    import keras
    import tensorflow as tf

    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(keras.models.load_model(keras_file)).convert())


Operator = tuple[str, list[np.ndarray], dict[str, Any]]


def _convolution(layer: Any) -> Operator:
    kernel, *bias = layer.get_weights()
    return "Conv", [kernel.transpose(3, 2, 0, 1), *bias], _moves(layer)


def _depthwise(layer: Any) -> Operator:
    kernel, *bias = layer.get_weights()
    height, width, channels, times = kernel.shape
    by_channel = kernel.transpose(2, 3, 0, 1).reshape(channels * times, 1, height, width)
    return "Conv", [by_channel, *bias], {**_moves(layer), "group": channels}


def _moves(layer: Any) -> dict[str, Any]:
    padding = {"same": "SAME_UPPER", "valid": "VALID"}[layer.padding]
    return {"strides": list(layer.strides), "auto_pad": padding}


def _padding(layer: Any) -> Operator:
    (top, bottom), (left, right) = layer.padding
    return "Pad", [np.array([0, 0, top, left, 0, 0, bottom, right])], {}


OPERATORS = {
    "Conv2D": _convolution,
    "DepthwiseConv2D": _depthwise,
    "BatchNormalization": lambda layer: ("BatchNormalization", layer.get_weights(), {"epsilon": layer.epsilon}),
    "ReLU": lambda layer: ("Clip", [np.float32(0), np.float32(layer.max_value or np.inf)], {}),
    "Add": lambda layer: ("Add", [], {}),
    "ZeroPadding2D": _padding,
}
