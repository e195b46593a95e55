"""Networks in LiteRT form: uint8 images in, float32 feature maps out. Starts in a fraction of TensorFlow's time."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from covid_core import files
from covid_core.errors import RunDamaged
from covid_core.work import cores

BATCH = 4  # images per call; larger batches leave the processor's cache: MobileNetV2 at 128 px was 10 % slower with 8
LARGE_IMAGE, LARGE_BATCH = 192, 2  # px and images per call; at 224 px it was 40 % slower with 8


def batch_for(size: int) -> int:
    """How many images of ``size`` pixels one call takes."""
    return LARGE_BATCH if size >= LARGE_IMAGE else BATCH


class LiteNetwork:
    """One exported network in one interpreter, which serves one thread at a time: calls wait for each other.

    ``content`` are the network's bytes where they are not those of the file.
    """

    def __init__(self, path: Path, threads: int | None = None, content: bytes | None = None):
        from ai_edge_litert.interpreter import Interpreter

        try:
            source = {"model_path": str(path)} if content is None else {"model_content": content}
            self._interpreter = Interpreter(**source, num_threads=threads or cores())
            (details,) = self._interpreter.get_input_details()
        except (ValueError, RuntimeError) as error:
            raise _damaged(path) from error
        self._path = path
        self._input = details["index"]
        self._outputs = _output_tensors(self._interpreter)
        self._shape: tuple[int, ...] = ()
        self._is_fresh = True
        self._guard = threading.Lock()

    def run(self, batch: np.ndarray) -> list[np.ndarray]:
        """Outputs for a batch, float32, each with the batch first."""
        with self._guard:
            if batch.shape != self._shape:
                self._interpreter.resize_tensor_input(self._input, batch.shape)
                self._interpreter.allocate_tensors()
                self._shape = batch.shape
            self._interpreter.set_tensor(self._input, batch)
            self._interpreter.invoke()
            if self._is_fresh:  # by now the weights have been copied into the order in which they are used
                self._is_fresh = False
                files.release_mapped(self._path)
            return [self._interpreter.get_tensor(index) for index in self._outputs]


_together: WeakValueDictionary[tuple[str, int, int], LiteNetwork] = WeakValueDictionary()
_opening = threading.Lock()


def shared_network(path: Path) -> LiteNetwork:
    """The network in a file, opened once for all who ask, on all cores; it goes when the last of them lets go of it.

    Runs on one frozen network then hold its weights once. Raises RunDamaged.
    """
    with _opening:
        try:
            found = path.stat()
        except OSError as error:
            raise _damaged(path) from error
        key = (str(path), found.st_mtime_ns, found.st_size)
        network = _together.get(key) or LiteNetwork(path)
        _together[key] = network
        return network


def one_per_thread(path: Path) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Runs the network in a file, in a single-threaded interpreter for each thread that calls.

    As many threads as cores lose less that way than one interpreter with many threads.
    """
    local = threading.local()

    def run(batch: np.ndarray) -> list[np.ndarray]:
        if not hasattr(local, "network"):
            local.network = LiteNetwork(path, threads=1)
        return local.network.run(batch)

    return run


def _damaged(path: Path) -> RunDamaged:
    return RunDamaged(f"The exported network {path.name} is missing or damaged.")


def _output_tensors(interpreter: Any) -> list[int]:
    """Indices of the output tensors in the order of the exported model's outputs.

    A file with a signature lists them by name (output_0, output_1, ...), one without in their own order.
    """
    if not interpreter.get_signature_list():
        return [details["index"] for details in interpreter.get_output_details()]
    named = interpreter.get_signature_runner().get_output_details()
    return [named[name]["index"] for name in sorted(named, key=lambda name: int(name.rsplit("_", 1)[1]))]


class LiteTrunk:
    """The part of a model from the image to the maps that the head pools.

    Args:
        path: the exported network that takes images.
        tail: an exported network that takes the last of the chosen outputs, where a part of the trunk was trained.
        outputs: which outputs of the first network are wanted; by default all.
        opened: opens a file as a network: all cores' shared one, where it is to be no other.
    """

    def __init__(
        self,
        path: Path,
        tail: Path | None = None,
        outputs: Sequence[int] | None = None,
        opened: Callable[[Path], LiteNetwork] = shared_network,
    ):
        self._network = opened(path)
        self._tail = opened(tail) if tail else None
        self._wanted = outputs

    def maps(self, images: np.ndarray) -> list[np.ndarray]:
        """Feature maps of uint8 images (n, size, size): one float32 array (n, height, width, channels) per tap."""
        batch = batch_for(images.shape[1])
        parts = [self._maps_of_batch(images[start : start + batch]) for start in range(0, len(images), batch)]
        return parts[0] if len(parts) == 1 else [np.concatenate(tap) for tap in zip(*parts, strict=True)]

    def _maps_of_batch(self, images: np.ndarray) -> list[np.ndarray]:
        maps = self._network.run(np.ascontiguousarray(images)[..., None])
        chosen = maps if self._wanted is None else [maps[number] for number in self._wanted]
        return self._tail.run(chosen[-1]) if self._tail else chosen
