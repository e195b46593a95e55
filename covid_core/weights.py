"""Where starting weights come from: the cache, the network, a local file, or chance. Never one for another."""

import math
import os
from pathlib import Path

from covid_core.backbones import Backbone
from covid_core.data.imports.downloads import can_be_reached, download
from covid_core.errors import InvalidChoice, WeightsUnavailable
from covid_core.formatting import count
from covid_core.runs import stored_weights
from covid_core.specs import TrainingSpec
from covid_core.work import Progress, silent


def cache_folder() -> Path:
    """Where Keras looks for weights: ``$KERAS_HOME/models``, by default ``~/.keras/models``."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras").expanduser() / "models"


def cached_path(backbone: Backbone, size: int) -> Path:
    """Where the ImageNet weights for images of ``size`` pixels lie, whether or not they are there."""
    return cache_folder() / backbone.weights_name(size)


def is_cached(backbone: Backbone, size: int) -> bool:
    """Whether ImageNet weights are on this machine."""
    return backbone.pretrained and cached_path(backbone, size).is_file()


def check(spec: TrainingSpec, backbone: Backbone) -> None:
    """Refuse a spec whose starting weights are not to be had, with what the user can choose instead.

    Raises WeightsUnavailable.
    """
    if spec.weights.startswith("file:"):
        path = Path(spec.weights.removeprefix("file:"))
        if not path.is_file():
            raise WeightsUnavailable(f"There is no weights file {path.name}.")
        return
    size = spec.image_size
    cache = "$KERAS_HOME/models" if os.environ.get("KERAS_HOME") else "~/.keras/models"  # as the owner calls it
    if spec.weights == "imagenet" and not is_cached(backbone, size) and not can_be_reached(backbone.weights_url(size)):
        raise WeightsUnavailable(
            f"ImageNet weights of {backbone.label} are neither in {cache} nor to be had from the network. "
            f"Connect and try again, put {backbone.weights_name(size)} there, choose a local file (weights=file:PATH), "
            "or choose a random start (weights=random)."
        )


def check_content(spec: TrainingSpec, backbone: Backbone) -> None:
    """Refuse a weights file that cannot hold those of a backbone, without TensorFlow. Raises WeightsUnavailable."""
    if not spec.weights.startswith("file:") or not backbone.pretrained:
        return
    path = Path(spec.weights.removeprefix("file:"))
    try:
        numbers = sum(math.prod(shape) for shape in stored_weights.shapes(path))
    except InvalidChoice as error:
        raise WeightsUnavailable(str(error)) from error
    if numbers < backbone.parameters:
        raise WeightsUnavailable(
            f"{path.name} does not hold weights of this backbone: {count(numbers)} numbers, "
            f"not {count(backbone.parameters)}."
        )


def obtain(spec: TrainingSpec, backbone: Backbone, progress: Progress = silent) -> Path | None:
    """The file that the trunk starts from, downloaded where needed; None means a random start, as the spec asked.

    Raises WeightsUnavailable.
    """
    if spec.weights == "random":
        return None
    check(spec, backbone)
    if spec.weights.startswith("file:"):
        return Path(spec.weights.removeprefix("file:"))
    path = cached_path(backbone, spec.image_size)
    if not path.is_file():
        download(backbone.weights_url(spec.image_size), path, backbone.weights_md5, progress)
    return path
