"""The networks that a run can build on, from ``backbones.toml``: facts only, no TensorFlow.

Sources: parameters and layer names from ``keras.applications`` (Keras 3.15), ``include_top=False``; MobileNetV2's taps
were chosen by cross-validation on 1,124 real images (0.823 on the last layer, 0.878 on ``block_13_expand_relu``); the
others follow the same idea by depth (the last maps at stride 16) and were not tuned.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from covid_core.errors import InvalidChoice

Preprocessing = Literal[
    "divide_by_255", "minus_one_to_one", "imagenet_mean_std", "imagenet_mean_bgr", "inside_the_model"
]

KERAS_WEIGHTS = "https://storage.googleapis.com/tensorflow/keras-applications"
BASELINE_FILTERS = (32, 64)  # of the course study's network, whose convolutions are 3 x 3
MOBILENET_SIZES = (96, 128, 160, 192, 224)  # sizes for which separate MobileNetV2 weights were published


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """What the app must know of a network before it is built.

    ``label`` of a pretrained network is its name in ``keras.applications``. ``weights_file`` may hold ``{size}``,
    filled by ``weights_name``; a network that is trained from scratch has none. ``weights_md5`` is the one that Keras
    publishes. ``milliseconds`` are those of one image of 128 px on two cores. ``tap_maps`` and ``last_maps`` count the
    feature maps of the taps and of the last layer; ``parameters_to_taps`` are those of the network up to its last tap,
    which is all of it that a run with taps has.
    """

    name: str
    label: str
    preprocessing: Preprocessing
    parameters: int
    milliseconds: float
    last: str
    good_at: str
    weights_megabytes: float = 0.0
    weights_folder: str = ""
    weights_file: str = ""
    weights_md5: str = ""
    taps: tuple[str, ...] = ()
    tap_maps: tuple[int, ...] = ()
    last_maps: int = 0
    parameters_to_taps: int = 0
    minimum_size: int = 32
    licence: str = ""

    @property
    def pretrained(self) -> bool:
        """Whether ImageNet weights exist for it."""
        return bool(self.weights_file)

    def taps_of(self, choice: str) -> tuple[str, ...]:
        """Names of the layers that the head pools, for a spec's ``taps``."""
        return self.taps if choice == "default" and self.taps else (self.last,)

    def weights_name(self, size: int) -> str:
        """File name of the ImageNet weights for images of ``size`` pixels; MobileNetV2 has several."""
        return self.weights_file.format(size=size if size in MOBILENET_SIZES else 224)

    def weights_url(self, size: int) -> str:
        """Where Keras publishes these weights."""
        return f"{KERAS_WEIGHTS}/{self.weights_folder}/{self.weights_name(size)}"


BACKBONES: dict[str, Backbone] = {
    name: TypeAdapter(Backbone).validate_python({"name": name, **row})
    for name, row in tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")).items()
}


def backbone_named(name: str) -> Backbone:
    """The backbone of that name (or label, in any case). Raises InvalidChoice with the names that exist."""
    wanted = name.lower().replace("-", "_")
    for backbone in BACKBONES.values():
        if wanted in (backbone.name, backbone.label.lower().replace(" ", "_"), backbone.label.lower()):
            return backbone
    raise InvalidChoice(f"The backbone must be one of {', '.join(BACKBONES)}, received: {name!r}.")
