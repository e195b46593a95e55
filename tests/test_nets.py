"""Networks, built and fitted in this process. Every comparison is with Keras or TensorFlow doing the same thing."""

from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

from covid_core.backbones import BACKBONES, Backbone, backbone_named
from covid_core.errors import RunDamaged, RunError, Stopped, WeightsUnavailable
from covid_core.inference.head import softmax
from covid_core.inference.heatmap import grad_cam
from covid_core.inference.lite import LiteTrunk
from covid_core.nets import export, model, training, trunk
from covid_core.nets.fitting import Fit, Stage
from covid_core.specs import TrainingSpec
from covid_core.work import silent

pytestmark = [
    pytest.mark.slow,
    # TensorFlow 2.21's variables do not know the copy keyword of NumPy 2 yet; Keras reads them when it saves
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]

PRETRAINED = [backbone for backbone in BACKBONES.values() if backbone.pretrained]
MODULES = {
    "mobilenet_v2": "mobilenet_v2",
    "efficientnet_v2_b0": "efficientnet_v2",
    "densenet121": "densenet",
    "resnet50": "resnet",
    "inception_v3": "inception_v3",
    "vgg16": "vgg16",
    "vgg19": "vgg19",
}


def spec(backbone: str = "mobilenet_v2", **choices) -> TrainingSpec:
    base = {"dataset": "films", "classes": ("a", "b", "c"), "backbone": backbone, "weights": "random", "taps": "last"}
    return TrainingSpec(**{**base, "image_size": 32, **choices})


def films(count: int, size: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size)).astype(np.uint8)


def as_arrays(outputs) -> list[np.ndarray]:
    return [np.asarray(output) for output in (outputs if isinstance(outputs, list | tuple) else [outputs])]


def relative_difference(values: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(values - reference).max() / np.abs(reference).max())


# Trunks


def size_for(backbone: Backbone) -> int:
    return max(64, backbone.minimum_size)


@cache
def kerass_own(name: str) -> keras.Model:
    """The network as Keras builds it, for three channels, without our preprocessing; weights are random."""
    backbone = BACKBONES[name]
    keras.utils.clear_session()  # layers without names of their own are numbered from the start again
    constructor = getattr(keras.applications, backbone.constructor)
    return constructor(include_top=False, weights=None, input_shape=(size_for(backbone), size_for(backbone), 3))


@pytest.mark.parametrize("backbone", PRETRAINED, ids=lambda backbone: backbone.name)
def test_preprocessing_in_the_model_is_that_of_keras(backbone):
    plain = kerass_own(backbone.name)
    keras.utils.clear_session()
    built = model.build_trunk(spec(backbone.name, image_size=size_for(backbone)), None)
    for layer in plain.layers:
        if layer.weights:
            layer.set_weights(built.get_layer(layer.name).get_weights())
    grey = films(2, size_for(backbone))
    rgb = np.repeat(grey[..., None], 3, axis=3).astype(np.float32)
    prepared = getattr(keras.applications, MODULES[backbone.name]).preprocess_input(rgb)
    (maps,) = as_arrays(built(grey[..., None], training=False))
    assert relative_difference(maps, np.asarray(plain(prepared, training=False))) < 1e-4


@pytest.mark.parametrize("backbone", PRETRAINED, ids=lambda backbone: backbone.name)
def test_facts_of_a_backbone_are_those_of_keras(backbone):
    network = kerass_own(backbone.name)
    assert network.count_params() == backbone.parameters
    assert all(network.get_layer(name) for name in (backbone.last, *backbone.taps))


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
    grey = films(2)[..., None]
    assert np.array_equal(as_arrays(tail(frozen(grey)))[0], as_arrays(built(grey))[0])


def test_an_exported_trunk_gives_the_same_maps(tmp_path):
    built = model.build_trunk(spec(taps="default"), None)
    export.export_trunk(built, tmp_path / "trunk.tflite")
    grey = films(3)
    exported = LiteTrunk(tmp_path / "trunk.tflite").maps(grey)
    for ours, reference in zip(exported, as_arrays(built(grey[..., None], training=False)), strict=True):
        assert relative_difference(ours, reference) < 1e-5


def test_a_damaged_export_is_refused(tmp_path):
    (tmp_path / "trunk.tflite").write_bytes(b"film")
    with pytest.raises(RunDamaged, match="trunk.tflite is missing or damaged"):
        LiteTrunk(tmp_path / "trunk.tflite")


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"image_size": 64}, {"backbone": "vgg16"}],
    ids=["seed", "size", "backbone"],
)
def test_what_a_trunks_numbers_depend_on_is_in_its_key(other):
    assert trunk.key_of(spec(), None, ("last",)) != trunk.key_of(spec(**other), None, ("last",))


def test_other_outputs_and_other_weights_are_another_trunk(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    keys = [(None, ("last",)), (None, ("first",)), (tmp_path / "a", ("last",))]
    assert len({trunk.key_of(spec(), *key) for key in keys}) == 3


def test_what_a_trunks_numbers_do_not_depend_on_is_not_in_its_key():
    other = spec(epochs=3, head={"units": (8,)}, classes=("a", "b"))
    assert trunk.key_of(spec(), None, ("last",)) == trunk.key_of(other, None, ("last",))


def test_features_are_computed_once_per_film(workspace):
    asked = []

    def maps(batch: np.ndarray) -> list[np.ndarray]:
        asked.extend(batch[:, 0, 0].tolist())
        return [batch[..., None].astype(np.float32)]

    numbered = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    arguments = (numbered.__getitem__, maps, "mean", silent)
    trunk.cached_features(workspace, "name", len(numbered), np.array([1, 3]), *arguments)
    table = trunk.cached_features(workspace, "name", len(numbered), np.array([1, 2, 3]), *arguments)
    assert table[[1, 2, 3]].tolist() == [[1.0], [2.0], [3.0]]
    assert np.isnan(table[[0, 4, 5], 0]).all()
    assert sorted(asked) == [1, 1, 1, 2, 3]  # the first of each call tells the width


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
    grey = films(3, 64)
    arrays = model.head_arrays(head, pooling)
    logits = arrays.logits(arrays.features(as_arrays(network(grey[..., None], training=False))))
    reference = np.asarray(model.to_logits(network, head, pooling)(grey[..., None], training=False))
    assert relative_difference(logits, reference) < 1e-5


@pytest.mark.parametrize(("backbone", "choices"), HEADS[:3])
def test_a_heat_map_is_that_of_a_gradient_tape(backbone, choices):
    chosen, network, head = built(backbone, choices)
    pooling = model.pooling_of(chosen)
    maps = tf.convert_to_tensor(as_arrays(network(films(1, 64)[..., None], training=False))[0])
    after = keras.Model(inputs := keras.Input(maps.shape[1:]), head(model.pool_layers([inputs], pooling)))
    for index in range(3):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            logit = after(maps, training=False)[0, index]
        weights = tf.reduce_sum(tape.gradient(logit, maps), axis=(1, 2))
        reference = np.maximum(np.asarray(tf.einsum("bhwc,bc->bhw", maps, weights))[0], 0)
        height, width = reference.shape
        ours = grad_cam(model.head_arrays(head, pooling), [np.asarray(maps)], index, width, height)
        assert np.abs(ours - reference / (reference.max() or 1)).max() < 1e-5


def test_a_head_that_learned_standard_features_takes_plain_ones_afterwards():
    head = model.build_head(spec(head={"units": (8,)}), [(2, 2, 5)])
    rng = np.random.default_rng(0)
    features = rng.normal(3, 2, (4, 5)).astype(np.float32)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    before = np.asarray(head((features - mean) / deviation, training=False))
    model.fold_scale(head, mean, deviation)
    assert np.allclose(np.asarray(head(features, training=False)), before, atol=1e-5)


def test_a_saved_model_is_stock_keras_from_grey_bytes_to_scores(tmp_path):
    chosen, network, head = built("mobilenet_v2", {})
    whole = model.with_scores(model.to_logits(network, head, "mean"))
    export.save_model(whole, tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    grey = films(2, 64)[..., None]
    scores = np.asarray(loaded(grey))
    assert loaded.input.dtype == "uint8"
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-6)
    assert np.allclose(scores, softmax(np.asarray(model.to_logits(network, head, "mean")(grey))), atol=1e-6)


# Balance


IMBALANCED = np.array([0] * 6 + [1] * 3 + [2] * 1)


@pytest.mark.parametrize(
    ("imbalance", "counts"),
    [("none", [6, 3, 1]), ("class_weights", [6, 3, 1]), ("undersample", [1, 1, 1]), ("oversample", [6, 6, 6])],
)
def test_an_epoch_goes_through_the_films_that_the_balance_asks_for(imbalance, counts):
    order = training._order(spec(imbalance=imbalance), IMBALANCED, 0)
    assert np.bincount(IMBALANCED[order(0)]).tolist() == counts
    if imbalance != "undersample":
        assert set(order(0)) == set(range(10))


def test_every_epoch_has_an_order_of_its_own_that_the_seed_fixes():
    order, again = (training._order(spec(), IMBALANCED, 0) for _ in range(2))
    assert order(1).tolist() == again(1).tolist() != order(2).tolist()


def test_class_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_sample_weight

    weights = training._sample_weights(spec(imbalance="class_weights"), IMBALANCED)
    assert np.allclose(weights, compute_sample_weight("balanced", IMBALANCED))
    assert training._sample_weights(spec(imbalance="oversample"), IMBALANCED) is None


# Fitting


class Kill(BaseException):
    """The process is gone."""


class Training:
    """A tiny fit on made features that can be stopped, killed and taken up again."""

    def __init__(self, path, poison: int | None = None, workers: int = 1, **choices):
        self.spec = spec(
            **{"epochs": 4, "patience": 0, "batch_size": 4, "optimizer": "adam", "head": {"units": ()}, **choices}
        )
        self.rows, self.seen = [], []
        self.fit = Fit(self.spec, path / "checkpoint.npz", self.rows.append, lambda *what: self.watch(*what))
        self.watch = silent
        self.poison, self.workers = poison, workers
        rng = np.random.default_rng(0)
        self.labels = np.arange(20) % 3
        self.features = (rng.normal(size=(20, 5)) + self.labels[:, None]).astype(np.float32)
        self.model = model.build_head(self.spec, [(1, 1, 5)])

    def stage(self) -> Stage:
        def inputs(rows, epoch):
            self.seen.append(epoch)
            return self.features[rows] * (np.nan if epoch == self.poison else 1)

        return Stage(
            name="head",
            model=self.model,
            inputs=inputs,
            labels=self.labels,
            order=lambda epoch: np.random.default_rng(epoch).permutation(20),
            validation=(self.features, self.labels),
            learning_rate=self.spec.learning_rate,
            epochs=self.spec.epochs,
            workers=self.workers,
        )

    def run(self, stages: int = 1):
        self.fit.load_checkpoint()
        for number in range(stages):
            self.fit.run(number, self.stage())
        return self

    def raising_at(self, error: BaseException, share: float):
        def watch(done, message):
            if done > share:
                raise error

        self.watch = watch
        return self


def same_weights(a: keras.Model, b: keras.Model) -> bool:
    return all(np.abs(x - y).max() < 1e-6 for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


@pytest.mark.parametrize("workers", [1, 2])
def test_every_epoch_sees_its_own_number(tmp_path, workers):
    seen = Training(tmp_path, workers=workers).run().seen
    assert list(dict.fromkeys(seen)) == [0, 1, 2, 3]
    assert seen == sorted(seen)


def test_a_history_row_has_the_epoch_and_its_learning_rate(tmp_path):
    rows = Training(tmp_path, learning_rate=0.0125).run().rows
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["learning_rate"] == pytest.approx(0.0125)
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_the_weights_of_the_best_epoch_are_kept(tmp_path):
    done = Training(tmp_path, learning_rate=1.0, optimizer="sgd", epochs=8).run()
    losses = [row["val_loss"] for row in done.rows]
    assert done.fit.memory.best_epoch == 1 + int(np.argmin(losses))
    kept = done.model.evaluate(done.features, done.labels, verbose=0)
    assert kept[0] == pytest.approx(min(losses), abs=1e-5)


def test_patience_ends_a_fit_that_gets_no_better(tmp_path):
    done = Training(tmp_path, learning_rate=10, optimizer="adam", epochs=50, patience=3).run()
    assert len(done.rows) == done.fit.memory.best_epoch + 3


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop"])
def test_an_interrupted_fit_goes_on_as_if_nothing_had_happened(tmp_path, optimizer):
    choices = {"optimizer": optimizer, "learning_rate": 0.05, "head": {"units": (8,), "dropout": 0.5}}
    (tmp_path / "whole").mkdir()
    whole = Training(tmp_path / "whole", **choices).run()
    killed = Training(tmp_path, **choices).raising_at(Kill(), 0.6)
    with pytest.raises(Kill):
        killed.run()
    resumed = Training(tmp_path, **choices).run()
    assert [row["epoch"] for row in killed.rows + resumed.rows] == [1, 2, 3, 4]
    assert same_weights(resumed.model, whole.model)


def test_an_interrupted_second_stage_goes_on_without_the_first(tmp_path):
    (tmp_path / "whole").mkdir()
    whole = Training(tmp_path / "whole").run(stages=2)
    killed = Training(tmp_path)
    killed.fit.load_checkpoint()
    killed.fit.run(0, killed.stage())
    killed.raising_at(Kill(), 1.6)
    with pytest.raises(Kill):
        killed.fit.run(1, killed.stage())
    resumed = Training(tmp_path).run(stages=2)
    assert len(killed.rows + resumed.rows) == 8
    assert same_weights(resumed.model, whole.model)


def test_a_fit_whose_end_was_not_published_is_not_done_again(tmp_path):
    done = Training(tmp_path).run()
    again = Training(tmp_path).run()
    assert again.rows == []
    assert same_weights(again.model, done.model)


def test_a_stop_keeps_the_best_weights_so_far_and_skips_later_stages(tmp_path):
    stopped = Training(tmp_path).raising_at(Stopped(), 0.6).run(stages=2)
    assert stopped.fit.was_stopped
    assert len(stopped.rows) == 2
    kept = stopped.model.evaluate(stopped.features, stopped.labels, verbose=0)
    assert kept[0] == pytest.approx(min(row["val_loss"] for row in stopped.rows), abs=1e-5)


def test_a_stop_in_the_first_epoch_changes_nothing(tmp_path):
    stopped = Training(tmp_path)
    before = keras.models.clone_model(stopped.model)
    before.set_weights(stopped.model.get_weights())
    stopped.raising_at(Stopped(), 0.0).run()
    assert same_weights(stopped.model, before)


def test_a_loss_that_is_not_a_number_names_epoch_and_batch(tmp_path):
    with pytest.raises(RunError, match="^The loss is not a number at epoch 3, batch 1. Try a lower learning rate.$"):
        Training(tmp_path, poison=2).run()


def test_a_validation_loss_that_is_not_a_number_names_the_epoch(tmp_path):
    poisoned = Training(tmp_path)
    stage = poisoned.stage()
    stage.validation = (stage.validation[0] * np.nan, stage.validation[1])
    with pytest.raises(RunError, match="^The validation loss is not a number at epoch 1."):
        poisoned.fit.run(0, stage)


@pytest.mark.parametrize("damage", [b"", b"film"], ids=["empty", "text"])
def test_a_damaged_checkpoint_is_told(tmp_path, damage):
    (tmp_path / "checkpoint.npz").write_bytes(damage)
    with pytest.raises(RunDamaged, match="The checkpoint is damaged"):
        Training(tmp_path).fit.load_checkpoint()


def test_every_backbone_here_is_compared_with_its_keras_module():
    assert set(MODULES) == {backbone.name for backbone in PRETRAINED}
    assert backbone_named("baseline_cnn").name not in MODULES
