"""Pretrained backbones against the networks that Keras itself builds: some for every day, all others in tests/soak."""

import keras
import numpy as np
from made_fits import as_arrays, images, spec

from covid_core.backbones import BACKBONES
from covid_core.nets import model
from covid_core.nets.trunk import relative_difference

MODULES = {
    "mobilenet_v2": "mobilenet_v2",
    "efficientnet_v2_b0": "efficientnet_v2",
    "densenet121": "densenet",
    "resnet50": "resnet",
    "inception_v3": "inception_v3",
    "vgg16": "vgg16",
    "vgg19": "vgg19",
}
OF_EVERY_DAY = ("mobilenet_v2", "efficientnet_v2_b0", "densenet121", "vgg16")  # each prepares its images in its own way


def agree(name: str) -> None:
    """Preprocessing in the model is that of Keras, and the facts of the backbone are those of its network."""
    backbone = BACKBONES[name]
    size = max(64, backbone.minimum_size)
    keras.utils.clear_session()  # layers without names of their own are numbered from the start again
    plain = getattr(keras.applications, backbone.label)(include_top=False, weights=None, input_shape=(size, size, 3))
    assert plain.count_params() == backbone.parameters
    assert all(plain.get_layer(layer) for layer in (backbone.last, *backbone.taps))
    keras.utils.clear_session()
    built = model.build_trunk(spec(name, image_size=size), None)
    for layer in plain.layers:
        if layer.weights:
            layer.set_weights(built.get_layer(layer.name).get_weights())
    grey = images(2, size)
    rgb = np.repeat(grey[..., None], 3, axis=3).astype(np.float32)
    prepared = getattr(keras.applications, MODULES[name]).preprocess_input(rgb)
    (maps,) = as_arrays(built(grey[..., None], training=False))
    keras.utils.clear_session()
    tapped = model.build_trunk(spec(name, image_size=size, weights="random", taps="default"), None)
    assert tapped.count_params() == backbone.parameters_to_taps
    assert tuple(one.shape[-1] for one in tapped.outputs) == backbone.tap_maps and maps.shape[-1] == backbone.last_maps
    assert relative_difference(maps, np.asarray(plain(prepared, training=False))) < 1e-4
