"""A segmenter that really learns, from a job to outlines: few synthetic images, a little while."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from local_jobs import completed

from covid_core.audit.shortcuts import probes
from covid_core.data.dataset import Dataset
from covid_core.data.imports import importing
from covid_core.data.masks import mask_of
from covid_core.errors import RunDamaged, RunError, Stopped
from covid_core.evaluation import overlap
from covid_core.images.codec import GreyImage, read_image
from covid_core.inference import lungs as lungs_module
from covid_core.inference.lungs import Lungs
from covid_core.jobs.kinds import SegmenterRequest
from covid_core.reports import audit_text
from covid_core.runs import segmenters, store
from covid_core.runs.segmenters import Segmenter
from covid_core.synthetic.phantom import image_at
from covid_core.work import silent

pytestmark = [
    pytest.mark.slow,
    # TensorFlow 2.21's variables do not know the copy keyword of NumPy 2 yet; Keras reads them when it exports
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly` option is set"),
]

IMAGES = 75
GOOD = 0.95  # Dice; one outline for all synthetic images reaches about 0.87


@pytest.fixture(scope="module")
def dataset(place) -> Dataset:
    """Synthetic images with masks, of which one is missing."""
    made = importing.import_phantom(place, IMAGES)
    (made.root / made.images["mask_path"].iat[0]).unlink()
    return made


@pytest.fixture(scope="module")
def made(place, dataset) -> Segmenter:
    job = completed(place, SegmenterRequest(dataset=dataset.id))
    return segmenters.open_segmenter(place, job.result["segmenter"])


@pytest.fixture(scope="module")
def lungs(made) -> Lungs:
    return Lungs.open(made)


def pairs(first: int, count: int, size: int = 64):
    from covid_core.nets.segmentation.segmenter import Pairs

    images = [image_at(number, size=size) for number in range(first, first + count)]
    return Pairs(np.stack([image.pixels for image in images]), np.stack([image.lung_mask > 0 for image in images]))


def test_the_ladder_of_images_without_masks_takes_its_outlines_and_keeps_them(place, dataset, made):
    images = dataset.images.assign(mask_path="")
    bare = replace(dataset, images=images)
    ladder = probes.ladder(place, bare, lungs_module.of_images)
    rungs = {rung.probe.key: rung for rung in ladder.rungs}
    assert all(rungs[key].was_run for key in probes.NEED_LUNGS)
    assert audit_text.rung_note(rungs["outside"]).startswith("With outlines by a segmenter trained on")
    assert len(list(place.pixels.glob("*lungs*"))) == 1
    again = probes.ladder(place, bare, lungs_module.of_images)
    assert [rung.accuracy.value for rung in again.rungs[:-1]] == [rung.accuracy.value for rung in ladder.rungs[:-1]]


def test_a_job_publishes_a_segmenter_with_its_figures(made, dataset):
    record = made.record.model_dump()
    assert made.dataset == store.DatasetRecord(
        id=dataset.id, name=dataset.name, version=dataset.version, synthetic=True
    )
    assert sum(record["images"].values()) == IMAGES - 1
    assert record["left_out"] == 1
    assert made.record.dice.value > GOOD > record["same_for_all_dice"] > 0.8
    assert made.record.dice.low <= made.record.dice.value <= made.record.dice.high
    assert made.record.dice.n == record["images"]["test"]
    assert record["iou"]["value"] < made.record.dice.value
    assert record["worst_dice"] <= made.record.dice.value
    assert sum(of["n"] for of in record["by_class"].values()) == made.record.dice.n
    assert record["parity"]["largest_difference"] < 1e-3
    assert record["best_epoch"] == 1 + int(np.argmax(record["validation_dices"]))


def test_images_that_it_has_never_seen_are_outlined_at_their_own_size(lungs):
    """Images of another seed, which no part of the data set holds."""
    dices = []
    for number in range(10):
        image = image_at(number, seed=7, size=200)
        found = lungs.outline(GreyImage(image.pixels, "L"))
        assert found.mask is not None, found.refusal
        assert found.mask.shape == (200, 200)
        dices.append(float(overlap.dice(found.mask[None], image.lung_mask[None] > 0)[0]))
    assert np.mean(dices) > GOOD


def test_its_outline_agrees_with_the_data_sets_mask(lungs, dataset):
    row = 5
    found = lungs.outline(read_image(dataset.path_of(row)))
    mask = mask_of(dataset, dataset.images["image_id"].iat[row])
    assert float(overlap.dice(found.mask[None], mask[None])[0]) > GOOD


@pytest.mark.parametrize("kind", ["noise", "ramp", "lying", "disc"])
def test_what_is_no_chest_image_gets_no_outline(lungs, kind):
    line = np.linspace(0, 255, 160)
    pictures = {
        "noise": np.random.default_rng(0).integers(0, 256, (160, 160)),
        "ramp": np.tile(line, (160, 1)),
        "lying": np.rot90(image_at(0, seed=7, size=160).pixels),
        "disc": np.where(np.hypot(*np.indices((160, 160)) - 80) < 60, 200, 30),
    }
    found = lungs.outline(GreyImage(np.ascontiguousarray(pictures[kind].astype(np.uint8)), "L"))
    assert found.mask is None and found.refusal


def test_a_changed_network_is_told(place, made):
    content = made.network_path.read_bytes()
    try:
        made.network_path.write_bytes(content[:-1])
        with pytest.raises(RunDamaged, match="was changed after training"):
            Lungs.open(made)
    finally:
        made.network_path.write_bytes(content)


def fit_eagerly(*arguments, **choices):
    """A fit whose steps are not compiled, which takes longer than a few steps do."""
    import tensorflow as tf

    from covid_core.nets.segmentation.segmenter import fit

    tf.config.run_functions_eagerly(True)
    try:
        return fit(*arguments, **choices)
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.fixture
def one_epoch(monkeypatch) -> None:
    from covid_core.nets.segmentation import segmenter, training

    monkeypatch.setattr(segmenter, "MOST_EPOCHS", 1)
    monkeypatch.setattr(training, "segmenter", SimpleNamespace(fit=fit_eagerly))


@pytest.mark.parametrize("stage", ["Learning", "Outlining"])
def test_a_stop_while_it_learns_or_figures_are_made_keeps_nothing(place, dataset, made, stage, one_epoch):
    from covid_core.nets.segmentation import training

    def stopped(share: float, message: str) -> None:
        if message.startswith(stage):
            raise Stopped("Stopped by the user.")

    with pytest.raises(Stopped):
        training.train(place, dataset.id, 0, stopped)
    assert [one.id for one in segmenters.list_segmenters(place)[0]] == [made.id]
    assert len(list(place.segmenters.iterdir())) == 1


@pytest.fixture(scope="module")
def fitted():
    return fit_eagerly(pairs(0, 20), pairs(20, 6), 0, silent, epochs=4)


def test_a_seed_gives_the_same_segmenter_and_another_a_different_one(fitted):
    first = fitted.network.get_weights()
    again, other = (
        fit_eagerly(pairs(0, 20), pairs(20, 6), seed, silent, epochs=4).network.get_weights() for seed in (0, 1)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_the_epoch_with_the_best_validation_dice_is_kept(fitted):
    from covid_core.nets.segmentation import segmenter

    validation = pairs(20, 6)
    outlined = segmenter.predictions(fitted.network, validation.images) > 0.5
    assert overlap.dice(outlined, validation.masks).mean() == pytest.approx(max(fitted.dices), abs=1e-3)
    assert fitted.dices[fitted.best_epoch - 1] == max(fitted.dices)


def test_a_stop_after_the_first_epoch_keeps_the_best_so_far():
    def progress(share: float, message: str) -> None:
        if "epoch 3 of" in message:
            raise Stopped("Stopped by the user.")

    learned = fit_eagerly(pairs(0, 20), pairs(20, 6), 0, progress, epochs=4)
    assert learned.was_stopped and len(learned.dices) == 2
    assert learned.dices[learned.best_epoch - 1] == max(learned.dices)


def test_more_images_are_gone_through_less_often():
    from covid_core.nets.segmentation import segmenter

    assert segmenter.epochs_for(20) == segmenter.MOST_EPOCHS
    assert segmenter.epochs_for(600) == 20
    assert segmenter.epochs_for(1632) == segmenter.FEWEST_EPOCHS


def test_masks_that_say_nothing_of_the_image_are_refused(place, tmp_path_factory, one_epoch):
    """Masks at random places: nothing can be learned, and no segmenter is made that would pretend to."""
    from made_data import database_folders

    from covid_core.images.codec import png_bytes
    from covid_core.nets.segmentation import training

    root = database_folders(tmp_path_factory.mktemp("random") / "images", {"a": 24})
    rng = np.random.default_rng(0)
    for path in sorted((root / "a/masks").iterdir()):
        mask = np.zeros((64, 64), np.uint8)
        row, column = rng.integers(0, 54, 2)
        mask[row : row + 10, column : column + 10] = 255
        path.write_bytes(png_bytes(mask))
    images = importing.import_folder(place, root)
    before = sorted(place.segmenters.iterdir())
    with pytest.raises(RunError, match="has not learned to outline"):
        training.train(place, images.id, 0, silent)
    assert sorted(place.segmenters.iterdir()) == before
