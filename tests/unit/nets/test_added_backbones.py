"""Backbones that somebody adds as a file: what is refused, what a run makes of one, and what the app needs of it."""

import gc
import re
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import added_backbones
import numpy as np
import onnx
import psutil
import pytest
from added_backbones import described, saved, small_onnx
from local_jobs import completed
from made_images import write_images
from onnx import helper

from covid_core.backbones import SUFFIXES, BackboneFile
from covid_core.data.dataset import Dataset
from covid_core.data.imports.importing import import_folder
from covid_core.data.pixels import decode_rows
from covid_core.errors import CovidCoreError, JobRefused, RunDamaged
from covid_core.images.codec import GreyImage
from covid_core.inference.apart import network as apart
from covid_core.inference.occlusion import occluded
from covid_core.inference.predictor import Predictor
from covid_core.jobs import queue
from covid_core.nets.added import addition
from covid_core.presets import suggested_spec
from covid_core.reports import run_text
from covid_core.runs import architecture, backbone_files, store
from covid_core.runs.store import Run
from covid_core.specs import HeadSpec, InputSpec, TrainingSpec
from covid_core.work import silent
from covid_core.workspace import Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of Keras and TensorFlow, which convert and save here
]

SIDE = 96
LIMIT = 1e-4  # of a score and of a feature
KINDS = ["onnx", "keras", pytest.param("litert", marks=pytest.mark.soak)]  # the process of ONNX has LiteRT's part too
Made = Callable[[Path], Path]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("added") / "workspace")


@pytest.fixture(scope="module")
def dataset(place, tmp_path_factory) -> Dataset:
    return import_folder(place, write_images(tmp_path_factory.mktemp("data") / "images", {"a": 14, "b": 12}))


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> dict[str, Path]:
    """One network, MobileNetV2 with random weights, in all forms: its weights, and a file of each kind."""
    import keras

    folder = tmp_path_factory.mktemp("real")
    keras.utils.set_random_seed(0)
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(SIDE, SIDE, 3))
    paths = {kind: folder / f"network{suffix}" for kind, suffix in {**SUFFIXES, "h5": ".weights.h5"}.items()}
    network.save_weights(paths["h5"])
    network.save(paths["keras"])
    added_backbones.onnx_of(network, network.output, paths["onnx"])
    return paths


def add(workspace: Workspace, path: Path, **changes: Any) -> BackboneFile:
    file = backbone_files.described(described(path, **changes))
    addition.add(workspace, path, file, silent)
    return next(one for one in backbone_files.listed(workspace) if one.name == file.name)


def trained(workspace: Workspace, dataset: Dataset, backbone: Any, **settings: Any) -> Run:
    few = {"epochs": 2, "head": HeadSpec(units=(8,))}
    spec = suggested_spec(dataset.id, dataset.classes, backbone, **{**few, **settings})
    return store.open_run(workspace, completed(workspace, spec).id)


def scores(run: Run) -> np.ndarray:
    return run.predictions()[[f"score_{label}" for label in run.classes]].to_numpy()


@pytest.fixture(scope="module")
def built_in(place, dataset, real) -> Run:
    return trained(place, dataset, "mobilenet_v2", image_size=SIDE, taps="last", weights=f"file:{real['h5']}")


@pytest.fixture(scope="module")
def of_file(place, dataset, real) -> Callable[[str], Run]:
    """The run on the real network's file of a kind, trained once."""
    runs: dict[str, Run] = {}

    def run(kind: str) -> Run:
        if kind not in runs:
            if kind == "litert":
                added_backbones.litert_of(real["keras"], real[kind])
            file = add(place, real[kind], name=f"real_{kind}", sizes=[SIDE])
            runs[kind] = trained(place, dataset, file.backbone)
        return runs[kind]

    return run


@pytest.fixture(scope="module")
def vector(place, dataset, tmp_path_factory) -> Run:
    """A run on a backbone that gives a vector, an image at a time."""
    path = small_onnx(tmp_path_factory.mktemp("vector") / "vector.onnx", vector=True, batch=1)
    return trained(place, dataset, add(place, path, name="vector").backbone)


# What a run makes of a file


@pytest.mark.parametrize("kind", KINDS)
def test_scores_on_a_file_equal_those_on_the_same_network_built_in(built_in, of_file, kind):
    assert np.abs(scores(of_file(kind)) - scores(built_in)).max() < LIMIT


@pytest.mark.parametrize("kind", KINDS)
def test_the_app_answers_as_the_table_of_predictions(place, dataset, of_file, kind):
    run = of_file(kind)
    table = run.predictions()
    rows = [list(dataset.images["image_id"]).index(name) for name in table["image_id"]]
    logits = Predictor.open(place, run).logits(decode_rows(dataset, rows, run.spec.pixels))
    assert np.abs(logits - table[[f"logit_{label}" for label in run.classes]].to_numpy()).max() < LIMIT


def test_no_process_but_its_own_loads_onnx_runtime(place, of_file):
    Predictor.open(place, of_file("onnx")).logits(np.zeros((1, SIDE, SIDE), np.uint8))
    assert "onnxruntime" not in sys.modules


def test_a_run_on_onnx_has_no_keras_model_and_its_layers_are_the_planned_ones(of_file):
    run = of_file("onnx")
    assert not run.model_path.exists() and run.result["model_bytes"] is None
    assert architecture.layers(run).equals(architecture.planned(run.spec))
    assert "model.keras" in run_text.model_file(run)


def test_a_run_on_a_keras_file_is_saved_whole(of_file):
    import keras

    run = of_file("keras")
    assert run_text.model_file(run) == ""
    images = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 1), np.uint8)
    assert keras.models.load_model(run.model_path, compile=False, safe_mode=True)(images).shape == (3, 2)


def test_a_second_head_on_the_same_file_computes_no_features_again(place, dataset, of_file):
    first = of_file("onnx")
    again = trained(place, dataset, first.spec.network, head=HeadSpec(units=(4,)))
    assert again.result["trunk"] == first.result["trunk"] and "features" in again.result["reused"]


def test_a_description_that_reads_the_file_otherwise_makes_other_features(place, dataset, of_file, real):
    first = of_file("onnx")
    other = first.spec.backbone_file.model_copy(update={"input_range": "divide_by_255"})
    assert trained(place, dataset, other.backbone).result["trunk"] != first.result["trunk"]


def test_region_and_intensity_are_made_before_the_file(place, dataset, of_file):
    shown = InputSpec(region="centre", share=0.6, intensity="per_image")
    run = trained(place, dataset, of_file("onnx").spec.network, input=shown, test_time_flip=True)
    assert run.spec.pixels == round(SIDE / 0.6)
    image = np.random.default_rng(0).integers(0, 256, (1, run.spec.pixels, run.spec.pixels), np.uint8)
    framed = image.copy()
    framed[:, :4] = 255
    predictor = Predictor.open(place, run)
    assert np.array_equal(predictor.logits(image), predictor.logits(framed))


def test_maps_give_grad_cam_and_a_vector_gives_occlusion(place, of_file, vector):
    image = GreyImage(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8), "L")
    assert Predictor.open(place, of_file("onnx")).has_maps
    predictor = Predictor.open(place, vector)
    small = GreyImage(np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8), "L")
    heat = predictor.heat_map(small, "a", (24, 24))
    wanted = np.maximum(occluded(predictor, small, "a").map((24, 24)), 0)
    assert not predictor.has_maps and np.allclose(heat, wanted / max(wanted.max(), 1e-9), atol=1e-5)
    assert Predictor.open(place, of_file("onnx")).heat_map(image, "a", (24, 24)).shape == (24, 24)


def test_its_process_ends_with_the_last_who_uses_it(place, vector):
    predictor = Predictor.open(place, vector)
    predictor.logits(np.zeros((1, 32, 32), np.uint8))
    process = psutil.Process(predictor.trunk._network._process.pid)
    assert process.is_running()
    del predictor
    gc.collect()
    assert not process.is_running()


# What becomes of the file


def test_a_backbone_that_runs_need_is_not_removed(place, vector):
    with pytest.raises(JobRefused, match="vector"):
        backbone_files.remove(place, "vector")
    assert backbone_files.path_of(place, vector.spec.backbone_file).is_file()


def test_a_run_whose_file_is_gone_says_so_and_predicts_again_once_it_is_back(workspace, tmp_path):
    dataset = import_folder(workspace, write_images(tmp_path / "images", {"a": 14, "b": 12}))
    path = small_onnx(tmp_path / "small.onnx")
    run = trained(workspace, dataset, add(workspace, path).backbone)
    folder = backbone_files.folder_of(workspace, "own_network")
    (folder / "backbone.onnx").unlink()
    with pytest.raises(RunDamaged, match="gone"):
        Predictor.open(workspace, run)
    (folder / "backbone.json").unlink()
    folder.rmdir()
    with pytest.raises(RunDamaged, match=run.spec.backbone_file.sha256[:12]):
        Predictor.open(workspace, run)
    with pytest.raises(RunDamaged):
        queue.submit_training(workspace, run.spec)
    add(workspace, path, name="another_name")
    assert Predictor.open(workspace, run).logits(np.zeros((1, 32, 32), np.uint8)).shape == (1, 2)


def test_a_backbone_that_no_run_needs_is_removed(workspace, tmp_path):
    add(workspace, small_onnx(tmp_path / "small.onnx"))
    backbone_files.remove(workspace, "own_network")
    assert backbone_files.listed(workspace) == []


def test_without_onnx_runtime_nothing_starts_and_the_command_is_named(workspace, tmp_path, monkeypatch):
    path = small_onnx(tmp_path / "small.onnx")
    file = backbone_files.described(described(path))
    monkeypatch.setattr(backbone_files, "RUNTIME", ("no_such_module",))
    with pytest.raises(JobRefused, match="pip install"):
        backbone_files.check_addition(workspace, file, path)
    with pytest.raises(JobRefused, match="pip install"):
        apart.opener(workspace, file)


# What is refused


def external(path: Path) -> Path:
    model = onnx.load(small_onnx(path))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def custom(path: Path) -> Path:
    return saved(path, [helper.make_node("Secret", ["image"], ["out"], domain="my.own")], {}, ["n", 3, 32, 32], "out")


def within_a_branch(path: Path) -> Path:
    """A custom operator in a graph within the graph."""
    hidden = helper.make_graph(
        [helper.make_node("Secret", ["image"], ["x"], domain="my.own")],
        "branch",
        [],
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, None)],
    )
    always = helper.make_node("If", ["yes"], ["out"], then_branch=hidden, else_branch=hidden)
    return saved(path, [always], {"yes": np.array(True)}, ["n", 3, 32, 32], "out")


def not_a_number(path: Path) -> Path:
    return small_onnx(path, last="Log")


def of_three(path: Path) -> Path:
    nodes = [helper.make_node("Reshape", ["image", "shape"], ["out"])]
    return saved(path, nodes, {"shape": np.array([0, 3, -1])}, ["n", 3, 32, 32], "out")


def of_five(path: Path) -> Path:
    nodes = [helper.make_node("Reshape", ["image", "shape"], ["out"])]
    return saved(path, nodes, {"shape": np.array([0, 3, 32, 32, 1])}, ["n", 3, 32, 32], "out")


def of_the_batch(path: Path) -> Path:
    """Takes the mean over all images of the batch away."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[0]),
        helper.make_node("Sub", ["image", "mean"], ["out"]),
    ]
    return saved(path, nodes, {}, ["n", 3, 32, 32], "out")


def two_outputs(path: Path) -> Path:
    nodes = [helper.make_node("Relu", ["image"], ["one"]), helper.make_node("Neg", ["image"], ["two"])]
    return saved(path, nodes, {}, ["n", 3, 32, 32], "one", "two")


def torn(path: Path) -> Path:
    path.write_bytes(small_onnx(path).read_bytes()[:700])
    return path


def of_four(path: Path) -> Path:
    return small_onnx(path, batch=4)


def of_one_channel(path: Path) -> Path:
    return small_onnx(path, channels=1)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (external, "external data"),
        (custom, "my.own.Secret"),
        (within_a_branch, "my.own.Secret"),
        (not_a_number, "no numbers"),
        (of_three, "shape"),
        (of_five, "shape"),
        (of_the_batch, "other images"),
        (two_outputs, "one, two"),
        (torn, "torn|damaged|cannot"),
        (of_four, "4 images"),
        (of_one_channel, "1 x any x any"),
    ],
)
def test_an_onnx_file_that_can_be_no_backbone_is_refused_with_its_reason(workspace, tmp_path, made, reason):
    with pytest.raises(CovidCoreError, match=reason):
        add(workspace, made(tmp_path / "refused.onnx"))
    assert backbone_files.listed(workspace) == [] and not any(workspace.backbones.iterdir())


def test_one_of_several_outputs_is_chosen_by_name(workspace, tmp_path):
    assert add(workspace, two_outputs(tmp_path / "two.onnx"), output="two").measured.channels == 3


def test_a_file_of_another_hash_is_refused(workspace, tmp_path):
    path = small_onnx(tmp_path / "small.onnx")
    with pytest.raises(CovidCoreError, match="SHA-256"):
        add(workspace, path, sha256="0" * 64)


def keras_file(path: Path, *layers: Any) -> Path:
    import keras

    keras.Sequential([keras.Input((32, 32, 3)), *layers]).save(path)
    return path


def test_a_keras_file_with_code_is_refused(workspace, tmp_path):
    import keras

    path = keras_file(tmp_path / "code.keras", keras.layers.Lambda(lambda x: x * 2))
    with pytest.raises(CovidCoreError, match="Lambda"):
        add(workspace, path)


def test_a_keras_file_with_a_class_of_its_own_is_refused(workspace, tmp_path):
    import keras

    class Secret(keras.layers.Layer):
        def call(self, x):
            return x

    path = keras_file(tmp_path / "own.keras", Secret())
    with pytest.raises(CovidCoreError, match="Secret"):
        add(workspace, path)


def test_a_keras_file_that_describes_more_numbers_than_it_holds_is_refused_before_they_are_made(workspace, tmp_path):
    """Each size that it states is small; a dense layer on all pixels together is not."""
    import keras

    path, sound = tmp_path / "large.keras", tmp_path / "sound.keras"
    keras_file(sound, keras.layers.Flatten(), keras.layers.Dense(4))
    with zipfile.ZipFile(sound) as held, zipfile.ZipFile(path, "w") as changed:
        config = re.sub(r', "build_config": {[^}]*}', "", held.read("config.json").decode())
        changed.writestr(
            "config.json", config.replace("32, 32, 3", "4096, 4096, 3").replace('"units": 4', '"units": 4096')
        )
        changed.writestr("model.weights.h5", held.read("model.weights.h5"))
    with pytest.raises(CovidCoreError, match="206,158,434,304 numbers"):
        add(workspace, path)


def test_a_keras_file_that_is_none_is_refused(workspace, tmp_path):
    path = tmp_path / "none.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{")
    with pytest.raises(CovidCoreError, match="damaged"):
        add(workspace, path)


def test_a_litert_file_with_operators_of_tensorflow_is_refused(workspace, tmp_path):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 32, 32, 3), tf.float32)])
    def determinants(images):
        return tf.linalg.det(tf.transpose(images, (0, 3, 1, 2)))

    converter = tf.lite.TFLiteConverter.from_concrete_functions([determinants.get_concrete_function()])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    path = tmp_path / "flex.tflite"
    path.write_bytes(converter.convert())
    with pytest.raises(CovidCoreError, match="Flex"):
        add(workspace, path)


def test_a_process_that_ends_is_an_error_and_no_hang(workspace, tmp_path):
    path = small_onnx(tmp_path / "small.onnx")
    file = add(workspace, path)
    exported = tmp_path / "exported.tflite"
    exported.write_bytes(b"no network")
    with pytest.raises(CovidCoreError, match="LiteRT"):
        apart.NetworkApart(apart.Chain(exported, path, file))


def test_any_other_mode_is_refused_before_a_run_is_made(workspace, tmp_path):
    file = backbone_files.described(described(small_onnx(tmp_path / "small.onnx")))
    with pytest.raises(CovidCoreError, match="frozen"), warnings.catch_warnings():
        suggested_spec("images", ("a", "b"), file.backbone, mode="full")
    assert isinstance(suggested_spec("images", ("a", "b"), file.backbone), TrainingSpec)
