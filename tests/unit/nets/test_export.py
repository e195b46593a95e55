"""Keras to LiteRT: the same answers, in the same order, or no file that counts."""

import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from made_fits import as_arrays, images, spec

from covid_core.backbones import backbone_named
from covid_core.errors import RunDamaged, RunError
from covid_core.inference.network import BATCH, LiteNetwork, LiteTrunk, shared_network
from covid_core.nets import export, model, trunk
from covid_core.nets.trunk import FrozenTrunk, relative_difference
from covid_core.workspace import Workspace

pytestmark = [
    pytest.mark.slow,
    # TensorFlow 2.21's variables do not know the copy keyword of NumPy 2 yet; Keras reads them when it exports
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]

SIDE = 16


def small(*outputs: str) -> keras.Model:
    """Two convolutions on images of 16 pixels; the maps of ``first`` and ``second`` are outputs, as named."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 1), dtype="uint8")
    first = keras.layers.Conv2D(3, 3, activation="relu", name="first")(keras.layers.Rescaling(1 / 255)(image))
    second = keras.layers.Conv2D(2, 3, strides=2, name="second")(first)
    return keras.Model(image, [{"first": first, "second": second}[name] for name in outputs])


ORDERS = [("second",), ("first", "second"), ("second", "first")]


@pytest.mark.parametrize("outputs", ORDERS, ids="-".join)
def test_an_exported_network_gives_kerass_answers_in_their_order(tmp_path, outputs):
    network, grey = small(*outputs), images(3, SIDE)[..., None]
    export.export_network(network, tmp_path / "network.tflite")
    answers = LiteNetwork(tmp_path / "network.tflite").run(grey)
    reference = as_arrays(network(grey))
    assert len(answers) == len(reference)
    assert max(relative_difference(a, b) for a, b in zip(answers, reference, strict=True)) < 1e-5


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the converter
def test_a_network_that_keras_exported_with_a_signature_is_read_in_its_order_too(tmp_path):
    network, grey = small("second", "first"), images(2, SIDE)[..., None]
    network.export(tmp_path / "network.tflite", format="litert", verbose=False)
    answers = LiteNetwork(tmp_path / "network.tflite").run(grey)
    reference = as_arrays(network(grey))
    assert max(relative_difference(a, b) for a, b in zip(answers, reference, strict=True)) < 1e-5


def test_what_tensorflow_itself_answers_comes_back_for_comparison(tmp_path):
    network, grey = small("first", "second"), images(2, SIDE)[..., None]
    traced = export.export_network(network, tmp_path / "network.tflite")
    assert [a.shape for a in traced(grey)] == [a.shape for a in as_arrays(network(grey))]
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(traced(grey), as_arrays(network(grey)), strict=True))


def exporting_wrongly(change) -> object:
    """As ``export_network``, but what comes back for comparison is changed."""
    right = export.export_network

    def wrong(network: keras.Model, path: Path):
        traced = right(network, path)
        return lambda batch: change(traced(batch))

    return wrong


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda answers: [answers[0] * 1.01], "The exported network differs from Keras's by 0.0099"),
        (lambda answers: [answers[0] * np.nan], "The exported network differs from Keras's by nan"),
        (lambda answers: answers * 2, "The exported network has other outputs than Keras's."),
        (lambda answers: [answers[0][:, 1:]], "The exported network has other outputs than Keras's."),
    ],
    ids=["numbers", "nan", "count", "shape"],
)
def test_an_export_that_answers_otherwise_is_refused_and_not_found(workspace, monkeypatch, change, words):
    monkeypatch.setattr(export, "export_network", exporting_wrongly(change))
    with pytest.raises(RunError, match=words):
        export.export_trunk(workspace, "key", small("second"), 1)
    assert trunk.load(workspace, "key") is None


def test_a_damaged_export_is_refused(tmp_path):
    (tmp_path / "trunk.tflite").write_bytes(b"image")
    with pytest.raises(RunDamaged, match="trunk.tflite is missing or damaged"):
        LiteTrunk(tmp_path / "trunk.tflite")


# One network for all who ask


def test_all_who_ask_for_a_file_use_one_network(tmp_path):
    export.export_network(small("second"), tmp_path / "network.tflite")
    first, second = shared_network(tmp_path / "network.tflite"), shared_network(tmp_path / "network.tflite")
    assert first is second


def test_a_file_that_was_exported_anew_is_opened_anew(tmp_path):
    path, grey = tmp_path / "network.tflite", images(2, SIDE)[..., None]
    export.export_network(small("second"), path)
    before = shared_network(path)
    export.export_network(small("first"), path)
    assert shared_network(path).run(grey)[0].shape != before.run(grey)[0].shape


def test_a_network_goes_with_the_last_who_uses_it(tmp_path):
    export.export_network(small("second"), tmp_path / "network.tflite")
    gone = weakref.ref(shared_network(tmp_path / "network.tflite"))
    assert gone() is None


# A pretrained network


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return model.build_trunk(spec(), None)


@pytest.fixture(scope="module")
def frozen(place, network) -> FrozenTrunk:
    return export.export_trunk(place, "cut", network, 1, cut=12)


def test_an_exported_trunk_gives_kerass_maps_of_every_tap(workspace):
    built = model.build_trunk(spec(taps="default"), None)
    made = export.export_trunk(workspace, "key", built, 2)
    grey = images(3)
    exported = LiteTrunk(made.path).maps(grey)
    for ours, reference in zip(exported, as_arrays(built(grey[..., None], training=False)), strict=True):
        assert relative_difference(ours, reference) < 1e-5
    assert made.layers == backbone_named("mobilenet_v2").taps_of("default")
    assert made.shapes == tuple(tap.shape[1:] for tap in exported)
    assert (made.taps, made.layers_behind) == (2, 0)


def test_an_exported_trunk_is_found_with_all_that_is_known_of_it(place, frozen):
    assert trunk.load(place, "cut") == frozen


def test_a_trunk_that_may_be_fine_tuned_says_where_it_is_cut(network, frozen):
    assert (frozen.layers[frozen.taps], frozen.layers_behind) == model.cut_before_last(network, 12)
    assert frozen.taps == 1


def test_what_is_kept_of_kerass_answers_is_what_keras_answers(network, frozen):
    grey, (tap,) = frozen.probe()
    (maps,) = as_arrays(network(grey[..., None], training=False))
    assert grey.dtype == np.uint8
    assert relative_difference(tap[:, 0], maps.mean(axis=(1, 2))) < 1e-5
    assert relative_difference(tap[:, 1], maps.max(axis=(1, 2))) < 1e-5


def test_frozen_part_and_exported_tail_one_after_the_other_are_the_whole_network(tmp_path, network, frozen):
    _, tail = model.split_at(network, frozen.layers[frozen.taps])
    export.export_network(tail, tmp_path / "tail.tflite")
    grey = images(3)
    (ours,) = LiteTrunk(frozen.path, tmp_path / "tail.tflite", [frozen.taps]).maps(grey)
    (reference,) = as_arrays(network(grey[..., None], training=False))
    assert relative_difference(ours, reference) < 1e-5


def test_only_the_chosen_outputs_come_back(frozen):
    grey = images(2)
    everything = LiteTrunk(frozen.path).maps(grey)
    (chosen,) = LiteTrunk(frozen.path, outputs=[1]).maps(grey)
    assert len(everything) == 2
    assert np.array_equal(chosen, everything[1])


def test_images_beyond_one_batch_come_in_their_order(frozen):
    exported, grey = LiteTrunk(frozen.path, outputs=[0]), images(2 * BATCH + 3)
    (together,) = exported.maps(grey)
    alone = np.concatenate([exported.maps(image[None])[0] for image in grey])
    assert relative_difference(together, alone) < 1e-5


def test_one_network_serves_several_threads(frozen):
    exported, grey = LiteTrunk(frozen.path, outputs=[0], opened=partial(LiteNetwork, threads=1)), images(12)
    alone = [exported.maps(image[None])[0] for image in grey]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda image: exported.maps(image[None])[0], grey))
    assert all(np.array_equal(a, b) for a, b in zip(alone, at_once, strict=True))


def test_the_engine_for_all_cores_gives_the_networks_own_maps(frozen):
    engine, grey = trunk.lite_engine(frozen, 32), images(5)
    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(engine.maps, [grey[:2], grey[2:]]))
    for number, reference in enumerate(LiteTrunk(frozen.path).maps(grey)):
        assert relative_difference(np.concatenate([part[number] for part in parts]), reference) < 1e-5
