"""Whole trainings in this process on made images: what they share, what they leave, and what the app makes of it."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_fits import Kill
from made_images import write_images
from test_architecture import BLOCK, ROOT
from waiting import LONG

from covid_core import files
from covid_core.data import augmentation, split
from covid_core.data.dataset import Dataset
from covid_core.data.imports.importing import import_folder, import_phantom
from covid_core.data.pixels import decode_rows, image_of
from covid_core.data.split import make_split
from covid_core.errors import RunDamaged, RunError, Stopped
from covid_core.evaluation import calibration
from covid_core.images.codec import GreyImage
from covid_core.inference.assessment import assess
from covid_core.inference.gate import LUNGS_OUTLINED
from covid_core.inference.heatmap import cam, to_unit
from covid_core.inference.network import Head, LiteTrunk, pooled, softmax
from covid_core.inference.predictor import Predictor
from covid_core.inference.region.lung_region import CutImages
from covid_core.nets import devices, features, publishing, template, training, trunk
from covid_core.nets.plan import Clock, Images, Plan
from covid_core.runs import frozen_features, store, temperature_scaling
from covid_core.runs.store import Run
from covid_core.specs import AugmentationSpec, FineTuning, HeadSpec, InputSpec, SplitSpec, TrainingSpec
from covid_core.work import silent
from covid_core.workspace import Workspace

pytestmark = [
    pytest.mark.slow,
    # TensorFlow 2.21's variables do not know the copy keyword of NumPy 2 yet; Keras reads them when it saves
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]

SIDE = 32
WITHOUT_TENSORFLOW = """
from pathlib import Path

from covid_core.nets import training
from covid_core.runs import store
from covid_core.work import silent
from covid_core.workspace import Workspace

workspace = Workspace(Path(sys.argv[1]))
assert training.train(workspace, store.open_run(workspace, sys.argv[2]), silent)
assert "keras" not in sys.modules and "tensorflow" not in sys.modules
"""


@pytest.fixture(scope="module")
def dataset(place, tmp_path_factory) -> Dataset:
    return import_folder(place, write_images(tmp_path_factory.mktemp("data") / "images", {"a": 12, "b": 10, "c": 8}))


def new_run(place: Workspace, dataset: Dataset, **choices) -> Run:
    """A run that waits to be trained: frozen MobileNetV2 from a random start, on the middle layers."""
    base = {
        "backbone": "mobilenet_v2",
        "weights": "random",
        "image_size": SIDE,
        "epochs": 3,
        "batch_size": 4,
        "split": SplitSpec(validation=0.2, test=0.2),
        "head": HeadSpec(units=(8,), pooling="mean_max"),
    }
    spec = TrainingSpec(dataset=dataset.id, classes=dataset.classes, **{**base, **choices})
    return store.create_run(place, spec, dataset, make_split(dataset.images, spec.classes, spec.split))


def trained(place: Workspace, dataset: Dataset, **choices) -> Run:
    run = new_run(place, dataset, **choices)
    assert training.train(place, run, silent)
    return store.open_run(place, run.id)


TUNED = {
    "mode": "fine_tune",
    "taps": "last",
    "head": HeadSpec(units=(8,)),
    "fine_tuning": FineTuning(layers=10, learning_rate=1e-3, epochs=2),
}


@pytest.fixture(scope="module")
def first(place, dataset) -> Run:
    """The first run on its trunk: it exports it, computes features, and has Keras build the saved model."""
    return trained(place, dataset)


@pytest.fixture(scope="module")
def second(place, dataset, first) -> Run:
    """Another head on the same trunk, trained where TensorFlow and Keras cannot be imported."""
    if devices.may_exist():
        pytest.skip("with a GPU, TensorFlow computes the features")
    run = new_run(place, dataset, learning_rate=0.01, imbalance="oversample")
    code = BLOCK.format(names=["tensorflow", "keras"]) + WITHOUT_TENSORFLOW
    command = [sys.executable, "-c", code, str(place.root), run.id]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr
    return store.open_run(place, run.id)


@pytest.fixture(scope="module")
def both_sides(place, dataset, first) -> Run:
    return trained(place, dataset, test_time_flip=True, augmentation=AugmentationSpec(flip=True))


@pytest.fixture(scope="module")
def tuned(place, dataset) -> Run:
    return trained(place, dataset, **TUNED)


def images_of(place: Workspace, run: Run) -> np.ndarray:
    """uint8 images in the order of the run's predictions."""
    plan = training._plan(place, run, silent)
    return np.asarray(plan.images.pixels[plan.images.rows])


def logits_of(run: Run) -> np.ndarray:
    return run.predictions()[[f"logit_{label}" for label in run.classes]].to_numpy()


def scores_of(run: Run) -> np.ndarray:
    return run.predictions()[[f"score_{label}" for label in run.classes]].to_numpy()


def scores_by_keras(run: Run, images: np.ndarray) -> np.ndarray:
    import keras

    saved = keras.models.load_model(run.model_path, compile=False, safe_mode=True)
    return np.asarray(saved(images[..., None], training=False))


# What a run leaves, and what later runs need not do again


def test_the_first_run_on_a_trunk_has_keras_load_and_check_the_saved_model(first):
    assert first.result["parity"]["by"] == publishing.BY_LOADING
    assert first.result["parity"]["largest_difference"] < 1e-5
    assert first.result["reused"] == {}


def test_a_result_has_seconds_of_every_stage(first):
    seconds = first.result["seconds"]
    assert {"decode", "weights", "tensorflow", "build", "export", "features", "fit", "save", "check"} <= set(seconds)
    assert all(value >= 0 for value in seconds.values())
    assert min(seconds[name] for name in ("build", "export", "features")) > 0


def test_a_later_run_on_a_known_trunk_needs_no_tensorflow(second):
    assert second.history()["epoch"].tolist() == [1, 2, 3]
    assert "features" in second.result["reused"]
    assert not {"tensorflow", "build", "export"} & set(second.result["seconds"])


def test_the_ladder_of_probes_takes_what_a_training_keeps(place, dataset, first):
    table = frozen_features._stored(place, dataset, first.result["trunk"])
    assert table.shape[0] == len(dataset.images) and table.shape[1] > 100


def test_seconds_of_a_stage_within_another_count_once():
    clock = Clock()
    begin = time.perf_counter()
    clock.timed("outer", lambda: (time.sleep(0.05), clock.timed("inner", lambda: time.sleep(0.1))))
    whole = time.perf_counter() - begin
    assert clock.seconds["inner"] >= 0.1
    assert 0.05 <= clock.seconds["outer"] <= whole - clock.seconds["inner"] + 0.001  # which are rounded


def test_a_later_run_says_what_the_parts_that_it_found_had_taken(first, second):
    seconds, reused = first.result["seconds"], second.result["reused"]
    assert reused["frozen network"] == seconds["export"]
    assert 0 < reused["features"] <= seconds["features"]


def test_a_head_with_another_pooling_takes_the_same_features(place, dataset, first):
    run = trained(place, dataset, head=HeadSpec(units=(8,), pooling="mean"))
    assert {"frozen network", "features"} <= set(run.result["reused"])
    assert not run.trunk_path.exists()
    assert np.abs(scores_by_keras(run, images_of(place, run)) - scores_of(run)).max() < 1e-5


def test_what_was_trained_without_tensorflow_is_checked_against_kerass_own_features(second):
    assert second.result["parity"]["by"] == publishing.BY_TRUNK
    assert second.result["parity"]["largest_difference"] < 1e-5


@pytest.mark.parametrize("name", ["first", "second", "both_sides", "tuned"])
def test_the_saved_model_loaded_by_keras_gives_the_scores_of_the_table(request, place, name):
    run = request.getfixturevalue(name)
    scores = scores_by_keras(run, images_of(place, run))
    assert np.abs(scores - scores_of(run)).max() < 1e-5


@pytest.mark.parametrize("name", ["first", "second", "both_sides", "tuned"])
def test_the_app_gives_the_logits_of_the_table(request, place, name):
    run = request.getfixturevalue(name)
    logits = Predictor.open(place, run).logits(images_of(place, run))
    assert np.abs(logits - logits_of(run)).max() < 1e-4


def test_two_heads_on_one_trunk_are_two_models_of_one_shape(first, second):
    assert first.result["trunk"] == second.result["trunk"]
    assert first.result["model_sha256"] != second.result["model_sha256"]
    for count in ("parameters", "parameters_trained"):
        assert first.result[count] == second.result[count]


def test_the_same_spec_gives_the_same_run(place, dataset, first):
    again = trained(place, dataset)
    assert np.array_equal(logits_of(again), logits_of(first))


def test_a_run_whose_trunk_answers_otherwise_than_keras_did_is_refused(place, dataset, first, monkeypatch):
    right = trunk.FrozenTrunk.probe
    monkeypatch.setattr(trunk.FrozenTrunk, "probe", lambda self: (right(self)[0], [t + 1 for t in right(self)[1]]))
    run = new_run(place, dataset, learning_rate=0.02)
    with pytest.raises(RunError, match="The saved model and the app's own path differ by"):
        training.train(place, run, silent)
    assert not store.open_run(place, run.id).result


def test_features_of_a_known_trunk_are_not_computed_again(place, dataset, first, monkeypatch):
    def never(frozen, size):
        return trunk.Engine(lambda images: pytest.fail("computed again"), 8, 1)

    monkeypatch.setattr(trunk, "lite_engine", never)
    trained(place, dataset, learning_rate=0.03)


# Validation images that choose, and those that calibrate


@pytest.fixture(scope="module")
def halved(place, dataset, first) -> Run:
    """A run whose validation part of six images was halved as if it were large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split, "HALVED_FROM", 6)
        return trained(place, dataset, learning_rate=0.05, epochs=6, patience=0)


def test_the_epoch_is_chosen_by_one_half_of_the_validation_images(halved):
    table = halved.predictions()
    chose = split.validation_for(halved.split(), split.SELECTION)
    labels = [halved.classes.index(label) for label in table["label"][chose]]
    loss = -np.log(scores_of(halved)[chose, labels]).mean()
    assert chose.sum() == 3
    assert halved.history()["val_loss"].min() == pytest.approx(loss, abs=1e-4)
    answers = scores_of(halved)[chose].argmax(axis=1)
    assert halved.result["selection_accuracy"] == (answers == labels).mean()


def test_a_run_keeps_the_temperature_of_the_other_half(halved):
    images = split.validation_for(halved.split(), split.CALIBRATION)
    alone = halved.predictions()[images | (halved.split()["part"] == "test").to_numpy()]
    np.testing.assert_equal(vars(temperature_scaling.of(halved)), vars(calibration.calibrate(alone)))
    assert halved.result["calibration"]["images"] == 3


def test_a_small_validation_part_does_both(first):
    assert not first.is_halved
    assert first.result["calibration"]["images"] == 6
    assert first.result["selection_accuracy"] == first.accuracy("validation")


def test_the_app_applies_the_temperature_that_the_run_keeps(place, halved):
    answering = Predictor.open(place, halved)
    np.testing.assert_equal(vars(answering.calibration), vars(temperature_scaling.of(halved)))


# Both sides


def sides_of(place: Workspace, run: Run, images: np.ndarray) -> list[list[np.ndarray]]:
    """Maps of images and of their mirror images."""
    exported = LiteTrunk(place.trunks / f"{run.result['trunk']}.tflite")
    return [exported.maps(images), exported.maps(images[:, :, ::-1])]


def test_logits_are_the_mean_of_a_image_and_its_mirror_image(place, both_sides):
    images, head = images_of(place, both_sides), Head.load(both_sides.head_path)
    plain, mirrored = (head.logits(head.features(maps)) for maps in sides_of(place, both_sides, images))
    assert np.abs(plain - mirrored).max() > 1e-3
    assert np.abs((plain + mirrored) / 2 - logits_of(both_sides)).max() < 1e-5


def test_a_heat_map_of_both_sides_is_the_sum_with_the_mirrored_one_turned_back(place, both_sides):
    image, head = images_of(place, both_sides)[0], Head.load(both_sides.head_path)
    found = assess(Predictor.open(place, both_sides), GreyImage(image, "L"))
    sides = sides_of(place, both_sides, image[None])
    plain, mirrored = (cam(head, maps, 1, 24, 20, [t[n] for t in head.usual]) for n, maps in enumerate(sides))
    assert np.allclose(found.heat("b", (20, 24)), to_unit(plain + mirrored[:, ::-1]), atol=1e-5)
    assert np.allclose(found.logits, logits_of(both_sides)[0], atol=1e-5)


def test_a_model_of_both_sides_has_a_template_of_its_own(first, both_sides, place):
    frozen = trunk.load(place, first.result["trunk"])
    one, two = (template.load(frozen, run.spec) for run in (first, both_sides))
    assert one.path != two.path
    assert one.parameters == two.parameters


def test_augmentation_by_mirroring_alone_shows_the_head_what_the_changed_images_would(place, both_sides):
    """Two passes, of the images and of their mirror images, hold every view that there is."""
    plan = training._plan(place, both_sides, silent)
    frozen = features.frozen_trunk(plan)
    known = features.of_run(plan, frozen)
    rows = np.arange(len(plan.images.rows))
    at = plan.images.rows[rows]
    exported = LiteTrunk(frozen.path)
    for epoch in (0, 1, 5):
        changed = augmentation.view(
            plan.images.pixels[at], both_sides.spec.augmentation, both_sides.spec.seed, epoch, at
        )
        reference = pooled(exported.maps(changed), "mean_max")
        assert trunk.relative_difference(known.of_epoch(rows, epoch), reference) < 1e-6
    assert not np.array_equal(known.of_epoch(rows, 0), known.of_epoch(rows, 1))
    assert not np.array_equal(known.of_epoch(rows, 0), known.plain(rows))


# Augmented views


VIEWS = {"augmentation": AugmentationSpec(rotation=10, flip=True), "views": 2}


def view_files(place: Workspace) -> set[Path]:
    return {path for path in place.features.glob("*-view-*") if path.suffix != ".lock"}


def test_a_head_sees_the_augmented_images_in_turn(place, dataset, first):
    run = new_run(place, dataset, **VIEWS)
    plan = training._plan(place, run, silent)
    frozen = features.frozen_trunk(plan)
    known = features.of_run(plan, frozen)
    rows = plan.images.part("train")
    at = plan.images.rows[rows]
    views = [
        pooled(
            LiteTrunk(frozen.path).maps(
                augmentation.view(plan.images.pixels[at], run.spec.augmentation, run.spec.seed, view, at)
            ),
            "mean_max",
        )
        for view in range(2)
    ]
    for epoch in range(3):
        reference = np.where(((at + epoch) % 2 == 0)[:, None], *views)
        assert trunk.relative_difference(known.of_epoch(rows, epoch), reference) < 1e-6
    assert set(plan.scratch) == view_files(place)


def test_every_third_image_of_an_epoch_is_the_original_where_there_are_two_copies(place, dataset, first):
    plan = training._plan(place, new_run(place, dataset, originals=True, **VIEWS), silent)
    cached = features.of_run(plan, features.frozen_trunk(plan))
    rows = plan.images.part("train")
    at, plain = plan.images.rows[rows], cached.plain(rows)
    for epoch in range(4):
        original = (cached.of_epoch(rows, epoch) == plain).all(axis=1)
        assert np.array_equal(original, (at + epoch) % 3 == 0)


def test_features_of_augmented_images_are_removed_when_the_run_is_complete(place, dataset, first):
    trained(place, dataset, **VIEWS)
    assert not view_files(place)


# Stopped, killed, resumed


class Telling:
    """Progress that raises ``error`` at the ``at``-th word about a stage."""

    def __init__(self, stage: str, at: int, error: BaseException):
        self.stage, self.left, self.error = stage, at, error

    def __call__(self, _share: float, message: str) -> None:
        if message.startswith(self.stage):
            self.left -= 1
            if self.left == 0:
                raise self.error


def test_a_stopped_run_keeps_its_best_and_its_views_and_goes_on_from_there(place, dataset, first):
    choices = {**VIEWS, "epochs": 6, "patience": 0, "seed": first.spec.seed}
    whole = trained(place, dataset, **choices)
    run = new_run(place, dataset, **choices)
    assert not training.train(place, run, Telling("head", 4, Stopped()))
    stopped = store.open_run(place, run.id)
    assert stopped.result["stopped"]
    assert stopped.result["best_epoch"] == 1 + stopped.history()["val_loss"].idxmin()
    assert len(stopped.history()) == 3
    assert len(view_files(place)) == 2 * 2  # features, and what they took
    assert training.train(place, stopped, silent)
    mended = store.open_run(place, run.id)
    assert mended.history()["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert np.array_equal(logits_of(mended), logits_of(whole))
    assert not view_files(place)


def test_a_run_that_is_stopped_before_its_first_epoch_has_nothing_to_keep(place, dataset, first):
    run = new_run(place, dataset)
    with pytest.raises(Stopped, match="Stopped before the first epoch was complete"):
        training.train(place, run, Telling("head", 1, Stopped()))
    assert not store.open_run(place, run.id).result


def test_a_stop_while_the_run_is_saved_comes_too_late(place, dataset, first):
    run = new_run(place, dataset)
    assert training.train(place, run, Telling("Saving", 1, Stopped()))
    assert not store.open_run(place, run.id).result["stopped"]


# Fine-tuning


def test_a_fine_tuned_run_shares_the_frozen_part_and_has_its_own_tail(place, tuned):
    assert tuned.result["trunk_outputs"] == [1]
    assert (place.trunks / f"{tuned.result['trunk']}.tflite").is_file()
    assert tuned.trunk_path.is_file()
    assert {"trunk_sha256", "tail_sha256", "head_sha256", "model_sha256"} <= set(tuned.result)


def test_a_fine_tuned_run_says_where_it_was_cut_and_how_it_learned(tuned):
    facts = tuned.result["fine_tuning"]
    assert facts["layers_asked"] == 10
    assert facts["layers_trained"] >= 10
    assert tuned.history()["stage"].tolist() == ["head"] * 3 + ["last layers"] * 2
    assert tuned.history()["learning_rate"].tolist() == pytest.approx([1e-3] * 5)


def test_the_last_layers_have_learned_and_the_others_have_not(place, tuned):
    import keras

    from covid_core.nets import model

    before = model.build_trunk(tuned.spec, None)
    after = keras.models.load_model(tuned.model_path, compile=False)
    names = [layer.name for layer in before.layers]
    moved = {
        name
        for name in names
        for a, b in zip(before.get_layer(name).get_weights(), after.get_layer(name).get_weights(), strict=True)
        if not np.array_equal(a, b)
    }
    behind = set(names[-tuned.result["fine_tuning"]["layers_trained"] :])
    assert moved and moved <= behind


def test_a_fine_tuning_that_was_killed_goes_on_to_the_same_end(place, dataset, tuned):
    run = new_run(place, dataset, **TUNED)
    with pytest.raises(Kill):
        training.train(place, run, Telling("last layers: epoch 2", 2, Kill()))
    assert training.train(place, run, silent)
    mended = store.open_run(place, run.id)
    assert mended.history()["stage"].tolist() == ["head"] * 3 + ["last layers"] * 2
    assert mended.history()["val_loss"].equals(tuned.history()["val_loss"])
    assert np.abs(logits_of(mended) - logits_of(tuned)).max() < 1e-5


FROZEN_TOO = {"taps": "last", "head": HeadSpec(units=(8,))}


def computed(place: Workspace, dataset: Dataset, with_boundary: bool, **choices) -> tuple[Plan, bool]:
    """Compute what a run needs, but train nothing. Returns its plan, and whether the boundary is in the cache."""
    plan = training._plan(place, new_run(place, dataset, **choices), silent)
    frozen = features.frozen_trunk(plan)
    features.of_run(plan, frozen, with_boundary)
    name = f"{dataset.pixels_key[: features.KEY_LENGTH]}-{frozen.key}-boundary"
    edge = trunk.boundary_activations(frozen, name)
    return plan, bool(trunk.are_cached(place, edge, len(plan.images.pixels), plan.images.rows).all())


def forget(place: Workspace, names: str) -> None:
    for path in place.features.glob(names):
        path.unlink()


def test_a_frozen_run_on_the_last_layer_shares_the_trunk_of_the_fine_tuned_one(place, dataset, tuned):
    plan, _ = computed(place, dataset, False, **FROZEN_TOO)
    assert features.frozen_trunk(plan).key == tuned.result["trunk"]
    assert plan.built is None


def test_a_frozen_run_on_the_last_layer_keeps_what_a_fine_tuning_will_want(place, dataset, tuned):
    forget(place, "*.f32")
    assert computed(place, dataset, False, **FROZEN_TOO)[1]
    plan, _ = computed(place, dataset, True, **TUNED)
    assert "features" in plan.reused


def test_activations_that_would_take_much_of_the_cache_are_not_kept_by_the_way(place, dataset, tuned, monkeypatch):
    forget(place, "*.f32")
    monkeypatch.setattr(features, "SHARE_BY_THE_WAY", 0.0)
    assert not computed(place, dataset, False, **FROZEN_TOO)[1]


def test_features_of_some_of_the_images_count_as_found(place, dataset, tuned):
    forget(place, "*.f32")
    forget(place, "*.took")
    few = SplitSpec(validation=0.2, test=0.2, images_per_class=4)
    computed(place, dataset, False, **FROZEN_TOO, split=few)
    of_twelve = trunk.seconds_it_took(next(place.features.glob("*-pooled.f32")), 12)
    plan, _ = computed(place, dataset, False, **FROZEN_TOO)
    assert plan.reused["features"] == of_twelve > 0


def test_features_without_the_activations_that_are_needed_too_do_not_count_as_reused(place, dataset, tuned):
    forget(place, "*-boundary.f32")
    plan, kept = computed(place, dataset, True, **TUNED)
    assert kept
    assert "features" not in plan.reused


# All layers


def test_a_run_that_trains_all_layers_has_a_trunk_of_its_own(place, dataset):
    run = trained(place, dataset, backbone="baseline_cnn", head=HeadSpec(units=(8,)), epochs=2)
    images = images_of(place, run)
    assert run.trunk_path.is_file()
    assert run.result["trunk"] is None
    assert np.abs(scores_by_keras(run, images) - scores_of(run)).max() < 1e-5
    assert np.abs(Predictor.open(place, run).logits(images) - logits_of(run)).max() < 1e-4


# What the network is shown


@pytest.fixture(scope="module", params=["per_image", "equalised"])
def middle(request, place, dataset) -> Run:
    return trained(place, dataset, input=InputSpec(region="centre", share=0.5, intensity=request.param))


def test_a_model_of_the_middle_takes_whole_images_and_scores_as_the_app_does(place, dataset, middle):
    import keras

    squares = decode_rows(dataset, range(6), 2 * SIDE)
    saved = keras.models.load_model(middle.model_path, compile=False)
    scores = softmax(Predictor.open(place, middle).logits(squares))
    assert np.asarray(saved(squares[..., None])) == pytest.approx(scores, abs=1e-4)


def test_the_frame_changes_nothing_and_has_no_heat(place, dataset, middle):
    predictor = Predictor.open(place, middle)
    (square,) = decode_rows(dataset, [0], 2 * SIDE)
    framed = np.pad(square[SIDE // 2 : -SIDE // 2, SIDE // 2 : -SIDE // 2], SIDE // 2, constant_values=255)
    logits, _, (heat, _) = predictor.explained(np.stack([square, framed]))
    assert np.array_equal(logits[0], logits[1])
    drawn = heat(middle.classes[0], (80, 80))
    assert drawn.shape == (80, 80)
    inside = drawn[20:60, 20:60].copy()
    drawn[20:60, 20:60] = 0
    assert inside.max() == 1 and drawn.max() == 0


def test_another_region_is_another_trunk(place, middle, first):
    assert middle.result["trunk"] != first.result["trunk"]


def test_frames_are_exchanged_between_training_images_with_lungs(place):
    drawn = import_phantom(place, 30)
    run = trained(place, drawn, image_size=64, augmentation=AugmentationSpec(frames=True), views=1)
    assert run.result["epochs_done"] == 3


# The box around the lungs


@pytest.fixture(scope="module")
def chests(place):
    return import_phantom(place, 30)


@pytest.fixture(scope="module")
def boxed(place, chests) -> Run:
    chosen = {"input": InputSpec(region="lungs"), "image_size": 64, "augmentation": AugmentationSpec(frames=True)}
    return trained(place, chests, **chosen, views=1)


def test_a_run_of_the_lungs_predicts_for_whole_images_what_it_was_tested_with(place, chests, boxed):
    split = boxed.split()
    rows = chests.images.set_index("image_id").index.get_indexer(split["image_id"])
    logits = Predictor.open(place, boxed).logits(decode_rows(chests, rows, boxed.spec.whole))
    assert np.abs(logits - logits_of(boxed)).max() < 1e-4


def test_its_saved_model_takes_what_was_cut_out(place, chests, boxed):
    import keras

    predictor, squares = Predictor.open(place, boxed), decode_rows(chests, range(4), boxed.spec.whole)
    cut = predictor.regions(squares).squares
    saved = keras.models.load_model(boxed.model_path, compile=False)
    assert np.asarray(saved(cut[..., None])) == pytest.approx(softmax(predictor.logits(squares)), abs=1e-4)
    assert predictor.of_cut.logits(cut) == pytest.approx(predictor.logits(squares), abs=1e-5)


def test_its_heat_lies_inside_the_box(place, chests, boxed):
    assessment = assess(Predictor.open(place, boxed), image_of(chests, 0)[0])
    rows, columns = assessment.box.slices(90, 90)
    heat = assessment.heat(boxed.classes[0], (90, 90)).copy()
    assert not assessment.box.is_whole and heat.max() == 1
    heat[rows, columns] = 0
    assert heat.max() == 0


def test_an_image_without_lungs_is_refused_and_counted(place, boxed):
    noise = np.random.default_rng(0).integers(0, 256, (128, 128), np.uint8)
    assessment = assess(Predictor.open(place, boxed), GreyImage(noise, "L"))
    (check,) = [one for one in assessment.checks if one.name == LUNGS_OUTLINED]
    assert check.passed is False and not assessment.has_answer
    assert set(boxed.result["without_outline"]) == {"train", "validation", "test"}


def test_a_run_keeps_to_the_segmenter_that_it_was_trained_with(place, boxed):
    assert files.sha256_of(boxed.segmenter_path) == boxed.result["segmenter_sha256"]
    kept = boxed.segmenter_path.read_bytes()
    try:
        boxed.segmenter_path.write_bytes(kept.replace(b'"threshold": 0.5', b'"threshold": 0.4'))
        with pytest.raises(RunDamaged):
            Predictor.open(place, boxed)
    finally:
        boxed.segmenter_path.write_bytes(kept)


def test_whole_images_and_boxes_share_a_network_but_no_features(place, chests, boxed):
    whole = trained(place, chests, image_size=64)
    assert whole.result["trunk"] == boxed.result["trunk"]
    assert not np.array_equal(logits_of(whole), logits_of(boxed))


def region_images(outlined: list[bool]) -> Images:
    """Four training images of two classes, and one for a test, with lung outlines or none."""
    split = pd.DataFrame({"part": ["train"] * 4 + ["test"]})
    cut = CutImages(np.zeros((5, 8, 8), np.uint8), np.zeros((5, 4), np.float32), np.array(outlined))
    return Images(None, cut.pixels, split, np.arange(5), np.array([0, 0, 1, 1, 0]), cut)


def test_images_without_an_outline_are_not_learned_from():
    assert region_images([True, False, True, True, False]).learned.tolist() == [0, 2, 3]


def test_a_class_of_which_no_image_has_an_outline_cannot_be_learned():
    with pytest.raises(RunError):
        _ = region_images([False, False, True, True, True]).learned
