"""Saved models written into a kept one: what Keras makes of them, and what is refused."""

import io
from pathlib import Path
from zipfile import ZipFile

import h5py
import numpy as np
import pytest
from made_fits import images, spec

from covid_core.errors import RunError
from covid_core.inference.network import Head
from covid_core.nets import template
from covid_core.nets.template import WEIGHTS, Template
from covid_core.nets.trunk import FrozenTrunk
from covid_core.specs import TrainingSpec
from covid_core.workspace import Workspace

SIDE = 16
WIDTH = 8  # features of the small network's four channels with mean and maximum


def trunk_of(workspace: Workspace) -> FrozenTrunk:
    return FrozenTrunk("key", workspace.trunks / "key.tflite", ("maps",), ((7, 7, 4),), 1)


def head_of(*sizes: int, seed: int = 0) -> Head:
    rng = np.random.default_rng(seed)
    pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
    weights = tuple(rng.normal(size=pair).astype(np.float32) for pair in pairs)
    return Head("mean_max", weights, tuple(rng.normal(size=outputs).astype(np.float32) for _, outputs in pairs))


# By Keras


def saved_by_keras(chosen: TrainingSpec, head: Head, path: Path):
    """A small network with this head as Keras builds and saves it. Returns the model."""
    import keras

    from covid_core.nets import export, model

    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 1), dtype="uint8")
    maps = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    join = model.to_mean_logits if chosen.test_time_flip else model.to_logits
    whole = model.with_scores(join(keras.Model(image, [maps]), model.keras_head(chosen, head, WIDTH), "mean_max"))
    export.save_model(whole, path)
    return whole


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
@pytest.mark.parametrize("flip", [False, True], ids=["one side", "both sides"])
@pytest.mark.parametrize("units", [(), (8,), (8, 8)], ids=["no layer", "one", "two of one shape"])
def test_a_model_written_from_a_template_is_the_one_that_keras_saves(workspace, tmp_path, units, flip):
    from covid_core.nets import export

    chosen = spec(head={"units": units, "pooling": "mean_max"}, test_time_flip=flip)
    sample, head = head_of(WIDTH, *units, 3), head_of(WIDTH, *units, 3, seed=1)
    path = template.path_of(trunk_of(workspace), chosen)
    first = saved_by_keras(chosen, sample, path)
    template.publish(path, sample, first.count_params())
    template.write_model(template.load(trunk_of(workspace), chosen), head, tmp_path / "written.keras")
    reference = saved_by_keras(chosen, head, tmp_path / "reference.keras")
    grey = images(4, SIDE)[..., None]
    written = export.load_model(tmp_path / "written.keras")
    assert np.abs(np.asarray(written(grey)) - np.asarray(reference(grey))).max() < 1e-6
    assert np.abs(np.asarray(written(grey)) - np.asarray(first(grey))).max() > 1e-3
    for ours, theirs in zip(written.get_weights(), reference.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


# By hand


def archive(path: Path, **arrays: np.ndarray) -> Path:
    """A file like a saved model: an archive with some arrays and a note."""
    weights = io.BytesIO()
    with h5py.File(weights, "w") as stored:
        for name, array in arrays.items():
            stored[f"layers/{name}/vars/0"] = array
    with ZipFile(path, "w") as made:
        made.writestr("config.json", "{}")
        made.writestr(WEIGHTS, weights.getvalue())
    return path


def arrays_in(path: Path) -> dict[str, np.ndarray]:
    with ZipFile(path) as made, h5py.File(io.BytesIO(made.read(WEIGHTS)), "r") as stored:
        return {name: stored[f"layers/{name}/vars/0"][()] for name in stored["layers"]}


SAMPLE = head_of(2, 3)
OTHER = head_of(2, 3, seed=1)


@pytest.fixture
def kept(tmp_path) -> Template:
    path = archive(tmp_path / "kept.keras", kernel=SAMPLE.weights[0], bias=SAMPLE.biases[0], trunk=np.ones(3))
    return template.publish(path, SAMPLE, 12)


def test_the_heads_arrays_are_replaced_and_all_else_stays(kept, tmp_path):
    template.write_model(kept, OTHER, tmp_path / "model.keras")
    stored = arrays_in(tmp_path / "model.keras")
    assert np.array_equal(stored["kernel"], OTHER.weights[0])
    assert np.array_equal(stored["bias"], OTHER.biases[0])
    assert np.array_equal(stored["trunk"], np.ones(3))
    with ZipFile(tmp_path / "model.keras") as made:
        assert made.read("config.json") == b"{}"


def test_the_template_stays_as_it_was(kept, tmp_path):
    before = kept.path.read_bytes()
    template.write_model(kept, OTHER, tmp_path / "model.keras")
    assert kept.path.read_bytes() == before


@pytest.mark.parametrize(
    ("arrays", "count"),
    [({"kernel": SAMPLE.weights[0]}, 0), ({"kernel": SAMPLE.weights[0], "twin": SAMPLE.weights[0]}, 2)],
    ids=["nowhere", "twice"],
)
def test_a_model_in_which_an_array_has_not_one_place_is_no_template(tmp_path, arrays, count):
    path = archive(tmp_path / "kept.keras", **arrays)
    with pytest.raises(RunError, match=f"An array of the head stands {count} times in the saved model, not once."):
        template.publish(path, SAMPLE, 9)
    assert not path.with_suffix(".json").exists()


@pytest.mark.parametrize("damage", ["torn", "text", "place", "shape", "weights"])
def test_a_damaged_template_is_told_and_removed(kept, tmp_path, damage):
    content = kept.path.read_bytes()
    match damage:
        case "torn":
            kept.path.write_bytes(content[: len(content) // 2])
        case "text":
            kept.path.write_bytes(b"image")
        case "place":
            archive(kept.path, kernel=SAMPLE.weights[0])
        case "shape":
            archive(kept.path, kernel=SAMPLE.weights[0], bias=np.zeros(5))
        case "weights":
            with ZipFile(kept.path, "w") as made:
                made.writestr(WEIGHTS, b"image")
    with pytest.raises(RunError, match="The kept model kept.keras was damaged and has been removed."):
        template.write_model(kept, OTHER, tmp_path / "model.keras")
    assert not kept.path.exists()
    assert not (tmp_path / "model.keras").exists()


def test_a_place_that_takes_the_array_only_by_repeating_it_is_noticed(kept, tmp_path):
    archive(kept.path, kernel=SAMPLE.weights[0], bias=np.zeros((2, 3)))
    with pytest.raises(RunError, match="The saved model does not hold the head that was trained."):
        template.write_model(kept, OTHER, tmp_path / "model.keras")


@pytest.mark.parametrize(
    "other",
    [
        {"head": {"units": (9,)}},
        {"head": {"units": (8,), "dropout": 0.1}},
        {"head": {"units": (8,), "pooling": "mean_max"}},
        {"head": {"units": (8,)}, "classes": ("a", "b")},
        {"head": {"units": (8,)}, "test_time_flip": True},
    ],
    ids=["units", "dropout", "pooling", "classes", "both sides"],
)
def test_heads_of_another_shape_have_another_template(workspace, other):
    paths = {template.path_of(trunk_of(workspace), spec(**choices)) for choices in ({"head": {"units": (8,)}}, other)}
    assert len(paths) == 2


@pytest.mark.parametrize("other", [{"seed": 4}, {"learning_rate": 0.1}, {"classes": ("x", "y", "z")}])
def test_what_is_not_in_the_shape_shares_a_template(workspace, other):
    assert template.path_of(trunk_of(workspace), spec()) == template.path_of(trunk_of(workspace), spec(**other))


@pytest.mark.parametrize("suffix", [".keras", ".json"])
def test_a_template_of_which_a_file_is_missing_is_made_anew(workspace, suffix):
    path = template.path_of(trunk_of(workspace), spec())
    archive(path, kernel=SAMPLE.weights[0], bias=SAMPLE.biases[0])
    made = template.publish(path, SAMPLE, 9)
    assert template.load(trunk_of(workspace), spec()) == made
    path.with_suffix(suffix).unlink()
    assert template.load(trunk_of(workspace), spec()) is None
