"""A run's network with its weights in random order: as large, as deep, as it was built, and it knows nothing.

For the weight-randomisation test of Adebayo et al. 2018, "Sanity Checks for Saliency Maps": a heat map that stays as it
is when the weights are shuffled shows the image, or the network's build, and nothing that was learned.

Every kernel's weights change places within their kernel, and each takes a random sign, as weights at a random start
have: most kernels lean to one side, and without it whole layers fall silent. Biases and the scales of normalisation
stay. An exported network is a flatbuffer whose constants lie in it as plain little-endian floats, so they are shuffled
where they lie and nothing is written anew. TensorFlow is not needed, and a frozen, a fine-tuned and a fully trained run
are all treated alike.
"""

import struct
from pathlib import Path

import numpy as np

from covid_core.errors import RunDamaged
from covid_core.inference.network import Head, LiteNetwork

IDENTIFIER = b"TFL3"  # what every such file has at its fifth byte
KERNEL_AXES = 2  # axes longer than 1 that a kernel has at least; biases and the constants of preprocessing have one


def shuffled_head(head: Head, rng: np.random.Generator) -> Head:
    """A head whose weights are in random order, each with a random sign."""
    return Head(head.pooling, tuple(_shuffled(weights, rng) for weights in head.weights), head.biases)


def shuffled_network(path: Path, rng: np.random.Generator) -> LiteNetwork:
    """The exported network in a file, with the weights of each kernel shuffled. Raises RunDamaged."""
    return LiteNetwork(path, content=shuffled_content(path, rng))


def shuffled_content(path: Path, rng: np.random.Generator) -> bytes:
    """The bytes of an exported network with the weights of each kernel shuffled. Raises RunDamaged."""
    from ai_edge_litert import schema_py_generated as schema  # 0.1 s, and only this needs it

    damaged = RunDamaged(f"The exported network {path.name} is missing or damaged.")
    try:
        content = bytearray(path.read_bytes())
        if content[4:8] != IDENTIFIER:
            raise damaged
        model = schema.Model.GetRootAs(content, 0)
        graphs = [model.Subgraphs(number) for number in range(model.SubgraphsLength())]
        tensors = [graph.Tensors(number) for graph in graphs for number in range(graph.TensorsLength())]
    except (OSError, ValueError, TypeError, struct.error) as error:
        raise damaged from error
    floats = [one for one in tensors if one.Type() == schema.TensorType.FLOAT32 and one.ShapeLength()]
    kernels = {one.Buffer() for one in floats if np.count_nonzero(one.ShapeAsNumpy() > 1) >= KERNEL_AXES}
    filled = [number for number in sorted(kernels) if model.Buffers(number).DataLength()]
    for number in filled:
        weights = model.Buffers(number).DataAsNumpy().view("<f4")  # a view: what is written into it is in the content
        weights[:] = _shuffled(weights, rng)
    if not filled:
        raise RunDamaged(f"The exported network {path.name} holds no weights that could be shuffled.")
    return bytes(content)


def _shuffled(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same weights elsewhere, about half of them with the other sign."""
    moved = rng.permutation(weights.ravel()).reshape(weights.shape)
    return np.copysign(moved, rng.random(weights.shape, np.float32) - np.float32(0.5))
