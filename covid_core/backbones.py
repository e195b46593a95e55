"""The networks that a run can build on, from ``backbones.toml`` or from a file of one's own: facts only, no TensorFlow.

Sources: parameters and layer names from ``keras.applications`` (Keras 3.15), ``include_top=False``; MobileNetV2's taps
were chosen by cross-validation on 1,124 real images (0.823 on the last layer, 0.878 on ``block_13_expand_relu``); the
others follow the same idea by depth (the last maps at stride 16) and were not tuned.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from covid_core.errors import InvalidChoice

Preprocessing = Literal[
    "divide_by_255", "minus_one_to_one", "imagenet_mean_std", "imagenet_mean_bgr", "inside_the_model"
]

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(ge=0, lt=10**9, allow_inf_nan=False)]

KERAS_WEIGHTS = "https://storage.googleapis.com/tensorflow/keras-applications"
BASELINE_FILTERS = (32, 64)  # of the course study's network, whose convolutions are 3 x 3
MOBILENET_SIZES = (96, 128, 160, 192, 224)  # sizes for which separate MobileNetV2 weights were published
SUFFIXES = {"onnx": ".onnx", "litert": ".tflite", "keras": ".keras"}  # of the files of added backbones, by kind


class Measured(BaseModel):
    """What the check of an added backbone measured, in the smallest of its sizes.

    ``channels`` are those of its maps, ``is_vector`` says that it gives one number per channel and no maps.
    ``milliseconds`` are as in ``Backbone``. ``parameters`` are None where the format does not tell them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Annotated[int, Field(ge=0, lt=10**9)]
    is_vector: bool
    milliseconds: Positive
    megabytes: Positive
    parameters: Annotated[int, Field(ge=0, lt=10**12)] | None = None


class BackboneFile(BaseModel):
    """An added backbone: a file that maps an image to maps (height, width, channels) or to a vector.

    ``sizes`` are the sides of the squares in px that it takes. ``input_range`` is one of the ways of ``Preprocessing``,
    or the values of black and white. ``layout`` is that of input and maps. ``output`` names the output that is used,
    where the file has several; in a .keras file it may name any layer. ``sha256`` is that of the file, ``source`` where
    it is from. The check adds ``measured``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    label: Annotated[str, Field(min_length=1, max_length=60)]
    kind: Literal["onnx", "litert", "keras"]
    sizes: Annotated[tuple[Annotated[int, Field(ge=32, le=1280)], ...], Field(min_length=1, max_length=8)]
    input_range: Preprocessing | tuple[Finite, Finite]
    channels: Literal[1, 3]
    layout: Literal["NHWC", "NCHW"]
    output: str = ""
    licence: Annotated[str, Field(min_length=1, max_length=200)]
    source: Annotated[str, Field(min_length=1, max_length=500)]
    sha256: str
    measured: Measured | None = None

    @field_validator("name")
    @classmethod
    def _is_free(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_]{1,39}", value):
            raise ValueError("must be 2 to 40 small letters, digits and _, a letter first")
        if value in BACKBONES or value == IMPORTED.name:
            raise ValueError("must not be that of a backbone that comes with the app")
        return value

    @field_validator("sha256")
    @classmethod
    def _is_hash(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9a-f]{64}", value):
            raise ValueError("must be a SHA-256 of 64 digits 0-9 and a-f")
        return value

    @model_validator(mode="after")
    def _has_range(self) -> "BackboneFile":
        if self.channels == 1 and str(self.input_range).startswith("imagenet"):
            raise ValueError(f"input_range {self.input_range} has three means, so channels must be 3")
        if not isinstance(self.input_range, str) and not self.input_range[0] < self.input_range[1]:
            raise ValueError("input_range must be [value of black, value of white], the lower one first")
        return self

    @property
    def file_name(self) -> str:
        """What the copy in the workspace is called."""
        return f"backbone{SUFFIXES[self.kind]}"

    @property
    def identity(self) -> tuple[str, str]:
        """What two descriptions of one file have in common, whatever they call it."""
        return self.sha256, self.kind

    @property
    def runs_apart(self) -> bool:
        """Whether predictions need the file itself: no Keras model can hold it."""
        return self.kind != "keras"

    @property
    def backbone(self) -> "Backbone":
        """It as one of the networks that a run can build on."""
        measured = self.measured or Measured(channels=0, is_vector=False, milliseconds=0, megabytes=0)
        return Backbone(
            name=self.name,
            label=self.label,
            preprocessing="inside_the_model",
            parameters=measured.parameters or 0,
            milliseconds=measured.milliseconds,
            last=self.output or "output",
            good_at=f"Added from a file ({self.source}). Licence: {self.licence}.",
            weights_megabytes=measured.megabytes,
            last_maps=measured.channels,
            minimum_size=min(self.sizes),
            licence=self.licence,
            file=self,
        )

    @property
    def facts(self) -> dict[str, Any]:
        """All that the numbers of its features depend on, but for the size."""
        return self.model_dump(mode="json", include={"input_range", "channels", "layout", "output", "sha256"})


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """What the app must know of a network before it is built.

    ``label`` of a network from ``backbones.toml`` is its name in ``keras.applications``. ``weights_file`` may hold
    ``{size}``, filled by ``weights_name``; a network that is trained from scratch has none, nor has an added ``file``.
    ``weights_md5`` is the one that Keras publishes. ``milliseconds`` are those of one image of 128 px on two cores.
    ``tap_maps`` and ``last_maps`` count the feature maps of the taps and of the last layer; ``parameters_to_taps`` are
    those of the network up to its last tap, which is all of it that a run with taps has.
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
    file: BackboneFile | None = None

    @property
    def pretrained(self) -> bool:
        """Whether it comes with what it has learned: ImageNet weights, or those of an added file."""
        return bool(self.weights_file or self.file)

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

IMPORTED = Backbone(  # stands for the unknown network behind predictions from a file; nothing can be trained on it
    name="imported",
    label="Imported predictions",
    preprocessing="inside_the_model",
    parameters=0,
    milliseconds=0,
    last="",
    good_at="",
)


def backbone_named(name: str) -> Backbone:
    """The backbone of that name (or label, in any case). Raises InvalidChoice with the names that exist."""
    wanted = name.lower().replace("-", "_")
    if wanted == IMPORTED.name:
        return IMPORTED
    for backbone in BACKBONES.values():
        if wanted in (backbone.name, backbone.label.lower().replace(" ", "_"), backbone.label.lower()):
            return backbone
    raise InvalidChoice(f"The backbone must be one of {', '.join(BACKBONES)}, received: {name!r}.")
