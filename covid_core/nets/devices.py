"""What a network is trained on: the processor, one GPU with mixed precision, or several GPUs in step."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

FLOAT32 = "float32"
MIXED = "mixed_float16"  # the half precision that every NVIDIA card since 2017 multiplies faster
DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, and a card seen through Windows' Linux


@dataclass(frozen=True)
class Devices:
    """``names`` of the devices that train together (empty: TensorFlow's own choice), and the precision of layers."""

    names: tuple[str, ...] = ()
    policy: str = FLOAT32

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Build, compile and fit models inside: mirrored over all devices, in this precision."""
        import keras
        import tensorflow as tf

        before = keras.mixed_precision.global_policy().name
        keras.mixed_precision.set_global_policy(self.policy)
        scope = tf.distribute.MirroredStrategy(self.names).scope() if len(self.names) > 1 else contextlib.nullcontext()
        try:
            with scope:
                yield
        finally:
            keras.mixed_precision.set_global_policy(before)

    def in_float32(self, trained: "keras.Model", build: Callable[[], "keras.Model"]) -> "keras.Model":
        """The trained model as it is saved: float32 layers, from ``build``, with the same weights."""
        if self.policy == FLOAT32 and len(self.names) < 2:
            return trained
        plain = build()
        plain.set_weights(trained.get_weights())
        return plain

    @property
    def label(self) -> str:
        """For the run's record: ``CPU``, ``1 GPU``, ``2 GPU``."""
        return f"{len(self.names)} GPU" if self.names else "CPU"


def may_exist() -> bool:
    """Whether TensorFlow may find a GPU here; the check costs nothing, unlike starting TensorFlow.

    On Windows it uses none (since 2.11), on a Mac only with Apple's plug-in, and none where CUDA is told so.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "-1":
        return False
    if sys.platform == "darwin":
        return any(metadata.distributions(name="tensorflow-metal"))
    return any(Path(driver).exists() for driver in DRIVERS)


def available() -> Devices:
    """All GPUs of this machine, with memory taken as needed and mixed precision; else the processor."""
    if not may_exist():
        return Devices()
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    # From Ampere on, TensorFlow multiplies float32 with 10 bits; a frozen MobileNetV2 then differs by 0.7 % of its
    # largest value from LiteRT, which predicts. Features for training have to be those of prediction.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    names = tuple(f"GPU:{number}" for number in range(len(gpus)))
    return Devices(names, MIXED if names else FLOAT32)
