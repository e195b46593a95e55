"""Networks as they are built. Every comparison is with Keras or TensorFlow doing the same thing."""

import keras
import kerass_backbones
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from kerass_backbones import MODULES
from made_fits import as_arrays, images, spec
from made_runs import all_parts, made_run
from PIL import Image, ImageOps
from scipy import ndimage

from covid_core.backbones import BACKBONES, backbone_named
from covid_core.errors import WeightsUnavailable
from covid_core.images.intensity import adapted
from covid_core.inference.heatmap import SMOOTHING, cam, to_unit
from covid_core.inference.network import Head, softmax
from covid_core.nets import export, model
from covid_core.nets.trunk import relative_difference
from covid_core.runs import architecture
from covid_core.specs import InputSpec, TrainingSpec
from covid_core.synthetic.phantom import image_at

pytestmark = [
    pytest.mark.slow,
    # TensorFlow 2.21's variables do not know the copy keyword of NumPy 2 yet; Keras reads them when it saves
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]

# Trunks


@pytest.mark.parametrize("name", kerass_backbones.OF_EVERY_DAY)
def test_preprocessing_and_facts_of_a_backbone_are_those_of_keras(name):
    kerass_backbones.agree(name)


# What a network is shown


def shown(image: np.ndarray, **choices) -> np.ndarray:
    """What the layers before the backbone's own make of a uint8 image (side, side)."""
    chosen = spec(input=InputSpec(**choices), image_size=48)
    assert chosen.pixels == len(image)
    trunk = model.build_trunk(chosen, None)
    first = next(layer for layer in trunk.layers if layer.name == "three_channels")
    return np.asarray(keras.Model(trunk.input, first.input[0])(image[None, ..., None]))[0, ..., 0]


def test_the_middle_of_an_image_is_cut_out_and_not_resized():
    image = np.random.default_rng(0).integers(0, 256, (80, 80), np.uint8)
    assert np.array_equal(shown(image, region="centre", share=0.6), image[16:64, 16:64])


@pytest.mark.parametrize("low, high", [(100, 120), (0, 256)])
def test_standardised_images_have_one_mean_and_one_deviation(low, high):
    greys = shown(np.random.default_rng(0).integers(low, high, (48, 48), np.uint8), intensity="per_image")
    assert greys.mean() == pytest.approx(model.GREY_MEAN, abs=0.01)
    assert greys.std() == pytest.approx(model.GREY_DEVIATION, rel=0.02)


def test_equalised_images_are_those_of_pillow_within_a_band():
    image = image_at(0, 3, size=96).pixels[::2, ::2]
    greys = shown(np.ascontiguousarray(image), intensity="equalised")
    assert np.abs(greys - np.asarray(ImageOps.equalize(Image.fromarray(image)))).mean() < 5


@pytest.mark.parametrize("intensity", ["as_is", "per_image", "equalised"])
def test_a_picture_of_what_is_shown_has_the_greys_of_the_model(intensity):
    image = np.ascontiguousarray(image_at(0, 3, size=96).pixels[::2, ::2])
    greys = np.clip(shown(image, intensity=intensity), 0, 255)
    assert np.abs(adapted(image, intensity).astype(float) - greys).max() <= 0.51


def test_equalising_undoes_another_exposure():
    image = image_at(0, 3, size=96).pixels[::2, ::2] // 2 + 40
    darker = (image * 0.6).astype(np.uint8)
    assert np.abs(shown(image, intensity="equalised") - shown(darker, intensity="equalised")).mean() < 8


def test_a_random_start_depends_on_the_seed_alone():
    first, again, other = (model.build_trunk(spec(seed=seed), None).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras names each part before it gives up
def test_a_file_of_another_networks_weights_is_refused(tmp_path):
    path = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save_weights(path)
    with pytest.raises(WeightsUnavailable, match="other.weights.h5 does not hold weights of this backbone"):
        model.build_trunk(spec(), path)


def test_a_file_of_this_networks_weights_is_what_the_trunk_starts_from(tmp_path):
    path = tmp_path / "mine.weights.h5"
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3))
    network.save_weights(path)
    built = model.build_trunk(spec(), path)
    assert np.array_equal(built.get_layer("Conv1").get_weights()[0], network.get_layer("Conv1").get_weights()[0])


def test_the_last_ten_layers_of_resnet50_are_its_last_block():
    built = model.build_trunk(spec("resnet50"), None)
    assert model.cut_before_last(built, 10) == ("conv5_block2_out", 10)


def test_a_cut_within_a_block_moves_to_its_start():
    """The last 12 layers of MobileNetV2 start within a block that adds its own input again."""
    built = model.build_trunk(spec(), None)
    names = [layer.name for layer in built.layers]
    inside = len(names) - names.index("block_15_depthwise")
    boundary, behind = model.cut_before_last(built, inside)
    assert boundary == "block_14_add"
    assert names[len(names) - behind] == "block_15_expand"


@pytest.mark.parametrize("layers", [1, 12, 10_000])
def test_frozen_part_and_tail_are_the_whole(layers):
    built = model.build_trunk(spec(), None)
    frozen, tail = model.split_at(built, model.cut_before_last(built, layers)[0])
    grey = images(2)[..., None]
    assert np.array_equal(as_arrays(tail(frozen(grey)))[0], as_arrays(built(grey))[0])


# Heads


HEADS = [
    pytest.param("baseline_cnn", {}, id="flatten"),
    pytest.param("mobilenet_v2", {"head": {"units": (8,)}}, id="mean"),
    pytest.param("mobilenet_v2", {"head": {"units": (8, 4), "pooling": "mean_max"}}, id="mean-max"),
    pytest.param("mobilenet_v2", {"taps": "default", "head": {"pooling": "mean_max"}}, id="two-taps"),
]


def built(backbone: str, choices: dict) -> tuple[TrainingSpec, keras.Model, keras.Model]:
    chosen = spec(backbone, **{"image_size": 64, **choices})
    network = model.build_trunk(chosen, None)
    return chosen, network, model.build_head(chosen, [tuple(tensor.shape[1:]) for tensor in network.outputs])


@pytest.mark.parametrize(("backbone", "choices"), HEADS)
def test_the_head_in_numpy_gives_kerass_logits(backbone, choices):
    chosen, network, head = built(backbone, choices)
    pooling = model.pooling_of(chosen)
    grey = images(3, 64)
    arrays = model.head_arrays(head, pooling)
    logits = arrays.logits(arrays.features(as_arrays(network(grey[..., None], training=False))))
    reference = np.asarray(model.to_logits(network, head, pooling)(grey[..., None], training=False))
    assert relative_difference(logits, reference) < 1e-5


@pytest.mark.parametrize(("backbone", "choices"), HEADS[:3])
def test_a_heat_map_is_that_of_a_gradient_tape(backbone, choices):
    """Of the class's logit less the mean of all, a weight per channel; of flattened maps its log-odds, one per cell."""
    chosen, network, head = built(backbone, choices)
    pooling = model.pooling_of(chosen)
    maps = tf.convert_to_tensor(as_arrays(network(images(1, 64)[..., None], training=False))[0])
    usual = as_arrays(network(images(1, 64, seed=1)[..., None], training=False))[0]
    after = keras.Model(inputs := keras.Input(maps.shape[1:]), head(model.pool_layers([inputs], pooling)))
    for index in range(3):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            logits = after(maps, training=False)[0]
            score = tf.nn.softmax(logits)[index]
            contrast = (
                tf.math.log(score / (1 - score)) if pooling == "flatten" else logits[index] - tf.reduce_mean(logits)
            )
        gradient = tape.gradient(contrast, maps)
        weights = gradient if pooling == "flatten" else tf.reduce_sum(gradient, axis=(1, 2), keepdims=True)
        reference = np.asarray(tf.reduce_sum((maps - usual) * weights, axis=3))[0]
        height, width = reference.shape
        if pooling == "flatten":
            reference = ndimage.gaussian_filter(reference, SMOOTHING * width, mode="nearest")
        reference = np.maximum(reference, 0)
        arrays = model.head_arrays(head, pooling)
        ours = to_unit(cam(arrays, [np.asarray(maps)], index, width, height, [usual[0]]))
        assert np.abs(ours - reference / (reference.max() or 1)).max() < 1e-5


def test_a_saved_model_is_stock_keras_from_grey_bytes_to_scores(tmp_path):
    chosen, network, head = built("mobilenet_v2", {})
    whole = model.with_scores(model.to_logits(network, head, "mean"))
    export.save_model(whole, tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    grey = images(2, 64)[..., None]
    scores = np.asarray(loaded(grey))
    assert loaded.input.dtype == "uint8"
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-6)
    assert np.allclose(scores, softmax(np.asarray(model.to_logits(network, head, "mean")(grey))), atol=1e-6)


@pytest.mark.parametrize("join", [model.to_logits, model.to_mean_logits], ids=["once", "mirrored too"])
@pytest.mark.parametrize(("backbone", "choices"), HEADS[1:])
def test_the_layers_of_a_saved_model_hold_all_of_its_parameters(workspace, backbone, choices, join):
    run = made_run(workspace, all_parts({"train": 3, "validation": 3, "test": 3}, 1))
    chosen, network, head = built(backbone, choices)
    whole = model.with_scores(join(network, head, model.pooling_of(chosen)))
    export.save_model(whole, run.model_path)
    layers = architecture.layers(run)
    assert layers["parameters"].sum() == whole.count_params()
    assert layers.loc[layers["part"] == architecture.HEAD, "parameters"].sum() == head.count_params()
    assert layers["shape"].iloc[[0, -1]].tolist() == ["64 x 64 x 1", "3"]
    before = architecture.planned(chosen)  # what Train shows before there is a model
    for part in (architecture.HEAD, architecture.NETWORK):
        sums = [frame.loc[frame["part"] == part, "parameters"].sum() for frame in (before, layers)]
        assert sums[0] == sums[1]


def test_arrays_put_into_a_keras_head_come_out_again():
    chosen = spec(head={"units": (6, 4)})
    rng = np.random.default_rng(0)
    shapes = [(5, 6), (6, 4), (4, 3)]
    arrays = [rng.random(shape, np.float32) for shape in (*shapes, (6,), (4,), (3,))]
    head = Head("mean", tuple(arrays[:3]), tuple(arrays[3:]))
    again = model.head_arrays(model.keras_head(chosen, head, 5), "mean")
    assert all(np.array_equal(a, b) for a, b in zip(arrays, (*again.weights, *again.biases), strict=True))


@pytest.mark.parametrize(("backbone", "choices"), HEADS[1:])
def test_a_model_of_both_sides_answers_with_the_mean_of_a_image_and_its_mirror_image(backbone, choices):
    chosen, network, head = built(backbone, choices)
    pooling = model.pooling_of(chosen)
    grey = images(3, 64)[..., None]
    one_side = model.to_logits(network, head, pooling)
    reference = (np.asarray(one_side(grey)) + np.asarray(one_side(grey[:, :, ::-1]))) / 2
    both = model.to_mean_logits(network, head, pooling)
    assert relative_difference(np.asarray(both(grey)), reference) < 1e-5
    assert both.count_params() == one_side.count_params()


def test_every_backbone_here_is_compared_with_its_keras_module():
    assert set(MODULES) == {backbone.name for backbone in BACKBONES.values() if backbone.pretrained}
    assert backbone_named("baseline_cnn").name not in MODULES


def test_the_layers_of_the_baseline_are_known_before_there_is_a_model(workspace):
    run = made_run(workspace, all_parts({"train": 3, "validation": 3, "test": 3}, 1))
    chosen, network, head = built("baseline_cnn", {})
    export.save_model(model.with_scores(model.to_logits(network, head, model.pooling_of(chosen))), run.model_path)
    columns = ["kind", "shape", "parameters"]
    pd.testing.assert_frame_equal(architecture.planned(chosen)[columns], architecture.layers(run)[columns])
