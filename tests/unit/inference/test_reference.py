"""What a run keeps to judge new images by: kept and read, told in sentences, missing, damaged, and made by real
runs."""

from dataclasses import replace

import numpy as np
import pytest
from made_runs import all_parts, made_run
from scipy import ndimage
from trained_runs import dataset_of

from covid_core.commands import main
from covid_core.data.pixels import open_pixels
from covid_core.data.split import CALIBRATION, validation_for
from covid_core.errors import JobRefused, RunDamaged
from covid_core.images.codec import GreyImage
from covid_core.inference import reference_fit
from covid_core.inference.assessment import Assessment, assess, assess_all
from covid_core.inference.gate import CHEST_IMAGE, INVERTED, LEFT, LIKE_TRAINING, SHARE, Check
from covid_core.inference.network import Head, pooled, softmax
from covid_core.inference.predictor import Predictor
from covid_core.inference.reference import SHOWN, Reference
from covid_core.jobs import queue
from covid_core.jobs.kinds import ReferenceRequest
from covid_core.runs import store
from covid_core.synthetic.phantom import image_at

SIDE = 64
IMAGES = 220
HEAD = Head("mean", (np.array([[1.0, -1.0]] * 16, np.float32),), (np.zeros(2, np.float32),))


class MadeTrunk:
    """Sixteen channels: the image's greys in each of 4 x 4 cells."""

    def maps(self, images: np.ndarray) -> list[np.ndarray]:
        cells = images.reshape(len(images), 4, SIDE // 4, 4, SIDE // 4).mean(axis=(2, 4)) / 64
        return [np.broadcast_to(cells.reshape(len(images), 1, 1, 16), (len(images), 2, 2, 16)).astype(np.float32)]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    made = np.stack([image_at(index, IMAGES, 2, size=SIDE).pixels for index in range(IMAGES)])
    return made[np.random.default_rng(0).permutation(IMAGES)]


@pytest.fixture(scope="module")
def reference(images) -> Reference:
    table = all_parts({"train": 120, "validation": 60, "test": 40}, skill=1)
    means = pooled(MadeTrunk().maps(images), "mean")
    return reference_fit.fitted(table[["image_id", "label", "part"]], images.__getitem__, means.__getitem__)


def predictor(reference: Reference | None, both_sides: bool = False) -> Predictor:
    return Predictor(("a", "b"), SIDE, MadeTrunk(), HEAD, both_sides, reference=reference)


def image_of(pixels: np.ndarray, **more) -> GreyImage:
    return GreyImage(np.ascontiguousarray(pixels), "L", **more)


def names(found: Assessment) -> list[str]:
    return [check.name for check in found.checks]


def test_one_image_and_many_are_assessed_alike(images, reference):
    for both_sides in (False, True):
        answering = predictor(reference, both_sides)
        given = [image_of(image) for image in images[180:190]]
        for alone, among in zip([assess(answering, one) for one in given], assess_all(answering, given), strict=True):
            assert np.allclose(alone.logits, among.logits, atol=1e-6)
            assert [check.passed for check in alone.checks] == [check.passed for check in among.checks]
            assert (alone.done, alone.warnings) == (among.done, among.warnings)
            assert alone.image is not None and among.image is None


def test_images_that_were_never_seen_are_answered(images, reference):
    looks = assess_all(predictor(reference), [image_of(image) for image in images[180:]])
    assert np.mean([found.refused_by is None for found in looks]) >= 0.85
    (good, *_) = (found for found in looks if found.refused_by is None)
    assert names(good) == [CHEST_IMAGE, LIKE_TRAINING]
    assert good.checks[0].figure >= good.checks[0].limit.value
    assert good.checks[1].figure <= good.checks[1].limit.value
    assert good.checks[0].limit.images == good.checks[1].limit.images == 60


def test_a_turned_image_is_refused_with_the_reading_under_which_it_would_pass(images, reference):
    turned = assess_all(predictor(reference), [image_of(np.rot90(image)) for image in images[180:]])
    assert all(found.refused_by.name == CHEST_IMAGE for found in turned)
    assert np.mean([found.checks[0].reading == LEFT for found in turned]) >= 0.85
    (inverted,) = assess_all(predictor(reference), [image_of(255 - images[180])])
    assert inverted.checks[0].reading == INVERTED
    assert inverted.checks[0].figure < inverted.checks[0].limit.value


def test_a_image_unlike_the_training_images_is_refused(images, reference):
    """Far too bright and flat: it still looks like a chest image, but not to the network."""
    (found,) = assess_all(predictor(reference), [image_of(150 + images[180] // 3)])
    assert found.checks[0].passed
    assert found.refused_by.name == LIKE_TRAINING
    assert found.refused_by.figure > found.refused_by.limit.value


def test_neighbours_are_the_nearest_training_images_and_a_image_is_its_own(images, reference):
    (found,) = assess_all(predictor(reference), [image_of(images[7])])
    assert len(found.neighbours) == SHOWN
    assert (found.neighbours[0].image_id, found.neighbours[0].label) == ("train-00007", "Normal")
    distances = [near.distance for near in found.neighbours]
    assert distances[0] < 0.01
    assert distances == sorted(distances)
    space, among = reference.neighbourhood.space, reference.neighbourhood
    own = space.coordinates(pooled(MadeTrunk().maps(images[7:8]), "mean"))
    brute = np.argsort(np.linalg.norm(among.coordinates - own, axis=1), kind="stable")[:SHOWN]
    assert [near.image_id for near in found.neighbours] == [f"train-{k:05d}" for k in brute]


def test_a_mirror_image_answered_with_its_image_does_not_change_whom_it_resembles(images, reference):
    plain, both = (assess_all(predictor(reference, sides), [image_of(images[185])])[0] for sides in (False, True))
    assert plain.neighbours == both.neighbours
    assert plain.checks == both.checks


def test_a_image_whose_file_says_that_it_is_no_frontal_chest_image_is_refused(images, reference):
    said = "The file says that it is a lateral view; the runs know frontal images only."
    for known in (reference, None):
        (found,) = assess_all(predictor(known), [image_of(images[180], warnings=(said,), not_chest=(said,))])
        assert found.refused_by == Check(CHEST_IMAGE, False, reason=said)
    (found,) = assess_all(predictor(reference), [image_of(images[180], warnings=("A name is burned in.",))])
    assert found.checks[0].passed


def test_without_a_reference_the_scores_stand_and_both_checks_say_that_they_were_not_made(images):
    (found,) = assess_all(predictor(None), [image_of(images[180])])
    assert found.refused_by is None
    assert found.neighbours == ()
    assert [check.passed for check in found.checks] == [None, None]
    assert [check.has_reference for check in found.checks] == [False] * 2
    assert np.allclose(found.scores, softmax(found.logits[None])[0])


def test_a_run_with_too_few_validation_images_says_that_it_sets_no_limit(images):
    table = all_parts({"train": 120, "validation": 12, "test": 40}, skill=1)
    means = pooled(MadeTrunk().maps(images), "mean")
    few = reference_fit.fitted(table[["image_id", "label", "part"]], images.__getitem__, means.__getitem__)
    (found,) = assess_all(predictor(few), [image_of(images[180])])
    assert [check.passed for check in found.checks] == [None, None]
    assert [check.limit.images for check in found.checks] == [12, 12]
    assert len(found.neighbours) == SHOWN


def test_a_reference_is_read_as_it_was_kept(tmp_path, images, reference):
    reference.save(tmp_path / "reference.npz")
    kept = Reference.load(tmp_path / "reference.npz")
    given = [image_of(image) for image in images[180:200]]
    assert assess_all(predictor(kept), given)[3].checks == assess_all(predictor(reference), given)[3].checks
    assert assess_all(predictor(kept), given)[3].neighbours == assess_all(predictor(reference), given)[3].neighbours


def test_the_reference_of_a_large_data_set_is_small(tmp_path, reference):
    """10,304 training images, of the 15,153 of the radiography database, told by 64 directions."""
    among = reference.neighbourhood
    rng = np.random.default_rng(0)
    many = replace(
        among,
        image_ids=np.array([f"Viral Pneumonia/images/Viral Pneumonia-{k}.png" for k in range(10_304)], dtype=object),
        labels=np.array(["Viral Pneumonia"] * 10_304, dtype=object),
        coordinates=rng.normal(size=(10_304, 65)).astype(np.float32),
    )
    space = replace(among.space, directions=rng.normal(size=(960, 64)).astype(np.float32))
    kept = replace(reference, neighbourhood=replace(many, space=space))
    kept.save(tmp_path / "reference.npz")
    assert (tmp_path / "reference.npz").stat().st_size < 2_500_000


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def one_byte_other(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [cut_off, one_byte_other, lambda content: b"", lambda content: b"PK no archive"])
def test_a_damaged_reference_is_a_sentence(tmp_path, reference, damage):
    path = tmp_path / "a-run" / "reference.npz"
    path.parent.mkdir()
    reference.save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunDamaged, match=r"a-run: reference\.npz is missing or damaged\."):
        Reference.load(path)


def test_no_reference_is_made_of_a_run_that_is_not_finished(workspace):
    run = made_run(workspace, all_parts({"train": 12, "validation": 6, "test": 6}, skill=1), state=store.FAILED)
    with pytest.raises(JobRefused, match="is not finished"):
        queue.submit(workspace, ReferenceRequest(run=run.id))
    assert store.list_jobs(workspace) == []


# A real run


def photograph_like(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    rows = np.linspace(220, 120, 96)[:, None] * np.ones((1, 96))
    rows[rng.integers(30, 70) :] = 80
    for _ in range(4):
        top, left, side = rng.integers(5, 60), rng.integers(0, 70), rng.integers(8, 26)
        rows[top : top + side, left : left + side] = rng.integers(0, 256)
    return np.clip(rows + 15 * ndimage.gaussian_filter(rng.normal(size=rows.shape), 1), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def trained(place, copy_of_trained):
    run = copy_of_trained(place)
    return place, dataset_of(place, run), run


def assessed(place, run, images) -> list[Assessment]:
    return assess_all(Predictor.open(place, run), [image_of(image) for image in images])


@pytest.mark.slow
def test_a_finished_run_answers_for_its_test_images_and_refuses_what_is_none(trained):
    place, dataset, run = trained
    assert run.has_reference
    pixels = open_pixels(place, dataset, run.spec.image_size)
    rows = dataset.images.set_index("image_id").index
    test = np.asarray(pixels[rows.get_indexer(run.split().query("part == 'test'")["image_id"])])
    refused = {
        "as they are": [one.refused_by for one in assessed(place, run, test)],
        "turned": [one.refused_by for one in assessed(place, run, np.rot90(test, 2, axes=(1, 2)))],
        "inverted": [one.refused_by for one in assessed(place, run, 255 - test)],
        "photographs": [one.refused_by for one in assessed(place, run, map(photograph_like, range(20)))],
    }
    shares = {name: np.mean([check is not None for check in checks]) for name, checks in refused.items()}
    assert shares["as they are"] <= 0.2
    assert shares["turned"] >= 0.9
    assert shares["inverted"] >= 0.9
    assert shares["photographs"] >= 0.9


@pytest.mark.slow
def test_the_limits_of_a_run_are_those_of_its_calibrating_images(trained):
    place, dataset, run = trained
    split = run.split()
    calibrating = split[validation_for(split, CALIBRATION)]["image_id"]
    answering = Predictor.open(place, run)
    found = assessed(place, run, open_pixels(place, dataset, 32)[dataset.images["image_id"].isin(calibrating)])
    assert answering.reference.gate.limit.images == len(calibrating)
    assert np.mean([one.checks[0].passed is False for one in found]) <= max(SHARE, 1 / len(calibrating))


@pytest.mark.slow
def test_a_training_image_of_a_run_is_its_own_nearest(trained):
    place, dataset, run = trained
    first = run.split().query("part == 'train'").iloc[0]
    image = open_pixels(place, dataset, run.spec.image_size)[dataset.row_of(first["image_id"])]
    nearest = assessed(place, run, [image])[0].neighbours[0]
    assert (nearest.image_id, nearest.label) == (first["image_id"], first["label"])
    assert nearest.distance < 0.01


@pytest.mark.slow
def test_a_run_from_before_gets_its_reference_by_a_job_and_the_same_one(trained, monkeypatch, capsys):
    place, dataset, run = trained
    published = Reference.load(run.reference_path)
    run.reference_path.unlink()
    run.write_result({name: value for name, value in run.result.items() if name != "reference_sha256"})
    old = store.open_run(place, run.id)
    image = open_pixels(place, dataset, 32)[0]
    assert [check.passed for check in assessed(place, old, [image])[0].checks] == [None, None]
    monkeypatch.setenv("COVID_CORE_HOME", str(place.root))
    assert main.main(["reference", run.id, "--wait"]) == 0
    assert "completed" in capsys.readouterr().out
    made = Reference.load(store.open_run(place, run.id).reference_path)
    assert made.gate.limit == published.gate.limit
    assert np.allclose(made.neighbourhood.coordinates, published.neighbourhood.coordinates, atol=0.02), (
        "the published one came from the same exported network"
    )


@pytest.mark.slow
def test_a_reference_that_was_changed_after_training_is_refused(trained):
    place, _, run = trained
    content = run.reference_path.read_bytes()
    try:
        run.reference_path.write_bytes(content + b" ")
        with pytest.raises(RunDamaged, match=r"reference\.npz is missing or was changed"):
            Predictor.open(place, store.open_run(place, run.id))
    finally:
        run.reference_path.write_bytes(content)


def test_an_image_farther_than_nine_of_ten_gets_a_lower_probability_of_the_same_class(images, reference):
    among = reference.neighbourhood
    near, far = among.farthest[0] / 2, among.farthest[-1] * 2
    assert among.typicality(near) == 1 > among.typicality(among.farthest[-1]) > among.typicality(far) > 0
    usual = assess(predictor(reference), image_of(images[0]))
    unusual = replace(usual, typicality=0.4)
    assert usual.typicality == 1
    assert unusual.predicted == usual.predicted and unusual.numbers.max() < usual.numbers.max()
    assert unusual.numbers.sum() == pytest.approx(1)


def test_one_tenth_of_the_validation_images_at_most_is_lowered(images, reference):
    among = reference.neighbourhood
    apart = among.distances(pooled(MadeTrunk().maps(images[120:180]), "mean"))
    assert 0 < np.mean([among.typicality(one) < 1 for one in apart]) <= 0.1


def test_the_distances_that_lower_are_kept_and_an_earlier_reference_lowers_nothing(reference, tmp_path):
    reference.save(tmp_path / "reference.npz")
    opened = Reference.load(tmp_path / "reference.npz").neighbourhood
    assert opened.farthest.tolist() == reference.neighbourhood.farthest.tolist()
    earlier = Reference(reference.gate, replace(reference.neighbourhood, farthest=np.zeros(0)))
    earlier.save(tmp_path / "earlier.npz")
    assert Reference.load(tmp_path / "earlier.npz").neighbourhood.typicality(1e6) == 1
