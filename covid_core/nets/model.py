"""Build models from stock Keras layers: image -> preprocessing -> trunk -> pooled maps -> head -> scores.

Every model takes uint8 grey images (batch, size, size, 1) and preprocesses them itself: a saved one needs no other
code.
"""

from pathlib import Path

import keras
import numpy as np
from keras import layers

from covid_core.backbones import BASELINE_FILTERS, Backbone, Preprocessing
from covid_core.errors import WeightsUnavailable, cause
from covid_core.images.intensity import BANDS, GREY_DEVIATION, GREY_MEAN
from covid_core.inference.network import FLATTEN, MEAN, MEAN_MAX, Head
from covid_core.nets.added import keras_file
from covid_core.specs import TrainingSpec

IMAGENET_MEAN = (123.68, 116.779, 103.939)  # red, green, blue, of 0..255; Krizhevsky's training set means as in Caffe
TORCH_MEAN = (0.485, 0.456, 0.406)  # of 0..1, as torchvision publishes them
TORCH_STD = (0.229, 0.224, 0.225)
FULL = {"dtype": "float32"}  # on GPUs too, where half precision would round greys and shares


def build_trunk(spec: TrainingSpec, weights: Path | None) -> keras.Model:
    """Image to the maps that the head pools, one output per tap; without ``weights`` it starts from the spec's seed.

    Of an added backbone ``weights`` is the file; one that runs apart ends with what the file takes.
    """
    backbone = spec.network
    if weights is None:
        keras.utils.set_random_seed(spec.seed)
    image = keras.Input((spec.pixels, spec.pixels, 1), dtype="uint8", name="image")
    shown = _shown(image, spec)
    if not backbone.pretrained:
        return keras.Model(image, [_baseline(layers.Rescaling(1 / 255)(shown))], name="trunk")
    if backbone.file:
        entry = _preprocessed(shown, backbone)
        maps = entry if backbone.file.runs_apart else keras_file.maps_of(entry, weights, backbone.file)
        return keras.Model(image, [maps], name="trunk")
    constructor = getattr(keras.applications, backbone.label)
    network = constructor(include_top=False, weights=None, input_tensor=_preprocessed(shown, backbone))
    if weights is not None:
        _load(network, weights)
    return keras.Model(image, [network.get_layer(tap).output for tap in backbone.taps_of(spec.taps)], name="trunk")


def build_head(spec: TrainingSpec, map_shapes: list[tuple[int, ...]]) -> keras.Model:
    """Features to logits: dense relu layers with dropout. Initial weights come from the spec's seed.

    ``map_shapes`` are the trunk's outputs without the batch: (height, width, channels).
    """
    pooling = pooling_of(spec)
    return _dense_layers(spec, sum({FLATTEN: h * w, MEAN: 1, MEAN_MAX: 2}[pooling] * c for h, w, c in map_shapes))


def _dense_layers(spec: TrainingSpec, width: int) -> keras.Model:
    keras.utils.set_random_seed(spec.seed)
    features = keras.Input((width,), name="features")
    x = features
    for number, units in enumerate(spec.head.units):
        x = layers.Dense(units, activation="relu", name=f"dense_{number}")(x)
        x = layers.Dropout(spec.head.dropout, name=f"dropout_{number}", seed=spec.seed + number)(x)
    return keras.Model(features, layers.Dense(len(spec.classes), dtype="float32", name="logits")(x), name="head")


def pooling_of(spec: TrainingSpec) -> str:
    """How maps become features; the baseline CNN flattens, as the course built it."""
    return spec.head.pooling if spec.network.pretrained else FLATTEN


def pool_layers(maps: list[keras.KerasTensor], pooling: str) -> keras.KerasTensor:
    """The same pooling as ``inference.head.pooled``, as layers."""
    mean, maximum = layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D
    kinds = {FLATTEN: (layers.Flatten,), MEAN: (mean,), MEAN_MAX: (mean, maximum)}[pooling]
    columns = [kind()(tap) for tap in maps for kind in kinds]
    return layers.Concatenate()(columns) if len(columns) > 1 else columns[0]


def to_logits(trunk: keras.Model, head: keras.Model, pooling: str) -> keras.Model:
    """Trunk and head as one model that returns logits, for training: the same layers, not copies."""
    return keras.Model(trunk.input, head(pool_layers(trunk.outputs, pooling)), name="classifier")


def to_mean_logits(trunk: keras.Model, head: keras.Model, pooling: str) -> keras.Model:
    """As ``to_logits``, but the mean of the logits of an image and of its mirror image."""
    both = [trunk.input, keras.ops.flip(trunk.input, axis=2)]
    logits = [head(pool_layers(keras.tree.flatten(trunk(image)), pooling)) for image in both]
    return keras.Model(trunk.input, layers.Average(name="both_sides")(logits), name="classifier")


def with_scores(classifier: keras.Model) -> keras.Model:
    """The model that is saved: as ``to_logits``, with a softmax after it."""
    return keras.Model(classifier.input, layers.Softmax(name="scores")(classifier.outputs[0]), name="second_look")


def head_arrays(head: keras.Model, pooling: str) -> Head:
    """The trained head as plain arrays."""
    dense = [layer for layer in head.layers if isinstance(layer, layers.Dense)]
    weights, biases = zip(*(layer.get_weights() for layer in dense), strict=True)
    return Head(pooling, tuple(map(np.asarray, weights)), tuple(map(np.asarray, biases)))


def keras_head(spec: TrainingSpec, head: Head, width: int) -> keras.Model:
    """The head as a Keras model that takes ``width`` features, with these arrays."""
    built = _dense_layers(spec, width)
    dense = [layer for layer in built.layers if isinstance(layer, layers.Dense)]
    for layer, weights, biases in zip(dense, head.weights, head.biases, strict=True):
        layer.set_weights([weights, biases])
    return built


def _shown(image: keras.KerasTensor, spec: TrainingSpec) -> keras.KerasTensor:
    """The spec's region of an image, its greys (0..255) as the spec wants them. Nothing here learns."""
    size = spec.image_size
    before = (spec.pixels - size) // 2
    # not CenterCrop: its default is training=True, which all layers behind it would take over
    crop = layers.Cropping2D(((before, spec.pixels - size - before),) * 2, dtype="uint8", name="region")
    region = crop(image) if spec.pixels > size else image
    match spec.input.intensity:
        case "as_is":
            return region
        case "per_image":
            return _standardised(layers.Rescaling(1.0, name="greys", **FULL)(region))
        case "equalised":
            return _equalised(layers.Rescaling(1.0, name="greys", **FULL)(region))
        case unknown:
            raise ValueError(f"Nobody has written the intensity {unknown!r}.")


def _standardised(greys: keras.KerasTensor) -> keras.KerasTensor:
    """Mean GREY_MEAN and standard deviation GREY_DEVIATION in every image; what falls outside 0..255 stays."""
    unit = layers.LayerNormalization(
        axis=(1, 2, 3), center=False, scale=False, epsilon=1.0, name="standardised", **FULL
    )
    return layers.Rescaling(GREY_DEVIATION, offset=GREY_MEAN, name="intensity", **FULL)(unit(greys))


def _equalised(greys: keras.KerasTensor) -> keras.KerasTensor:
    """Histogram equalisation with BANDS bands of grey: the distribution function of an image's greys is linear within
    each. It differs from that of 256 steps by 1.4 greys in the mean with 32 bands; 16 take a quarter of the time.

    A grey is the sum, over the bands, of how far it has climbed that band times the share of pixels that lie there.
    Every second pixel of every second row is counted.
    """
    width = 256 / BANDS
    starts = [number * width - 0.5 for number in range(BANDS)]

    def climbed(source: keras.KerasTensor, starts: list[float], height: float) -> keras.KerasTensor:
        bands = layers.Concatenate(**FULL)([source] * BANDS)
        steps = layers.Normalization(mean=starts, variance=[height**2] * BANDS, **FULL)
        return layers.ReLU(max_value=1, **FULL)(steps(bands))

    def shares_above(starts: list[float]) -> keras.KerasTensor:
        return layers.GlobalAveragePooling2D(**FULL)(climbed(counted, starts, 1))

    counted = layers.MaxPooling2D(1, strides=2, **FULL)(greys)
    shares = layers.Subtract(**FULL)([shares_above(starts), shares_above([start + width for start in starts])])
    spread = layers.Dot(axes=(3, 1), **FULL)([climbed(greys, starts, width), shares])
    return layers.Rescaling(255.0, name="intensity", **FULL)(layers.Reshape((*spread.shape[1:], 1), **FULL)(spread))


def _preprocessed(image: keras.KerasTensor, backbone: Backbone) -> keras.KerasTensor:
    """Equal channels in the range, and in the order, that the backbone was trained on."""
    file = backbone.file
    channels, values = (file.channels, file.input_range) if file else (3, backbone.preprocessing)
    grey = layers.Concatenate(name="three_channels")([image] * 3) if channels == 3 else image
    ranged = _in_range(values)(grey)
    return layers.Permute((3, 1, 2), name="channels_first")(ranged) if file and file.layout == "NCHW" else ranged


def _in_range(values: Preprocessing | tuple[float, float]) -> layers.Layer:
    """Greys of 0..255 in the range of that name, or between the values of black and white."""
    if not isinstance(values, str):
        black, white = values
        return layers.Rescaling((white - black) / 255, offset=black, name="preprocessing")
    match values:
        case "divide_by_255":
            return layers.Rescaling(1 / 255, name="preprocessing")
        case "minus_one_to_one":
            return layers.Rescaling(1 / 127.5, offset=-1, name="preprocessing")
        case "imagenet_mean_bgr":  # equal channels need no swap; the means keep the order blue, green, red
            return layers.Normalization(mean=IMAGENET_MEAN[::-1], variance=(1, 1, 1), name="preprocessing")
        case "imagenet_mean_std":
            mean = [255 * value for value in TORCH_MEAN]
            variance = [(255 * value) ** 2 for value in TORCH_STD]
            return layers.Normalization(mean=mean, variance=variance, name="preprocessing")
        case "inside_the_model":
            return layers.Rescaling(1.0, name="preprocessing")
        case unknown:
            raise ValueError(f"Nobody has written the preprocessing {unknown!r}.")


def _baseline(x: keras.KerasTensor) -> keras.KerasTensor:
    """The course study's two convolutions; its dense part is the head."""
    for number, filters in enumerate(BASELINE_FILTERS, start=1):
        x = layers.Conv2D(filters, 3, activation="relu", name=f"conv_{number}")(x)
        x = layers.MaxPooling2D(2, name=f"pool_{number}")(x)
    return x


def _load(network: keras.Model, weights: Path) -> None:
    try:
        network.load_weights(weights)
    except (ValueError, OSError, KeyError) as error:
        raise WeightsUnavailable(
            f"{weights.name} does not hold weights of this backbone: {cause(error, weights)}."
        ) from error


def cut_before_last(trunk: keras.Model, layer_count: int) -> tuple[str, int]:
    """Where to cut so that the last ``layer_count`` layers learn.

    The cut moves towards the input to the nearest place that a single tensor crosses.

    Returns:
        The name of the layer whose output crosses, and how many layers lie behind it.
    """
    names = [layer.name for layer in trunk.layers]
    first_free = names.index("preprocessing") + 1 if "preprocessing" in names else 1
    for cut in range(max(len(names) - layer_count, first_free), first_free - 1, -1):
        crossing = {
            tensor._keras_history.operation.name
            for layer in trunk.layers[cut:]
            for tensor in keras.tree.flatten(layer.input)
            if tensor._keras_history.operation.name in names[:cut]
        }
        if len(crossing) == 1:
            return crossing.pop(), len(names) - cut
    return names[first_free - 1], len(names) - first_free


def split_at(trunk: keras.Model, boundary: str) -> tuple[keras.Model, keras.Model]:
    """The trunk as two models that share its layers: image to boundary, boundary to the last map."""
    tensor = trunk.get_layer(boundary).output
    return keras.Model(trunk.input, [tensor], name="frozen"), keras.Model(tensor, trunk.outputs, name="tail")
